"""What others must be told to judge or repeat a study, as far as the study's own files know it.

The questions are those that the Human Evaluation Datasheet asks (HEDS 3.0: Belz and Thomson, 2024), shortened. What only the
people who ran the study know is ``null``, to be filled in.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from evalkit.human.results import Answers
from evalkit.types import Json

#: What no file of the study knows.
TO_FILL_IN = (
    "who the annotators are, and how they were found",
    "training and qualification",
    "pay",
    "consent, and ethics review",
    "whether annotators could talk with each other, or knew the systems",
)


def datasheet(answers: Answers) -> dict[str, Json]:
    """Numbers of annotators, items and ratings, overlap, checks, and the words that were rated by."""
    item_rows = [a for a in answers.answers if a.kind == "item"]
    raters: dict[tuple[str, str], set[str]] = defaultdict(set)
    seconds: dict[tuple[str, str], float] = {}
    for a in item_rows:
        if a.value is not None:
            raters[a.item, a.system].add(a.annotator)
        if a.seconds is not None:
            seconds[a.annotator, a.row] = a.seconds
    shared = {item for (item, _), who in raters.items() if len(who) > 1}
    found: dict[str, Json] = {
        "annotators": len(answers.annotators),
        "items": len({a.item for a in item_rows}),
        "systems": list(answers.study.systems if answers.study else answers.systems),
        "outputs": len(raters),
        "ratings": sum(a.value is not None for a in item_rows),
        "not_applicable": sum(a.value is None for a in item_rows),
        "items_with_two_annotators": len(shared),
        "annotators_per_output": round(sum(map(len, raters.values())) / len(raters), 2) if raters else None,
        "repeats": len({(a.annotator, a.row) for a in answers.answers if a.kind == "repeat"}),
        "attention_checks": len({(a.annotator, a.row) for a in answers.answers if a.kind == "check"}),
        "median_seconds_a_row": median(seconds.values()) if seconds else None,
    }
    study = answers.study
    if study is not None:
        found |= {
            "study": study.id,
            "form": study.form,
            "created": study.created,
            "evalkit": study.evalkit,
            "seed": study.seed,
            "annotators_asked": len(study.annotators),
            "blind": "no sheet names a system; each annotator has an order of their own",
            "rubric": {"name": study.rubric.rubric, "version": study.rubric.version, "hash": study.rubric.hash},
            "task": study.rubric.task,
            "criteria": [
                {
                    "name": criterion.name,
                    "definition": criterion.definition,
                    "scale": dict(criterion.scale.points),
                    "levels": dict(criterion.levels),
                }
                for criterion in study.rubric.criteria
            ],
        }
    return found | {"to_fill_in": dict.fromkeys(TO_FILL_IN)}
