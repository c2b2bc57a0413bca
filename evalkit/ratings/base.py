"""One rating a row (annotator, item, system, criterion, value): read, written and averaged here, and nowhere else."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import DataError, nearest

COLUMNS = ("annotator", "item", "system", "criterion", "value")

#: Where a study keeps its ratings, and the name such a file has elsewhere.
RATINGS = "ratings_long.csv"


@dataclass(frozen=True, slots=True)
class Rating:
    """What one annotator said of one output on one criterion. ``value`` is on the criterion's scale."""

    annotator: str
    item: str
    system: str
    criterion: str
    value: float


def write_ratings(path: Path, ratings: Iterable[Rating]) -> None:
    """A tidy CSV of them, in the order given (UTF-8, one header line)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((r.annotator, r.item, r.system, r.criterion, f"{r.value:.12g}") for r in ratings)


def read_ratings(path: str | Path) -> tuple[Rating, ...]:
    """The ratings of a tidy CSV, or of a study's folder. Every text stays as it is: an id ``007`` is not a number.

    Raises DataError naming file, line and column.
    """
    found = Path(path)
    if found.is_dir():
        if not (found / RATINGS).exists():
            raise DataError(f"{found} has no ratings yet ({RATINGS}); evalkit human import {found} brings a study's in")
        found /= RATINGS
    try:
        text = found.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"ratings {found} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().casefold() for name in next(rows, [])]
        missing = [name for name in COLUMNS if name not in header and name not in ("annotator", "system")]
        if missing:
            raise DataError(
                f"{found}:1: no column {missing[0]!r}{nearest(missing[0], header)}; ratings have {', '.join(COLUMNS)}"
            )
        at = {name: header.index(name) if name in header else None for name in COLUMNS}
        return tuple(
            _rating(found, rows.line_num, row, at, len(header)) for row in rows if any(cell.strip() for cell in row)
        )
    except csv.Error as error:
        raise DataError(f"{found}:{rows.line_num}: {error}") from error


def _rating(path: Path, line: int, row: Sequence[str], at: Mapping[str, int | None], width: int) -> Rating:
    if len(row) != width:
        raise DataError(f"{path}:{line}: {len(row)} columns where the header has {width}")
    cells = {name: "" if i is None else row[i] for name, i in at.items()}
    try:
        value = float(cells["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}:{line}: value {cells['value']!r} is no number")
    if not cells["item"] or not cells["criterion"]:
        raise DataError(f"{path}:{line}: a rating needs an item and a criterion")
    return Rating(cells["annotator"], cells["item"], cells["system"], cells["criterion"], value)


def mean_ratings(ratings: Iterable[Rating]) -> dict[tuple[str, str], dict[str, float]]:
    """(item, system) -> criterion -> mean over annotators. Annotators count the same."""
    collected: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        collected[rating.item, rating.system][rating.criterion].append(rating.value)
    return {
        key: {name: math.fsum(values) / len(values) for name, values in criteria.items()}
        for key, criteria in collected.items()
    }


def is_ratings(path: Path) -> bool:
    """Whether a path is a study's folder or a tidy table of single ratings, not a table of rated outputs."""
    if path.is_dir():
        return True
    if path.suffix.lower() not in (".csv", ".txt", "") or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        names = {name.strip().strip('"').casefold() for name in file.readline().split(",")}
    return names >= {"item", "criterion", "value"}
