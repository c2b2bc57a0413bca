"""A judge's calibration from outside: runs and ratings in, a verdict, corrected means and a file for gates out."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from judge_runs import answering, data, drawn, judged_run, judging, quality, ratings

import evalkit
from evalkit.calibrate.judge_file import calibration_path, read_calibration, write_calibration
from evalkit.errors import DataError, UsageError
from evalkit.gating.judges import read_calibration as gates_read
from evalkit.models.mock import MockModel, prompt_text
from evalkit.ratings.base import Rating
from evalkit.types import Request, Response


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="module")
def run(folder: Path):
    return judged_run(folder)


@pytest.fixture(scope="module")
def human(folder: Path) -> Path:
    return ratings(folder / "ratings.csv", drawn(60, 120))


@pytest.fixture(scope="module")
def found(run, human: Path):
    return evalkit.calibrate_judge(run, human)


def test_the_verdict_says_what_the_judge_may_be_used_for(found) -> None:
    one = found.criteria["coherence"]
    assert one.use == "corrected" and one.says[0].startswith("tells better outputs from worse (Spearman 0.")
    assert any(re.match(r"scores 0\.\d\d too high on the mean \[0\.\d\d, ", line) for line in one.says)
    assert any("would be enough" in line for line in one.says)
    assert found.notes == () and one.doubts == []


def test_the_corrected_mean_covers_the_truth_and_the_judges_does_not(found) -> None:
    truth = float(np.mean([quality(i) for i in range(120)]))
    (row,) = found.criteria["coherence"].corrected
    assert row["judge"]["ci"][0] > truth
    assert row["corrected"]["ci"][0] < truth < row["corrected"]["ci"][1]
    width = {kind: row[kind]["ci"][1] - row[kind]["ci"][0] for kind in ("human", "corrected")}
    assert width["corrected"] < width["human"]
    assert (row["judged"], row["rated"], row["system"]) == (119, 59 if 13 in drawn(60, 120) else 60, "model")


def test_failed_verdicts_are_counted_and_no_score(found) -> None:
    assert found.counts == {"verdicts": 119, "failed": 0, "refused": 0, "unscored": 1}
    assert np.isnan(found.runs[0].values["coherence"][13])


def test_people_are_the_ceiling_on_the_judges_footing(found) -> None:
    people = found.criteria["coherence"].agreement["people"]
    assert people["raters"] == 3 and people["people_used"] == 3
    assert people["one"]["spearman"] > people["judge_instead"]["spearman"] > 0.4
    assert people["alpha_interval"] > found.criteria["coherence"].agreement["alpha_interval"]["value"]


def test_trivial_judges_stand_beside_it(found) -> None:
    rivals = found.criteria["coherence"].trivial
    assert set(rivals) == {"longest", "shortest", "random", "constant"}
    assert rivals["constant"]["segment"]["spearman"] is None
    assert rivals["longest"]["segment"]["spearman"] == -rivals["shortest"]["segment"]["spearman"]
    assert abs(rivals["random"]["segment"]["spearman"]) < 0.3


def test_the_confusion_counts_every_rated_output(found) -> None:
    one = found.criteria["coherence"]
    assert np.sum(one.bias["confusion"]["people_by_judge"]) == one.outputs
    assert one.bias["confusion"]["levels"] == [1, 2, 3, 4, 5]


def test_the_file_is_what_gates_and_reports_read(found, run) -> None:
    (path,) = write_calibration(found)
    assert path == calibration_path(run.path, "judge")
    gate = gates_read(path)
    assert gate.judge == found.runs[0].signature and gate.n == found.criteria["coherence"].items
    assert gate.alpha.value == found.criteria["coherence"].agreement["alpha_interval"]["value"]
    assert gate.rubric is not None and f"@{gate.rubric}" in gate.judge
    assert read_calibration(run.path, "judge", gate.judge, "summ")["criteria"]["coherence"]["use"] == "corrected"
    assert read_calibration(run.path, "judge", "judge|another", "summ") is None
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_a_judge_that_sees_nothing_is_not_usable(tmp_path: Path) -> None:
    import random

    run = judged_run(tmp_path, judge=lambda prompt: f"VERDICT: {random.Random(str(prompt)).randint(1, 5)}")
    found = evalkit.calibrate_judge(run, ratings(tmp_path / "r.csv", drawn(60, 120)))
    one = found.criteria["coherence"]
    assert one.use == "no" and one.says[0].startswith(
        "not usable: its correlation with people cannot be told from 0 (Spearman"
    )


def test_a_constant_judge_has_no_correlation(tmp_path: Path) -> None:
    run = judged_run(tmp_path, n=40, judge=lambda prompt: "VERDICT: 4")
    found = evalkit.calibrate_judge(run, ratings(tmp_path / "r.csv", range(40)))
    assert found.criteria["coherence"].says == [
        "not usable: no correlation with people is defined (the metric is the same everywhere)"
    ]


def test_few_items_are_told_how_many_would_do(run, folder: Path) -> None:
    found = evalkit.calibrate_judge(run, ratings(folder / "few.csv", drawn(12, 120)))
    (line,) = found.criteria["coherence"].says
    assert found.criteria["coherence"].use == "unknown"
    assert re.fullmatch(r"cannot be said yet: 12 rated items \(.*\); rate at least 1\d\d items .*", line)


def test_rated_items_that_are_a_slice_are_told(run, folder: Path) -> None:
    first = evalkit.calibrate_judge(run, ratings(folder / "first.csv", range(50)), replicates=0)
    assert "stand together in the data (1 to 49 of 119)" in first.criteria["coherence"].doubts[0]
    part = evalkit.calibrate_judge(run, ratings(folder / "part.csv", range(0, 120, 2)), replicates=0)
    assert part.criteria["coherence"].doubts == ["the rated items are spread over part differently from the others"]
    good = [i for i in range(120) if quality(i) > 3]
    best = evalkit.calibrate_judge(run, ratings(folder / "best.csv", good), replicates=0)
    assert any("the judge's scores of the rated items differ" in line for line in best.criteria["coherence"].doubts)


def test_two_systems_are_compared_on_the_same_items(run, folder: Path, tmp_path: Path) -> None:
    other = judged_run(tmp_path, system="better")
    table = ratings(folder / "two.csv", drawn(50, 120), ("model", "better"))
    found = evalkit.calibrate_judge([run, other], table)
    one = found.criteria["coherence"]
    assert list(one.levels) == ["segment", "summary", "system"]
    difference = one.corrected[2]
    assert (difference["system"], difference["less"], difference["judged"]) == ("better", "model", 119)
    truth = np.mean([quality(i, "better") - quality(i) for i in range(120)])
    assert difference["corrected"]["ci"][0] < truth < difference["corrected"]["ci"][1]
    assert len(write_calibration(found)) == 2


def test_names_are_joined_or_asked_for(run, folder: Path) -> None:
    other = ratings(folder / "other.csv", drawn(40, 120), ("somebody",), criterion="flow")
    with pytest.raises(UsageError, match=r"the judge rated coherence, people flow: say what is the same with --map"):
        evalkit.calibrate_judge(run, other)
    found = evalkit.calibrate_judge(run, other, mapped={"coherence": "flow"}, replicates=0)
    assert found.criteria["coherence"].human == "flow"
    assert found.notes == ("the ratings are of 'somebody', taken for the judged run 'model'",)
    with pytest.raises(UsageError, match="the judge has no metric 'coherense'"):
        evalkit.calibrate_judge(run, other, mapped={"coherense": "flow"})
    with pytest.raises(DataError, match="the ratings have no system 'x'"):
        evalkit.calibrate_judge(run, other, mapped={"coherence": "flow"}, systems=["x"])


def test_items_that_no_judge_saw_are_counted_or_refused(run) -> None:
    rows = [Rating("A", f"item-{i}", "", "coherence", float(quality(i))) for i in range(100, 140)]
    found = evalkit.calibrate_judge(run, rows, replicates=0)
    assert found.notes == ("20 of 40 rated outputs are not among the judged samples and were left out",)
    with pytest.raises(DataError, match="ids are like 'item-0' in the run, 'x-1' in the ratings"):
        evalkit.calibrate_judge(run, [Rating("A", "x-1", "", "coherence", 3.0)])


def test_rated_outputs_of_any_shape_serve_as_ratings(run, folder: Path) -> None:
    path = folder / "rated.jsonl"
    rows = [{"doc_id": f"item-{i}", "system": "model", "scores": {"coherence": quality(i)}} for i in drawn(60, 120)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evalkit.calibrate_judge(run, path, replicates=0)
    assert found.criteria["coherence"].items >= 59
    assert "reason" in found.criteria["coherence"].agreement["people"]


def test_a_run_without_a_judge_is_told_how_to_get_one(tmp_path: Path) -> None:
    plain = evalkit.run(str(data(tmp_path, 5)), answering("model"), scorers=["bleu"], output_dir=tmp_path / "runs")
    with pytest.raises(DataError, match="has no judge's scores; add a judge: evalkit rescore"):
        evalkit.calibrate_judge(plain, [Rating("A", "item-1", "", "coherence", 3.0)])


def test_runs_of_two_judges_are_not_mixed(run, tmp_path: Path) -> None:
    other = judged_run(tmp_path, n=20, judge=judging(0.0), rubric="fluency")
    with pytest.raises(DataError, match="has another judge than"):
        evalkit.calibrate_judge([run, other], [Rating("A", "item-1", "", "coherence", 3.0)])


def test_the_command_prints_keeps_and_shows_it(run, human: Path, tmp_path: Path) -> None:
    to = tmp_path / "means.csv"
    done = subprocess.run(
        [sys.executable, "-m", "evalkit", "judge", "calibrate", "--judge-run", str(run.path), "--human", str(human),
         "--replicates", "200", "--output", str(to)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("coherence: tells better outputs from worse")
    for words in ("Judge only", "Human only", "Corrected", "this judge", "longest", "One person"):
        assert words in done.stdout
    assert "kept in" in done.stderr
    assert to.read_text().splitlines()[0].startswith("criterion,system,less,judge,judge_low,judge_high,human")
    report = (run.path / "report.html").read_text()
    assert "Beside people" in report and "Not calibrated against people" not in report


def test_every_criterion_is_read_from_its_own_column(tmp_path: Path) -> None:
    def judge(prompt: object) -> str:
        text = str(prompt)
        worth = re.search(r"quality (\d) of", text)
        return f"VERDICT: {worth.group(1) if worth and 'fluency' in text[-900:].lower() else 3}"

    run = evalkit.run(
        str(data(tmp_path, 40)), answering("model"), roles={"judge": judge}, output_dir=tmp_path / "runs",
        scorers=[{"judge": "summarisation", "score_mode": "argmax"}],
    )  # fmt: skip
    rows = [Rating("A", f"item-{i}", "", name, float(quality(i))) for i in range(40) for name in ("fluency", "coherence")]
    found = evalkit.calibrate_judge(run, rows, replicates=100)
    assert list(found.criteria) == ["fluency", "coherence"]
    assert found.criteria["fluency"].levels["segment"]["pearson"]["value"] == pytest.approx(1)
    assert (found.criteria["fluency"].use, found.criteria["coherence"].use) == ("yes", "no")
    assert found.criteria["fluency"].corrected[0]["reason"] == "every judged item is rated: the human mean stands"
    shown = run.to_pandas("summ")
    assert shown["fluency"].tolist() == [float(quality(i)) for i in range(40)] and set(shown["coherence"]) == {3.0}
    only = evalkit.calibrate_judge(run, rows, criteria=["fluency"], replicates=0)
    assert list(only.criteria) == ["fluency"] and only.notes == ()
    with pytest.raises(DataError, match="not kept: alpha of coherence is not defined"):
        write_calibration(evalkit.calibrate_judge(run, [Rating("A", f"item-{i}", "", "coherence", 3.0) for i in range(40)]))


def test_a_judge_of_pairs_shows_what_the_order_does(tmp_path: Path) -> None:
    task = data(tmp_path, 60)
    path = tmp_path / "data.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | {"other": f"quality 3 of {row['id']}"}) + "\n" for row in rows))

    def judge(prompt: object) -> str:  # of two equal texts it takes the first
        worth = [int(found) for found in re.findall(r"quality (\d) of", str(prompt))]
        return "VERDICT: " + ("A" if len(worth) < 2 or worth[0] >= worth[1] else "B")

    run = evalkit.run(
        str(task), answering("model"), roles={"judge": judge}, output_dir=tmp_path / "runs",
        scorers=[{"name": "judge_pairwise", "against": "other", "score_mode": "argmax"}],
    )  # fmt: skip
    wins = {1: 0.0, 2: 0.0, 3: 0.5, 4: 1.0, 5: 1.0}
    found = evalkit.calibrate_judge(
        run, [Rating("A", f"item-{i}", "", "preference", wins[quality(i)]) for i in range(60)], replicates=100
    )
    one = found.criteria["win_rate"]
    equal = sum(quality(i) == 3 for i in range(60))
    assert found.order["flips"] == equal and found.order["first_slot"]["value"] > 0.55
    assert one.human == "preference" and one.bias["confusion"]["levels"] == [0, 0.5, 1]
    assert np.trace(np.array(one.bias["confusion"]["people_by_judge"])) == 60
    assert write_calibration(found)


def test_pass_and_fail_are_read_as_probabilities(tmp_path: Path) -> None:
    def judge(prompt: object) -> str:
        worth = re.search(r"quality (\d) of", str(prompt))
        return f"VERDICT: {int(worth is not None and int(worth.group(1)) > 2)}"

    run = evalkit.run(
        str(data(tmp_path, 80)), answering("model"), roles={"judge": judge}, output_dir=tmp_path / "runs",
        scorers=[{"judge": "dialogue/groundedness", "score_mode": "argmax"}],
    )  # fmt: skip
    rows = [Rating("A", f"item-{i}", "", "groundedness", float(quality(i) > 3)) for i in drawn(40, 80)]
    found = evalkit.calibrate_judge(run, rows, replicates=100).criteria["groundedness"]
    wrong = np.mean([quality(i) == 3 for i in drawn(40, 80)])
    assert found.bias["pass_fail"]["brier"] == found.bias["pass_fail"]["ece"] == pytest.approx(wrong)
    assert found.bias["pass_fail"]["accuracy"] == pytest.approx(1 - wrong) and not found.bias["pass_fail"]["probabilities"]
    (row,) = found.corrected
    assert row["corrected"]["ci"][0] < np.mean([quality(i) > 3 for i in range(80)]) < row["corrected"]["ci"][1]


def test_one_run_may_hold_the_outputs_of_several_systems(tmp_path: Path) -> None:
    task = data(tmp_path, 1)
    rows = [
        {"id": f"item-{i}/{system}", "question": f"Q{i}", "source": "s", "part": system}
        for i in range(40)
        for system in ("model", "better")
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = evalkit.run(
        str(task), answering("model"), roles={"judge": judging(0.0)}, output_dir=tmp_path / "runs",
        scorers=[{"judge": "summarisation/coherence", "score_mode": "argmax"}],
    )  # fmt: skip
    table = ratings(tmp_path / "r.csv", range(0, 40, 2), ("model", "better"))
    found = evalkit.calibrate_judge(run, table, replicates=50)
    assert set(found.criteria["coherence"].levels) == {"segment", "summary", "system"}
    assert [row["system"] for row in found.criteria["coherence"].corrected] == ["model", "better", "better"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--map", "coherence"], "--map 'coherence': write the judge's criterion=the people's"),
        (["--criterion", "coherenc"], "there is no criterion 'coherenc' that both rated"),
        (["--system", "a", "--system", "b"], "--system is given 2 times for 1 judge runs"),
        (["--task", "sum"], "has no task 'sum'"),
        (["--scorer", "rouge"], "was scored by 'rouge'"),
    ],
)
def test_bad_input_is_one_line(run, human: Path, words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    from evalkit.cli.app import main

    with pytest.raises(SystemExit) as left:
        main(["judge", "calibrate", "--judge-run", str(run.path), "--human", str(human), *words])
    told = capsys.readouterr().err
    assert left.value.code == 2 and line in told and told.count("\n") == 1


def test_json_is_one_document(run, human: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from evalkit.cli.app import main

    with pytest.raises(SystemExit) as left:
        main(["judge", "calibrate", "--judge-run", str(run.path), "--human", str(human), "--replicates", "0", "--json"])
    assert left.value.code == 0
    assert json.loads(capsys.readouterr().out)["criteria"]["coherence"]["use"] in ("corrected", "yes")


def test_the_same_judge_on_two_tasks_is_calibrated_on_each(tmp_path: Path, human: Path) -> None:
    first = data(tmp_path, 120)
    second = tmp_path / "more.yaml"
    second.write_text(first.read_text().replace("task: summ", "task: more"))
    run = evalkit.run(
        [str(first), str(second)], answering("model"), roles={"judge": judging()}, output_dir=tmp_path / "runs",
        scorers=[{"judge": "summarisation/coherence", "score_mode": "argmax"}],
    )  # fmt: skip
    summ = evalkit.calibrate_judge(run, human, task="summ", replicates=20)
    (path,) = write_calibration(summ)
    assert path == calibration_path(run.path, "judge", "summ") and path.name == "summ.judge.json"
    signature = gates_read(path).judge
    assert read_calibration(run.path, "judge", signature, "summ") is not None
    assert read_calibration(run.path, "judge", signature, "more") is None
    (other,) = write_calibration(evalkit.calibrate_judge(run, human, task="more", replicates=20))
    assert other != path and path.is_file()
    assert read_calibration(run.path, "judge", signature, "more")["task"] == "more"


def test_probabilities_of_pass_are_held_against_what_people_said(tmp_path: Path) -> None:
    def judge(request: Request) -> Response:
        if request.kind != "loglikelihood":
            return Response(request.key, text="")
        worth = re.search(r"quality (\d) of", prompt_text(request.prompt))
        passed = 0.1 + 0.2 * (int(worth.group(1)) - 1) if worth else 0.5
        given = {"1": passed, "0": 1 - passed}[request.continuation.strip()]
        return Response(request.key, logprob=math.log(0.8 * given), is_greedy=given > 0.5, tokens=1)

    run = evalkit.run(
        str(data(tmp_path, 80)), answering("model"), roles={"judge": MockModel("weighing", judge)},
        output_dir=tmp_path / "runs", scorers=[{"judge": "dialogue/groundedness"}],
    )  # fmt: skip
    items = drawn(60, 80)
    truth = np.array([float(quality(i) > 3) for i in items])
    given = np.array([0.1 + 0.2 * (quality(i) - 1) for i in items])
    rows = [Rating("A", f"item-{i}", "", "groundedness", value) for i, value in zip(items, truth, strict=True)]
    found = evalkit.calibrate_judge(run, rows, replicates=20).criteria["groundedness"].bias["pass_fail"]
    assert found["probabilities"] and found["accuracy"] == pytest.approx(np.mean((given >= 0.5) == truth))
    assert found["brier"] == pytest.approx(np.mean((given - truth) ** 2))
    assert found["brier_of_the_base_rate"] == pytest.approx(truth.mean() * (1 - truth.mean()))
    error = sum(np.sum(given == p) / 60 * abs(p - truth[given == p].mean()) for p in set(given))
    assert found["ece"] == pytest.approx(error)


def test_a_constant_judge_of_few_items_is_not_known_yet(tmp_path: Path) -> None:
    run = judged_run(tmp_path, 20, judge=lambda _: "VERDICT: 3")
    found = evalkit.calibrate_judge(run, ratings(tmp_path / "r.csv", range(10)), replicates=20).criteria["coherence"]
    assert found.use == "unknown" and "10 rated items (no correlation is defined" in found.says[0]
