"""The Python API as a training loop, a notebook or a service uses it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_llama

import evalkit
from evalkit.errors import ConfigError, EvalkitError, TaskError, UsageError

PAIRS = [("a b", "c"), ("b c", "d"), ("c d", "e"), ("d e", "f"), ("e f", "g"), ("f g", "h")]


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch) -> Path:
    """An empty current folder, and task files elsewhere."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = [{"text": text, "next": following, "wrong": "zyxwvu"[i]} for i, (text, following) in enumerate(PAIRS)]
    (tmp_path / "letters.jsonl").write_text("\n".join(map(json.dumps, rows)))
    common = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "letters.jsonl"}}, "test_split": "test"}
    choose = {
        "task": "letters",
        "output_type": "multiple_choice",
        "doc_to_text": "text",
        "doc_to_choice": "{{[next, wrong]}}",
        "doc_to_target": 0,
        "metric_list": [{"metric": "acc"}, {"metric": "likelihood"}],
    }
    read = {"task": "reading", "output_type": "loglikelihood_rolling", "doc_to_target": "{{text}} {{next}}"}
    write = {
        "task": "writing",
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "next",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 2},
    }
    for task in (choose, read, write):
        (tmp_path / f"{task['task']}.yaml").write_text(json.dumps({**common, **task}))
    return tmp_path


def task(work: Path, *names: str) -> list[str]:
    return [str(work / f"{name}.yaml") for name in names]


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_training_loop_asks_for_scores_between_its_steps(work):
    torch = pytest.importorskip("torch")
    tokenizer = tiny_llama.byte_tokenizer()
    model = tiny_llama.llama(tokenizer, initializer_range=0.02, attention_dropout=0.1)
    model.train()
    model.model.layers[0].eval()  # a frozen part keeps its own mode
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    batch = tokenizer([f"{text} {following}" for text, following in PAIRS], return_tensors="pt")["input_ids"]
    history = []
    for step in range(3):
        for _ in range(10):
            loss = model(input_ids=batch, labels=batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        modes = {name: part.training for name, part in model.named_modules()}
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        torch.manual_seed(step)
        before = torch.get_rng_state()

        run = evalkit.run(tasks=task(work, "letters", "reading"), model=model, tokenizer=tokenizer, store=False)

        history.append((run.value("letters", "likelihood"), run.value("reading", "bits_per_byte")))
        assert run.status == "complete"
        assert {name: part.training for name, part in model.named_modules()} == modes
        assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
        assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
        assert torch.is_grad_enabled()
        assert torch.equal(torch.get_rng_state(), before), "an evaluation must not change what the training draws next"
    likelihoods, bits = zip(*history, strict=True)
    assert likelihoods[0] < likelihoods[-1]
    assert bits[0] > bits[-1]
    assert len(set(bits)) == 3
    assert run.value("letters", "acc") == 1.0
    assert files(work / "cwd") == []


def test_the_same_weights_give_the_same_and_changed_weights_another_run(work):
    torch = pytest.importorskip("torch")
    tokenizer = tiny_llama.byte_tokenizer()
    model = tiny_llama.llama(tokenizer)

    def go():
        return evalkit.run(task(work, "reading"), model, tokenizer=tokenizer)

    first, same = go(), go()
    with torch.no_grad():
        model.lm_head.weight.add_(0.05 * torch.randn_like(model.lm_head.weight))
    changed = go()
    assert first.summary() == same.summary() != changed.summary()
    assert first.manifest["fingerprints"] == same.manifest["fingerprints"] != changed.manifest["fingerprints"]
    assert first.manifest["config_hash"] == same.manifest["config_hash"] != changed.manifest["config_hash"]
    assert len({first.path, same.path, changed.path}) == 3


def test_a_callable_is_a_model(work):
    asked = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return {"a b": "c\nand more", "b c": "d"}.get(prompt, "?")

    run = evalkit.run(tasks=task(work, "writing"), model=answer, store=False)
    assert sorted(asked) == sorted(text for text, _ in PAIRS)
    (summary,) = run.summary()
    assert (summary.task, summary.metric, summary.n, summary.value) == ("writing", "exact_match", 6, 2 / 6)
    assert summary.ci[0] < summary.value < summary.ci[1]
    assert files(work / "cwd") == []
    with pytest.raises(EvalkitError, match="letters needs loglikelihood requests and python/answer can only do generate"):
        evalkit.run(tasks=task(work, "letters"), model=answer, store=False, form="loglikelihood")


def test_a_callable_that_raises_is_an_error_count_not_a_score(work):
    def answer(prompt: str) -> str:
        if prompt < "c":
            raise RuntimeError("out of quota")
        return "e"

    run = evalkit.run(tasks=task(work, "writing"), model=answer, store=False)
    (summary,) = run.summary()
    assert (summary.value, summary.n, summary.errors) == (1 / 4, 4, 2)
    failed = [view for view in run.records() if view.status == "error"]
    assert {view.record.failure.message for view in failed} == {"RuntimeError: out of quota"}


def test_what_a_run_gives_back(work):
    run = evalkit.run(tasks=task(work, "letters", "writing"), model="mock/echo", store=False, name="probe")
    assert (run.name, run.status, run.tasks) == ("probe", "complete", ["letters", "writing"])
    assert {(s.task, s.metric) for s in run.summary()} == {
        ("letters", "acc"),
        ("letters", "likelihood"),
        ("writing", "exact_match"),
    }
    assert run.value("letters", "acc") == next(s.value for s in run.summary() if s.metric == "acc")
    assert run.value("writing", "exact_match", "none") == 0.0
    with pytest.raises(KeyError, match="no metric 'bleu'"):
        run.value("letters", "bleu")
    views = list(run.records("letters"))
    assert [view.record.sample.doc["text"] for view in views] == [text for text, _ in PAIRS]
    assert all(len(view.record.requests) == len(view.record.responses) == 2 for view in views)
    frame = run.to_pandas()
    assert len(frame) == 12
    letters = frame[frame["task"] == "letters"]
    assert letters["acc"].mean() == run.value("letters", "acc")
    assert letters["likelihood"].mean() == pytest.approx(run.value("letters", "likelihood"))
    assert frame[frame["task"] == "writing"]["acc"].isna().all()
    assert len(run.to_pandas("writing")) == 6


def test_a_stored_run_is_opened_again_with_the_same_content(work):
    run = evalkit.run(tasks=task(work, "letters"), model="mock/echo", output_dir=work / "out")
    for name in (run.path, "latest", run.path.name):
        again = evalkit.open_run(name, output_dir=work / "out")
        assert again.summary() == run.summary()
        assert again.to_pandas().equals(run.to_pandas())
    assert files(work / "cwd") == []
    assert {"report.html", "results.json", "samples.csv", "samples.jsonl.gz", "summary.csv"} <= set(files(run.path))


def test_a_run_without_a_store_leaves_nothing_behind(work, monkeypatch):
    import gc
    import tempfile

    (work / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work / "tmp"))
    run = evalkit.run(tasks=task(work, "letters"), model="mock/echo", store=False)
    assert run.value("letters", "acc") is not None
    del run
    gc.collect()
    assert files(work / "tmp") == files(work / "cwd") == []


def test_a_plan_counts_and_asks_nothing(work):
    asked = []
    (plan,) = evalkit.plan(tasks=task(work, "writing"), model=asked.append)
    assert (plan.task, plan.samples, plan.requests, plan.distinct, asked) == ("writing", 6, 6, 6, [])
    (plan,) = evalkit.plan(tasks=task(work, "letters"), model="mock/echo", limit=2)
    assert (plan.samples, plan.requests, dict(plan.kinds)) == (2, 4, {"loglikelihood": 4})
    assert plan.context_tokens == 2 * 2 * 2  # two words a context, once for each of two choices
    assert files(work / "cwd") == []


def test_options_are_the_same_thing_in_one_piece(work):
    options = evalkit.RunOptions(tasks=tuple(task(work, "letters")), model="mock/echo", limit=3)
    run = evalkit.run(options=options, store=False)
    assert run.summary() == evalkit.run(task(work, "letters"), "mock/echo", limit=3, store=False).summary()


def test_progress_is_told_what_happens(work):
    seen = []

    class Told(evalkit.Progress):
        def started(self, run, samples, requests, resumed):
            seen.append(("started", samples, requests, resumed))

        def answered(self, task, done, errors, running):
            seen.append(("answered", task, done, errors))

        def phase(self, text):
            seen.append(("phase", text))

        def scored(self, task, summaries):
            seen.append(("scored", task, len(summaries)))

    evalkit.run(tasks=task(work, "letters"), model="mock/echo", store=False, progress=Told())
    assert seen[:2] == [("phase", "loading mock/echo"), ("started", 6, 12, 0)]
    assert seen[-1] == ("scored", "letters", 2)
    assert ("answered", "letters", 12, 0) in seen


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"tasks": None, "model": "mock/echo"}, ConfigError, "no task given"),
        ({"tasks": "letterz.yaml", "model": "mock/echo"}, TaskError, "no task file or folder letterz.yaml"),
        ({"tasks": "knowlegde", "model": "mock/echo"}, TaskError, "did you mean knowledge"),
        ({"tasks": "knowledge", "model": 7}, EvalkitError, "cannot use a int as a model"),
        ({"tasks": "knowledge", "model": "mock/ecko"}, EvalkitError, "did you mean"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        evalkit.run(**arguments, store=False)
    assert isinstance(caught.value, UsageError) and "\n" not in str(caught.value)


def test_importing_evalkit_is_light():
    script = (
        "import sys, evalkit; dir(evalkit); heavy = {'torch', 'transformers', 'datasets', 'pandas', 'numpy'};"
        "heavy |= {'pydantic', 'yaml', 'jinja2', 'scipy', 'evalkit.runner'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_listed_once_and_all_there():
    from evalkit import api

    assert evalkit.__all__ == api.__all__ == sorted(set(api.__all__))
    for name in api.__all__:
        assert getattr(evalkit, name) is getattr(api, name)
        assert name in dir(evalkit) and name in dir(api)
    for module in (evalkit, api):
        with pytest.raises(AttributeError, match="has no attribute 'rnu'"):
            _ = module.rnu


def test_type_checkers_see_the_names_where_they_live():
    from evalkit import api

    told = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(api.__file__).read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("evalkit.")
        for alias in node.names
    }
    assert {name: api._HOME[name] for name in api.__all__} == told


def test_what_replaces_a_name_of_the_api_is_what_evalkit_has(monkeypatch):
    from evalkit import api

    monkeypatch.setattr(api, "gate", "replaced")
    assert evalkit.gate == "replaced"


def test_running_a_mock_imports_no_inference_library(work):
    script = (
        "import sys, evalkit; evalkit.run(tasks=sys.argv[1], model='mock/echo', store=False);"
        "print(sorted({'torch', 'transformers', 'datasets', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, *task(work, "letters")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_too_many_final_failures_stay_an_unfinished_run(work):
    settings = {"tasks": task(work, "letters"), "model": "mock/failing", "output_dir": work / "runs"}
    settings["model_args"] = {"rate": "0.5", "retryable": "false"}
    first = evalkit.run(**settings)
    again = evalkit.run(**settings)
    assert (first.status, again.status) == ("incomplete", "incomplete")
    assert again.path == first.path
    assert again.manifest["counts"]["asked"] == 0, "what failed for good is not asked again"
    assert evalkit.run(**settings, max_error_rate=1.0).status == "complete"
