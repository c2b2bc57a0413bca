"""``report.html``: one file that needs no network, no server, and for its figures no JavaScript."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from evalkit.report import base
from evalkit.report.base import ReportableRun
from evalkit.report.charts import interval_bar
from evalkit.report.numbers import number
from evalkit.report.pack import Packed, pack
from evalkit.report.view import anchor, build
from evalkit.resources import builtin_dir
from evalkit.runner.files import atomic


def render(run: ReportableRun, max_samples: int = 2000, packed: Packed | None = None) -> str:
    """The page. Style and script are inlined and named by hash in the page's content security policy.

    Text of data and models reaches the page escaped (figures) or compressed (samples, which the script shows as text
    only), so it is never markup and never code. ``packed`` saves reading the records, where they were just read.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = builtin_dir("reports")
    style = (folder / "report.css").read_text("utf-8")
    script = (folder / "report.js").read_text("utf-8")
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        view=build(run),
        anchor=anchor,
        bar=interval_bar,
        number=number,
        packed=packed or pack(run, max_samples),
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
    )


def export_html(run: ReportableRun, max_samples: int = 2000, *, packed: Packed | None = None) -> Path:
    """Write ``report.html``; returns its path. ``packed`` is as in `render`."""
    path = base.folder(run) / "report.html"
    with atomic(path, derived=True) as file:
        file.write(render(run, max_samples, packed).encode("utf-8", "backslashreplace"))
    return path


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
