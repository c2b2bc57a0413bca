"""A run from its start to its derived files: what every command that executes one does."""

from __future__ import annotations

from evalkit.errors import StoreError
from evalkit.report.export import Export
from evalkit.runner.prepare import Prepared
from evalkit.runner.run import Run
from evalkit.runner.session import Progress, run_prepared


def executed(prepared: Prepared, store: bool, progress: Progress) -> Run:
    """A run to its end, with its derived files where it is kept."""
    export = Export()
    watching = export.watching if store else None
    done = run_prepared(prepared, store=store, progress=progress, watching=watching)
    if store and done.status != "interrupted":
        finish(export, done)
    return done


def finish(export: Export, run: Run) -> None:
    """Write the derived files. What can go wrong here costs no answer and no score, and the message says so."""
    try:
        export.finish(run)
    except OSError as error:
        raise StoreError(
            f"cannot write the report to {run.path}: {error.strerror or error}. All answers and scores are safe; "
            f"make room, then: evalkit report {run.path}"
        ) from error
