"""``sweep.html`` and ``sweep.csv``: a series of checkpoints as a page and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.report.page import page
from evalkit.report.sweep_marks import MARGIN
from evalkit.report.sweep_panels import Panel, Point
from evalkit.report.sweep_view import build
from evalkit.report.tables import csv_file
from evalkit.runner.files import atomic, writing
from evalkit.runner.series import Series
from evalkit.types import Json

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "checkpoint", "model", "run", "status", "step", "parameters", "tokens", "compute", "compute_source", "task", "filter",
    "metric", "scorer", "higher_is_better", "value", "stderr", "ci_low", "ci_high", "n", "errors", "unscored", "chance",
    "p_chance", "above_chance", "emerges", "best_before", "difference", "difference_ci_low", "difference_ci_high", "gained",
    "lost", "p_worse", "regressed", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sweep:
    """What `evalkit.sweep` gives: the series with its runs, and every metric over the checkpoints with its marks."""

    series: Series
    panels: tuple[Panel, ...]

    @property
    def path(self) -> Path:
        """The series' directory, with ``sweep.html`` and ``sweep.csv``."""
        return self.series.path

    @property
    def status(self) -> str:
        """``complete``, or ``incomplete`` or ``interrupted``: the same again goes on."""
        return self.series.status

    def to_pandas(self) -> pd.DataFrame:
        """A row for every curve and checkpoint; the columns are those of ``sweep.csv``."""
        import pandas as pd

        return pd.DataFrame(rows(self.series, self.panels)).reindex(columns=list(COLUMNS))


def render(series: Series, panels: Sequence[Panel], margin: float = MARGIN) -> str:
    """The page: one file, which needs no network, and no script for what it says."""
    return page("sweep.html.j2", ("report.css", "sweep.css"), ("plots.js",), view=build(series, panels, margin))


def export(series: Series, panels: Sequence[Panel], margin: float = MARGIN) -> list[Path]:
    """Write ``sweep.html`` and ``sweep.csv`` into the series' directory; their paths. Raises StoreError."""
    html, table = series.path / "sweep.html", series.path / "sweep.csv"
    with writing(series.path):
        with atomic(html, derived=True) as file:
            file.write(render(series, panels, margin).encode("utf-8", "backslashreplace"))
        with csv_file(table, COLUMNS) as lines:
            for row in rows(series, panels):
                lines.writerow([row.get(column) for column in COLUMNS])
    return [html, table]


def rows(series: Series, panels: Sequence[Panel]) -> list[dict[str, Json]]:
    """A mapping of `COLUMNS` for every curve and checkpoint, and one for each checkpoint that has no complete run.

    p values are corrected, differences are checkpoint - best before it, in the metric's units.
    """
    found = [_row(panel, point) for panel in panels for point in panel.points]
    return found + [member.public() | {"checkpoint": member.name} for member in series.members if not member.finished]


def _row(panel: Panel, point: Point) -> dict[str, Json]:
    task, filter_, scorer, metric = panel.key
    return {
        **point.member.public(),
        "checkpoint": point.member.name,
        "task": task,
        "filter": filter_,
        "scorer": scorer,
        "metric": metric,
        **_measured(point),
        "p_chance": point.p_chance,
        "above_chance": point.above,
        "emerges": panel.emerged is point,
        **_compared(point),
        "p_worse": point.p_worse,
        "regressed": point.regressed,
        "note": point.note,
    }


def _measured(point: Point) -> dict[str, Any]:
    s = point.summary
    if s is None:
        return {}
    low, high = s.ci or (None, None)
    names = ("higher_is_better", "value", "stderr", "n", "errors", "unscored", "chance")
    return {name: getattr(s, name) for name in names} | {"ci_low": low, "ci_high": high}


def _compared(point: Point) -> dict[str, Any]:
    pair = point.comparison
    before = None if point.against is None else point.against.name
    if pair is None or pair.test is None:
        return {"best_before": before}
    low, high = pair.test.interval() or (None, None)
    return {
        "best_before": before,
        "difference": pair.test.value,
        "difference_ci_low": low,
        "difference_ci_high": high,
        "gained": pair.gained,
        "lost": pair.lost,
    }
