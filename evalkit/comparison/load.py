"""Where the scores of a comparison come from: a run's directory, a run by name, a score file, or one in a git commit."""

from __future__ import annotations

from pathlib import Path

from evalkit.comparison.base import RunScores
from evalkit.comparison.directory import read_run
from evalkit.runner.store import find_run


def load_scores(source: str | Path, *, output_dir: str | Path = "runs", name: str | None = None) -> RunScores:
    """The scores that ``source`` names, called ``name`` in tables (the run's own name by default).

    ``source``: a run's directory, ``run:NAME`` or a part of a run's name under ``output_dir``, ``latest``, a score file
    (``*.jsonl.gz``, `promote`) or ``git:REF:PATH`` of one. Raises StoreError where there is nothing of that kind, with the
    nearest names.
    """
    text = str(source)
    return read_run(find_run(text.removeprefix("run:"), Path(output_dir)), source=text, name=name)
