"""``report.html``: one file that needs no network, no server, and for its figures no JavaScript."""

from __future__ import annotations

from pathlib import Path

from evalkit.report import base
from evalkit.report.base import ReportableRun
from evalkit.report.charts import interval_bar
from evalkit.report.numbers import number
from evalkit.report.pack import Packed, pack
from evalkit.report.page import page
from evalkit.report.view import anchor, build
from evalkit.runner.files import atomic


def render(run: ReportableRun, max_samples: int = 2000, packed: Packed | None = None) -> str:
    """The page.

    Text of data and models reaches the page escaped (figures) or compressed (samples, which the script shows as text
    only), so it is never markup and never code. ``packed`` saves reading the records, where they were just read.
    """
    values = {"view": build(run), "packed": packed or pack(run, max_samples)}
    helpers = {"anchor": anchor, "bar": interval_bar, "number": number}
    return page("report.html.j2", ("report.css",), ("plots.js", "report.js"), **values, **helpers)


def export_html(run: ReportableRun, max_samples: int = 2000, *, packed: Packed | None = None) -> Path:
    """Write ``report.html``; returns its path. ``packed`` is as in `render`."""
    path = base.folder(run) / "report.html"
    with atomic(path, derived=True) as file:
        file.write(render(run, max_samples, packed).encode("utf-8", "backslashreplace"))
    return path
