"""Results as CSV, and results in a file that the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows that all have the same keys, as CSV with a header; no cell is a formula to a spreadsheet."""
    import csv
    import io

    from evalkit.report.tables import cell

    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return file.getvalue()


def write_result(to: str, document: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the file ``to``: ``rows`` as CSV where its name ends in .csv, else ``document`` as JSON."""
    from pathlib import Path

    from evalkit.cli.output import say
    from evalkit.report.strict import dumps

    path = Path(to)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".csv":
        path.write_text(csv_text(rows), encoding="utf-8")
    else:
        path.write_bytes(dumps(document, indent=2) + b"\n")
    say(f"written to {path}")
