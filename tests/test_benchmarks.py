"""What the benchmark counts and how it compares; nothing here measures a time."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from speed.book import Book
from speed.duel import Duel, Side, fight, markdown
from speed.floor import counted, decode_seconds, floor_seconds, trie_counts
from speed.machine import TICK, busy_seconds
from speed.metric_duels import PARTS, Material
from speed.table import agreement, best, metrics_agreement
from speed.workloads import WORKLOADS, missing, quick, requests, write_tasks

from evalkit.engine.base import ScoreJob

RATES: dict[str, Any] = {
    "body": 1000,
    "head": 500,
    "layers": 2,
    "width": 3,
    "body_seconds": {"1": 1.0, "4": 2.5, "256": 64.0},
    "head_seconds": {"1": 0.0, "4": 0.0, "256": 32.0},
}


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.integers(1, 3)), min_size=1, max_size=8))
def test_tokens_scored_positions_and_pairs_are_counted_once(texts: list[tuple[list[int], int]]) -> None:
    table: dict[tuple[int, ...], int] = {}
    for tokens, scored in texts:  # of equal texts, the longest continuation
        table[tuple(tokens)] = max(table.get(tuple(tokens), 0), min(scored, len(tokens)))
    rows = sorted(table)
    shared = [0] * len(rows)
    for at in range(1, len(rows)):
        while shared[at] < min(len(rows[at - 1]), len(rows[at])) and rows[at - 1][shared[at]] == rows[at][shared[at]]:
            shared[at] += 1
    lengths = [len(row) for row in rows]
    made = trie_counts(lengths, shared, [len(row) - table[row] for row in rows])
    nodes = {row[: end + 1] for row in rows for end in range(len(row))}
    needed = {row[: end + 1] for row in rows for end in range(len(row) - table[row], len(row))}
    assert made == {"tokens": len(nodes), "rows": len(needed), "pairs": sum(map(len, nodes))}
    jobs = [
        ScoreJob(tokens[: max(len(tokens) - few + 1, 1)], [*tokens[max(len(tokens) - few + 1, 1) :], 5])
        for tokens, few in texts
    ]
    assert counted(jobs) == made


def test_the_floor_is_products_at_the_measured_speed() -> None:
    # 8,000 operations a second in the layers and in the output layer: 2 * 1000 * 256 / 64 and 2 * 500 * 256 / 32.
    counts = {"tokens": 8, "rows": 16, "pairs": 1000}
    assert floor_seconds(RATES, counts) == pytest.approx(2 * 8 * 1000 / 8000 + 4 * 2 * 3 * 1000 / 8000 + 2 * 16 * 500 / 8000)


def test_a_decode_step_costs_a_pass_of_the_live_sequences() -> None:
    # Three steps after the first token, of 3, 1 and 1 sequences; a pass of 3 lies between those of 1 and 4.
    assert decode_seconds(RATES, [2, 4, 2, 1]) == pytest.approx(2.0 + 1.0 + 1.0)
    assert decode_seconds(RATES, []) == 0


def test_busy_time_leaves_out_idle_and_waiting() -> None:
    assert busy_seconds("cpu  100 20 30 4000 500 6 7 8 90 10\ncpu0 1 1 1\n") == pytest.approx(171 / TICK)


def test_agreement_of_sums_and_of_texts() -> None:
    ours = [[-1.0, True], [-2.0, False], [-3.0, False], [-4.0, True], [-5.0, False]]
    theirs = [[-1.0, True], [-0.5, False], [-3.25, False], [-4.0, True], [-5.0, True]]
    assert best(ours, [2, 2, 1]) == [0, 0]
    assert agreement(ours, theirs, [2, 2, 1]) == "off 1.5e+00, argmax 1/2, greedy 4/5"
    assert agreement([["a", 3], ["b", 1]], [["a", None], ["c", None]], [1, 1]) == "texts 1/2"


def test_a_metric_that_one_side_lacks_is_not_equal() -> None:
    assert metrics_agreement({"t/acc": 0.5, "t/ppl": 10.0}, {"t/acc": 0.5, "t/ppl": 11.0, "t/f1": 1.0}).startswith(
        "metrics 1/3"
    )


def test_an_interrupted_benchmark_goes_on(tmp_path: Path) -> None:
    book = Book(tmp_path / "b" / "book.jsonl")
    old = {"cell": "x", "kind": "evalkit", "code": "1", "seconds": 3.0}
    for row in (old, old | {"code": "2"}, old | {"code": "2"}):
        book.add(row)
    with (tmp_path / "b" / "book.jsonl").open("a") as file:
        file.write('{"cell": "x", "ki')
    again = Book(tmp_path / "b" / "book.jsonl")
    again.add(old | {"code": "2"})
    assert len(again.rows) == 4 and Book(tmp_path / "b" / "book.jsonl").rows == again.rows
    assert [row["code"] for row in again.latest(cell="x", kind="evalkit")] == ["2"] * 3
    assert Book(tmp_path / "b" / "book.jsonl", fresh=True).rows == []


def _data(folder: Path, tables: dict[str, list[dict[str, Any]]]) -> Path:
    for name, rows in tables.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def test_the_task_files_make_the_prompts_of_the_tasks_they_stand_for(tmp_path: Path) -> None:
    data = _data(
        tmp_path / "data",
        {
            "lambada/lambada_openai.jsonl.gz": [{"context": "The cat sat on the", "continuation": "mat"}],
            "arc/arc_easy.jsonl.gz": [{"query": "Question: Why?", "choices": ["a", "b", "c"], "gold": 2}],
            "winogrande/winogrande.jsonl.gz": [
                {"context_options": ["Ann met Bo, so Ann", "Ann met Bo, so Bo"], "continuation": "waved.", "gold": 1}
            ],
            "piqa/piqa.jsonl.gz": [{"query": "Question: How?\n", "choices": ["this", "that"], "gold": 0}],
        },
    )
    workload = WORKLOADS["mix"]
    assert missing(data, workload) == "" and missing(tmp_path, workload).startswith("no ")
    write_tasks(data, workload, tmp_path / "tasks")
    files = [str(tmp_path / "tasks" / f"{task}.yaml") for task in workload.tasks]
    asked = [[(q["prompt"], q["rest"]) for q in sample] for sample in requests({"tasks": files, "limit": 5})]
    assert asked == [
        [("The cat sat on the", " mat")],
        [("Question: Why?\nAnswer:", f" {letter}") for letter in "abc"],
        [("Ann met Bo, so Ann", " waved."), ("Ann met Bo, so Bo", " waved.")],
        [("Question: How?\nAnswer:", " this"), ("Question: How?\nAnswer:", " that")],
    ]


def test_shots_are_the_last_rows_and_the_stops_lm_evals(tmp_path: Path) -> None:
    rows = [{"question": f"q{at}?", "answer": f"a{at}"} for at in range(8)]
    data = _data(tmp_path / "data", {"gsm8k/test.jsonl.gz": rows})
    write_tasks(data, WORKLOADS["gsm8k-64"], tmp_path)
    (sample,) = requests({"tasks": [str(tmp_path / "gsm8k_64.yaml")], "limit": 1})
    shots = "".join(f"Question: q{at}?\nAnswer: a{at}\n\n" for at in range(3, 8))
    assert sample[0]["prompt"] == f"{shots}Question: q0?\nAnswer:"
    assert sample[0]["params"]["until"] == ["Question:", "</s>", "<|im_end|>"] and sample[0]["params"]["max_gen_toks"] == 64


def test_quick_is_small() -> None:
    assert all(quick(workload).limit <= workload.limit // 10 + 3 for workload in WORKLOADS.values())


def test_a_duel_runs_both_in_turn_and_tells_how_far_they_are_apart() -> None:
    order: list[str] = []

    def side(name: str, rounds: int) -> Side:
        return Side(lambda: order.append(name) or sum(range(rounds)), lambda: order.append(f"fresh {name}"))

    duel = Duel("sums", side("peer", 300_000), side("ours", 1_000), lambda one, other: f"{one > other}", goal=2.0)
    outcome = fight(duel, 2, lambda text: None, busy=True)
    assert order == ["fresh peer", "peer", "fresh ours", "ours"] * 3  # the first round is not counted
    assert len(outcome.peer) == len(outcome.ours) == 2 and outcome.ratio > 2
    row = outcome.row()
    assert row[0] == "sums" and row[3].endswith(" (goal 2)") and row[5] == "True"
    assert markdown([row]).count("\n") == 2


def test_metric_duels_say_what_data_they_miss(tmp_path: Path) -> None:
    assert "ref_wmt_de-en.json.gz" in Material(tmp_path).missing()
    assert set(PARTS) == {"bertscore", "idf", "rouge", "bundle", "resampling"}


def test_metric_duels_agree_with_their_peers() -> None:
    material = Material(Path(__file__).resolve().parents[2] / "shared" / "data", segments=12, documents=2)
    if material.missing():
        pytest.skip("the data sets are not beside the checkout")
    for duel in PARTS["rouge"](material, "cpu", [1]):
        assert duel.agree(duel.peer.run(), duel.ours.run()) == "off 0.0e+00"
    (bundle,) = PARTS["bundle"](material, "cpu", [1])
    gaps = bundle.agree(bundle.peer.run(), bundle.ours.run()).split(", ")
    assert [gap.split(" off ")[0] for gap in gaps] == ["corpus", "sentences", "p"]
    assert all(float(gap.split(" off ")[1]) < 1e-4 for gap in gaps), gaps
