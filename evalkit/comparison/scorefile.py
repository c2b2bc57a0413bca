"""Score files: what a comparison needs of a run in a few kilobytes, to be committed as a baseline.

Gzipped JSON lines: a header (schema, manifest, what each table is), then one line a column. There is no prompt, answer or
reference in it, and equal scores give equal bytes.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.comparison.base import Labels, Measured, RunScores, TaskScores
from evalkit.comparison.rebuild import Rebuilt
from evalkit.errors import EvalkitError, NotComparable, StoreError
from evalkit.jsonlines import encoder
from evalkit.runner.files import atomic, unwritable
from evalkit.runner.stored import PastScorer, scorer_entry
from evalkit.scorers.base import Array
from evalkit.secrets import scrub
from evalkit.types import Json

SCHEMA = 1
_KEY = "evalkit_scores"
_encode = encoder(allow_nan=False, sort_keys=True)
#: What hashes look like, whole bytes of them.
_HASH = re.compile("(?:[0-9a-f]{2})+")

#: Of `TaskScores`, in the header: texts and whole numbers.
_FACTS = ("task", "filter", "version", "definition", "data", "n_shot", "size")


def promote(run: RunScores, path: Path, *, allow_incomplete: bool = False) -> int:
    """Write the scores of ``run`` to ``path`` (``*.jsonl.gz``); returns how many bytes they take.

    Raises NotComparable for a run that is not complete, without ``allow_incomplete``; StoreError where nothing can be
    written there.
    """
    status = run.manifest["status"]
    if status != "complete" and not allow_incomplete:
        raise NotComparable(
            f"run {run.name} is {status}, and a baseline should have no gaps: run the same command again to resume it, or "
            "promote it as it is with --allow-incomplete"
        )
    lines = b"".join(scrub(_encode(line)).encode("utf-8", "surrogatepass") + b"\n" for line in _lines(run))
    packed = gzip.compress(lines, compresslevel=9, mtime=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as file:
            file.write(packed)
    except OSError as error:
        raise unwritable(path.parent, error) from error
    return len(packed)


def read_score_file(path: Path, *, name: str | None = None) -> RunScores:
    """The scores in the file ``path``; raises StoreError where it is no score file, or damaged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    return unpacked(content, str(path), name=name)


def unpacked(content: bytes, source: str, *, name: str | None = None) -> RunScores:
    """The scores in the bytes of a score file that came from ``source``."""
    try:
        text = gzip.decompress(content).decode("utf-8", "surrogatepass")
        header, *columns = map(json.loads, text.removesuffix("\n").split("\n"))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise StoreError(f"{source} is no score file of evalkit, or damaged ({error}); {_AGAIN}") from error
    if not isinstance(header, dict) or _KEY not in header:
        raise StoreError(f"{source} is no score file of evalkit; evalkit baseline promote RUN makes one")
    if header[_KEY] != SCHEMA:
        raise StoreError(
            f"{source} was written by another evalkit (schema {header[_KEY]}, this one reads {SCHEMA}); {_AGAIN}"
        )
    try:
        return _run(header, columns, source, name)
    except EvalkitError:
        raise
    except Exception as error:  # whatever is wrong with a file that anybody can edit
        raise StoreError(f"{source} is damaged ({type(error).__name__}: {error}); {_AGAIN}") from error


_AGAIN = "evalkit baseline promote RUN makes it anew"


def _lines(run: RunScores) -> Iterator[Json]:
    """The header and the columns. Filters of a task share its samples, so that these are written with the first one."""
    yield {_KEY: SCHEMA, "manifest": run.manifest, "tables": [_table(scores) for scores in run.tasks.values()]}
    known: set[str] = set()
    for scores in run.tasks.values():
        if scores.task not in known:
            known.add(scores.task)
            yield _names(scores.ids)
            yield base64.b64encode(scores.digests.astype("<u4").tobytes()).decode()
            yield None if scores.clusters is None else _labels(scores.clusters)
            yield [_labels(labels) for labels in scores.slices.values()]
            for column in (scores.latency_s, scores.output_tokens, scores.cost_usd):
                yield _numbers(column)
        for measured in scores.measured:
            yield None if measured.units == scores.ids else list(measured.units)
            yield [_numbers(column) for column in measured.stats.T]
            first = measured.stats[:, 0]
            yield {"first": True} if np.array_equal(measured.values, first, equal_nan=True) else _numbers(measured.values)
            yield _numbers(measured.status.astype(np.float64)) if measured.status.any() else None


def _table(scores: TaskScores) -> dict[str, Json]:
    facts = {name: getattr(scores, name) for name in _FACTS}
    return {**facts, "slices": list(scores.slices), "scorers": [_scorer(measured) for measured in scores.measured]}


def _scorer(measured: Measured) -> dict[str, Json]:
    return {**scorer_entry(measured.scorer), "signature": measured.signature, "n": len(measured.units)}


def _names(names: tuple[str, ...]) -> Json:
    """Ids as they are; those that are all hashes of one length packed, as nothing else makes them smaller."""
    sizes = {len(name) for name in names}
    if len(sizes) == 1 and all(map(_HASH.fullmatch, names)):
        return {"hex": base64.b64encode(bytes.fromhex("".join(names))).decode(), "digits": sizes.pop()}
    return list(names)


def _numbers(column: Array) -> list[float | int | None] | None:
    """A column as JSON: whole numbers as such, null for NaN; null alone where there is nothing else."""
    if np.isnan(column).all():
        return None
    return [None if x != x else int(x) if x.is_integer() and abs(x) < 2**53 else x for x in column.tolist()]


def _labels(labels: Labels) -> list[Json]:
    distinct, codes = np.unique(labels, return_inverse=True)
    return [distinct.tolist(), codes.reshape(-1).tolist()]


def _run(header: Mapping[str, Any], columns: list[Any], source: str, name: str | None) -> RunScores:
    manifest = header["manifest"]
    rest = iter(columns)
    found: dict[tuple[str, str], TaskScores] = {}
    samples: dict[str, dict[str, Any]] = {}
    for table in header["tables"]:
        task = table["task"]
        if task not in samples:
            samples[task] = _samples(table, rest)
        rebuilt = Rebuilt(manifest["tasks"][task], allow_code=False)  # a file that came from elsewhere runs no code
        measured = tuple(_measured(entry, samples[task]["ids"], rest, rebuilt) for entry in table["scorers"])
        facts = {fact: table[fact] for fact in _FACTS}
        found[task, table["filter"]] = TaskScores(**facts, **samples[task], measured=measured)
    if next(rest, rest) is not rest:
        raise ValueError("more columns than the header names")
    return RunScores(name or str(manifest["name"]), source, None, manifest, found)


def _unpacked_names(column: Any) -> tuple[str, ...]:
    if not isinstance(column, dict):
        return tuple(column)
    text, digits = base64.b64decode(column["hex"]).hex(), int(column["digits"])
    return tuple(text[start : start + digits] for start in range(0, len(text), digits))


def _samples(table: Mapping[str, Any], rest: Iterator[Any]) -> dict[str, Any]:
    ids = _unpacked_names(next(rest))
    n = len(ids)
    digests = np.frombuffer(base64.b64decode(next(rest)), dtype="<u4").astype(np.uint32)
    clusters, slices = next(rest), next(rest)
    columns = {key: _array(next(rest), n) for key in ("latency_s", "output_tokens", "cost_usd")}
    if len(digests) != n:
        raise ValueError("a column is too short")
    return {
        "ids": ids,
        "digests": digests,
        "clusters": None if clusters is None else _label_array(clusters, n),
        "slices": {name: _label_array(column, n) for name, column in zip(table["slices"], slices, strict=True)},
        **columns,
    }


def _measured(entry: Mapping[str, Any], ids: tuple[str, ...], rest: Iterator[Any], rebuilt: Rebuilt) -> Measured:
    units = next(rest)
    n = int(entry["n"])
    stats = np.column_stack([_array(column, n) for column in next(rest)])
    values, status = next(rest), next(rest)
    names = ids if units is None else tuple(units)
    if len(names) != n:
        raise ValueError("a column is too short")
    return Measured(
        rebuilt.live(PastScorer(entry, dict)),
        entry["signature"],
        names,
        stats,
        stats[:, 0].copy() if isinstance(values, dict) else _array(values, n),
        np.zeros(n, dtype=np.uint8) if status is None else _array(status, n).astype(np.uint8),
    )


def _array(column: list[float | None] | None, n: int) -> Array:
    if column is None:
        return np.full(n, np.nan)
    if len(column) != n:
        raise ValueError("a column is too short")
    return np.array([np.nan if x is None else x for x in column], dtype=np.float64)


def _label_array(column: list[Any], n: int) -> Labels:
    labels, codes = column
    if len(codes) != n:
        raise ValueError("a column is too short")
    return np.array(labels, dtype=np.str_)[np.array(codes, dtype=np.int64)]
