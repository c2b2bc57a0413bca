"""A study's blind rows for other annotation tools, one folder a tool; what they must not tell is in no file here.

Each annotator's rows are a file of their own, in their order: give each to one person (one project, one batch), so that
nobody meets the same text twice under two ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from evalkit.human.base import Study
from evalkit.human.formats import argilla, label_studio, mturk, potato

#: Writes a study's files into a folder that is there, and gives their names.
Write = Callable[[Study, Path], list[str]]

FORMATS: Mapping[str, Write] = {
    "label-studio": label_studio.write,
    "argilla": argilla.write,
    "potato": potato.write,
    "mturk": mturk.write,
}
