"""`evalkit.score`: given outputs become runs like any other, and systems are compared on the same samples."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest

import evalkit
from evalkit.comparison.resampled import paired_scores
from evalkit.errors import DataError, ScorerError, UsageError

REFERENCES = ["the cat sat on the mat", "a dog ran", "it rains in the north today", "we will see", "NA"]
FIRST = ["the cat sat on a mat", "the dog ran", "it rains in the north today", "", "NA"]
SECOND = ["cat mat", "a dog ran", "rain today", "we saw", "nothing"]


def sentences(n: int, seed: int) -> tuple[list[str], list[str], list[str]]:
    rng = random.Random(seed)
    words = ["a", "the", "cat", "dog", "ran", "sat", "here", "there", "green", "small"]

    def spoilt(text: str, rate: float) -> str:
        return " ".join(rng.choice(words) if rng.random() < rate else word for word in text.split())

    golds = [" ".join(rng.choices(words, k=rng.randint(5, 15))) for _ in range(n)]
    return golds, [spoilt(text, 0.3) for text in golds], [spoilt(text, 0.25) for text in golds]


def test_one_system_leaves_a_run(tmp_path):
    done = evalkit.score(FIRST, REFERENCES, scorers=["exact_match", "bleu"], output_dir=tmp_path, task="letters")
    run = done.run
    assert (done.status, run.tasks, done.comparisons) == ("complete", ["letters"], ())
    assert run.value("letters", "exact_match") == pytest.approx(2 / 5)
    assert {"report.html", "results.json", "samples.csv", "summary.csv"} <= {path.name for path in run.path.iterdir()}
    again = evalkit.open_run(run.path)
    assert [view.record.answer for view in again.records()] == FIRST
    rescored = evalkit.rescore(run.path, ["token_f1"])
    assert rescored.value("letters", "token_f1") > rescored.value("letters", "exact_match")


def test_corpus_values_are_sacrebleus(tmp_path):
    import sacrebleu

    golds, first, _ = sentences(40, 1)
    done = evalkit.score(first, [[g, g.upper()] for g in golds], scorers=["bleu", "chrf", "ter"], store=False)
    streams = [golds, [g.upper() for g in golds]]
    for name, function in (("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf), ("ter", sacrebleu.corpus_ter)):
        (summary,) = [s for s in done.run.summary() if s.metric == name]
        assert summary.value == pytest.approx(function(first, streams).score, abs=1e-9)
        assert summary.ci[0] < summary.value < summary.ci[1]
        assert summary.n == 40


def test_differences_and_p_values_are_sacrebleus(tmp_path, monkeypatch):
    from sacrebleu.metrics import BLEU, CHRF
    from sacrebleu.significance import PairedTest

    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    golds, first, second = sentences(60, 2)
    done = evalkit.score({"a": first, "b": second}, golds, scorers=["bleu", "chrf"], store=False)
    expected = {}
    for kind in ("bs", "ar"):
        _, found = PairedTest([("a", first), ("b", second)], {"bleu": BLEU(), "chrf": CHRF()}, [golds], test_type=kind)()
        expected[kind] = {"bleu": found["BLEU"], "chrf": found["chrF2"]}
    for c in done.comparisons:
        a, b = expected["bs"][c.metric]
        assert (c.baseline, c.system, c.left_out) == ("a", "b", 0)
        assert c.result.difference == pytest.approx(b.score - a.score, abs=1e-9)
        assert c.result.p_bootstrap == b.p_value
        assert c.result.p_randomisation == expected["ar"][c.metric][1].p_value
        assert c.result.ci[0] < c.result.difference < c.result.ci[1]


def test_a_baseline_can_be_named_and_every_other_system_is_compared():
    systems = {"a": FIRST, "b": SECOND, "c": REFERENCES}
    done = evalkit.score(systems, REFERENCES, scorers=["exact_match"], baseline="c", store=False)
    assert [(c.baseline, c.system) for c in done.comparisons] == [("c", "a"), ("c", "b")]
    assert done.comparisons[0].result.difference == pytest.approx(-3 / 5)
    with pytest.raises(DataError, match="there is no system 'd'; there are a, b, c"):
        evalkit.score(systems, REFERENCES, baseline="d", store=False)


def test_a_missing_output_is_an_error_never_a_score(tmp_path):
    first = [*FIRST[:4], None]
    done = evalkit.score({"a": first, "b": SECOND}, REFERENCES, scorers=["exact_match"], output_dir=tmp_path)
    (summary,) = done.runs["a"].summary()
    assert (summary.n, summary.errors, summary.value) == (4, 1, pytest.approx(1 / 4))
    assert done.status == "complete"
    (c,) = done.comparisons
    assert (c.left_out, c.result.n) == (1, 4)
    assert c.result.difference == pytest.approx(1 / 4 - 1 / 4)


def test_every_scorer_has_a_column_for_every_sample(tmp_path):
    scorers = ["bleu", "chrf", "ter", {"name": "rouge", "types": ["rouge1", "rougeLsum"]}, "token_f1", "exact_match"]
    done = evalkit.score(FIRST, REFERENCES, scorers=scorers, output_dir=tmp_path)
    with (done.run.path / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    metrics = [s.metric for s in done.run.summary()]
    assert len(metrics) >= 7
    for metric in metrics:
        assert all(row[f"score:{metric}"] != "" for row in rows), metric
    assert [row["answer"] for row in rows] == FIRST


def test_slices_and_clusters_come_from_the_references_columns(tmp_path):
    path = tmp_path / "refs.jsonl"
    rows = [{"reference": r, "topic": "xy"[i % 2], "passage": i // 2} for i, r in enumerate(REFERENCES)]
    path.write_text("\n".join(map(json.dumps, rows)))
    done = evalkit.score(
        {"a": FIRST, "b": SECOND}, path, scorers=["exact_match"], slices=["topic"], cluster="passage", output_dir=tmp_path
    )
    assert {s.slice for s in done.runs["a"].summary()} == {None, "topic=x", "topic=y"}
    assert (done.comparisons[0].result.n, done.comparisons[0].result.units) == (5, 3)
    with pytest.raises(UsageError, match=r"slice 'topc'.*did you mean topic"):
        evalkit.score(FIRST, path, slices=["topc"], store=False)


def test_the_same_outputs_resume_an_unfinished_run(tmp_path, monkeypatch):
    import evalkit.runner.session as session

    def broken(*_, **__):
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(session, "score_run", broken)
        with pytest.raises(RuntimeError):
            evalkit.score(FIRST, REFERENCES, scorers=["exact_match"], output_dir=tmp_path)
    evalkit.score(FIRST, REFERENCES, scorers=["exact_match"], output_dir=tmp_path)
    evalkit.score(FIRST, REFERENCES, scorers=["exact_match"], output_dir=tmp_path)
    assert len([path for path in tmp_path.iterdir() if not path.is_symlink()]) == 2


def test_equal_outputs_of_different_rows_stay_apart():
    done = evalkit.score(["x", "x", "y"], ["x", "y", "y"], ["s", "s", "s"], scorers=["exact_match"], store=False)
    assert [view.scores["exact_match"].value for view in done.run.records()] == [1.0, 0.0, 1.0]


def test_the_source_is_the_prompt_and_oddities_are_told():
    done = evalkit.score(["x", " ", "z"], ["x", "y", "z"], ["x", "q", "w"], scorers=["exact_match"], store=False)
    assert [view.record.requests[0].prompt for view in done.run.records()] == ["x", "q", "w"]
    assert list(done.run.manifest["warnings"]) == [
        "1 of the 3 outputs of predictions are blank",
        "1 of the 3 outputs of predictions are their sources, unchanged",
    ]


def test_scorers_that_need_no_reference_need_none(tmp_path):
    path = tmp_path / "outputs.jsonl"
    path.write_text('{"output": "ab", "wanted": "a.*"}\n{"output": "c", "wanted": "a.*"}\n')
    done = evalkit.score(path, scorers=[{"name": "matches_pattern", "column": "wanted"}], store=False)
    assert done.run.summary()[0].value == 0.5


@pytest.mark.parametrize(
    ("scorers", "error", "message"),
    [
        (["bleu"], DataError, "compares with references"),
        ([], DataError, "no references: give --references FILE"),
        (["acc"], ScorerError, "scores multiple_choice tasks"),
        (["bluu"], ScorerError, "did you mean bleu"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_is_written(tmp_path, scorers, error, message):
    with pytest.raises(error, match=message):
        evalkit.score(FIRST, scorers=scorers, output_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_scorer_that_reads_the_source_wants_one(monkeypatch):
    from evalkit.scorers.base import BaseScorer
    from evalkit.scorers.common import share, source_text
    from evalkit.scorers.registry import SCORERS
    from evalkit.types import Record, Score

    class Longer(BaseScorer):
        """Whether an answer is longer than its source."""

        name = "longer"
        columns = ("source",)
        metrics = (share("longer"),)

        def score_one(self, record: Record) -> Score:
            value = float(len(record.answer) > len(source_text(record.sample, "source") or ""))
            return Score((value,), value)

    monkeypatch.setitem(SCORERS._objects, "longer", Longer)
    with pytest.raises(DataError, match=r"'longer' reads the source texts: give them with --sources FILE"):
        evalkit.score(FIRST, REFERENCES, scorers=["longer"], store=False)
    done = evalkit.score(["aa", "b"], ["x", "y"], ["a", "bb"], scorers=["longer"], store=False)
    assert done.run.value("outputs", "longer") == 0.5


def test_metrics_that_are_no_totals_have_no_test(monkeypatch):
    from evalkit.scorers.base import BaseScorer, MetricInfo
    from evalkit.scorers.registry import SCORERS
    from evalkit.types import Record, Score

    class Median(BaseScorer):
        """Median length of an answer."""

        name = "median_length"
        metrics = (MetricInfo("median_length"),)

        def score_one(self, record: Record) -> Score:
            return Score((float(len(record.answer)),), float(len(record.answer)))

        def aggregate(self, stats, weights):
            flat = [np.median(np.repeat(stats[:, 0], w.astype(int))) for w in weights.reshape(-1, len(stats))]
            return {"median_length": np.array(flat).reshape(weights.shape[:-1])}

    monkeypatch.setitem(SCORERS._objects, "median_length", Median)
    done = evalkit.score({"a": FIRST, "b": SECOND}, REFERENCES, scorers=["median_length", "exact_match"], store=False)
    assert [(c.metric, c.result is None) for c in done.comparisons] == [("median_length", True), ("exact_match", False)]


def test_labelled_scorers_are_compared_under_their_labels():
    scorers = ["rouge:types=rouge1", "rouge:types=rouge1,use_stemmer=true,label=stemmed"]
    done = evalkit.score({"a": FIRST, "b": SECOND}, REFERENCES, scorers=scorers, store=False)
    assert len(done.comparisons) == 2
    assert all(c.result is not None for c in done.comparisons)


def test_stored_runs_can_be_compared_later(tmp_path):
    done = evalkit.score({"a": FIRST, "b": SECOND}, REFERENCES, scorers=["bleu", "token_f1"], output_dir=tmp_path)
    opened = {name: evalkit.open_run(run.path) for name, run in done.runs.items()}
    assert tuple(paired_scores(opened, "a")) == done.comparisons
    assert Path(done.runs["b"].path).name.split("_")[1] == "b"
