"""``ratings.json``: everything that came back of a study. And its ratings as the one tidy table that statistics read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evalkit.errors import NotFound, StoreError
from evalkit.human.base import Finding, Given, Row, Study
from evalkit.ratings.base import Rating
from evalkit.types import Json

#: The file's name in a study's folder.
GIVEN = "ratings.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was imported. ``sha256`` is over its bytes."""

    file: str
    sha256: str
    annotators: tuple[str, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Returned:
    """What a study's folder holds of ratings. ``extras``: cells of columns that are not ours, by annotator and row."""

    study: str
    rubric: str
    sources: tuple[Source, ...] = ()
    given: tuple[Given, ...] = ()
    extras: tuple[tuple[str, str, Mapping[str, str]], ...] = ()
    findings: tuple[Finding, ...] = field(default_factory=tuple)

    @property
    def annotators(self) -> tuple[str, ...]:
        """Who rated, in the order of the files."""
        return tuple(dict.fromkeys(name for source in self.sources for name in source.annotators))


def as_json(returned: Returned, study: Study) -> dict[str, Json]:
    """The content of `GIVEN`. An answer of ``null`` is N/A; what was not answered is not there."""
    kinds = {row.id: row.kind for row in study.rows}
    return {
        "schema": SCHEMA,
        "study": returned.study,
        "rubric": returned.rubric,
        "files": [{**asdict(source), "annotators": list(source.annotators)} for source in returned.sources],
        "ratings": [{**asdict(given), "kind": kinds[given.row]} for given in returned.given],
        "extras": [{"annotator": who, "row": row, "cells": dict(cells)} for who, row, cells in returned.extras],
        "findings": [asdict(finding) for finding in returned.findings],
    }


def read_returned(folder: str | Path) -> Returned:
    """What was imported into a study's folder: ratings of all rows, repeats and attention checks included.

    A pair's values are as the sheet showed it: 1 for the side A of that row. Raises NotFound where nothing was imported,
    StoreError for a damaged file.
    """
    path = Path(folder) / GIVEN
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"{folder} has no ratings yet: evalkit human import {folder} FILE... brings them in") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}); import the sheets again") from error
    try:
        return _returned(content)
    except (KeyError, TypeError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise StoreError(
            f"{path} is damaged or of another evalkit ({told}); delete it and import the sheets again"
        ) from error


def _returned(content: Mapping[str, Any]) -> Returned:
    if content["schema"] != SCHEMA:
        raise KeyError(f"schema {content['schema']!r}, this evalkit reads {SCHEMA}")
    return Returned(
        study=content["study"],
        rubric=content["rubric"],
        sources=tuple(Source(**{**source, "annotators": tuple(source["annotators"])}) for source in content["files"]),
        given=tuple(Given(**{name: v for name, v in answer.items() if name != "kind"}) for answer in content["ratings"]),
        extras=tuple((extra["annotator"], extra["row"], extra["cells"]) for extra in content["extras"]),
        findings=tuple(Finding(**finding) for finding in content["findings"]),
    )


def tidy(study: Study, given: Iterable[Given]) -> list[Rating]:
    """The ratings with the source items' ids and the systems' real names; repeats, attention checks and N/A stay out.

    In a pair the system is ``first vs second`` in the study's order of systems, and the value is 1 where the first one wins,
    0.5 for a tie, 0 where the second one wins, whichever side it was shown on.
    """
    rows = {row.id: row for row in study.rows}
    found = []
    for answer in given:
        row = rows[answer.row]
        if row.kind == "item" and answer.value is not None:
            system, value = _oriented(study.systems, row, answer.value)
            found.append(Rating(answer.annotator, row.first.item, system, answer.criterion, value))
    return found


def _oriented(systems: Sequence[str], row: Row, value: float) -> tuple[str, float]:
    if row.second is None:
        return row.first.system, value
    shown = (row.first.system, row.second.system)
    one, two = sorted(shown, key=systems.index)
    return f"{one} vs {two}", value if shown == (one, two) else 1.0 - value
