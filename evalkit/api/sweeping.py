"""Evaluate a series of checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from evalkit.api.running import task_names
from evalkit.errors import ModelError
from evalkit.report.finished import executed
from evalkit.report.sweep import Sweep
from evalkit.report.sweep import export as export_sweep
from evalkit.report.sweep_marks import MARGIN
from evalkit.report.sweep_panels import Reader, panels
from evalkit.runner.checkpoints import find_checkpoints
from evalkit.runner.options import RunOptions
from evalkit.runner.prepare import prepare
from evalkit.runner.run import Run
from evalkit.runner.series import Member, known_series, listed, open_series
from evalkit.runner.session import Progress, Silent
from evalkit.runner.sweep import Intent, Present, check_options, finished_run, intents, run_series


def sweep(
    tasks: str | Sequence[str] | None = None,
    checkpoints: str = "",
    *,
    margin: float = MARGIN,
    options: RunOptions | None = None,
    watching: Callable[[Member], AbstractContextManager[Progress]] | None = None,
    **settings: Any,
) -> Sweep:
    """Evaluate a series of checkpoints, each as a run of its own, and draw its metrics over them.

    What is finished already (the same configuration) is not run again; new checkpoints are added to the series.

    Args:
        tasks: as in `run`.
        checkpoints: ``[provider/]glob`` of folders or GGUF files, the provider ``hf`` by default.
        margin: the share of a metric's range (0.01: one percentage point) that a regression must exceed.
        options: everything else at once, instead of ``tasks`` and ``settings``; without a model.
        watching: gives who shows how a checkpoint's run goes, while it goes; nobody by default.
        settings: any further field of `RunOptions`.

    Returns:
        The series. Its ``status`` is ``complete``, or ``incomplete`` (a checkpoint could not be loaded, or not everything
        was answered) or ``interrupted``: the same again goes on.

    Raises:
        UsageError: bad input, with one line that says what, where and what to do.
    """
    options = options or RunOptions(tasks=task_names(tasks), model=None, **settings)
    check_options(options)
    there, present = find_checkpoints(checkpoints), Present(options)
    series = open_series(checkpoints, there, options)
    reader, found = Reader(), Sweep(series, ())

    def evaluate(member: Member, own: RunOptions) -> Run:
        with nullcontext(Silent()) if watching is None else watching(member) as progress:
            try:
                prepared = prepare(own, progress.phase)
            except ModelError as error:
                progress.warning(f"{member.name} cannot be evaluated: {error}")
                raise
            return finished_run(prepared) or executed(prepared, True, progress)

    def changed() -> None:
        nonlocal found
        found = Sweep(series, tuple(panels(series, reader, margin)))
        export_sweep(series, found.panels, margin)

    try:
        series.update(margin=margin)
        run_series(series, options, present, evaluate, changed=changed)
    finally:
        series.close()
    return found


def plan_sweep(checkpoints: str, options: RunOptions) -> list[tuple[Member, Intent]]:
    """What `sweep` would do with each checkpoint, in order: nothing is loaded but the tasks, and nothing is written."""
    check_options(options)
    there = find_checkpoints(checkpoints)
    series = None if options.new else known_series(checkpoints, there, options)
    members = [listed(one) for one in there] if series is None else series.members
    return intents(series, members, options, Present(options))
