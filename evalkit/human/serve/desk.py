"""What the rating page may know and keep: one annotator's blind rows, and their answers on the disk."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from evalkit.errors import StoreError, UsageError
from evalkit.human.base import Row, Study
from evalkit.human.key import read_study
from evalkit.human.layout import NOT_APPLICABLE, columns, whole_texts
from evalkit.runner.files import atomic, sync_folder
from evalkit.types import Json

#: Where the answers of the page are, and the links' secrets.
ANSWERS, TOKENS = "answers", "links.json"

_LONGEST_COMMENT = 10_000


class Desk:
    """A study that is being rated. Every answer is on the disk before `save` returns; the last one for a cell counts.

    Raises StoreError where another page serves the same study already.
    """

    def __init__(self, folder: Path) -> None:
        self.study: Study = read_study(folder)
        self._answers = folder / ANSWERS
        self._answers.mkdir(exist_ok=True, mode=0o700)
        self._lock = _locked(self._answers / ".lock", folder)
        self.tokens = _tokens(folder / TOKENS, self.study)
        self._by_annotator: dict[str, dict[str, Row]] = {name: {} for name in self.study.annotators}
        for row in sorted(self.study.rows, key=lambda row: row.position):
            self._by_annotator[row.annotator][row.id] = row
        self._writing = threading.Lock()
        for name in self.study.annotators:
            _mend(self._file(name))

    def close(self) -> None:
        self._lock.close()

    def annotator(self, token: str) -> str | None:
        """Whose link this is; every link is looked at, so that the time taken tells nothing."""
        found = None
        for name, known in self.tokens.items():
            if secrets.compare_digest(known.encode(), token.encode("utf-8", "replace")):
                found = name
        return found

    def sheet(self, annotator: str) -> dict[str, Json]:
        """Everything the page shows: the rubric's words and this annotator's rows in their order, and no word more."""
        rubric = self.study.rubric
        return {
            "study": self.study.id,
            "form": self.study.form,
            "title": rubric.summary or rubric.rubric,
            "task": rubric.task,
            "guidelines": rubric.guidelines,
            "warnings": list(self.study.warnings),
            "not_applicable": NOT_APPLICABLE,
            "criteria": [
                {
                    "name": criterion.name,
                    "title": criterion.shown,
                    "definition": criterion.definition,
                    "labels": list(criterion.scale.points),
                    "levels": dict(criterion.levels),
                }
                for criterion in rubric.criteria
            ],
            "columns": [column.name for column in columns(self.study) if column.role == "text"],
            "rows": [
                {"id": row.id, "texts": whole_texts(self.study, row)} for row in self._by_annotator[annotator].values()
            ],
            "answers": self.answers(annotator),
        }

    def answers(self, annotator: str) -> dict[str, dict[str, str]]:
        """By row: criterion -> label, and ``comment``."""
        found: dict[str, dict[str, str]] = {}
        for line in _lines(self._file(annotator)):
            cells = found.setdefault(line["row"], {})
            if line["criterion"] is not None:
                cells[line["criterion"]] = line["value"]
            else:
                cells["comment"] = line["comment"]
        return found

    def save(self, annotator: str, given: Any) -> None:
        """Keep one answer: ``row`` and ``comment``, or ``row``, ``criterion`` and ``value`` (a label, N/A, or "" for none).

        Raises UsageError for anything that is not on this annotator's sheet or not on the scale.
        """
        line = self._checked(annotator, given)
        text = json.dumps(line, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        path = self._file(annotator)
        with self._writing:
            fresh = not path.exists()
            with path.open("ab") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if fresh:
                sync_folder(path.parent)

    def _checked(self, annotator: str, given: Any) -> dict[str, Json]:
        if not isinstance(given, Mapping):
            raise UsageError("an answer is an object with row and criterion or comment")
        row = given.get("row")
        if not isinstance(row, str) or row not in self._by_annotator[annotator]:
            raise UsageError("this row is not on your sheet")
        seconds = given.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e7:
            seconds = None
        line: dict[str, Json] = {"row": row, "criterion": None, "value": "", "comment": "", "seconds": seconds}
        if given.get("criterion") is None:
            comment = given.get("comment")
            if not isinstance(comment, str) or len(comment) > _LONGEST_COMMENT:
                raise UsageError(f"a comment is text of up to {_LONGEST_COMMENT:,} characters")
            line["comment"] = comment
        else:
            name, value = given["criterion"], given.get("value")
            scales = {criterion.name: criterion.scale.points for criterion in self.study.rubric.criteria}
            if name not in scales:
                raise UsageError(f"there is no criterion {str(name)[:40]!r}")
            if value not in ("", NOT_APPLICABLE, *scales[name]):
                raise UsageError(f"{str(value)[:40]!r} is not on the scale of {name}: {', '.join(scales[name])}")
            line |= {"criterion": name, "value": value}
        return {**line, "at": datetime.now(UTC).isoformat(timespec="seconds")}

    def _file(self, annotator: str) -> Path:
        return self._answers / f"{annotator}.jsonl"


def _tokens(path: Path, study: Study) -> dict[str, str]:
    """The secret of each annotator's link: made once, so that links stay good over restarts."""
    found: dict[str, str] = {}
    if path.is_file():
        try:
            content = json.loads(path.read_text("utf-8"))
            found = {name: token for name, token in content["links"].items() if isinstance(token, str) and len(token) >= 16}
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete it for new links") from error
    tokens = {name: found.get(name) or secrets.token_urlsafe(24) for name in study.annotators}
    if tokens != found:
        content = {"private": "KEEP PRIVATE: whoever has a link rates in its annotator's name.", "links": tokens}
        with atomic(path) as file:
            Path(file.name).chmod(0o600)
            file.write(json.dumps(content, indent=1).encode() + b"\n")
    return tokens


def _locked(path: Path, folder: Path) -> IO[bytes]:
    """A lock that ends with the process, however it ends."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StoreError(f"{folder} is served already by another evalkit human serve") from error
    return file


def _mend(path: Path) -> None:
    """Cut off what a power cut left of a last line; it was never confirmed to anybody."""
    if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
