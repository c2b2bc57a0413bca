"""Score texts that are there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.comparison.resampled import Scores, paired_scores
from evalkit.data.pairs import joined
from evalkit.data.textfile import further, systems
from evalkit.errors import DataError, nearest
from evalkit.report.finished import executed
from evalkit.runner.given import GivenOptions, prepare_given
from evalkit.runner.run import Run
from evalkit.runner.session import Progress, Silent


def score(
    predictions: Any,
    references: Any = None,
    sources: Any = None,
    *,
    scorers: Sequence[str | Mapping[str, Any]] = (),
    columns: Mapping[str, str] | None = None,
    baseline: str | None = None,
    options: GivenOptions | None = None,
    store: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> Scores:
    """Score texts that are there already, of one system or of several on the same rows. No model is asked for them.

    Args:
        predictions: a file, or a text a row; for several systems a mapping of names to either, or a list of `Path` objects.
        references: a file (several: a list of `Path` objects, each one more reference a row), or a text or list of texts a
            row; without it they are looked for in the predictions' columns.
        sources: a file, or a text a row.
        scorers: as in a task file; BLEU, chrF and ROUGE where nothing is said.
        columns: role (``prediction``, ``reference``, ``source``, ``id``) -> the column that has it.
        baseline: the system that the others are compared with; the first one by default.
        options: everything else at once, instead of ``scorers`` and ``settings``.
        store: write run directories under ``output_dir``; without it nothing is left on disk.
        progress: who shows how it goes; nobody by default.
        settings: any further field of `GivenOptions`.

    Returns:
        A run for each system, and every metric of the others compared with the baseline.

    Raises:
        UsageError: bad input, with one line that says what, where and what to do.
    """
    options = options or GivenOptions(scorers=scorers, **settings)
    progress = progress or Silent()
    files = systems(predictions)
    if baseline is not None and baseline not in files:
        known = ", ".join(files)
        raise DataError(f"there is no system {baseline!r}{nearest(baseline, files) or f'; there are {known}'}")
    outputs = joined(files, further("references", references), next(iter(further("sources", sources)), None), columns)
    runs: dict[str, Run] = {}
    origins = {name: file.name for name, file in files.items()}
    for name, prepared in prepare_given(outputs, origins, options, progress.phase).items():
        runs[name] = executed(prepared, store, progress)
        if runs[name].status == "interrupted":
            return Scores(runs, baseline or next(iter(files)))
    baseline = baseline or next(iter(files))
    if len(runs) == 1:
        return Scores(runs, baseline)
    progress.phase(f"comparing with {baseline}")
    return Scores(runs, baseline, tuple(paired_scores(runs, baseline)))
