"""Let a judge compare the answers of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.api.running import open_run
from evalkit.calibrate.pair_figures import PairReport
from evalkit.calibrate.pair_run import judge_pairs as _judge_pairs
from evalkit.calibrate.pairs import PairOptions, named_runs
from evalkit.report.finished import executed
from evalkit.runner.given import GivenOptions
from evalkit.runner.run import Run
from evalkit.runner.session import Progress, Silent


def judge_pairs(
    runs: Sequence[str | Path | Run] | Mapping[str, str | Path | Run],
    *,
    settings: GivenOptions | None = None,
    output_dir: str | Path = "runs",
    progress: Progress | None = None,
    **options: Any,
) -> PairReport:
    """Let a judge compare the answers of two or more runs to the same samples, each pair in both orders.

    The verdicts are a run of their own; the same call again goes on with it.

    Args:
        runs: runs, their directories or names; a mapping says what the systems are called.
        settings: of the judge's run.
        output_dir: where runs are looked for.
        progress: who shows how it goes.
        options: fields of `PairOptions`: ``model`` (the judge), ``rubric``, ``against``, ``limit`` ...

    Raises UsageError for bad input and for runs without answers to the same samples.
    """
    watching = progress or Silent()
    found = named_runs(runs, lambda one: open_run(one, output_dir=output_dir))
    given = settings or GivenOptions(output_dir=output_dir)
    return _judge_pairs(found, PairOptions(**options), given, lambda run: executed(run, True, watching), watching.phase)
