"""Everything evalkit raises on purpose, as one tree; the exit code stands on the class.

EvalkitError                  1
+-- UsageError                2   the user can mend it: wrong input, option or file
|   +-- TaskError             2   a task definition
|   +-- DataError             2   a data file, split, column or line
|   +-- TemplateError         2   a Jinja template that failed on a sample
|   +-- ModelError            2   a model that cannot be loaded or cannot do what is asked
|   +-- ScorerError           2   a scorer's name or parameters
|   +-- RubricError           2   a rubric's name or file
|   +-- ConfigError           2   a run file, or a resumed run whose configuration differs
|   +-- CodeRefused           2   code from a task folder, without --allow-code
|   +-- StoreError            2   a run directory that cannot be read, written or locked
|       +-- NotFound          2   no run, score file or commit of that name
+-- NotComparable             4   runs that must not be compared, or a gate that cannot be decided
+-- Incomplete                5   the run stopped early and can be resumed
+-- Interrupted             130   Ctrl-C; everything answered is kept
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvalkitError(Exception):
    """Base of all errors that evalkit raises on purpose. The message is one line: what, where, what to do."""

    exit_code = 1


class UsageError(EvalkitError):
    """Something the user gave is wrong; nothing was lost."""

    exit_code = 2


class TaskError(UsageError):
    """A task definition is wrong."""


class DataError(UsageError):
    """A data file, split, column or line is missing or broken."""


class TemplateError(UsageError):
    """A template failed on a sample."""


class ModelError(UsageError):
    """A model cannot be loaded, or cannot do what a task asks of it."""


class ScorerError(UsageError):
    """A scorer is unknown or its parameters are wrong."""


class RubricError(UsageError):
    """A rubric is unknown or its file is wrong."""


class ConfigError(UsageError):
    """A run file is wrong, or a resumed run's configuration differs."""


class CodeRefused(UsageError):
    """A task folder wants to run code and ``--allow-code`` was not given."""


class StoreError(UsageError):
    """A run directory cannot be read, written or locked."""


class NotFound(StoreError):
    """There is no run, score file or commit of that name: not the same as one that cannot be read."""


class NotComparable(EvalkitError):
    """Two runs differ in what was asked, or lack what a gate needs: no verdict can be given."""

    exit_code = 4


class Incomplete(EvalkitError):
    """The run ended before everything was done; the same command resumes it."""

    exit_code = 5


class Interrupted(EvalkitError):
    """The user stopped the run; the same command resumes it."""

    exit_code = 130


def nearest(name: str, known: Iterable[str], limit: int = 3, cutoff: float = 0.5) -> str:
    """A hint `` (did you mean a, b?)`` with the nearest known names, or the empty string.

    ``cutoff`` in [0, 1] is how alike two names must be (`difflib.SequenceMatcher.ratio`).
    """
    close = difflib.get_close_matches(name, dict.fromkeys(known), n=limit, cutoff=cutoff)
    return f" (did you mean {', '.join(close)}?)" if close else ""
