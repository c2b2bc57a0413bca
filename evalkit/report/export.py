"""All files that are derived from a run; each can be deleted and made again."""

from __future__ import annotations

from pathlib import Path

from evalkit.report.base import ReportableRun
from evalkit.report.html import export_html
from evalkit.report.pack import Chooser
from evalkit.report.results import export_results
from evalkit.report.samples import export_samples
from evalkit.report.tables import export_summary
from evalkit.report.usage import export_usage

__all__ = ["export_all", "export_html", "export_results", "export_samples", "export_summary", "export_usage"]


def export_all(run: ReportableRun, *, max_samples: int = 2000) -> list[Path]:
    """Write ``results.json``, ``summary.csv``, ``usage.csv``, ``samples.jsonl.gz``, ``samples.csv`` and ``report.html``.

    Each is written beside its old version and takes its place whole; memory stays flat in the number of samples.
    ``max_samples`` caps what the HTML embeds.
    """
    chooser = Chooser(run, max_samples)
    written = [export_results(run), export_summary(run), export_usage(run), *export_samples(run, chooser.add)]
    return [*written, export_html(run, packed=chooser.packed())]
