"""The folder of a study: what stands in it, and whether it may be made anew."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from evalkit.errors import StoreError, UsageError
from evalkit.human.base import Study
from evalkit.human.key import KEY, read_study
from evalkit.human.layout import ITEM_ID, RATINGS, STUDY_ID, columns
from evalkit.ratings.base import RATINGS as LONG
from evalkit.runner.files import atomic

GUIDELINES, README, IGNORED = "guidelines.md", "README.txt", ".gitignore"

#: Where answers from the browser are kept, and what an import writes.
ANSWERS, RESULTS = "answers", (LONG, "ratings.json", "import_report.md")


def require_free(folder: Path, force: bool) -> None:
    """Raise UsageError where a study cannot be written to ``folder``.

    A folder with anything in it is refused; with ``force``, one that holds no study of ours, or any rating.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file; name a folder for the study")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / KEY).is_file():
        raise UsageError(f"--out {folder} is not empty and holds no study; name a new folder")
    if not force:
        raise UsageError(f"{folder} holds a study already; name another folder with --out, or replace it with --force")
    if found := next(_ratings(folder), None):
        raise UsageError(f"{found} holds ratings; a study that was rated is not replaced: name another folder with --out")


def clear(folder: Path) -> None:
    """Remove what an earlier export wrote, but its key: without one, the folder would not be known for a study's."""
    for path in sorted(folder.glob("annotator_*")):
        if path.suffix in (".csv", ".xlsx", ".html"):
            path.unlink()
    for name in (GUIDELINES, README):
        (folder / name).unlink(missing_ok=True)


def put(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic(path) as file:
        file.write(content)


def _ratings(folder: Path) -> Iterator[Path]:
    """Files with ratings in them."""
    yield from (folder / name for name in RESULTS if (folder / name).exists())
    yield from (path for path in (folder / ANSWERS).glob("*") if path.stat().st_size)
    study = read_study(folder)
    for path in sorted(folder.glob("annotator_*")):
        if path.suffix in (".csv", ".xlsx") and _filled(path, study):
            yield path


def _filled(path: Path, study: Study) -> bool:
    """Whether a sheet has anything in a rating or comment cell, or cannot be read to know."""
    try:
        rows = _xlsx_rows(path) if path.suffix == ".xlsx" else _csv_rows(path)
    except Exception as error:  # whatever a damaged workbook provokes: somebody worked on it
        told = " ".join(str(error).split())
        raise StoreError(f"{path} cannot be read ({told}), so it may hold ratings; move it away first") from error
    given = {ITEM_ID, STUDY_ID, *(column.name for column in columns(study) if column.role == "text")}
    header = rows[0] if rows else []
    return any(
        cell.strip() for row in rows[1:] for name, cell in zip(header, row, strict=False) if name.strip() not in given
    )


def _csv_rows(path: Path) -> list[list[str]]:
    text = path.read_bytes().decode("utf-8-sig")
    first = text.partition("\n")[0]
    delimiter = max((",", ";", "\t"), key=first.count)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _xlsx_rows(path: Path) -> list[list[str]]:
    from openpyxl import load_workbook

    book = load_workbook(path, read_only=True)
    try:
        return [["" if cell is None else str(cell) for cell in row] for row in book[RATINGS].iter_rows(values_only=True)]
    finally:
        book.close()
