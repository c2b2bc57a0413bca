"""A study made of a pool of outputs: items drawn, rows laid out for each annotator. Nothing is written here."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from evalkit.errors import UsageError
from evalkit.human import design, ids
from evalkit.human.base import Output, Row, Study
from evalkit.human.checks import Check, checked_criteria, make_checks
from evalkit.human.layout import parts, row_digest, rubric_columns
from evalkit.human.plan import Shape, row_seconds
from evalkit.human.pool import Pool
from evalkit.human.sample import draw, labelled, strata
from evalkit.rubric.schema import Rubric
from evalkit.types import content_hash

#: Items that everybody rates, where nobody says how many.
OVERLAP = 30
#: Shares of a sheet's rows that come again, and that check attention.
REPEATS, CHECKS = 0.1, 0.05
#: Annotators of one study at most: file names have two digits.
_MOST = 99


@dataclass(frozen=True, slots=True)
class Settings:
    """How a study is laid out; `export_study` says what each means."""

    n: int | None = None
    annotators: int = 3
    overlap: int | None = None
    seed: int = 0
    stratify: str | None = None
    repeats: float = REPEATS
    checks: float = CHECKS
    check_on: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Drawn:
    """The items of a study before any row is made: ``shared`` ones are rated by everybody, ``given`` by each annotator."""

    items: tuple[str, ...]
    shared: tuple[str, ...]
    given: tuple[tuple[str, ...], ...]
    outputs: Mapping[str, tuple[Output, ...]]


def drawn(pool: Pool, rubric: Rubric, settings: Settings) -> Drawn:
    """Draw the items. Raises UsageError for numbers that do not fit the pool or each other."""
    n, shared = _checked(pool, rubric, settings)
    bins = strata(pool, settings.stratify)
    items = draw(bins, n, f"{settings.seed} items")
    common = draw({item: bins[item] for item in items}, shared, f"{settings.seed} overlap")
    given = design.assign(items, common, settings.annotators, bins)
    return Drawn(tuple(items), tuple(common), tuple(map(tuple, given)), labelled(pool, items, bins))


def _checked(pool: Pool, rubric: Rubric, settings: Settings) -> tuple[int, int]:
    available, annotators = len(pool.items), settings.annotators
    rubric_columns(rubric)
    checked_criteria(rubric, settings.check_on)
    if rubric.form == "pairwise" and len(pool.systems) < 2:
        raise UsageError(f"rubric {rubric.rubric} compares two systems; give the runs of two or more")
    n = available if settings.n is None else settings.n
    if not 1 <= n <= available:
        raise UsageError(f"--n {n}: {available} items can be rated; choose 1 to {available}")
    if not 1 <= annotators <= _MOST:
        raise UsageError(f"--annotators {annotators}: choose 1 to {_MOST}")
    overlap = min(OVERLAP, n) if settings.overlap is None else settings.overlap
    if not 0 <= overlap <= n:
        raise UsageError(f"--overlap {overlap}: it is a part of the {n} items, 0 to {n}")
    if annotators == 1:
        overlap = 0
    if n - overlap < annotators and not overlap:
        raise UsageError(f"{n} items are too few to be split among {annotators} annotators; give an --overlap or fewer")
    for name, share in (("--repeats", settings.repeats), ("--checks", settings.checks)):
        if not 0 <= share <= 0.5:
            raise UsageError(f"{name} {share}: a share of the rows, 0 to 0.5")
    return n, overlap


def shape(pool: Pool, rubric: Rubric, settings: Settings) -> Shape:
    """What a plan says of a study with these settings; nothing is written."""
    found = drawn(pool, rubric, settings)
    systems = len(pool.systems)
    checks = settings.checks if checked_criteria(rubric, settings.check_on) else 0.0
    sheets = tuple(design.counts(len(own), rubric.form, systems, settings.repeats, checks) for own in found.given)
    words = [_words(output, rubric) for outputs in found.outputs.values() for output in outputs]
    seconds = row_seconds(rubric, sum(words) / len(words))
    return Shape(
        rubric.form, systems, len(pool.items), len(found.items), settings.annotators, len(found.shared), sheets, seconds
    )


def _words(output: Output, rubric: Rubric) -> int:
    shown = {"input": output.input, "source": output.source, "reference": output.reference, "output": output.text}
    times = {"output": 2 if rubric.form == "pairwise" else 1}
    return sum(len((shown[part] or "").split()) * times.get(part, 1) for part in parts(rubric))


def make_study(pool: Pool, rubric: Rubric, settings: Settings) -> Study:
    """Every row of every annotator, the same for the same pool and settings but for the time of day in ``created``."""
    from importlib.metadata import version

    found = drawn(pool, rubric, settings)
    name = _study_id(rubric, settings, found)
    pairs = design.units(rubric.form, len(pool.systems)) if rubric.form == "pairwise" else 0
    flips = design.flips(found.given, pairs, f"{settings.seed}")
    annotators = tuple(f"annotator_{at:02d}" for at in range(1, settings.annotators + 1))
    sheets = []
    for annotator, own, swapped in zip(annotators, found.given, flips, strict=True):
        seed = f"{settings.seed} {annotator}"
        amount = design.counts(len(own), rubric.form, len(pool.systems), settings.repeats, settings.checks)
        checks = _checks(pool, found, own, amount.checks, rubric, settings, seed)
        sheets.append(design.sheet(own, found.outputs, rubric.form, swapped, amount.repeats, checks, seed))
    study = Study(
        id=name,
        form=rubric.form,
        rubric=rubric,
        seed=settings.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        evalkit=version("evalkit"),
        runs=pool.runs,
        systems=pool.systems,
        annotators=annotators,
        rows=(),
        warnings=pool.warnings,
    )
    return replace(study, rows=_numbered(study, sheets))


def _study_id(rubric: Rubric, settings: Settings, found: Drawn) -> str:
    outputs = [[o.item, o.system, o.text] for item in found.items for o in found.outputs[item]]
    facts = [settings.seed, settings.annotators, settings.repeats, settings.checks, list(settings.check_on)]
    content = content_hash([rubric.hash, facts, list(found.shared), outputs])
    return ids.new_ids(1, content, ids.STUDY)[0]


def _checks(
    pool: Pool, found: Drawn, own: Sequence[str], count: int, rubric: Rubric, settings: Settings, seed: str
) -> list[Check]:
    """Checks on items that the annotator does not see otherwise, as far as there are any."""
    seen, studied = {*own}, {*found.items}
    groups = (
        [item for item in pool.items if item not in studied],
        [item for item in found.items if item not in seen],
        list(own),
    )
    criteria = checked_criteria(rubric, settings.check_on)
    return make_checks(pool.items, groups, count, rubric, criteria, random.Random(f"{seed} checks"))


def _numbered(study: Study, sheets: Sequence[Sequence[design.Slot]]) -> tuple[Row, ...]:
    names = iter(ids.new_ids(sum(map(len, sheets)), study.id))
    rows: list[Row] = []
    for annotator, sheet in zip(study.annotators, sheets, strict=True):
        given = {id(slot): next(names) for slot in sheet}
        for position, slot in enumerate(sheet, 1):
            of = None if slot.of is None else given[id(slot.of)]
            row = Row(
                given[id(slot)], annotator, position, slot.kind, slot.first, slot.second, of=of, expected=slot.expected
            )
            rows.append(replace(row, digest=row_digest(study, row)))
    return tuple(rows)
