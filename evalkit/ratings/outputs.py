"""The texts that people rated, beside their mean ratings: from the study's own key, or from the runs that were rated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.ratings.base import mean_ratings, read_ratings
from evalkit.ratings.joining import Means, RatedRun, match_runs, rated_row, rated_views
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
    rows = _of_runs(runs, means) if runs else _of_key(key, means)
    if not rows:
        raise DataError(f"{found}: no rated item is in {', '.join(str(run.path) for run in runs) or key}")
    return rows


def _of_key(key: Path, means: Means) -> list[dict[str, Any]]:
    try:
        content = json.loads(key.read_bytes().decode("utf-8", "surrogatepass"))
        if content["form"] != "pointwise":
            raise DataError(
                f"{key.parent} rates pairs, and metrics have values of single outputs; judge calibrate takes pairs"
            )
        outputs = {(one["item"], one["system"]): one for one in content["outputs"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{key} is damaged ({type(error).__name__}: {error}); take it from a copy") from error
    rows = []
    for (item, system), ratings in means.items():
        one = outputs.get((item, system))
        if one is not None:
            source = one["source"] if one["source"] is not None else one["input"]
            references = [] if one["reference"] is None else [one["reference"]]
            rows.append(rated_row(item, system, one["text"], source, references, ratings))
    return rows


def _of_runs(runs: Sequence[RatedRun[Any]], means: Means) -> list[dict[str, Any]]:
    systems = match_runs(runs, list(dict.fromkeys(system for _, system in means)))
    return [
        _of_record(item, system, view.record, means)
        for run, name in zip(runs, systems, strict=True)
        for (item, system), view in rated_views(run, name, means)
    ]


def _of_record(item: str, system: str, record: Record, means: Means) -> dict[str, Any]:
    from evalkit.scorers.common import references, source_text
    from evalkit.scorers.judge.pointwise import asked_of

    source = next((text for name in ("source", "src") if (text := source_text(record.sample, name)) is not None), None)
    answer = record.answer[0] if isinstance(record.answer, list | tuple) and record.answer else record.answer
    return rated_row(
        item,
        system,
        answer if isinstance(answer, str) else None,
        asked_of(record) if source is None else source,
        references(record.sample),
        means[item, system],
    )
