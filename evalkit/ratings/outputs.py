"""The texts that people rated, beside their mean ratings: from the study's own key, or from the runs that were rated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.ratings.base import RATINGS, mean_ratings, read_ratings
from evalkit.ratings.joining import Means, RatedRun, Texts, answer_text, match_runs, rated_row, rated_views
from evalkit.types import Record

#: Where a study keeps what was shown.
KEY = "key.json"


def rated_rows(path: str | Path, runs: Sequence[RatedRun[Any]] = ()) -> list[dict[str, Any]]:
    """One row a rated output, as `evalkit metrics validate` reads them: item, system, output, source, references, ratings.

    ``path`` is a study's folder, its ``ratings_long.csv``, or a tidy table from elsewhere with the ``runs`` that it rates.
    Ratings are means over annotators. Raises DataError where the texts are nowhere, and for ratings of pairs.
    """
    found = Path(path)
    means = mean_ratings(read_ratings(found))
    if not means:
        raise DataError(f"{found} holds no ratings")
    key = (found if found.is_dir() else found.parent) / KEY
    if not runs and not key.is_file():
        raise DataError(f"{found} has ratings but not what was rated: name the rated runs with --run")
    rows = _of_runs(runs, means, rated_texts(found)) if runs else _of_key(key, means)
    if not rows:
        raise DataError(f"{found}: no rated item is in {', '.join(str(run.path) for run in runs) or key}")
    return rows


def rated_texts(path: str | Path) -> dict[tuple[str, str], str]:
    """What people were shown, by item and system, as far as the key beside the ratings knows; empty where there is none.

    Raises DataError for a damaged key.
    """
    found = Path(path)
    key = (found if found.is_dir() else found.parent) / KEY
    if (found.name not in (RATINGS, "") and not found.is_dir()) or not key.is_file():
        return {}
    return {at: str(one["text"]) for at, one in _outputs(key)[1].items()}


def _outputs(key: Path) -> tuple[str, dict[tuple[str, str], Any]]:
    """The study's form and what was shown. Raises DataError."""
    try:
        content = json.loads(key.read_bytes().decode("utf-8", "surrogatepass"))
        return str(content["form"]), {(one["item"], one["system"]): one for one in content["outputs"] if one["system"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{key} is damaged ({type(error).__name__}: {error}); take it from a copy") from error


def _of_key(key: Path, means: Means) -> list[dict[str, Any]]:
    form, outputs = _outputs(key)
    if form != "pointwise":
        raise DataError(f"{key.parent} rates pairs, and metrics have values of single outputs; judge calibrate takes pairs")
    rows = []
    for (item, system), ratings in means.items():
        one = outputs.get((item, system))
        if one is not None:
            source = one["source"] if one["source"] is not None else one["input"]
            references = [] if one["reference"] is None else [one["reference"]]
            rows.append(rated_row(item, system, one["text"], source, references, ratings))
    return rows


def _of_runs(runs: Sequence[RatedRun[Any]], means: Means, shown: Texts) -> list[dict[str, Any]]:
    systems = match_runs(runs, list(dict.fromkeys(system for _, system in means)))
    return [
        _of_record(item, system, view.record, means)
        for run, name in zip(runs, systems, strict=True)
        for (item, system), view in rated_views(run, name, means, shown)
    ]


def _of_record(item: str, system: str, record: Record, means: Means) -> dict[str, Any]:
    from evalkit.scorers.common import references, source_text
    from evalkit.scorers.judge.pointwise import asked_of

    source = next((text for name in ("source", "src") if (text := source_text(record.sample, name)) is not None), None)
    return rated_row(
        item,
        system,
        answer_text(record),
        asked_of(record) if source is None else source,
        references(record.sample),
        means[item, system],
    )
