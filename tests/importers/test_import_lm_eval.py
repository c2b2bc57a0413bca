"""lm-eval's output as a run: ids, requests and numbers are those that a run of evalkit's own would have."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from made_logs import ARGS, DATE, choice_config, choice_lines, lm_eval_output, quiz

import evalkit
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.load import load_scores
from evalkit.errors import DataError

FUNCTION = 'def process_results(doc, results):\n    return {"odd": 1.0}\n'


def imported(path: Path, tmp_path: Path, **options: Any) -> Any:
    (done,) = evalkit.import_runs(path, output_dir=tmp_path / "runs", **options)
    return done


@pytest.fixture
def output(tmp_path):
    return lm_eval_output(tmp_path / "out", {"quiz": (choice_config(), choice_lines(*quiz()))})


def test_every_number_is_that_of_the_results_file(output, tmp_path):
    done = imported(output, tmp_path)
    given = json.loads(output.read_text())["results"]["quiz"]
    assert {c.metric: c.value for c in done.checks} == {"acc": given["acc,none"], "acc_norm": given["acc_norm,none"]}
    assert all(check.equal and check.native for check in done.checks)
    assert done.checks[0].line("lm-eval 0.4.13") == f"quiz acc {given['acc,none']:.4f} as in lm-eval 0.4.13's results"
    assert (done.run.status, done.run.value("quiz", "acc_norm")) == ("complete", given["acc_norm,none"])


def test_the_run_says_where_it_comes_from_and_what_would_make_it_again(output, tmp_path):
    run = imported(output, tmp_path, command=("evalkit", "import", "out")).run
    manifest = run.manifest
    assert manifest["imported"]["from"] == "lm-eval 0.4.13"
    assert set(manifest["imported"]["files"]) == {output.name, f"samples_quiz_{DATE}.jsonl"}
    assert (manifest["config"]["model"], manifest["config"]["limit"], manifest["config"]["compat"]) == (
        "hf/org/small",
        8,
        "lm-eval",
    )
    assert (manifest["model"]["dtype"], manifest["timing"]["seconds"]) == ("bfloat16", 65.7)
    page = (run.path / "report.html").read_text()
    assert "evalkit import out" in page and "lm-eval 0.4.13" in page


def test_a_run_of_evalkits_own_pairs_with_it_sample_by_sample(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    docs, _ = quiz(12)
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    kept = ("task", "dataset_path", "dataset_kwargs", "test_split", "doc_to_text", "doc_to_target", "doc_to_choice")
    config = choice_config()
    task = {key: config[key] for key in (*kept, "output_type", "metric_list")} | {"metadata": {"version": 1.0}}
    (tmp_path / "quiz.yaml").write_text(json.dumps(task))
    own = evalkit.run(tasks="quiz.yaml", model="mock/uniform", output_dir="runs", name="own")
    lines = as_lm_eval_writes(own)
    lm_eval_output(tmp_path / "out", {"quiz": (config, lines)})
    there = imported(tmp_path / "out", tmp_path, name="there")
    assert all(check.equal for check in there.checks)
    baseline, system = load_scores(there.run.path), load_scores(own.path)
    a, b = (run.tasks[("quiz", "none")] for run in (baseline, system))
    assert a.ids == b.ids
    assert (a.digests == b.digests).all()
    assert [m.signature for m in a.measured] == [m.signature for m in b.measured]
    for comparison in compare_scores(baseline, system):
        assert (comparison.n, comparison.gained, comparison.lost, comparison.flips) == (12, 0, 0, ())
        assert comparison.baseline_value == comparison.system_value


def as_lm_eval_writes(run: Any) -> list[dict[str, Any]]:
    """A run's own sample lines without what only evalkit writes, all answers as text."""

    def texts(value: Any) -> Any:
        return [texts(item) for item in value] if isinstance(value, list) else str(value)

    ours = ("task", "sample_id", "status", "error", "slices", "cluster", "scores")
    with gzip.open(run.path / "samples.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [
        {key: texts(v) if key in ("resps", "filtered_resps") else v for key, v in line.items() if key not in ours}
        for line in lines
    ]


def test_a_metric_that_comes_out_otherwise_is_kept_as_it_was_given(tmp_path):
    lines = choice_lines(*quiz())
    lines[0]["acc_norm"] = 1.0 - lines[0]["acc_norm"]
    done = imported(lm_eval_output(tmp_path / "out", {"quiz": (choice_config(), lines)}), tmp_path)
    by_metric = {check.metric: check for check in done.checks}
    assert by_metric["acc"].native and not by_metric["acc_norm"].native
    assert all(check.equal for check in done.checks)
    signatures = {s.metric: s.signature for s in done.run.summary()}
    assert signatures["acc"] == "acc|version:1"
    assert signatures["acc_norm"].startswith("lm-eval|metric:acc_norm|") and signatures["acc_norm"].endswith(
        "|version:0.4.13"
    )
    first = next(iter(done.run.records("quiz")))
    assert first.scores["acc_norm"].value == lines[0]["acc_norm"]


def test_values_of_functions_are_carried_and_two_such_runs_compare(tmp_path):
    runs = []
    for name, right in (("a", 5), ("b", 3)):
        lines = choice_lines(*quiz())
        for i, line in enumerate(lines):
            line |= {"metrics": ["odd"], "odd": float(i < right)}
        config = choice_config(process_results=FUNCTION, process_docs="def process_docs(d): ...", doc_to_text=FUNCTION)
        made = imported(lm_eval_output(tmp_path / name, {"quiz": (config, lines)}), tmp_path, name=name)
        assert [(c.metric, c.value, c.native, c.equal) for c in made.checks] == [("odd", right / 8, False, True)]
        runs.append(made.run)
    assert runs[0].summary()[0].ci_method.startswith("wilson")
    (comparison,) = compare_scores(*(load_scores(run.path) for run in runs))
    assert (comparison.gained, comparison.lost, comparison.n) == (0, 2, 8)
    assert evalkit.rescore(runs[0].path).value("quiz", "odd") == 5 / 8


def generation_lines(metrics: dict[str, list[float]]) -> list[dict[str, Any]]:
    lines = []
    for filter_ in metrics:
        for i, value in enumerate(metrics[filter_]):
            texts = [f"It is {i}.", f"#### {i + 1}"]
            settings = {"until": ["\n"], "do_sample": True, "temperature": 0.7, "max_gen_toks": 6}
            lines.append(
                {
                    "doc_id": i,
                    "doc": {"id": 100 + i, "q": f"What is {i}?", "a": str(i)},
                    "target": str(i),
                    "arguments": {"gen_args_0": {"arg_0": f"What is {i}?", "arg_1": settings}},
                    "resps": [texts],
                    "filtered_resps": [texts[0]],
                    "filter": filter_,
                    "metrics": ["exact_match"],
                    "exact_match": value,
                }
            )
    return lines


def generation_config(**changes: Any) -> dict[str, Any]:
    config = choice_config("gen", doc_to_text="{{q}}", doc_to_target="{{a}}", output_type="generate_until", repeats=2)
    del config["doc_to_choice"]
    number = {"function": "regex", "regex_pattern": r"(\d+)"}
    return config | {
        "generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 0.7, "max_gen_toks": 6},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {"name": "number", "filter": [number, {"function": "take_first"}]},
            {"name": "whole", "filter": [{"function": "take_first"}]},
        ],
        **changes,
    }


def test_filters_and_repeats(tmp_path):
    lines = generation_lines({"number": [1.0, 1.0, 1.0], "whole": [0.0, 0.0, 0.0]})
    done = imported(lm_eval_output(tmp_path / "out", {"gen": (generation_config(), lines)}), tmp_path)
    assert [(c.filter, c.value, c.native, c.equal) for c in done.checks] == [
        ("number", 1.0, True, True),
        ("whole", 0.0, True, True),
    ]
    first = next(iter(done.run.records("gen")))
    assert first.record.sample.id == "100"
    assert [(q.repeat, r.text) for q, r in zip(first.record.requests, first.record.responses, strict=True)] == [
        (0, "It is 0."),
        (1, "#### 1"),
    ]
    assert (first.record.answer, first.record.requests[0].params["seed"]) == ("0", 1234)


def test_a_filter_of_the_task_folder_leaves_lm_evals_values(tmp_path):
    lines = generation_lines({"number": [1.0, 0.0, 1.0], "whole": [0.0, 0.0, 0.0]})
    own = [{"name": "number", "filter": [{"function": "<class 'utils.Own'>"}]}, generation_config()["filter_list"][1]]
    done = imported(lm_eval_output(tmp_path / "out", {"gen": (generation_config(filter_list=own), lines)}), tmp_path)
    assert [(c.filter, round(c.value, 4), c.native) for c in done.checks] == [
        ("number", 0.6667, False),
        ("whole", 0.0, False),
    ]
    assert all(check.equal for check in done.checks)


def test_perplexities_are_computed_from_the_log_likelihoods(tmp_path):
    values = [-4.5, -2.25, -0.5]
    lines = [
        {
            "doc_id": i,
            "doc": {"text": f"a b{i}"},
            "target": f" b{i}",
            "arguments": {"gen_args_0": {"arg_0": "a", "arg_1": f" b{i}"}},
            "resps": [[[str(value), str(i == 0)]]],
            "filtered_resps": [[str(value), str(i == 0)]],
            "filter": "none",
            "metrics": ["perplexity", "acc"],
            "perplexity": value,
            "acc": int(i == 0),
        }
        for i, value in enumerate(values)
    ]
    config = choice_config("words", doc_to_text="a", doc_to_target="{{text[1:]}}", output_type="loglikelihood")
    config["metric_list"] = [{"metric": "perplexity", "aggregation": "perplexity"}, {"metric": "acc", "aggregation": "mean"}]
    del config["doc_to_choice"]
    perplexity = 11.2084
    path = lm_eval_output(tmp_path / "out", {"words": (config, lines)})
    document = json.loads(path.read_text())
    document["results"]["words"] |= {"perplexity,none": 2.718281828459045 ** (7.25 / 3), "acc,none": 1 / 3}
    path.write_text(json.dumps(document))
    done = imported(path, tmp_path)
    assert [(c.metric, round(c.value, 4), c.equal) for c in done.checks] == [
        ("perplexity", perplexity, True),
        ("acc", 0.3333, True),
    ]


@pytest.mark.parametrize("by_size", [True, False])
def test_groups_keep_their_weights(tmp_path, by_size):
    tasks = {name: (choice_config(name), choice_lines(*quiz(n))) for name, n in (("one", 8), ("two", 5))}
    values = {name: sum(line["acc"] for line in lines) / len(lines) for name, (_, lines) in tasks.items()}
    both = (values["one"] * 8 + values["two"] * 5) / 13 if by_size else (values["one"] + values["two"]) / 2
    row = {"alias": "Both", "name": "both", "sample_len": 13, "acc,none": both, "acc_stderr,none": 0.1}
    path = lm_eval_output(tmp_path / "out", tasks, group_subtasks={"both": ["one", "two"]}, results={"both": row})
    done = imported(path, tmp_path)
    assert done.checks[-1].equal and done.run.value("both", "acc") == pytest.approx(both, abs=1e-12)


def test_equal_documents_and_documents_out_of_order_have_the_ids_of_a_run(tmp_path):
    docs, logprobs = quiz(4)
    docs[2] = docs[0]
    lines = choice_lines(docs, logprobs)
    done = imported(
        lm_eval_output(tmp_path / "out", {"quiz": (choice_config(), [lines[i] for i in (2, 0, 3, 1)])}), tmp_path
    )
    samples = [view.record.sample for view in done.run.records("quiz")]
    assert [sample.index for sample in samples] == [0, 1, 2, 3]
    assert samples[2].id == f"{samples[0].id}-2"


def test_a_definition_of_that_name_says_what_samples_are_called(output, tmp_path):
    (tmp_path / "own").mkdir()
    task = {"task": "quiz", "dataset_path": "json", "test_split": "test", "doc_to_text": "x", "sample_id": "q-{{question}}"}
    (tmp_path / "own" / "quiz.yaml").write_text(json.dumps(task | {"slices": ["subject"], "cluster": "subject"}))
    done = imported(output, tmp_path, task_dirs=[tmp_path / "own"])
    sample = next(iter(done.run.records("quiz"))).record.sample
    assert (sample.id, dict(sample.slices), sample.cluster) == ("q-What is 0?", {"subject": "a"}, "a")


def test_what_does_not_fit_the_logged_documents_is_left_out_and_told(output, tmp_path):
    (tmp_path / "own").mkdir()
    task = {"task": "quiz", "dataset_path": "json", "test_split": "test", "doc_to_text": "x", "sample_id": "number"}
    (tmp_path / "own" / "quiz.yaml").write_text(json.dumps(task | {"slices": {"kind": "{{kind}}", "subject": "subject"}}))
    done = imported(output, tmp_path, task_dirs=[tmp_path / "own"])
    assert dict(next(iter(done.run.records("quiz"))).record.sample.slices) == {"subject": "a"}
    (line,) = done.run.manifest["warnings"]
    assert line.startswith("quiz: sample_id, slice kind of evalkit's definition") and line.endswith("left out")


def test_chat_messages_and_a_log_likelihood_that_is_no_number(tmp_path):
    lines = choice_lines(*quiz(3))
    turns = json.dumps([{"role": "user", "content": "Hello"}])
    for arguments in lines[0]["arguments"].values():
        arguments["arg_0"] = [turns]
    lines[1]["resps"][0] = [["nan", "False"]]
    done = imported(lm_eval_output(tmp_path / "out", {"quiz": (choice_config(), lines)}), tmp_path)
    views = list(done.run.records("quiz"))
    assert views[0].record.requests[0].prompt[0].content == "Hello"
    assert [view.status for view in views] == ["ok", "error", "ok"]


BROKEN = {
    "no samples": (lambda path: next(path.parent.glob("*.jsonl")).unlink(), "lm-eval writes them with --log_samples"),
    "cut off": (lambda path: _edit(path, lambda text: text[:-200]), "is no JSON: the file is cut off or damaged"),
    "another shape": (lambda path: _edit(path, lambda text: '{"doc_id": 1}\n'), "it lacks doc, arguments, resps"),
    "twice": (lambda path: _edit(path, lambda text: text + text.split("\n")[0]), "comes twice under the filter"),
    "empty": (lambda path: _edit(path, lambda text: ""), "holds no samples"),
}


def _edit(path: Path, change: Any) -> None:
    lines = next(path.parent.glob("*.jsonl"))
    lines.write_text(change(lines.read_text()))


@pytest.mark.parametrize("case", BROKEN)
def test_bad_samples_are_refused_and_nothing_is_written(output, tmp_path, case):
    damage, message = BROKEN[case]
    damage(output)
    with pytest.raises(DataError, match=message):
        imported(output, tmp_path)
    assert not (tmp_path / "runs").exists()


def test_other_versions_and_files_of_evalkit_are_refused(tmp_path):
    tasks = {"quiz": (choice_config(), choice_lines(*quiz()))}
    with pytest.raises(DataError, match=r"written by lm-eval 0\.6\.0; this evalkit reads 0\.4"):
        imported(lm_eval_output(tmp_path / "new", tasks, lm_eval_version="0.6.0"), tmp_path)
    run = imported(lm_eval_output(tmp_path / "out", tasks), tmp_path).run
    with pytest.raises(DataError, match="was written by evalkit: its run directory is there already"):
        imported(run.path / "results.json", tmp_path)


def test_an_error_on_the_way_leaves_no_run_behind(tmp_path):
    good = imported(lm_eval_output(tmp_path / "good", {"quiz": (choice_config(), choice_lines(*quiz()))}), tmp_path).run
    lines = choice_lines(*quiz())
    lines[5]["resps"][0] = [["none", "False"]]
    with pytest.raises(DataError, match=r"document 5: .*is no log-likelihood"):
        imported(lm_eval_output(tmp_path / "bad", {"quiz": (choice_config(), lines)}), tmp_path)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {good.path.name, "latest"}
    assert (tmp_path / "runs" / "latest").resolve() == good.path.resolve()


def test_the_models_arguments_are_no_part_of_the_task(output, tmp_path):
    definition = imported(output, tmp_path).run.manifest["tasks"]["quiz"]["definition"]
    assert definition["metadata"] == {"version": 1.0}
    assert not set(ARGS) & set(definition["metadata"])
    assert "fewshot_config" not in definition
