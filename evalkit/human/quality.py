"""What makes ratings doubtful although each is well-formed: all the same, too fast, inconsistent, checks failed, sorted."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from evalkit.human.base import Finding, Row, Study
from evalkit.human.layout import whole_texts
from evalkit.human.validate import Entry

#: Ratings from which on one value for everything says something, and the share that makes a straight line.
_LEAST, _SHARE = 10, 0.9

#: Words a second that nobody reads, skimming included (people read about 4, skim about 10).
_WORDS_A_SECOND = 15.0

#: What happens by chance less often than this is told of.
_CHANCE = 0.01


def doubts(study: Study, entries: Sequence[Entry]) -> list[Finding]:
    """Warnings about annotators, none about single cells. ``entries`` hold each row of an annotator once."""
    by_annotator: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_annotator[entry.annotator].append(entry)
    findings = [finding for mine in by_annotator.values() for finding in _of_one(study, mine)]
    return [*findings, *_constant(study, entries, len(by_annotator))]


def _of_one(study: Study, entries: Sequence[Entry]) -> Iterator[Finding]:
    yield from _straight(study, entries)
    yield from _checks(study, entries)
    yield from _repeats(study, entries)
    yield from _hurried(study, entries)
    if not any(entry.of_others for entry in entries):
        yield from _sorted_alone(study, entries)


def _straight(study: Study, entries: Sequence[Entry]) -> Iterator[Finding]:
    """One value in nearly all rows of a criterion, or in nearly all criteria of a row."""
    who, file = entries[0].annotator, entries[0].file
    rated = [entry for entry in entries if entry.row.kind != "check"]
    for criterion in study.rubric.names:
        values = [entry.values[criterion] for entry in rated if criterion in entry.values]
        if len(values) < _LEAST:
            continue
        value, n = Counter(values).most_common(1)[0]
        if n > _SHARE * len(values):
            what = "all" if n == len(values) else f"{n} of"
            code = "no-variance" if n == len(values) else "straight-line"
            message = f"{who} gave {value:g} in {what} {len(values)} rows: did they read the texts?"
            yield Finding("warning", code, file, message, column=criterion, value=f"{value:g}")
    if len(study.rubric.names) > 2:
        whole = [entry for entry in rated if len(entry.values) == len(study.rubric.names)]
        level = [entry for entry in whole if len(set(entry.values.values())) == 1]
        if len(whole) >= _LEAST and len(level) > _SHARE * len(whole):
            message = f"{who} gave all criteria the same value in {len(level)} of {len(whole)} rows: were they told apart?"
            yield Finding("warning", "same-across", file, message)


def _checks(study: Study, entries: Sequence[Entry]) -> Iterator[Finding]:
    """Attention checks that were failed: a rating above the highest (or another side than) an attentive rater gives."""
    for entry in entries:
        for criterion, expected in (entry.row.expected or {}).items():
            cell = entry.cells[criterion]
            if cell.value is None:
                continue
            if isinstance(expected, str):
                right = cell.value == study.rubric.criterion(criterion).scale.points[expected]
                wanted = f"it should be {expected}"
            else:
                right, wanted = cell.value <= expected, f"it should be {expected:g} at most"
            if not right:
                message = f"{entry.annotator} failed an attention check ({entry.row.id}): {wanted}"
                yield Finding("warning", "attention", entry.file, message, entry.number, criterion, f"{cell.value:g}")


def _repeats(study: Study, entries: Sequence[Entry]) -> Iterator[Finding]:
    """A hidden repeat that was rated far from the first time; in a pair whose sides changed, that is taken into account."""
    by_row = {entry.row.id: entry for entry in entries}
    for entry in entries:
        first = by_row.get(entry.row.of or "")
        if first is None:
            continue
        for criterion in study.rubric.criteria:
            if criterion.name not in entry.values or criterion.name not in first.values:
                continue
            now, before = entry.values[criterion.name], first.values[criterion.name]
            if swapped(entry.row, first.row):
                now = criterion.scale.floor + criterion.scale.ceiling - now
            points = sorted(criterion.scale.points.values())
            span = points[-1] - points[0]
            step = min(b - a for a, b in pairwise(points))
            off = abs(now - before)
            if off == span or (off > step and off > span / 4):
                turned = " (its sides were changed)" if swapped(entry.row, first.row) else ""
                message = (
                    f"{entry.annotator} rated {entry.row.id} {now:g} and the same text ({first.row.id}) {before:g}{turned}"
                )
                yield Finding("warning", "inconsistent", entry.file, message, entry.number, criterion.name, f"{now:g}")


def swapped(row: Row, first: Row) -> bool:
    """Whether a pair is shown with the sides of the other row changed."""
    return row.second is not None and row.first.system != first.first.system


def _hurried(study: Study, entries: Sequence[Entry]) -> Iterator[Finding]:
    timed = [entry for entry in entries if entry.seconds is not None]
    fast = [
        entry
        for entry in timed
        if entry.seconds is not None
        and entry.seconds < max(1.0, sum(len(t.split()) for t in whole_texts(study, entry.row).values()) / _WORDS_A_SECOND)
    ]
    if fast and len(fast) >= max(2, len(timed) // 10):
        seconds = sorted(entry.seconds or 0.0 for entry in timed)
        ids = ", ".join(entry.row.id for entry in fast[:3]) + (", ..." if len(fast) > 3 else "")
        message = (
            f"{fast[0].annotator} took less time than reading takes in {len(fast)} of {len(timed)} rows ({ids}); "
            f"the median is {seconds[len(seconds) // 2]:g} s"
        )
        yield Finding("warning", "too-fast", fast[0].file, message, fast[0].number)


def _sorted_alone(study: Study, entries: Sequence[Entry]) -> Iterator[Finding]:
    """A column in which equal ratings stand together although the rows stand in the order of the sheet as it was sent out.

    Texts cannot tell that ratings were sorted without their rows. Whatever the order (of numbers, of letters, from the end),
    sorting brings equal ratings together; by chance that happens with probability k! x product(n_v!) / n! for k values.
    """
    for file in dict.fromkeys(entry.file for entry in entries):
        mine = sorted((entry for entry in entries if entry.file == file), key=lambda entry: entry.number)
        places = [entry.row.position for entry in mine]
        if places != sorted(places):
            continue  # the rows were moved, with their texts
        for criterion in study.rubric.names:
            said = [entry.cells[criterion].value for entry in mine if entry.cells[criterion].state in ("value", "na")]
            counts = Counter(said)
            if len(counts) < 2 or 1 + sum(a != b for a, b in pairwise(said)) > len(counts):
                continue
            ways = sum(math.lgamma(n + 1) for n in (*counts.values(), len(counts)))
            if ways - math.lgamma(len(said) + 1) < math.log(_CHANCE):
                message = (
                    f"equal ratings stand together in all {len(said)} rows although the rows are not sorted: was this "
                    "column sorted alone? Then the ratings are on the wrong rows; ask for the file as it was before"
                )
                yield Finding("warning", "ratings-sorted", file, message, column=criterion)


def _constant(study: Study, entries: Sequence[Entry], annotators: int) -> Iterator[Finding]:
    """A criterion on which everybody gave one value to everything: no agreement can be computed of it."""
    for criterion in study.rubric.names if annotators > 1 else ():
        values = [entry.values[criterion] for entry in entries if criterion in entry.values and entry.row.kind != "check"]
        if len(values) >= _LEAST and len(set(values)) == 1:
            files = ", ".join(dict.fromkeys(entry.file for entry in entries))
            message = f"all {len(values)} ratings are {values[0]:g}: it tells nothing apart, and agreement is undefined"
            yield Finding("warning", "constant", files, message, column=criterion, value=f"{values[0]:g}")
