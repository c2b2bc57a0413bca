"""Multiple choice in letter form: another prompt, another filter, another name; never mixed with log-likelihoods."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from task_kit import ListTable, choice_config, make

from evalkit import api
from evalkit.errors import ModelError, TaskError, TemplateError
from evalkit.runner.options import RunOptions
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.letters import LetterChoice, LetterLogprobs
from evalkit.scorers.registry import build_scorers
from evalkit.tasks.letter import INSTRUCTION, in_form, left_out
from evalkit.tasks.letter_answer import NONE, letter_of
from evalkit.types import Message, Record, Request, Response, Sample

SHOTS = {"num_fewshot": 1, "fewshot_split": "train", "fewshot_config": {"fewshot_indices": [5]}}


def letter(form: Any = "letter", splits: Any = None, options: dict[str, Any] | None = None, **keys: Any) -> Any:
    return make(in_form(choice_config(**keys), form), splits, **(options or {}))


def prompt(task: Any, at: int = 0) -> Any:
    return task.requests(list(task.samples())[at])[0].prompt


# --- the prompt -------------------------------------------------------------------------------------------------------


def test_options_are_lettered_below_the_question_and_its_cue_goes_to_the_end() -> None:
    assert prompt(letter()) == f"{INSTRUCTION}\n\nQ: q0\nA. c0a\nB. c0b\nC. c0c\nD. c0d\nAnswer:"


def test_examples_have_the_same_form() -> None:
    text = prompt(letter(description="About things.\n\n", **SHOTS))
    shot = "Q: train5\nA. c5a\nB. c5b\nC. c5c\nD. c5d\nAnswer: B"
    assert text == f"About things.\n\n{INSTRUCTION}\n\n{shot}\n\nQ: q0\nA. c0a\nB. c0b\nC. c0c\nD. c0d\nAnswer:"


def test_in_chat_the_examples_are_turns() -> None:
    found = prompt(letter(options={"apply_chat_template": True}, **SHOTS))
    assert [m.role for m in found] == ["system", "user", "assistant", "user"]
    assert found[2] == Message("assistant", "B")


def test_a_question_that_shows_its_options_is_left_as_it_is() -> None:
    text = "{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}"
    assert not prompt(letter(doc_to_choice=["no", "yes"], doc_to_target="{{label % 2}}")).startswith("\n")
    shown = letter(doc_to_text=text + "\nAnswer:", doc_to_choice=["A", "B"], doc_to_target=0)
    assert prompt(shown).endswith("\n\nq0\nA. c0a\nB. c0b\nAnswer:")
    bare = letter(doc_to_text=text, doc_to_choice=["(A)", "(B)"], doc_to_target=0)
    assert prompt(bare).endswith("\n\nq0\nA. c0a\nB. c0b\nAnswer:")


def test_texts_to_complete_become_whole_options() -> None:
    rows = ListTable([{"a": "cat", "b": "dog", "rest": "won", "label": i} for i in (1, 0)])
    task = letter(
        splits={"test": rows, "train": rows},
        doc_to_text="label",
        doc_to_choice="{{['The ' + a, 'The ' + b]}}",
        doc_to_target="rest",
        num_fewshot=1,
        fewshot_split="train",
        fewshot_config={"fewshot_indices": [1]},
    )
    one = "Which of these texts is right?\nA. The cat won\nB. The dog won\nAnswer:"
    assert prompt(task) == f"{INSTRUCTION}\n\n{one} A\n\n{one}"
    sample = next(task.samples())
    assert sample.target == 1 and len(sample.choices) == 2


def test_where_the_right_choice_always_stands_first_the_options_change_places() -> None:
    """TruthfulQA, BLiMP: else the letter A would always be right."""
    keys = {"doc_to_text": "", "doc_to_choice": "{{[question + ' is right', question + ' is wrong']}}", "doc_to_target": 0}
    task = letter(num_fewshot=1, fewshot_split="train", **keys)
    samples = list(task.samples())
    assert {s.target for s in samples} == {0, 1}
    for sample in samples:
        assert sample.choices[sample.target] == f"{sample.doc['question']} is right"
        lines = task.requests(sample)[0].prompt.splitlines()
        assert lines.count("Which of these texts is right?") == 2
        assert lines[-3:-1] == [f"A. {sample.choices[0]}", f"B. {sample.choices[1]}"]
        shown = lines.index(next(line for line in lines if line.startswith("Answer: ")))
        assert next(li for li in lines[shown - 2 : shown] if li.startswith(lines[shown][-1])).endswith("is right")
    assert [s.target for s in letter().samples()] == [i % 4 for i in range(10)]


def test_targets_that_are_texts_or_several_stay_indices_of_choices() -> None:
    assert [s.target for s in letter(doc_to_target="{{choices[label]}}").samples()] == [i % 4 for i in range(10)]
    for sample in letter(doc_to_target=[0, 3]).samples():
        assert {sample.choices[i][-1] for i in sample.target} == {"a", "d"}


def test_more_choices_than_letters_are_refused() -> None:
    with pytest.raises(TemplateError, match="27 choices cannot be lettered"):
        prompt(letter(doc_to_choice=[f"c{i}" for i in range(27)], doc_to_target=0))


def test_scoring_that_needs_log_likelihoods_is_refused_and_what_is_lost_is_named() -> None:
    with pytest.raises(TaskError, match="truthfulqa_mc2 need log-likelihoods"):
        letter(scorers=["truthfulqa_mc2"])
    assert left_out(choice_config(metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}])) == ["acc_norm"]


def test_the_request_is_a_short_greedy_generation() -> None:
    (request,) = (task := letter()).requests(next(task.samples()))
    assert request.kind == "generate"
    assert dict(request.params) == {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 256}
    (request,) = (task := letter("letter-logprobs")).requests(next(task.samples()))
    assert (request.params["logprobs"], request.params["top_logprobs"], request.params["max_gen_toks"]) == (True, 20, 4)
    longer = letter(options={"generation": {"max_gen_toks": 4000}})
    assert longer.requests(next(longer.samples()))[0].params["max_gen_toks"] == 4000


# --- the letter -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("B", "B"),
        (" (b) ", "B"),
        ("**C**.", "C"),
        ("\nD\n", "D"),
        ("B. Paris", "B"),
        ("(B) Paris", "B"),
        ("B) Paris, because A is wrong", "B"),
        ("B\nBecause A is a river.", "B"),
        ("B because it is", "B"),
        ("**B.** Paris", "B"),
        ("A. Paris", "A"),
        ("The answer is B.", "B"),
        ("The correct answer is: **C**", "C"),
        ("Answer: D", "D"),
        ("Final Answer: (A)", "A"),
        ("The answer is option C", "C"),
        ("I first thought the answer is A. But no. The answer is D", "D"),
        ("A. is tempting, yet the best choice is (C).", "C"),
        ("So $\\boxed{B}$", "B"),
        ("the answer is \\boxed{\\text{C}}", "C"),
        ("The capital is Paris, so (C) it is", "C"),
        ("A dog has four legs", None),
        ("I think so", None),
        ("Either (A) or (B)", None),
        ("Paris", None),
        ("The answer is Both", None),
        ("", None),
        ("I'm not sure", None),
    ],
)
def test_the_letter_of_an_answer(text: str, found: str | None) -> None:
    assert letter_of(text) == found


def test_the_pipeline_has_a_name_of_its_own_and_marks_what_names_no_letter() -> None:
    (pipeline,) = letter().filters
    assert pipeline.name == "letter"
    assert pipeline.apply([["B. x"], ["dunno"], [None]], [{}, {}, {}]) == ["B", NONE, NONE]
    assert letter("letter-logprobs").filters[0].name == "letter-logprobs"


# --- the scores -------------------------------------------------------------------------------------------------------


def record(answer: str, target: Any = 1, top: dict[str, float] | None = None) -> Record:
    sample = Sample("t", "s", 0, {}, target, ("w", "x", "y"))
    extra = {} if top is None else {"top_logprobs": top}
    return Record(sample, (Request("generate", "q"),), (Response("k", text=answer, extra=extra),), "letter", answer)


def test_no_letter_is_wrong_and_counted_apart() -> None:
    scorer = LetterChoice()
    assert [scorer.score_one(record(a)).stats for a in ("B", "A", NONE, "D")] == [(1, 0), (0, 0), (0, 1), (0, 1)]
    assert scorer.score_one(record("C", (1, 2))).value == 1.0
    assert scorer.score_one(record("B")).chance == pytest.approx(1 / 3)
    assert scorer.score_one(record("B", "z")).stats is None
    assert scorer.signature() == "letter_choice|form:letter|version:1"


def test_letter_probabilities() -> None:
    scorer = LetterLogprobs()
    score = scorer.score_one(record("", top={" B": math.log(0.4), "B": math.log(0.2), "A": math.log(0.3), "The": -3.0}))
    assert score.value == 1.0 and score.stats is not None
    assert score.stats[1] == pytest.approx(0.9)
    assert score.detail["letters"] == {"A": 0.3, "B": 0.6, "C": 0.0}
    assert "no option's letter is among the 1" in (scorer.score_one(record("", top={"The": -0.1})).reason or "")
    assert "top_logprobs" in (scorer.score_one(record("")).reason or "")


def test_the_scorers_are_those_of_generation() -> None:
    for name in ("letter_choice", "letter_logprobs"):
        (scorer,) = build_scorers(ScoringPlan("generate_until", scorers=(ScorerSpec(name),)))
        assert [m.headline for m in scorer.metrics] == [True, False]


# --- the run ----------------------------------------------------------------------------------------------------------

TASK = """
task: letters
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_choice: [one, two]
doc_to_target: "{{a}}"
"""


def options(folder: Path, text: str = TASK, **changes: Any) -> RunOptions:
    (folder / "rows.jsonl").write_text("".join(json.dumps({"q": f"q{i}", "a": i % 2}) + "\n" for i in range(4)))
    (folder / "letters.yaml").write_text(text)
    chosen = {"tasks": (str(folder / "letters.yaml"),), "model": always_b, "output_dir": folder / "runs", **changes}
    return RunOptions(**chosen)


def always_b(prompt: Any) -> str:
    return "The answer is B." if "q0" not in str(prompt) else "dunno"


def test_a_model_that_cannot_score_is_asked_for_letters_and_that_is_said(tmp_path: Path) -> None:
    run = api.run(options=options(tmp_path))
    summaries = {s.metric: s for s in run.summary()}
    assert summaries["acc"].value == 0.5 and summaries["unparsed"].value == 0.25
    assert summaries["acc"].filter == "letter" and "form:letter" in summaries["acc"].signature
    assert (summaries["acc"].chance, summaries["unparsed"].chance) == (0.5, None)
    assert any("does not score given texts" in w and "letters" in w for w in run.manifest["warnings"])
    assert run.manifest["identity"]["tasks"]["letters"]["form"] == "letter"
    assert run.manifest["tasks"]["letters"]["config"]["form"] == "letter"
    again = api.rescore(run.path).summary()
    assert {(s.metric, s.filter, s.value) for s in again} == {(s.metric, s.filter, s.value) for s in run.summary()}


def test_a_model_that_can_score_is_asked_for_log_likelihoods(tmp_path: Path) -> None:
    run = api.run(options=options(tmp_path, model="mock/uniform"))
    assert {(s.metric, s.filter) for s in run.summary()} == {("acc", "none"), ("acc_norm", "none")}
    assert "form" not in run.manifest["identity"]["tasks"]["letters"]


def test_the_form_can_be_chosen_by_the_run_or_by_the_file(tmp_path: Path) -> None:
    chosen = {"model": "mock/echo", "model_args": {"text": "B"}}
    for given in (options(tmp_path, form="letter", **chosen), options(tmp_path, TASK + "form: letter\n", **chosen)):
        run = api.run(options=given, store=False)
        assert {(s.metric, s.filter, s.value) for s in run.summary()} == {
            ("acc", "letter", 0.5),
            ("unparsed", "letter", 0.0),
        }
        assert any("not comparable with log-likelihood" in w for w in run.manifest["warnings"])
    run = api.run(options=options(tmp_path, TASK + "form: letter\n", form="loglikelihood", **chosen), store=False)
    assert {s.filter for s in run.summary()} == {"none"}
    with pytest.raises(ModelError, match="can only do generate"):
        api.run(options=options(tmp_path, form="loglikelihood"), store=False)


def test_every_built_in_multiple_choice_task_can_be_asked_or_says_why_not() -> None:
    from evalkit.tasks.load import TaskLibrary

    library = TaskLibrary()
    names = [entry.name for entry in library.listing()]
    refused = set()
    for config in library.resolve(names).tasks:
        try:
            assert in_form(config, "letter").output_type != "multiple_choice"
        except TaskError as error:
            assert re.search("need log-likelihoods|reads log-likelihoods", str(error))
            refused.add(config.task)
    assert "truthfulqa_mc2" in refused and "arc_easy" not in refused and "winogrande" not in refused
