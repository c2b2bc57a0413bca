"""Logs of inspect as runs: samples with their epochs, values of its scorers, failures, tokens and times."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from made_logs import failed_sample, inspect_document, inspect_sample, write_eval_log, write_json_log

import evalkit
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.load import load_scores
from evalkit.errors import DataError, NotComparable
from evalkit.importers.inspect_values import number

NAMES = ("France", "Peru", "Ghana", "Nepal")


def imported(path: Path, tmp_path: Path, **options: Any) -> Any:
    (done,) = evalkit.import_runs(path, output_dir=tmp_path / "runs", **options)
    return done


def log(values: str, **changes: Any) -> dict[str, Any]:
    samples = [inspect_sample(name, value=value) for name, value in zip(NAMES, values, strict=True)]
    return inspect_document(samples, sum(number(value) for value in values) / len(values), **changes)


@pytest.mark.parametrize("kind", ["json", "deflated", "zstandard"])
def test_all_forms_of_a_log_are_one_run(tmp_path, kind):
    document = log("CIPN")
    path = tmp_path / f"log.{'json' if kind == 'json' else 'eval'}"
    if kind == "zstandard":
        pytest.importorskip("pyarrow", reason="packs the log with Zstandard")
    write = write_json_log if kind == "json" else write_eval_log
    write(path, document, **({"zstandard": True} if kind == "zstandard" else {}))
    done = imported(path, tmp_path)
    (check,) = done.checks
    assert (check.task, check.metric, check.value, check.equal) == ("capitals", "match", 0.375, True)
    assert check.line("inspect 0.3.285") == "capitals match 0.3750 as in inspect 0.3.285's results"
    (summary,) = done.run.summary()
    assert summary.signature == "inspect|metric:match|aggregation:mean|epochs:1 by mean|location:any|version:0.3.285"
    assert (summary.n, summary.higher_is_better, summary.low, summary.high) == (4, True, 0.0, 1.0)
    assert [view.record.sample.id for view in done.run.records()] == list(NAMES)


def test_a_sample_keeps_what_was_asked_answered_and_taken(tmp_path):
    view = next(iter(imported(write_json_log(tmp_path / "log.json", log("CICC")), tmp_path).run.records()))
    (request,), (response,) = view.record.requests, view.record.responses
    assert [(m.role, m.content) for m in request.prompt] == [("system", "Be brief."), ("user", "Capital of France?")]
    assert dict(request.params) == {"max_gen_toks": 20, "temperature": 0.5}
    assert (response.text, response.tokens, response.prompt_tokens, response.finish, response.latency_s) == (
        "Paris (1)", 3, 11, "stop", 0.5,
    )  # fmt: skip
    assert (view.record.sample.target, view.record.sample.doc["continent"]) == ("Paris", "Europe")


def test_task_version_data_and_model_stand_in_the_manifest(tmp_path):
    run = imported(write_json_log(tmp_path / "log.json", log("CICC")), tmp_path).run
    entry = run.manifest["tasks"]["capitals"]
    assert (entry["version"], entry["samples"], entry["size"], entry["definition"]["dataset_path"]) == (
        "2",
        4,
        4,
        "capitals",
    )
    assert (run.manifest["model"]["name"], run.manifest["timing"]["seconds"]) == ("mockllm/model", 2.0)
    assert run.manifest["imported"]["from"] == "inspect 0.3.285"
    (usage,) = run.manifest["usage"]
    assert (usage["requests"], usage["prompt_tokens"], usage["output_tokens"], usage["cost_usd"]) == (4, 44, 12, None)


def test_epochs_are_repeats_and_a_sample_counts_their_mean(tmp_path):
    samples = [
        inspect_sample(name, epoch, value)
        for epoch, row in ((1, "CCII"), (2, "CIII"))
        for name, value in zip(NAMES, row, strict=True)
    ]
    done = imported(write_eval_log(tmp_path / "log.eval", inspect_document(samples, 0.375)), tmp_path)
    assert done.checks[0].equal
    views = list(done.run.records())
    assert [view.scores["match"].value for view in views] == [1.0, 0.5, 0.0, 0.0]
    assert [r.text for r in views[0].record.responses] == ["Paris (1)", "Paris (2)"]


def test_epochs_reduced_otherwise_have_inspects_own_values(tmp_path):
    samples = [inspect_sample(name, epoch, value) for epoch, value in ((1, "C"), (2, "I")) for name in NAMES]
    document = inspect_document(samples, 1.0, config={"epochs": 2, "epochs_reducer": ["max"]})
    document["reductions"] = [
        {"scorer": "match", "reducer": "max", "samples": [{"sample_id": name, "value": 1.0} for name in NAMES]}
    ]
    for path in (write_eval_log(tmp_path / "log.eval", document), write_json_log(tmp_path / "log.json", document)):
        done = imported(path, tmp_path)
        assert (done.checks[0].value, done.checks[0].equal) == (1.0, True)
        assert "epochs:2 by max" in done.run.summary()[0].signature


def test_failed_samples_are_failures_not_scores(tmp_path):
    samples = [inspect_sample("France"), failed_sample("Peru"), inspect_sample("Ghana", value="I")]
    done = imported(write_json_log(tmp_path / "log.json", inspect_document(samples, 0.5)), tmp_path)
    views = list(done.run.records())
    assert [view.status for view in views] == ["ok", "error", "ok"]
    assert views[1].record.failure.message == "RuntimeError('boom')"
    (summary,) = done.run.summary()
    assert (summary.value, summary.n, summary.errors) == (0.5, 2, 1)


def test_a_sample_that_failed_in_one_epoch_is_told(tmp_path):
    samples = [
        inspect_sample("France", 1),
        failed_sample("France", 2),
        inspect_sample("Peru", 1, "I"),
        inspect_sample("Peru", 2, "I"),
    ]
    done = imported(write_json_log(tmp_path / "log.json", inspect_document(samples, 0.5)), tmp_path)
    assert (done.checks[0].value, done.checks[0].equal) == (0.0, False)
    assert any("1 samples failed in some of their epochs" in line for line in done.run.manifest["warnings"])


def test_several_scorers_and_scores_of_several_values(tmp_path):
    samples = [
        inspect_sample(name, scores={"match": {"value": "C"}, "both": {"value": {"length": 4 + i, "polite": True}}})
        for i, name in enumerate(NAMES)
    ]
    document = inspect_document(samples, 1.0)
    mean = [{"name": "length", "scorer": "both", "metrics": {"mean": {"name": "mean", "value": 5.5}}}]
    document["results"]["scores"] += mean
    done = imported(write_json_log(tmp_path / "log.json", document), tmp_path)
    assert {c.metric: (c.value, c.given) for c in done.checks} == {
        "match": (1.0, 1.0),
        "both.length": (5.5, 5.5),
        "both.polite": (1.0, None),
    }
    directions = {s.metric: s.higher_is_better for s in done.run.summary()}
    assert directions == {"match": True, "both.length": None, "both.polite": True}


def test_clusters_and_groups_of_the_metrics(tmp_path):
    metrics = [
        {"name": "inspect_ai/stderr", "options": {"cluster": "passage"}},
        {"name": "inspect_ai/grouped", "options": {"group_key": "continent"}},
    ]
    samples = [inspect_sample(n, metadata={"passage": i // 2, "continent": "EA"[i % 2]}) for i, n in enumerate(NAMES)]
    document = inspect_document(samples, 1.0, scorers=[{"name": "match", "options": {}, "metrics": metrics}])
    sample = next(iter(imported(write_json_log(tmp_path / "log.json", document), tmp_path).run.records())).record.sample
    assert (sample.cluster, dict(sample.slices)) == ("0", {"continent": "E"})


def test_two_logs_of_a_task_compare_and_other_prompts_do_not(tmp_path):
    paths = [write_json_log(tmp_path / f"{name}.json", log(values)) for name, values in (("a", "CCCI"), ("b", "CICC"))]
    other = log("CCCC")
    for sample in other["samples"]:
        sample["messages"][0]["content"] = "Be long."
    paths.append(write_json_log(tmp_path / "c.json", other))
    a, b, c = (load_scores(imported(path, tmp_path, name=path.stem).run.path) for path in paths)
    (comparison,) = compare_scores(a, b)
    assert (comparison.n, comparison.gained, comparison.lost) == (4, 1, 1)
    assert [flip.id for flip in comparison.flips] == ["Peru", "Nepal"]
    with pytest.raises(NotComparable, match="prompts differ"):
        compare_scores(a, c)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("C", 1.0), ("I", 0.0), ("P", 0.5), ("N", 0.0), ("yes", 1.0), ("No", 0.0), ("TRUE", 1.0), ("0.25", 0.25), (3, 3.0),
        (True, 1.0), (None, None), (float("nan"), None), ("because", None), ([1], None),
    ],
)  # fmt: skip
def test_values_become_numbers_as_in_inspect(value, expected):
    assert number(value) == expected


def changed(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(log("CICC")) | changes


BAD = {
    "started": (changed(status="started"), "not finished, its status is started"),
    "error": (changed(status="error", error={"message": "out of\nmoney"}), r"its status is error \(out of\)"),
    "newer": (changed(version=3), "log format 3; this evalkit reads up to 2"),
    "no samples": (changed(samples=[]), "holds no samples"),
    "unscored": (changed(samples=[inspect_sample("France", scores={})]), "holds no scores"),
    "no eval": ({"eval": None, "samples": []}, "is no inspect log"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_finished_log_is_refused_and_nothing_is_written(tmp_path, case):
    document, message = BAD[case]
    with pytest.raises(DataError, match=message):
        imported(write_json_log(tmp_path / "log.json", document), tmp_path)
    assert not (tmp_path / "runs").exists()


def test_damaged_files_are_refused(tmp_path):
    path = write_json_log(tmp_path / "log.json", log("CICC"))
    path.write_text(path.read_text()[:-400])
    with pytest.raises(DataError, match="cut off or damaged"):
        imported(path, tmp_path)
    packed = write_eval_log(tmp_path / "log.eval", log("CICC"))
    whole = packed.read_bytes()
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is no zip file"):
        imported(packed, tmp_path)
    packed.write_bytes(whole[:150] + bytes(20) + whole[170:])
    with pytest.raises(DataError, match=r"is damaged: samples/France_epoch_1\.json"):
        imported(packed, tmp_path)


def test_a_zip_without_its_header_was_never_finished(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("_journal/start.json", json.dumps({"version": 2}))
    with pytest.raises(DataError, match="it was never finished"):
        imported(tmp_path / "log.eval", tmp_path)
