"""Runs compared by a judge: their answers paired, the judge asked as a run of its own, and what it said."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from evalkit.calibrate.pair_figures import PairReport, pair_report
from evalkit.calibrate.pairs import SYSTEM, PairOptions, family_warnings, lineup, pair_run
from evalkit.runner.given import GivenOptions, prepare_given
from evalkit.runner.prepare import Prepared
from evalkit.runner.run import Run
from evalkit.runner.sweep import finished_run


def judge_pairs(
    runs: Mapping[str, Run],
    options: PairOptions,
    settings: GivenOptions,
    execute: Callable[[Prepared], Run],
    tell: Callable[[str], None] = lambda text: None,
) -> PairReport:
    """Compare the systems' answers (system -> run) two at a time; ``execute`` carries out the judge's run.

    A finished run of exactly these comparisons is read and not made again, unless ``settings.new``.
    Raises DataError for runs without samples in common, and whatever preparing and carrying out a run does.
    """
    found = lineup(runs, options)
    origins = {SYSTEM: ", ".join(str(run.path) for run in runs.values())}
    prepared = prepare_given(found.outputs, origins, pair_run(found, options, settings), tell)[SYSTEM]
    done = finished_run(prepared) or execute(prepared)
    return pair_report(done, found.systems, (*found.notes, *family_warnings(runs, done)), seed=options.seed)
