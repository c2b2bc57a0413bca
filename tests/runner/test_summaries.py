"""What a reader is told about a number: whole runs with scripted models, seen through `Run.summary`."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

import evalkit
from evalkit.errors import EvalkitError
from evalkit.models.mock import MockModel
from evalkit.models.mock_script import Script
from evalkit.stats.intervals import wilson
from evalkit.types import Failure, Request, Response

CHOICES = ["red", "green", "blue"]


class Scripted(MockModel):
    """A scripted model that counts what it is asked."""

    def __init__(self, answers: dict, default: str | None = None) -> None:
        self.asked = 0
        script = Script(answers, default)

        def answer(request):
            self.asked += 1
            return script.answer(request)

        super().__init__("mock/scripted", answer, identity=script.digest)


class Choosing(MockModel):
    """Rates the choice that a row's ``said`` names best; where that is ``fail``, its requests fail."""

    def __init__(self, rows: list[dict]) -> None:
        self.asked = 0
        said = {row["question"]: row["said"] for row in rows}

        def answer(request: Request) -> Response:
            self.asked += 1
            choice = said[request.prompt]
            if choice == "fail":
                return Response(request.key, error=Failure("mock", "no"))
            return Response(request.key, logprob=-1.0 if request.continuation == f" {choice}" else -9.0, is_greedy=False)

        super().__init__("mock/choosing", answer, identity=said)


def row(number: int, right: bool | None, **columns) -> dict:
    """A row that the model answers right, wrong, or (None) not at all."""
    gold = CHOICES[number % 3]
    said = "fail" if right is None else gold if right else CHOICES[(number + 1) % 3]
    return {"question": f"<{number:03d}>", "gold": gold, "said": said, **columns}


def write_task(folder: Path, rows: list[dict], name: str = "colours", **keys) -> Path:
    """A task over ``rows``: columns question and gold, three choices."""
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_choice": CHOICES,
        "doc_to_target": "gold",
        **keys,
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({key: value for key, value in task.items() if value is not None}))
    return path


def write_text_task(folder: Path, rows: list[dict], **keys) -> Path:
    return write_task(folder, rows, output_type="generate_until", doc_to_choice=None, **keys)


def summaries(run, metric: str = "acc", task: str | None = None) -> dict:
    """Summaries of a metric by slice (None: overall)."""
    return {s.slice: s for s in run.summary() if s.metric == metric and task in (None, s.task)}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))


def test_clusters_widen_the_interval(tmp_path):
    rows = [row(i, right=(i // 6) % 2 == 0, passage=f"p{i // 6}") for i in range(60)]  # passages are right or wrong as one
    plain = write_task(tmp_path, rows, "plain")
    clustered = write_task(tmp_path, rows, "clustered", cluster="passage")
    run = evalkit.run([str(plain), str(clustered)], Choosing(rows), store=False)
    one, many = summaries(run, task="plain")[None], summaries(run, task="clustered")[None]
    assert one.value == many.value == 0.5
    # ten clusters that agree within themselves are worth ten samples (CR1: sqrt(0.25 / (10 - 1)))
    assert many.stderr == pytest.approx((0.25 / 9) ** 0.5)
    assert one.stderr == pytest.approx((0.25 / 59) ** 0.5)
    assert (one.ci_method, many.ci_method) == ("wilson", "wilson-effective-n")
    assert many.ci == pytest.approx(wilson(0.5, 9))


def test_slices_line_up_where_some_samples_lack_a_value(tmp_path):
    rows = [row(i, right=i % 4 != 0, topic=[None, "sea", "sky", ""][i % 4]) for i in range(40)]
    for i in range(0, 40, 8):
        del rows[i]["topic"]
    run = evalkit.run(str(write_task(tmp_path, rows, slices=["topic"])), Choosing(rows), store=False)
    found = summaries(run)
    assert {name: (s.value, s.n) for name, s in found.items()} == {
        None: (0.75, 40),
        "topic=(none)": (0.0, 10),
        "topic=sea": (1.0, 10),
        "topic=sky": (1.0, 10),
        "topic=": (1.0, 10),
    }
    assert all(s.chance == pytest.approx(1 / 3) for s in found.values())


def test_failures_are_counted_and_never_scored(tmp_path):
    rows = [row(i, right=None if i < 6 else i % 2 == 0, half="early" if i < 8 else None) for i in range(26)]
    run = evalkit.run(str(write_task(tmp_path, rows, slices=["half"])), Choosing(rows), store=False, max_error_rate=1.0)
    found = summaries(run)
    assert (found[None].value, found[None].n, found[None].errors, found[None].unscored) == (0.5, 20, 6, 0)
    assert (found["half=early"].n, found["half=early"].errors) == (2, 6)
    assert (found["half=(none)"].n, found["half=(none)"].errors) == (18, 0)
    assert run.status == "complete"
    assert [view.status for view in run.records()].count("error") == 6


def test_a_slice_of_which_everything_failed_is_still_there(tmp_path):
    rows = [row(i, right=None if i < 4 else True, kind="bad" if i < 4 else "good") for i in range(12)]
    path = write_task(tmp_path, rows, slices=["kind"])
    found = summaries(evalkit.run(str(path), Choosing(rows), store=False, max_error_rate=1.0))
    assert (found["kind=bad"].value, found["kind=bad"].n, found["kind=bad"].errors) == (None, 0, 4)
    rows = rows[:4]
    path = write_task(tmp_path, rows, "all_bad", slices=["kind"])
    found = summaries(evalkit.run(str(path), Choosing(rows), store=False, max_error_rate=1.0))
    assert {name: (s.value, s.n, s.errors) for name, s in found.items()} == {
        None: (None, 0, 4),
        "kind=bad": (None, 0, 4),
    }


def test_samples_without_a_right_choice_are_unscored_with_the_reason(tmp_path):
    rows = [row(i, right=True, kind="xy"[i % 2]) for i in range(10)]
    rows[3]["gold"] = "mauve"
    found = summaries(evalkit.run(str(write_task(tmp_path, rows, slices=["kind"])), Choosing(rows), store=False))
    assert (found[None].value, found[None].n, found[None].unscored) == (1.0, 9, 1)
    assert (found["kind=x"].unscored, found["kind=y"].unscored) == (0, 1)
    assert any("'mauve' is not among the 3 choices" in note for note in found[None].notes)
    assert found[None].detail["unscored"] == {"target 'mauve' is not among the 3 choices": 1}


@pytest.mark.parametrize(
    ("right", "note"), [(100, "saturated"), (99, "saturated"), (80, None), (33, "at-chance"), (1, "at-floor")]
)
def test_results_that_cannot_rank_models_say_so(tmp_path, right, note):
    rows = [row(i, right=i < right) for i in range(100)]
    found = summaries(evalkit.run(str(write_task(tmp_path, rows)), Choosing(rows), store=False))[None]
    assert found.value == right / 100
    assert found.chance == pytest.approx(1 / 3)
    assert found.notes == (() if note is None else (note,))


def test_too_few_samples_are_not_called_saturated(tmp_path):
    rows = [row(i, right=True) for i in range(2)]
    assert summaries(evalkit.run(str(write_task(tmp_path, rows)), Choosing(rows), store=False))[None].notes == ()


def group_run(tmp_path, weighted: bool, right=(20, 10)):
    one = [row(i, right=i < right[0]) for i in range(60)]
    two = [row(100 + i, right=i < right[1]) for i in range(20)]
    write_task(tmp_path, one, "one")
    write_task(tmp_path, two, "two")
    group = {"group": "both", "task": ["one", "two"]}
    group["aggregate_metric_list"] = [{"metric": "acc", "weight_by_size": weighted}]
    (tmp_path / "both.yaml").write_text(json.dumps(group))
    run = evalkit.run("both", Choosing(one + two), task_dirs=[tmp_path], store=False)
    return summaries(run, task="both")[None]


# lm_eval.api.metrics 0.4.13 on 20 of 60 and 10 of 20 right: aggregate_subtask_metrics, then pooled_sample_stderr and
# unweighted_mean_stderr
@pytest.mark.parametrize(
    ("weighted", "value", "stderr"),
    [(True, 0.375, 0.05420363629899924), (False, 0.4166666666666667, 0.06504685441970202)],
)
def test_groups_have_lm_evals_value_and_stderr(tmp_path, weighted, value, stderr):
    both = group_run(tmp_path, weighted)
    assert (both.value, both.stderr) == pytest.approx((value, stderr), abs=1e-12)
    assert (both.n, both.unit, both.chance) == (80, "group of tasks", pytest.approx(1 / 3))
    assert both.ci == pytest.approx(wilson(value, value * (1 - value) / stderr**2))
    assert both.notes == ("at-chance",)


def test_a_group_at_100_percent_has_an_interval(tmp_path):
    both = group_run(tmp_path, weighted=True, right=(60, 20))
    assert (both.value, both.stderr) == (1.0, 0.0)
    assert both.ci == pytest.approx(wilson(1.0, 80))


def test_a_group_says_which_members_lack_its_metric(tmp_path):
    rows = [row(i, right=i % 2 == 0) for i in range(10)]
    write_task(tmp_path, rows, "one")
    write_task(tmp_path, rows, "two", metric_list=[{"metric": "acc_norm"}])
    group = {"group": "both", "task": ["one", "two"], "aggregate_metric_list": [{"metric": "acc"}]}
    (tmp_path / "both.yaml").write_text(json.dumps(group))
    both = summaries(evalkit.run("both", Choosing(rows), task_dirs=[tmp_path], store=False), task="both")[None]
    assert both.detail["members"] == ["one"]
    assert "without two, which has no acc" in both.notes


PAIRS = {"name": "pair_consistency", "group": "pair", "compare": "correctness"}


def pair_rows() -> list[dict]:
    """Eight pairs: 3 both right, 2 both wrong, 2 of one each, 1 with a failure; and one row without a pair."""
    verdicts = [(1, 1)] * 3 + [(0, 0)] * 2 + [(1, 0), (0, 1)] + [(1, None)]
    rows = [
        row(
            2 * pair + i,
            right=None if v is None else bool(v),
            pair=f"p{pair}",
            side="ab"[i],
            half="lo" if pair < 4 else "hi",
        )
        for pair, both in enumerate(verdicts)
        for i, v in enumerate(both)
    ]
    return [*rows, row(50, right=True, pair=None, side="a", half="hi")]


def test_a_scorer_over_groups_of_samples_in_a_run(tmp_path):
    rows = pair_rows()
    path = write_task(tmp_path, rows, scorers=[PAIRS], slices=["half", "side"], metric_list=[{"metric": "acc"}])
    run = evalkit.run(str(path), Choosing(rows), store=False, max_error_rate=1.0)
    found = summaries(run, "pair_consistency")
    whole = found[None]
    assert (whole.value, whole.n, whole.unit) == (pytest.approx(5 / 7), 7, "group")
    assert (whole.errors, whole.unscored) == (1, 1)
    assert any("belongs to no group" in note for note in whole.notes)
    assert summaries(run, "all_correct")[None].value == pytest.approx(3 / 7)
    # a pair is in a slice only where both its members are
    assert {name for name in found if name} == {"half=lo", "half=hi", "side=a", "side=(none)"}
    assert (found["half=lo"].value, found["half=lo"].n) == (1.0, 4)
    assert (found["half=hi"].n, found["half=hi"].errors, found["half=hi"].unscored) == (3, 1, 1)
    view = next(v for v in run.records() if v.record.sample.doc["pair"] == "p0")
    assert view.scores["pair_consistency"].detail["all_correct"] == 1.0


def test_rescoring_adds_metrics_and_asks_no_model(tmp_path):
    rows = pair_rows()
    model = Choosing(rows)
    first = evalkit.run(str(write_task(tmp_path, rows)), model, max_error_rate=1.0)
    asked, before = model.asked, {s.metric: s for s in first.summary()}
    again = evalkit.rescore(first.path, [PAIRS, "acc_bytes", "brier"])
    after = {s.metric: s for s in again.summary()}
    assert model.asked == asked
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"pair_consistency", "all_correct", "acc_bytes", "brier"}
    assert after["pair_consistency"].value == pytest.approx(5 / 7)
    assert evalkit.rescore(first.path, ["acc_bytes"]).summary() == again.summary()


def test_a_rescore_that_fails_leaves_the_run_as_it_was(tmp_path):
    rows = pair_rows()
    run = evalkit.run(str(write_task(tmp_path, rows)), Choosing(rows), max_error_rate=1.0)
    before = run.summary()
    for wrong in ("no_such_scorer", "pair_consistency", "contains", "acc_mutual_info", "acc:k=1"):
        with pytest.raises(EvalkitError):
            evalkit.rescore(run.path, [wrong])
        assert evalkit.open_run(run.path).summary() == before
    assert evalkit.rescore(run.path).summary() == before


JUDGE = {"name": "llm_judge_yes_no", "question": "Is it polite?"}


def test_a_scorer_that_asks_a_model_resumes_and_rescores_without_asking_twice(tmp_path):
    rows = [{"question": f"<{i:02d}>", "gold": "x"} for i in range(12)]
    path = write_text_task(tmp_path, rows, scorers=[JUDGE], metric_list=[{"metric": "exact_match"}])
    verdicts = {f"<{i:02d}>": "VERDICT: YES" if i % 3 else "VERDICT: NO" for i in range(10)} | {"<10>": "Well."}

    def go(judge):
        writer = Scripted({row["question"]: f"{row['question']} please" for row in rows})
        return writer, evalkit.run(str(path), writer, roles={"judge": judge})

    judge = Scripted(verdicts | {"<11>": {"error": {"kind": "time-out", "retryable": True}}})
    writer, run = go(judge)
    found = summaries(run, "judge_yes")[None]
    assert (writer.asked, judge.asked, run.status) == (12, 14, "incomplete")  # what could not be read, twice more
    assert (found.value, found.n, found.unscored) == (pytest.approx(0.6), 10, 2)
    assert found.detail["unscored"] == {"the judge gave no verdict": 1, "the judge failed: time-out": 1}

    patient = Scripted(verdicts | {"<11>": {"error": {"kind": "time-out", "retryable": True}}})
    patient._answer = Scripted({}, "VERDICT: YES")._answer  # the same model on a better day
    writer, resumed = go(patient)
    found = summaries(resumed, "judge_yes")[None]
    assert (resumed.path, resumed.status, writer.asked) == (run.path, "complete", 0)
    assert resumed.manifest["counts"]["asked"] == 1
    assert (found.value, found.n, found.unscored) == (pytest.approx(7 / 11), 11, 1)

    again = evalkit.rescore(run.path, ["contains", JUDGE])
    assert summaries(again, "judge_yes")[None] == found
    with pytest.raises(EvalkitError, match=r"asks a model \(judge\) what this run did not ask it"):
        evalkit.rescore(run.path, [{**JUDGE, "question": "Is it long?", "label": "long"}])
    with pytest.raises(EvalkitError, match="role 'critic', which this run had no model for"):
        evalkit.rescore(run.path, [{**JUDGE, "role": "critic", "label": "critic"}])


def test_a_scorer_twice_needs_a_label_and_keeps_its_answers_apart(tmp_path):
    rows = [{"question": f"<{i:02d}>", "gold": "X"} for i in range(4)]
    polite, short = JUDGE, {**JUDGE, "question": "Is it short?", "label": "short"}
    cased = {"name": "exact_match", "ignore_case": True, "label": "any_case"}
    path = write_text_task(tmp_path, rows, scorers=[polite, short, cased], metric_list=[{"metric": "exact_match"}])
    judge = Scripted({"short": "VERDICT: YES", "polite": "VERDICT: NO"})
    run = evalkit.run(str(path), Scripted({}, "x"), roles={"judge": judge})
    assert {s.metric: s.value for s in run.summary()} == {
        "exact_match": 0.0,
        "judge_yes": 0.0,
        "short": 1.0,
        "any_case": 1.0,
    }
    frame = run.to_pandas()
    assert (frame[["judge_yes", "short", "exact_match", "any_case"]] == [0.0, 1.0, 0.0, 1.0]).all(axis=None)
    results = json.loads((run.path / "results.json").read_text())["results"]["colours"]
    assert (results["judge_yes,none"], results["short,none"]) == (0.0, 1.0)
    classes = {"name": "pass_at_k", "k": 1, "all_of_k": True, "label": "k"}
    again = evalkit.rescore(run.path, [classes])
    assert {"k:pass@1", "k:pass^1", "short"} <= {s.metric for s in again.summary()}
    with pytest.raises(EvalkitError, match="both report 'exact_match': give one a name of its own with the parameter label"):
        evalkit.rescore(run.path, [{"name": "exact_match", "ignore_case": True}])


def test_repeats_reach_pass_at_k_and_the_majority_vote(tmp_path):
    answers = [["x"] * 4, ["x", "no", "x", "nah"], ["no", "no", "x", "y"], ["no"] * 4]
    rows = [{"question": f"<{i:02d}>", "gold": "x"} for i in range(20)]
    kept = [{"function": "take_first_k", "k": 4}]
    path = write_text_task(
        tmp_path,
        rows,
        repeats=4,
        generation_kwargs={"do_sample": True, "temperature": 0.7},
        filter_list=[
            {"name": "all", "filter": kept},
            {"name": "vote", "filter": [{"function": "majority_vote"}, {"function": "take_first"}]},
        ],
        scorers=[{"name": "pass_at_k", "k": [1, 2, 4]}, "majority_vote", "exact_match"],
    )
    model = Scripted({row["question"]: answers[i % 4] for i, row in enumerate(rows)})
    run = evalkit.run(str(path), model, store=False)
    assert model.asked == 80
    assert run.value("colours", "pass@1", "all") == pytest.approx((1 + 1 / 2 + 1 / 4) / 4)
    assert run.value("colours", "pass@2", "all") == pytest.approx((1 + 5 / 6 + 1 / 2) / 4)
    assert run.value("colours", "pass@4", "all") == 0.75
    assert run.value("colours", "majority_vote", "all") == 0.5
    assert run.value("colours", "exact_match", "vote") == 0.5
    by_filter = {(s.metric, s.filter): s for s in run.summary()}
    mean = by_filter["exact_match", "all"]  # repeats are reduced first: n counts samples, fractions widen no interval
    assert (mean.value, mean.n, mean.ci_method) == (pytest.approx(7 / 16), 20, "wilson-effective-n")
    unscored = by_filter["pass@4", "vote"]
    assert (unscored.value, unscored.unscored) == (None, 20)


def test_cut_generations_are_told(tmp_path):
    rows = [{"question": f"<{i:02d}>", "gold": "x"} for i in range(10)]
    model = Scripted({f"<{i:02d}>": {"text": "x", "finish": "length" if i < 3 else "stop"} for i in range(10)})
    found = summaries(evalkit.run(str(write_text_task(tmp_path, rows)), model, store=False), "exact_match")[None]
    assert (found.cut, found.value) == (0.3, 1.0)


def test_every_summary_is_signed(tmp_path):
    rows = pair_rows()
    path = write_task(tmp_path, rows, scorers=[PAIRS], metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}])
    signatures = {
        s.metric: s.signature for s in evalkit.run(str(path), Choosing(rows), store=False, max_error_rate=1).summary()
    }
    assert signatures["acc"] == signatures["acc_norm"] == "multiple_choice|metrics:acc,acc_norm|version:1"
    assert signatures["all_correct"] == "pair_consistency|compare:correctness|group:pair|ranking:acc|version:1"


def test_all_metrics_of_a_scorer_are_in_records_and_frames(tmp_path):
    rows = [row(i, right=i % 2 == 0) for i in range(10)]
    run = evalkit.run(str(write_task(tmp_path, rows)), Choosing(rows))
    frame = run.to_pandas()
    assert frame["acc"].tolist() == [1.0, 0.0] * 5
    assert frame["acc_norm"].notna().all()
    with (run.path / "samples.csv").open(newline="") as file:
        assert [float(line["score:acc_norm"]) for line in csv.DictReader(file)] == frame["acc_norm"].tolist()
    with gzip.open(run.path / "samples.jsonl.gz", "rt") as file:
        assert [json.loads(line)["acc_norm"] for line in file] == frame["acc_norm"].tolist()
