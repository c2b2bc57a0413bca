"""``key.json``: which system wrote what. Whoever rates must not see it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evalkit.errors import NotFound, StoreError
from evalkit.human.base import Output, Row, Study
from evalkit.rubric.schema import Rubric
from evalkit.runner.files import atomic
from evalkit.types import Json

#: The file's name in a study's folder.
KEY = "key.json"
SCHEMA = 1

_PRIVATE = "KEEP PRIVATE: says which system wrote what. Never give it to anybody who rates."


def write_study(study: Study, folder: Path) -> Path:
    """Write the study to ``folder``/key.json, readable by its owner only; gives its path."""
    places: dict[Output, int] = {}
    rows = [_row_json(row, places) for row in study.rows]
    content = {
        "private": _PRIVATE,
        "schema": SCHEMA,
        "id": study.id,
        "form": study.form,
        "seed": study.seed,
        "created": study.created,
        "evalkit": study.evalkit,
        "runs": list(study.runs),
        "systems": list(study.systems),
        "annotators": list(study.annotators),
        "warnings": list(study.warnings),
        "rubric_hash": study.rubric.hash,
        "rubric": study.rubric.model_dump(mode="json"),
        "outputs": [asdict(output) for output in places],
        "rows": rows,
    }
    path = folder / KEY
    with atomic(path) as file:
        Path(file.name).chmod(0o600)
        file.write(json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass") + b"\n")
    return path


def read_study(folder: str | Path) -> Study:
    """The study in ``folder``.

    Raises NotFound where there is no key, StoreError for one that is damaged, edited, or of a newer evalkit.
    """
    path = Path(folder) / KEY
    try:
        content = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except FileNotFoundError as error:
        raise NotFound(f"there is no study in {folder} (no {KEY}); evalkit human export makes one") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    schema = content.get("schema") if isinstance(content, Mapping) else None
    if schema != SCHEMA:
        raise StoreError(f"{path} has schema {schema!r}; this evalkit reads {SCHEMA}")
    try:
        study = _study(content)
    except (KeyError, IndexError, TypeError, ValueError, ValidationError) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise StoreError(f"{path} is damaged ({told}); take it from a copy") from error
    if study.rubric.hash != content.get("rubric_hash"):
        raise StoreError(f"{path}: the rubric was changed after the sheets were made; take the key from a copy")
    return study


def _row_json(row: Row, places: dict[Output, int]) -> dict[str, Json]:
    """A row with its outputs as positions in the list of outputs: each is rated several times and stored once."""
    content = {
        "id": row.id,
        "annotator": row.annotator,
        "position": row.position,
        "kind": row.kind,
        "first": places.setdefault(row.first, len(places)),
        "second": None if row.second is None else places.setdefault(row.second, len(places)),
        "of": row.of,
        "expected": row.expected,
        "digest": row.digest,
    }
    return {name: value for name, value in content.items() if value is not None}


def _study(content: Mapping[str, Any]) -> Study:
    outputs = [Output(**output) for output in content["outputs"]]
    return Study(
        id=content["id"],
        form=content["form"],
        rubric=Rubric.model_validate(content["rubric"]),
        seed=content["seed"],
        created=content["created"],
        evalkit=content["evalkit"],
        runs=tuple(content["runs"]),
        systems=tuple(content["systems"]),
        annotators=tuple(content["annotators"]),
        rows=tuple(_row(row, outputs) for row in content["rows"]),
        warnings=tuple(content["warnings"]),
    )


def _row(content: Mapping[str, Any], outputs: Sequence[Output]) -> Row:
    second = content.get("second")
    return Row(
        id=content["id"],
        annotator=content["annotator"],
        position=content["position"],
        kind=content["kind"],
        first=outputs[content["first"]],
        second=None if second is None else outputs[second],
        of=content.get("of"),
        expected=content.get("expected"),
        digest=content["digest"],
    )
