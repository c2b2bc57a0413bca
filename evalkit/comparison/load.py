"""Where the scores of a comparison come from: a run's directory, a run by name, a score file, or one in a git commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.comparison.base import RunScores
from evalkit.comparison.directory import read_run
from evalkit.comparison.git import blob
from evalkit.comparison.scorefile import read_score_file, unpacked
from evalkit.errors import NotFound, StoreError, nearest
from evalkit.runner.store import find_run

_ENDING = ".jsonl.gz"


def load_scores(source: str | Path, *, output_dir: str | Path = "runs", name: str | None = None) -> RunScores:
    """The scores that ``source`` names, called ``name`` in tables (the run's own name by default).

    ``source``: a run's directory, ``run:NAME`` or a part of a run's name under ``output_dir``, ``latest``, a score file
    (``*.jsonl.gz``, `promote`) or ``git:REF:PATH`` of one. Raises NotFound where there is nothing of that name, with the
    nearest ones; StoreError for what cannot be read; NotComparable for a run that ended before it was scored.
    """
    text = str(source)
    if text.startswith("git:"):
        ref, colon, path = text.removeprefix("git:").partition(":")
        if not colon or not path:
            raise StoreError(f"{text!r}: written git:REF:PATH, as git:main:baselines/release{_ENDING}")
        return unpacked(blob(ref, path), text, name=name)
    if text.startswith("run:"):
        return read_run(find_run(text.removeprefix("run:"), Path(output_dir)), source=text, name=name)
    path_ = Path(text)
    if path_.is_file():
        if path_.name == "run.json":
            return read_run(path_.parent, source=text, name=name)
        return read_score_file(path_, name=name)
    if text.endswith(_ENDING):
        others = [str(found) for found in path_.parent.glob(f"*{_ENDING}")] if path_.parent.is_dir() else []
        raise NotFound(f"no score file {text}{nearest(text, others)}; evalkit baseline promote RUN --to {text} makes one")
    return read_run(find_run(text, Path(output_dir)), source=text, name=name)


def apart(runs: Sequence[RunScores]) -> list[RunScores]:
    """The runs under names that differ: their own, else with their id, else with their place (the same run twice)."""
    own = [run.name for run in runs]
    named = [run if own.count(run.name) == 1 else replace(run, name=str(run.manifest["id"])) for run in runs]
    names = [run.name for run in named]
    seen = [names[:at].count(name) for at, name in enumerate(names)]
    return [replace(run, name=f"{run.name} ({at + 1})") if at else run for run, at in zip(named, seen, strict=True)]
