"""A study with ratings whose truth is known: systems differ by what they were made to, one annotator is lenient."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from evalkit.human.base import Given, Output, Row, Study
from evalkit.human.given import GIVEN, Returned, Source, as_json, tidy
from evalkit.human.ids import new_ids
from evalkit.human.key import write_study
from evalkit.human.layout import row_digest
from evalkit.ratings.base import RATINGS, write_ratings
from evalkit.rubric.schema import Criterion, Rubric, Scale

#: True mean of each system; ratings are rounded to the scale 1 to 5.
TRUE = {"plain": 2.5, "tuned": 3.5, "same as tuned": 3.5}
#: How much higher each annotator rates.
LENIENT = {"annotator_01": 0.0, "annotator_02": 0.8, "annotator_03": 0.0}
ITEMS, SHARED = 40, 20


def rubric(form: str = "pointwise") -> Rubric:
    if form == "pairwise":
        scale = Scale(labels=("A", "tie", "B"), values=(1, 0.5, 0))
        criterion = Criterion(name="preference", definition="Which is better?", scale=scale)
        return Rubric(rubric="pairs", form="pairwise", task="Compare.", needs=("input", "output"), criteria=(criterion,))
    scale = Scale(low=1, high=5)
    names = {"fluency": "Does it read well?", "relevance": "Is it to the point?"}
    criteria = tuple(Criterion(name=name, definition=text, scale=scale) for name, text in names.items())
    return Rubric(rubric="small", task="Rate <b>each</b> text.", needs=("source", "output"), criteria=criteria)


def text(item: int, system: int) -> str:
    return f"Text {item} of {system}."


def study(form: str = "pointwise", written: Callable[[int, int], str] = text) -> Study:
    """40 items (20 rated by all), three systems; a repeat of every tenth row, and two checks a sheet.

    ``written`` gives a system's output for an item, by their numbers.
    """
    ids = iter(new_ids(2000, 3))
    rows: list[Row] = []
    for at, who in enumerate(LENIENT):
        items = [i for i in range(ITEMS) if i < SHARED or i % len(LENIENT) == at]
        mine = [row for i in items for row in _rows(i, who, at, form, ids, written)]
        again = [replace(row, id=next(ids), kind="repeat", of=row.id) for row in mine[::10]]
        if form == "pairwise":
            again = [replace(row, first=row.second or row.first, second=row.first) for row in again]
        worst, shown = {"fluency": 2.0}, replace(mine[0].first, system="", text="words of order out")
        if form == "pairwise":
            checks = [Row(next(ids), who, 0, "check", mine[at].first, shown, expected={"preference": "A"}) for at in (0, 1)]
        else:
            checks = [Row(next(ids), who, 0, "check", shown, expected=dict(worst)) for _ in range(2)]
        rows += [replace(row, position=place) for place, row in enumerate([*mine, *again, *checks])]
    kind = "pairwise" if form == "pairwise" else "pointwise"
    made = Study("stest", kind, rubric(form), 3, "2026-01-01", "0", ("a", "b", "c"), tuple(TRUE), tuple(LENIENT), ())
    return replace(made, rows=tuple(replace(row, digest=row_digest(made, row)) for row in rows))


def _rows(item: int, who: str, at: int, form: str, ids, written: Callable[[int, int], str]) -> list[Row]:
    outputs = [
        Output(f"doc{item}", name, written(item, k), f"Ask {item}", f"Source {item}.", f"Reference {item}.", "news")
        for k, name in enumerate(TRUE)
    ]
    if form == "pointwise":
        return [Row(next(ids), who, 0, "item", output) for output in outputs]
    pairs = [pair[::-1] if (item + at) % 2 else pair for pair in combinations(outputs, 2)]
    return [Row(next(ids), who, 0, "item", *pair) for pair in pairs]


def answered(made: Study, seed: int = 0) -> list[Given]:
    """What the annotators say: the truth of item and system, their leniency, and noise. annotator_03 fails the checks."""
    noise = random.Random(seed)
    item = {f"doc{i}": noise.gauss(0, 0.5) for i in range(ITEMS)}
    found = []
    for row in made.rows:
        for criterion in made.rubric.names:
            if row.kind == "check":
                value = 0.0 if row.second else 5.0
                if row.annotator != "annotator_03":
                    value = 1.0
            elif row.second is not None:
                gap = TRUE[row.first.system] - TRUE[row.second.system] + noise.gauss(0, 0.8)
                value = 1.0 if gap > 0.3 else 0.0 if gap < -0.3 else 0.5
            else:
                level = TRUE[row.first.system] + item[row.first.item] + LENIENT[row.annotator] + noise.gauss(0, 0.4)
                value = float(min(5, max(1, round(level))))
            found.append(Given(row.id, row.annotator, criterion, value, seconds=20.0))
    return found


def rated(
    folder: Path,
    form: str = "pointwise",
    given: list[Given] | None = None,
    written: Callable[[int, int], str] = text,
) -> Study:
    """A study's folder as an import leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = study(form, written)
    write_study(made, folder)
    said = answered(made) if given is None else given
    source = Source("a.csv", "0", tuple(dict.fromkeys(one.annotator for one in said)), len(said))
    returned = Returned(made.id, made.rubric.hash, (source,), tuple(said))
    (folder / GIVEN).write_text(json.dumps(as_json(returned, made)))
    write_ratings(folder / RATINGS, tidy(made, said))
    return made


def of(rows, **wanted: object):
    """The only row of a table with these values."""
    (found,) = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
    return found
