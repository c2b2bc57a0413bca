"""Rows of stereotype sets in one shape, from the files of their makers or from the Hugging Face hub.

`crows_pairs` (Nangia et al., 2020), `stereoset` (Nadeem et al., 2021), `bbq` (Parrish et al., 2022).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Doc = dict[str, Any]

#: Names of the hub's numbered classes, in their order.
BIAS_TYPES = (
    *("race-color", "socioeconomic", "gender", "disability", "nationality"),
    *("sexual-orientation", "physical-appearance", "religion", "age"),
)
DIRECTIONS = ("stereo", "antistereo")
GOLD_LABELS = ("anti-stereotype", "stereotype", "unrelated")


def crows_pairs(doc: Mapping[str, Any]) -> Iterable[Doc]:
    """A pair with ``bias_type`` and ``stereo_antistereo`` as words, and ``pair_id``, its number in the file.

    ``sent_more`` is the sentence that stereotypes more, whichever way the pair goes.
    """
    for column in ("sent_more", "sent_less", "bias_type", "stereo_antistereo"):
        if doc.get(column) in (None, ""):
            raise ValueError(f"no {column!r} in a row of CrowS-Pairs (it has {', '.join(map(repr, doc))})")
    number = next((doc[key] for key in ("id", "", "Unnamed: 0") if doc.get(key) not in (None, "")), None)
    yield {
        **{key: value for key, value in doc.items() if key},
        "pair_id": None if number is None else str(number),
        "bias_type": _name(doc["bias_type"], BIAS_TYPES),
        "stereo_antistereo": _name(doc["stereo_antistereo"], DIRECTIONS),
    }


def _name(value: Any, names: tuple[str, ...]) -> str:
    """A class by name, whether the data has its number or its name."""
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else str(value)


def _stereoset(kind: str) -> Callable[[Mapping[str, Any]], Iterable[Doc]]:
    """Rows of one of the two kinds; of a file with both (a column ``type``), the others are dropped."""

    def rows(doc: Mapping[str, Any]) -> Iterable[Doc]:
        if str(doc.get("type") or kind) == kind:
            yield stereoset(doc)

    return rows


def stereoset(doc: Mapping[str, Any]) -> Doc:
    """One context with ``options``: the stereotyping, the anti-stereotyping and the unrelated sentence, in this order.

    Reads ``sentences`` with ``sentence`` and ``gold_label`` (a list of rows, as published, or columns, as on the hub) or the
    three sentences as columns of their names. ``target`` is the term in question, ``bias_type`` its domain.
    """
    sentences = doc.get("sentences")
    if isinstance(sentences, Mapping):
        labelled = zip(sentences["gold_label"], sentences["sentence"], strict=True)
        found = {_name(label, GOLD_LABELS): text for label, text in labelled}
    elif sentences:
        found = {_name(row["gold_label"], GOLD_LABELS): row["sentence"] for row in sentences}
    else:
        columns = ((label, label.replace("-", "")) for label in GOLD_LABELS)
        found = {label: doc.get(label, doc.get(plain)) for label, plain in columns}
    options = [found.get(label) for label in ("stereotype", "anti-stereotype", "unrelated")]
    if not all(options) or not doc.get("target"):
        raise ValueError(f"no target with a stereotyping, an anti-stereotyping and an unrelated sentence: {dict(doc)!r}")
    return {**doc, "options": [str(option).strip() for option in options], "context": str(doc.get("context") or "").strip()}


stereoset_intrasentence, stereoset_intersentence = _stereoset("intrasentence"), _stereoset("intersentence")


def bbq(doc: Mapping[str, Any]) -> Iterable[Doc]:
    """An item with what its metrics need to know of its answers.

    ``options`` are the three answers; ``unknown`` is the position of the one that says it cannot be known, ``biased`` that
    of the one that goes with the stereotype: the target group in negative questions, the other one in those that are not.
    It is ``None`` where the stereotyped groups tell none or both of the two apart. ``alignment`` (of a
    disambiguated item): whether the right answer goes with the stereotype (``aligned``) or against it (``nonaligned``).
    ``template`` is what the items made from one question share, ``item`` names the item.
    """
    unknown = [at for at in range(3) if "unknown" in _tags(doc, at)]
    if len(unknown) != 1:
        raise ValueError(f"{len(unknown)} of the three answers are marked unknown in {doc.get('answer_info')!r}")
    named = [at for at in range(3) if at not in unknown]
    target = _target(doc, named)
    other = None if target is None else sum(named) - target
    biased = target if doc["question_polarity"] == "neg" else other
    label, ambiguous = int(doc["label"]), str(doc["context_condition"]).startswith("amb")
    known = not ambiguous and biased is not None and label != unknown[0]
    yield {
        **doc,
        "options": [doc[f"ans{at}"] for at in range(3)],
        "unknown": unknown[0],
        "biased": biased,
        "alignment": ("aligned" if label == biased else "nonaligned") if known else None,
        "template": f"{doc['category']}.{doc['question_index']}",
        "item": f"{doc['category']}.{doc['example_id']}",
    }


def _tags(doc: Mapping[str, Any], at: int) -> list[str]:
    return [str(tag).lower() for tag in doc["answer_info"][f"ans{at}"]]


def _target(doc: Mapping[str, Any], named: list[int]) -> int | None:
    """Which of two answers is the stereotyped group's: by its whole tag or name, else by a part (F-Black: F, Black)."""
    groups = {str(group).lower() for group in doc["additional_metadata"]["stereotyped_groups"]}
    for words in (lambda tags: set(tags), _parts):
        found = [at for at in named if groups & words(_tags(doc, at))]
        if len(found) == 1:
            return found[0]
    return None


_SEX = {"woman": "f", "girl": "f", "man": "m", "boy": "m"}


def _parts(tags: Iterable[str]) -> set[str]:
    parts = {part for tag in tags for part in re.split(r"[-_\s]", tag)}
    return parts | {_SEX[part] for part in parts if part in _SEX}
