"""Which runs may not be compared: the line says what differs, where, and how to run again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from comparison_runs import make_run, make_scores, rows, write_task

import evalkit
from evalkit.comparison.base import MISSING
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.directory import digest
from evalkit.comparison.load import load_scores
from evalkit.comparison.match import match_runs
from evalkit.comparison.rerun import rerun_command
from evalkit.errors import NotComparable


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def base(tmp_path_factory, task):
    return make_scores(tmp_path_factory.mktemp("runs"), task, "base")


def refusal(baseline, system, **settings):
    with pytest.raises(NotComparable) as caught:
        compare_scores(baseline, system, **settings)
    line = str(caught.value)
    assert caught.value.exit_code == 4
    assert "\n" not in line
    return line


def test_other_examples_in_the_prompt(tmp_path, task, base):
    line = refusal(base, make_scores(tmp_path, task, "cand", num_fewshot=2))
    assert line.startswith(
        "cand cannot be compared with base: sums: prompts differ in 40 of 40 samples (first q000): "
        "num_fewshot 0 in base, 2 in cand. "
        f"To compare them, run again: evalkit run --tasks {task}"
    )
    line = refusal(make_scores(tmp_path, task, "shots", num_fewshot=2), base)
    assert line.endswith(f"run again: evalkit run --tasks {task} --num-fewshot 2")


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"system_instruction": "Be brief."}, "system_instruction none in base, Be brief. in cand"),
        ({"gen_kwargs": {"max_gen_toks": 4}}, 'gen_kwargs {} in base, {"max_gen_toks": 4} in cand'),
        ({"apply_chat_template": True}, "apply_chat_template false in base, true in cand"),
    ],
)
def test_other_settings(tmp_path, task, base, settings, said):
    assert f"(first q000): {said}." in refusal(base, made(tmp_path, task, settings))


def made(tmp_path, task, settings):
    if "apply_chat_template" not in settings:
        return make_scores(tmp_path, task, "cand", **settings)
    return load_scores(evalkit.run(tasks=str(task), model="mock/echo", output_dir=tmp_path, name="cand", **settings).path)


def test_another_draw_of_examples(tmp_path):
    task = write_task(tmp_path / "t", shots=30)
    a, b = (make_scores(tmp_path, task, f"s{seed}", num_fewshot=3, seed=seed) for seed in (1, 2))
    assert "seed 1 in s1, 2 in s2" in refusal(a, b)


def test_another_seed_without_examples_is_the_same(tmp_path, task, base):
    assert compare_scores(base, make_scores(tmp_path, task, "cand", seed=7))[0].n == 40


def test_multiple_choice_asked_in_letters(tmp_path):
    keys = {"output_type": "multiple_choice", "doc_to_choice": ["yes", "no"], "doc_to_target": "yes", "scorers": ["acc"]}
    task = write_task(tmp_path / "t", **keys)
    a, b = (
        load_scores(evalkit.run(tasks=str(task), model="mock/echo", output_dir=tmp_path, form=form, name=form).path)
        for form in ("loglikelihood", "letter")
    )
    assert "form loglikelihood in loglikelihood, letter in letter" in refusal(a, b)


def test_another_definition(tmp_path, base):
    other = write_task(tmp_path / "t", doc_to_text="Q: {{question}}\nAnswer:")
    assert "prompts differ in 40 of 40 samples (first q000): definition hash" in refusal(
        base, make_scores(tmp_path, other, "c")
    )


def test_a_definition_that_asks_the_same_is_only_noted(tmp_path, base):
    other = write_task(tmp_path / "t", summary="Sums", metadata={"version": "1.0", "author": "me"})
    (c, *_) = compare_scores(base, make_scores(tmp_path, other, "c"))
    assert c.notes == ("the task's definition has changed, what its samples ask has not",)


def test_other_data_under_the_same_ids(tmp_path, base):
    data = rows()
    data[3]["answer"] = "7"
    line = refusal(base, make_scores(tmp_path, write_task(tmp_path / "t", data=data), "cand"))
    assert "sums: data or prompts differ in 1 of 40 samples (first q003): data hash" in line


def test_other_data_altogether(tmp_path, base):
    data = [{**row, "id": f"x{i}"} for i, row in enumerate(rows())]
    line = refusal(base, make_scores(tmp_path, write_task(tmp_path / "t", data=data), "cand"))
    assert "sums: the data is another one: 0 of 40 samples are in both runs" in line


def test_another_version(tmp_path, base):
    other = write_task(tmp_path / "t", metadata={"version": "2.0"})
    line = refusal(base, make_scores(tmp_path, other, "cand"))
    assert "sums: version 1.0 in base, 2.0 in cand. To compare them, run base again, too: evalkit run" in line


def test_too_few_samples_in_common(tmp_path, task, base):
    less = make_scores(tmp_path, task, "less", limit=30)
    line = refusal(base, less)
    assert "sums: 30 of 40 samples are in both runs (75.0%, below 98%): limit none in base, 30 in less" in line
    assert "--limit 30" in refusal(less, base)
    assert compare_scores(base, less, min_overlap=0.7)[0].n == 30


def test_another_filter_of_the_same_name(tmp_path):
    def filtered(pattern):
        steps = [{"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}]
        return write_task(tmp_path / pattern[1:4], filter_list=[{"name": "number", "filter": steps}])

    a, b = (make_scores(tmp_path, filtered(pattern), pattern[1]) for pattern in ("(\\d+)", "([0-9]+)"))
    assert "sums: filter number is" in refusal(a, b)


def test_a_scorer_that_computes_otherwise(tmp_path, base):
    task = write_task(tmp_path / "t", scorers=[{"name": "exact_match", "ignore_case": True}])
    other = make_scores(tmp_path, task, "cand")
    line = refusal(base, other)
    assert "sums: scorer exact_match is exact_match|" in line
    assert f"score both again: evalkit rescore {base.path}; evalkit rescore {other.path}" in line
    assert compare_scores(base, other, strict=False) == []
    notes = match_runs(base, other, strict=False).pairs[0].notes
    assert any(note.startswith("left out: scorer exact_match is") for note in notes)
    assert "scorer exact_match" in refusal(base, other, strict=False, metrics=["exact_match"])


def test_what_differs_in_other_metrics_does_not_matter(tmp_path):
    task = write_task(tmp_path / "t", scorers=["exact_match", "token_f1"])
    a, b = (make_scores(tmp_path, task, name) for name in "ab")
    key = ("sums", "none")
    measured = [
        replace(m, signature=m.signature + "|x") if m.scorer.name == "token_f1" else m for m in b.tasks[key].measured
    ]
    changed = replace(b, tasks={key: replace(b.tasks[key], measured=tuple(measured))})
    assert {c.metric.name for c in compare_scores(a, changed, metrics=["exact_match"])} == {"exact_match"}
    assert "scorer token_f1" in refusal(a, changed)


def test_a_scorer_that_only_one_run_has_is_noted(tmp_path, base):
    other = make_scores(tmp_path, write_task(tmp_path / "t", scorers=["token_f1"]), "cand")
    matching = match_runs(base, other)
    assert matching.pairs[0].scorers == ()
    assert "exact_match is measured in base only (evalkit rescore adds scorers to a run)" in matching.pairs[0].notes


def test_tasks_of_one_run_only_are_noted(tmp_path, task, base):
    more = make_scores(tmp_path, [task, write_task(tmp_path / "t", "more")], "more")
    assert match_runs(base, more).notes == ("only more has more",)
    assert {c.task for c in compare_scores(base, more)} == {"sums"}


def test_no_task_in_common(tmp_path, base):
    other = make_scores(tmp_path, write_task(tmp_path / "t", "others"), "other")
    assert "base and other have no task in common (sums against others); run again: evalkit run" in refusal(base, other)


def test_an_unfinished_run(base):
    scores = base.tasks["sums", "none"]
    (measured,) = scores.measured
    status = measured.status.copy()
    status[5:] = MISSING
    measured = replace(measured, status=status, stats=np.where(status[:, None] == MISSING, np.nan, measured.stats))
    half = replace(
        base,
        name="half",
        manifest={**base.manifest, "status": "interrupted"},
        tasks={("sums", "none"): replace(scores, measured=(measured,))},
    )
    for pair in ((base, half), (half, base)):
        line = refusal(*pair)
        assert line.startswith("run half is interrupted: 35 of its samples are not answered; finish it first")
    whole = replace(base, name="whole", manifest={**base.manifest, "status": "incomplete"})
    assert match_runs(base, whole).notes == (
        "whole is incomplete: requests of it failed that asking again might mend (evalkit run --resume)",
    )


def test_a_run_that_was_never_scored(tmp_path, task):
    path = make_run(tmp_path, task, "killed")
    manifest = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    for name in ("summary.json", *(f"scores/{p.name}" for p in (path / "scores").iterdir())):
        (path / name).unlink()
    with pytest.raises(NotComparable, match=r"killed.* is interrupted and not scored; finish it first"):
        load_scores(path)


def test_several_reasons_are_one_line(tmp_path):
    first, second = (
        make_scores(
            tmp_path,
            [write_task(tmp_path / name, task, doc_to_text=f"{prefix}: {{{{question}}}}") for task in ("a", "b", "c", "d")],
            name,
        )
        for name, prefix in (("one", "Q"), ("two", "Question"))
    )
    line = refusal(first, second)
    assert "a: prompts" in line and "c: prompts" in line and "; and 1 more. To compare them, run again" in line
    assert "d: prompts differ" in refusal(first, second, tasks=["d"])


@pytest.mark.parametrize(
    ("named", "again"), [("quickstart", "quickstart"), ("knowledge,grammar,arithmetic", "knowledge,arithmetic")]
)
def test_a_task_by_name_is_run_again_by_name_a_group_as_a_whole(tmp_path, named, again):
    base, cand = (
        load_scores(evalkit.run(tasks=named, model="mock/echo", output_dir=tmp_path, name=name, limit=4, **more).path)
        for name, more in (("base", {}), ("cand", {"num_fewshot": 1}))
    )
    line = refusal(base, cand)
    assert line.endswith(f"run again: evalkit run --model mock/echo --tasks {again} --limit 4")


def test_a_chat_templates_rendering_does_not_count():
    sample = {
        "doc": {"q": "1?"}, "prompts": ["<s>[INST] 1? [/INST]"], "params": [{"until": []}],
        "requests": [["k1", "generate", 0, "", 0, 0, 0]], "target": "1",
    }  # fmt: skip
    other = {**sample, "prompts": ["<|user|>1?<|end|>"], "requests": [["k2", "generate", 0, "", 0, 0, 0]]}
    messages = {**sample, "prompts": [[["user", "1?"]]]}
    assert digest(sample, chat=True) == digest(other, chat=True) == digest(messages, chat=True)
    assert digest(sample, chat=False) != digest(other, chat=False)
    assert digest(sample, chat=True) != digest({**other, "target": "2"}, chat=True)
    assert digest(sample, chat=True) != digest({**other, "params": [{"until": ["\n"]}]}, chat=True)


def test_with_a_chat_template_what_goes_in_is_the_same(tmp_path):
    task = write_task(tmp_path / "t")

    def chat(name, **settings):
        made = evalkit.run(
            tasks=str(task), model="mock/echo", output_dir=tmp_path, name=name, apply_chat_template=True, **settings
        )
        return load_scores(made.path)

    base = chat("base")
    assert compare_scores(base, chat("same"))[0].n == 40
    assert "num_fewshot 0 in base, 2 in shots" in refusal(base, chat("shots", num_fewshot=2))
    assert "system_instruction none in base, Hi in told" in refusal(base, chat("told", system_instruction="Hi"))


def test_the_command_runs_one_model_as_the_other(tmp_path, task):
    like = make_scores(
        tmp_path, task, "like", num_fewshot=1, limit=10, seed=3, gen_kwargs={"temperature": 0.5, "do_sample": True},
        system_instruction="Don't guess", samples=None,
    )  # fmt: skip
    made = evalkit.run(tasks=str(task), model="mock/echo", model_args={"latency": "0"}, output_dir=tmp_path, name="of")
    command = rerun_command(load_scores(made.path), like)
    assert command == (
        f"evalkit run --model mock/echo -M latency=0 --tasks {task} --num-fewshot 1 --limit 10 --seed 3 "
        "--system-instruction 'Don'\"'\"'t guess' --gen-kwargs temperature=0.5 --gen-kwargs do_sample=true"
    )
