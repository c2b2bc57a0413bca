"""Runs compared by a judge, from their answers to the figures: through the run machinery, resumable, on the command line."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

import evalkit
import evalkit.errors as evalkit_errors
from evalkit.calibrate.pairs import PairOptions, lineup
from evalkit.cli.app import app
from evalkit.errors import DataError

TASK = """
task: ask
dataset_path: json
dataset_kwargs: {data_files: ask.jsonl}
test_split: train
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
sample_id: id
generation_kwargs: {until: []}
scorers: [{name: exact_match}]
"""
N = 24


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, evalkit.Run]:
    folder = tmp_path_factory.mktemp("pairs")
    rows = [{"id": f"q{i}", "question": f"What is thing {i}?", "answer": "x"} for i in range(N)]
    (folder / "ask.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "ask.yaml").write_text(TASK)

    def short(prompt):
        return f"{prompt.split()[3]} is good."

    def middling(prompt):
        return f"{prompt.split()[3]} is fair, " + "and more " * random.Random(prompt).randint(0, 3)

    def long(prompt):
        return f"{prompt.split()[3]} is bad " + "indeed " * random.Random(prompt).randint(3, 9)

    made = {}
    for name, model in {"short": short, "middling": middling, "long": long}.items():
        made[name] = evalkit.run(
            tasks=str(folder / "ask.yaml"), model=model, name=name, output_dir=folder / "runs", new=True
        )
    return made


def worth(text: str) -> int:
    return 3 if "good" in text else 2 if "fair" in text else 1


class FairJudge:
    """Prefers what is better, but 1 item in 4 is decided by who stands first; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, prompt):
        text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        self.calls += 1
        first = text.partition("Text A:\n")[2].partition("</text")[0]
        second = text.partition("Text B:\n")[2].partition("</text")[0]
        if random.Random("".join(sorted([first.partition(">")[2], second.partition(">")[2]]))).random() < 0.25:
            return "VERDICT: A"
        return f"VERDICT: {'A' if worth(first) > worth(second) else 'B' if worth(first) < worth(second) else 'tie'}"


def judged(runs, tmp_path, judge, **options):
    return evalkit.judge_pairs(runs, model=judge, settings=evalkit.GivenOptions(output_dir=tmp_path / "runs"), **options)


def test_every_pair_of_systems_is_judged_on_every_sample_in_both_orders(runs, tmp_path):
    judge = FairJudge()
    found = judged(runs, tmp_path, judge)
    assert [(p.first, p.second, p.n, p.failed) for p in found.pairs] == [
        ("short", "middling", N, 0), ("short", "long", N, 0), ("middling", "long", N, 0)
    ]  # fmt: skip
    assert judge.calls == 3 * N * 2 + 8  # and four canaries, both ways
    for pair in found.pairs:
        assert 0.7 < pair.win_rate.value < 1.0 and pair.win_rate.ci[0] < pair.win_rate.value < pair.win_rate.ci[1]
        assert 0 < pair.flip_rate.value < 0.5 and pair.first_slot.value > 0.5
        assert pair.ties.value == pair.flip_rate.value
        assert pair.longest.value + pair.shortest.value == pytest.approx(1)
    assert found.overall.n == 3 * N
    terry = {rating.system: rating for rating in found.scales["bradley_terry"]}
    assert terry["short"].reason is None or terry["short"].value is None
    elo = {rating.system: rating.value for rating in found.scales["elo"]}
    assert elo["short"] > elo["middling"] > elo["long"]
    assert found.wins[0][1] == pytest.approx(found.pairs[0].win_rate.value) and found.wins[0][0] is None


def test_the_same_again_asks_nothing_and_says_the_same(runs, tmp_path):
    judge = FairJudge()
    first = judged(runs, tmp_path, judge)
    calls = judge.calls
    second = judged(runs, tmp_path, judge)
    assert judge.calls == calls and second.run.path == first.run.path
    assert second.to_dict()["pairs"] == first.to_dict()["pairs"]
    assert second.to_dict()["scales"] == first.to_dict()["scales"]
    json.dumps(second.to_dict(), allow_nan=False)


def test_one_against_the_others_and_a_share_of_the_samples(runs, tmp_path):
    found = judged(runs, tmp_path, FairJudge(), against="middling", limit=10)
    assert [(p.first, p.second, p.n) for p in found.pairs] == [("short", "middling", 10), ("long", "middling", 10)]
    few, more = (lineup(runs, PairOptions(limit=n)).outputs.rows for n in (5, 9))
    assert {row["item"] for row in few} < {row["item"] for row in more}


def test_two_systems_have_win_rates_and_no_scale(runs, tmp_path):
    two = {name: runs[name] for name in ("short", "long")}
    found = judged(two, tmp_path, FairJudge())
    assert found.scales == {} and len(found.pairs) == 1
    assert found.flat()[0]["pair"] == "short vs long"


def test_a_judge_that_sees_only_places_is_seen_through(runs, tmp_path):
    found = judged({name: runs[name] for name in ("short", "long")}, tmp_path, lambda prompt: "VERDICT: A")
    (pair,) = found.pairs
    assert pair.win_rate.value == 0.5 and pair.flip_rate.value == 1.0 and pair.first_slot.value == 1.0
    assert any("canaries won" in note for note in found.notes)


def test_verdicts_that_cannot_be_read_are_in_no_number_and_counted(runs, tmp_path):
    def often(prompt):
        text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        return "Hm." if "thing 1" in text else FairJudge()(prompt)

    found = judged({name: runs[name] for name in ("short", "long")}, tmp_path, often)
    (pair,) = found.pairs
    assert pair.failed == 11 and pair.n == N - 11  # 1 and 10 to 19
    assert found.failures == {"the judge gave no verdict": 11}


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    with pytest.raises(DataError, match="two runs or more"):
        judged({"short": runs["short"]}, tmp_path, FairJudge())
    with pytest.raises(DataError, match="no such system"):
        judged(runs, tmp_path, FairJudge(), against="shorty")
    with pytest.raises(DataError, match="no task"):
        judged(runs, tmp_path, FairJudge(), task="other")
    with pytest.raises(DataError, match="named twice"):
        evalkit.judge_pairs([runs["short"], runs["short"]], model=FairJudge())


def test_the_command_prints_the_headline_and_the_table(runs, tmp_path):
    names = [f"{name}={run.path}" for name, run in runs.items()]
    base = ["judge", "pairs", *names, "--model", "mock/echo,text=VERDICT: A", "--output-dir", str(tmp_path / "runs")]
    result = CliRunner().invoke(app, base, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "short vs long" in result.output and "1.000" in result.output and "Bradley-Terry" in result.output
    as_json = CliRunner().invoke(app, [*base, "--json", "--output", str(tmp_path / "pairs.csv")])
    document = json.loads(as_json.stdout)
    assert document["overall"]["flip_rate"]["value"] == 1.0 and len(document["pairs"]) == 3
    assert Path(tmp_path / "pairs.csv").read_text().startswith("pair,first,second,n,failed,win_rate,")
    assert "no judge given" in str(CliRunner().invoke(app, ["judge", "pairs", *names]).exception)


def test_runs_that_are_not_there_are_told_in_a_line(runs, tmp_path):
    there = f"a={runs['short'].path}"
    for name, said in (("runs/*none*", "no run 'runs/*none*'"), ("", "names no run")):
        error = CliRunner().invoke(app, ["judge", "pairs", there, f"b={name}", "--model", "mock/echo"]).exception
        assert isinstance(error, evalkit_errors.EvalkitError) and said in str(error)
    twice = CliRunner().invoke(app, ["judge", "pairs", there, there.replace("a=", "b="), "--model", "mock/echo"])
    assert "named twice" in str(twice.exception)


def test_a_judge_without_a_single_verdict_leaves_figures_that_are_missing_and_says_why(runs, tmp_path):
    two = {name: runs[name] for name in ("short", "long")}
    report = judged(two, tmp_path, lambda prompt: "I would rather not say a number.")
    assert report.overall.n == 0 and report.overall.failed == N
    assert report.pairs[0].win_rate.value is None
    assert sum(report.failures.values()) == N
