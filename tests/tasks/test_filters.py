import gzip
import json
import re
from pathlib import Path

import pytest

from evalkit.errors import TaskError
from evalkit.tasks.filters import FILTERS, RegexFilter, pipelines
from evalkit.tasks.schema import FilterPipeline

SHARED = Path(__file__).resolve().parents[3] / "shared"


def pipeline(*steps, name="f"):
    entry = FilterPipeline(name=name, filter=[{"function": s} if isinstance(s, str) else s for s in steps])
    return pipelines([entry], allow_code=False)[0]


def answer(responses, *steps, doc=None):
    return pipeline(*steps).apply([responses], [doc or {}])[0]


def test_without_a_filter_list_the_first_response_is_the_answer():
    (default,) = pipelines(None, allow_code=False)
    assert default.name == "none"
    assert default.apply([["a", "b"], ["c"]], [{}, {}]) == ["a", "c"]


@pytest.mark.parametrize(
    ("params", "text", "expected"),
    [
        ({}, "so #### -1,234.5 and #### 7", "-1,234.5"),
        ({}, "nothing", "[invalid]"),
        ({"group_select": -1}, "#### 1 #### 2", "2"),
        ({"regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}, "1 then $42.", "$42."),
        ({"regex_pattern": r"(x)?(y)?$", "fallback": "none"}, "abc", "none"),
        ({"regex_pattern": r"is (.*)"}, "is  padded ", "padded"),
        ({}, None, "[invalid]"),
    ],
)
def test_regex(params, text, expected):
    assert answer([text], {"function": "regex", **params}, "take_first") == expected


@pytest.mark.parametrize(
    ("steps", "responses", "expected"),
    [
        (["remove_whitespace", "take_first"], [" a "], "a"),
        (["lowercase", "take_first"], ["AbC"], "abc"),
        (["uppercase", "take_first"], ["AbC"], "ABC"),
        (["majority_vote", "take_first"], ["b", "a", "a", "b", "a"], "a"),
        (["majority_vote", "take_first"], ["b", "a"], "b"),
        ([{"function": "take_first_k", "k": 2}], ["a", "b", "c"], ["a", "b"]),
        ([{"function": "take_first_k", "k": 3}, "majority_vote", "take_first"], ["x", "y", "y", "x", "x"], "y"),
        ([{"function": "map", "mapping_dict": {"a": 1}, "default_value": 0}], ["a", "b"], [1, 0]),
        (["regex_pos", "take_first"], ["[('I', 'PRON'), ('go', 'VERB')]"], ["PRON", "VERB"]),
        (["regex_pos", "take_first"], ["no tags"], ["invalid"]),
        (
            ["format_span", "take_first"],
            ["Person: Ann, none $$ places: Kenya, Uganda"],
            "per: ann $ loc: kenya $ loc: uganda",
        ),
        ([{"function": "custom", "filter_fn": lambda resps, docs: [r[::-1] for r in resps]}], ["a", "b"], ["b", "a"]),
        ([], ["a", "b"], ["a", "b"]),
    ],
)
def test_steps(steps, responses, expected):
    assert answer(responses, *steps) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is (B).", "(B)"),
        ("it is GUILTY of romance!", "(B)"),  # not the shorter choice that it starts with
        ("guilty", "(A)"),
        ("Answer: C", "(C)"),
        ("no idea", "[invalid]"),
    ],
)
def test_multi_choice_regex(text, expected):
    step = {
        "function": "multi_choice_regex",
        "regex_pattern": r"(\([A-Z]\))",
        "ignore_case": True,
        "ignore_punctuation": True,
    }
    assert answer([text], step, "take_first", doc={"choices": ["Guilty.", "Guilty of Romance", "Free"]}) == expected


def test_multi_choice_regex_needs_choices():
    with pytest.raises(TaskError, match="needs a column 'choices'"):
        answer(["x"], "multi_choice_regex")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("takefirst", "unknown filter 'takefirst' .did you mean take_first"),
        ({"function": "take_first_k"}, "'k'"),
        ({"function": "regex", "regex_patern": "x"}, "regex_patern"),
        ({"function": "regex", "regex_pattern": "("}, "unterminated"),
    ],
)
def test_a_wrong_step_is_refused_before_the_run(step, message):
    with pytest.raises(TaskError, match=message):
        pipeline(step)


def test_a_step_that_fails_or_loses_samples_is_named():
    with pytest.raises(TaskError, match="filter 'f', step 'lowercase': AttributeError"):
        answer([None], "lowercase")
    with pytest.raises(TaskError, match="gave 0 answers for 1 samples"):
        answer(["x"], {"function": "custom", "filter_fn": lambda resps, docs: []})
    with pytest.raises(TaskError, match="raise 'repeats'"):
        answer(["x"], {"function": "take_first_k", "k": 2})


def test_a_task_folder_can_add_its_own():
    class Brackets(RegexFilter):
        def __init__(self):
            super().__init__(r"\[(.*?)\]", -1, "?")

    FILTERS.add("brackets", Brackets)
    assert answer(["a [b] [c]"], "brackets", "take_first") == "c"


# Accuracies that OpenAI's release reports for its four sets of model solutions to GSM8K's test set.
RELEASED = {"6b_finetuning": 21.68, "6b_verification": 39.04, "175b_finetuning": 34.72, "175b_verification": 56.25}


@pytest.mark.parametrize("solver", RELEASED)
def test_gsm8k_solutions_score_as_released(solver):
    path = SHARED / "data" / "gsm8k" / "example_model_solutions.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    flexible = pipeline(
        {"function": "regex", "group_select": -1, "regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)"}, "take_first"
    )
    gold = flexible.apply([[row["ground_truth"]] for row in rows], rows)
    answers = flexible.apply([[row[solver]["solution"]] for row in rows], rows)
    right = [plain(a) == plain(b) for a, b in zip(answers, gold, strict=True)]
    assert right == [row[solver]["is_correct"] for row in rows]
    assert round(100 * sum(right) / len(right), 2) == RELEASED[solver]


def plain(text: str) -> str:
    """What gsm8k's exact_match ignores."""
    return re.sub(r",|\$|\.$", "", text)
