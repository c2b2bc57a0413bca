"""What came back from a study, joined with its key: every answer with its item, system and why it was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evalkit.errors import DataError, StoreError
from evalkit.human.base import Finding, Given, Row, RowKind, Study
from evalkit.human.given import GIVEN, read_returned
from evalkit.human.key import KEY, read_study
from evalkit.ratings.base import Rating, read_ratings
from evalkit.stats.means import Array, Ints

#: Between the two systems of a pair.
VERSUS = " vs "


@dataclass(frozen=True, slots=True)
class Answer:
    """One annotator's answer to one criterion of one row.

    ``value`` is ``None`` for ``N/A``. In a pair it is that of the system that the study names first (1 it won, 0.5 tie, 0),
    ``system`` is ``first vs second``, and ``swapped`` says that the one named first was shown second. ``passed`` says of an
    answer to an attention check whether an attentive rater would have given it.
    """

    annotator: str
    item: str
    system: str
    criterion: str
    value: float | None
    kind: RowKind = "item"
    row: str = ""
    of: str | None = None
    passed: bool | None = None
    swapped: bool = False
    comment: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """All answers. ``study`` is ``None`` for a table of ratings that has no study, ``points`` are then the values seen."""

    where: str
    study: Study | None
    answers: tuple[Answer, ...]
    criteria: tuple[str, ...]
    points: Mapping[str, tuple[float, ...]]
    """The scale of each criterion, worst first."""
    findings: tuple[Finding, ...] = ()
    """What the import had to say."""

    @property
    def pairwise(self) -> bool:
        return self.study is not None and self.study.form == "pairwise"

    @property
    def annotators(self) -> list[str]:
        """Who gave an answer, in the study's order, others after them."""
        known = list(self.study.annotators) if self.study else []
        seen = dict.fromkeys(answer.annotator for answer in self.answers)
        return [name for name in known if name in seen] + [name for name in seen if name not in known]

    @property
    def systems(self) -> list[str]:
        """The systems (in a pairwise study: the pairs) that were rated, in the study's order."""
        seen = dict.fromkeys(answer.system for answer in self.answers if answer.kind != "check")
        known = [] if self.study is None or self.pairwise else [name for name in self.study.systems if name in seen]
        return known + [name for name in seen if name not in known]

    def rated(self, criterion: str, kind: RowKind = "item") -> list[Answer]:
        """Answers with a value."""
        return [a for a in self.answers if a.kind == kind and a.criterion == criterion and a.value is not None]


@dataclass(frozen=True, slots=True)
class Table:
    """The ratings of one criterion as arrays (n,): values, and codes of item, system, annotator and unit.

    A unit is one system's output for one item. Codes of annotators and systems follow the names.
    """

    values: Array
    items: Ints
    systems: Ints
    raters: Ints
    units: Ints
    item_names: tuple[str, ...]
    unit_names: tuple[tuple[str, str], ...]
    """Item and system of each unit."""

    @property
    def unit_items(self) -> Ints:
        """The item's code of each unit."""
        found = np.zeros(len(self.unit_names), dtype=np.int64)
        found[self.units] = self.items
        return found


def table(ratings: Sequence[Answer], annotators: Sequence[str], systems: Sequence[str]) -> Table:
    """The arrays of ``ratings`` that have a value."""
    items = {name: at for at, name in enumerate(dict.fromkeys(a.item for a in ratings))}
    units = {key: at for at, key in enumerate(dict.fromkeys((a.item, a.system) for a in ratings))}
    who = {name: at for at, name in enumerate(annotators)}
    which = {name: at for at, name in enumerate(systems)}

    def codes(found: Iterable[int]) -> Ints:
        return np.fromiter(found, dtype=np.int64, count=len(ratings))

    return Table(
        np.array([np.nan if a.value is None else a.value for a in ratings], dtype=np.float64),
        codes(items[a.item] for a in ratings),
        codes(which[a.system] for a in ratings),
        codes(who[a.annotator] for a in ratings),
        codes(units[a.item, a.system] for a in ratings),
        tuple(items),
        tuple(units),
    )


def read_answers(path: str | Path) -> Answers:
    """The answers of a study's folder, or the ratings of a tidy table that came from elsewhere.

    Raises NotFound for a study that nothing was imported to, StoreError and DataError for files that are damaged.
    """
    found = Path(path)
    if found.is_dir() and (found / KEY).is_file():
        return _of_study(read_study(found), found)
    ratings = read_ratings(found)
    if not ratings:
        raise DataError(f"{found} holds no ratings")
    return from_ratings(ratings, str(found))


def from_ratings(ratings: Sequence[Rating], where: str = "the ratings") -> Answers:
    """Answers of ratings without a study. The scale of a criterion is taken to be the values that were given."""
    _once(where, ratings)
    answers = tuple(Answer(r.annotator, r.item, r.system, r.criterion, r.value) for r in ratings)
    criteria = tuple(dict.fromkeys(r.criterion for r in ratings))
    seen = {name: tuple(sorted({r.value for r in ratings if r.criterion == name})) for name in criteria}
    return Answers(where, None, answers, criteria, seen)


def _once(where: str, ratings: Sequence[Rating]) -> None:
    seen: set[tuple[str, str, str, str]] = set()
    for r in ratings:
        key = (r.annotator, r.item, r.system, r.criterion)
        if key in seen:
            who = r.annotator or "an annotator without a name"
            raise DataError(f"{where}: {who} rated {r.criterion} of item {r.item} {r.system} twice")
        seen.add(key)


def _of_study(study: Study, folder: Path) -> Answers:
    returned = read_returned(folder)
    if (returned.study, returned.rubric) != (study.id, study.rubric.hash):
        raise StoreError(f"{folder / GIVEN} is of another study than the key beside it; import the sheets again")
    rows = {row.id: row for row in study.rows}
    points = {c.name: tuple(sorted(c.scale.points.values())) for c in study.rubric.criteria}
    try:
        answers = tuple(_answer(study, rows[given.row], given) for given in returned.given)
    except KeyError as error:
        raise StoreError(f"{folder / GIVEN}: {error} is no row of this study; import the sheets again") from error
    return Answers(str(folder), study, _first_times(answers), study.rubric.names, points, returned.findings)


def _first_times(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """An output that somebody rated twice, under two ids of a study (workers of a platform may), was repeated for them."""
    answers = list(answers)
    first: dict[tuple[str, ...], str] = {}
    row_of: dict[tuple[str, str, str | None], str] = {}
    for a in answers:
        if a.kind == "item":
            row = first.setdefault((a.annotator, a.item, a.system, a.criterion), a.row)
            row_of[a.annotator, a.criterion, a.row] = row
    found = []
    for a in answers:
        asked = a.of if a.kind == "repeat" else a.row
        same = row_of.get((a.annotator, a.criterion, asked), asked)
        again = a.kind != "check" and same != a.row
        found.append(replace(a, kind="repeat", of=same) if again else a)
    return tuple(found)


def _answer(study: Study, row: Row, given: Given) -> Answer:
    value, system, swapped = given.value, row.first.system, False
    if row.second is not None:
        system, swapped = pair_name(study, row)
        value = 1 - value if swapped and value is not None else value
    return Answer(
        annotator=given.annotator,
        item=row.first.item,
        system=system,
        criterion=given.criterion,
        value=value,
        kind=row.kind,
        row=row.id,
        of=row.of,
        passed=_passed(study, row, given),
        swapped=swapped,
        comment=given.comment,
        seconds=given.seconds,
    )


def _passed(study: Study, row: Row, given: Given) -> bool | None:
    expected = (row.expected or {}).get(given.criterion)
    if expected is None or given.value is None:
        return None
    if isinstance(expected, str):
        return given.value == study.rubric.criterion(given.criterion).scale.points[expected]
    return given.value <= expected


def pair_name(study: Study, row: Row) -> tuple[str, bool]:
    """``first vs second`` in the study's order of systems, and whether the sheet showed them the other way round."""
    assert row.second is not None
    shown = [row.first.system, row.second.system]
    named = sorted(shown, key=lambda name: study.systems.index(name) if name in study.systems else len(study.systems))
    return VERSUS.join(named), named != shown
