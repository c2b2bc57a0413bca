"""All files that are derived from a run; each can be deleted and made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from evalkit.report import base
from evalkit.report.base import MetricNames, ReportableRun, View
from evalkit.report.html import export_html
from evalkit.report.pack import Chooser, Packed
from evalkit.report.results import export_results
from evalkit.report.samples import export_samples, sample_files, sample_paths
from evalkit.report.tables import export_summary
from evalkit.report.usage import export_usage

__all__ = ["Export", "export_all", "export_html", "export_results", "export_samples", "export_summary", "export_usage"]


def export_all(run: ReportableRun, *, max_samples: int = 2000) -> list[Path]:
    """Write ``results.json``, ``summary.csv``, ``usage.csv``, ``samples.jsonl.gz``, ``samples.csv`` and ``report.html``.

    Each is written beside its old version and takes its place whole; memory stays flat in the number of samples.
    ``max_samples`` caps what the HTML embeds.
    """
    return Export(max_samples).finish(run)


class Export:
    """All files of a run, in one pass over its records: best the one in which they are scored."""

    def __init__(self, max_samples: int = 2000) -> None:
        self._max_samples = max_samples
        self._packed: Packed | None = None

    @contextmanager
    def watching(self, run: ReportableRun, names: MetricNames) -> Iterator[Callable[[View], None]]:
        """Inside the block the sample files are being written: call what it gives with every record, in order."""
        chooser = Chooser(run, self._max_samples, names)
        with sample_files(base.folder(run), names) as add:

            def show(view: View) -> None:
                add(view)
                chooser.add(view)

            yield show
        self._packed = chooser.packed()

    def finish(self, run: ReportableRun) -> list[Path]:
        """Write what is not written yet; the paths of all."""
        base.folder(run)  # a run without one is told so before anything is read
        if self._packed is None:
            with self.watching(run, base.metric_names(run)) as show:
                for view in run.records():
                    show(view)
        paths = [export_results(run), export_summary(run), export_usage(run), *sample_paths(run)]
        return [*paths, export_html(run, packed=self._packed)]
