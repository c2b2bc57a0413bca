"""Named document transforms: what well-known benchmarks need of code, so that their definitions need no ``!function``.

A task file names one as ``transform: hellaswag``; it is applied to every row of every split the task uses. A transform
takes a row and gives any number of rows (none drops it). Columns that are not replaced stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from evalkit.errors import TaskError
from evalkit.registry import Registry

Doc = dict[str, Any]
Transform = Callable[[Mapping[str, Any]], Iterable[Doc]]

TRANSFORMS = Registry(
    "transform",
    {
        "hellaswag": f"{__name__}:hellaswag",
        "winogrande": f"{__name__}:winogrande",
        "wikitext": f"{__name__}:wikitext",
        "truthfulqa_gen": f"{__name__}:truthfulqa_gen",
        "winogender": "evalkit.tasks.coreference:winogender",
        "winogender_female": "evalkit.tasks.coreference:winogender_female",
        "winogender_gotcha": "evalkit.tasks.coreference:winogender_gotcha",
        "winogender_gotcha_female": "evalkit.tasks.coreference:winogender_gotcha_female",
        "winogender_gotcha_male": "evalkit.tasks.coreference:winogender_gotcha_male",
        "winogender_male": "evalkit.tasks.coreference:winogender_male",
        "winogender_neutral": "evalkit.tasks.coreference:winogender_neutral",
        "winobias": "evalkit.tasks.coreference:winobias",
        "crows_pairs": "evalkit.tasks.stereotypes:crows_pairs",
        "stereoset_intersentence": "evalkit.tasks.stereotypes:stereoset_intersentence",
        "stereoset_intrasentence": "evalkit.tasks.stereotypes:stereoset_intrasentence",
        "bbq": "evalkit.tasks.stereotypes:bbq",
        "openai_moderation": "evalkit.tasks.moderation_labels:openai_moderation",
    },
    TaskError,
)


def hellaswag(doc: Mapping[str, Any]) -> Iterable[Doc]:
    """``query``, ``choices`` and ``gold`` from HellaSwag's raw columns, with WikiHow's bracketed marks removed."""
    context = f"{doc['activity_label']}: {doc['ctx_a']} {doc['ctx_b'].capitalize()}"
    label = str(doc["label"]).strip()
    yield {
        **doc,
        "query": _without_marks(context),
        "choices": [_without_marks(ending) for ending in doc["endings"]],
        "gold": int(label) if label else None,  # the test split hides its labels
    }


def _without_marks(text: str) -> str:
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def winogrande(doc: Mapping[str, Any]) -> Iterable[Doc]:
    """``contexts`` (the sentence up to each option), ``continuation`` (what follows the blank) and ``gold`` (0 or 1)."""
    before, blank, after = doc["sentence"].partition("_")
    if not blank:
        raise ValueError(f"no blank (_) in the sentence {doc['sentence']!r}")
    answer = str(doc["answer"])
    yield {
        **doc,
        "contexts": [before + doc["option1"], before + doc["option2"]],
        "continuation": after.strip(),
        "gold": {"1": 0, "2": 1}.get(answer),
    }


#: WikiText's tokenised text to running text: the customary detokeniser's rules, in its order (each sees the last one's
#: output), less one whose pattern (a slash, a quote, a digit, a slash) was a slip and would put "[0-9]" into the text.
_PLAIN = (("s '", "s'"), (" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."))
_PUNCTUATION = tuple((f" {mark} ", f"{mark} ") for mark in ":;.!?,")
_PAIRED = (
    (re.compile(r"\(\s*([^\)]*?)\s*\)"), r"(\1)"),
    (re.compile(r"\[\s*([^\]]*?)\s*\]"), r"[\1]"),
    (re.compile(r"{\s*([^}]*?)\s*}"), r"{\1}"),
    (re.compile(r"\"\s*([^\"]*?)\s*\""), r'"\1"'),
    (re.compile(r"'\s*([^']*?)\s*'"), r"'\1'"),
)
_LAST = (
    *(("= = = =", "===="), ("= = =", "==="), ("= =", "=="), (" \N{DEGREE SIGN} ", "\N{DEGREE SIGN}")),
    *((" \n", "\n"), ("\n ", "\n"), (" N ", " 1 "), (" 's", "'s")),
)


def wikitext(doc: Mapping[str, Any]) -> Iterable[Doc]:
    """``text``: the detokenised ``page``, which stays (word and byte perplexity count words and bytes of the page)."""
    text = doc["page"]
    for old, new in _PLAIN + _PUNCTUATION:
        text = text.replace(old, new)
    for pattern, new in _PAIRED:
        text = pattern.sub(new, text)
    for old, new in _LAST:
        text = text.replace(old, new)
    yield {**doc, "text": text}


def truthfulqa_gen(doc: Mapping[str, Any]) -> Iterable[Doc]:
    """TruthfulQA's reference answers as sentences, with the refusal among the correct ones."""
    refusal = "I have no comment."
    correct = _sentences(doc["correct_answers"])
    yield {
        **doc,
        "question": doc["question"].strip(),
        "correct_answers": correct if refusal in correct else [*correct, refusal],
        "incorrect_answers": _sentences(doc["incorrect_answers"]),
    }


def _sentences(answers: Iterable[str]) -> list[str]:
    stripped = (answer.strip() for answer in answers)
    return [answer if answer.endswith(".") else f"{answer}." for answer in stripped if answer]
