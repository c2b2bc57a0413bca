"""Rubrics by name or path: those that ship with evalkit, and the user's own files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from evalkit.errors import RubricError, nearest
from evalkit.resources import builtin_dir
from evalkit.rubric.schema import Criterion, Rubric
from evalkit.yamlmodel import read_model


def shipped() -> dict[str, Path]:
    """Names of the rubrics that ship with evalkit, and where they are."""
    return {path.stem: path for path in sorted(builtin_dir("judges").glob("*.yaml"))}


def load_rubric(name: str | Path, folder: Path | None = None) -> Rubric:
    """A shipped rubric by name, or a file (relative to ``folder``, the working directory by default).

    Raises RubricError for an unknown name, with the nearest ones, and for a file that is wrong, with its line.
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        path = (folder or Path.cwd()) / Path(text).expanduser()
        return _read(path, path.stat().st_mtime_ns if path.is_file() else 0)
    known = shipped()
    if text not in known:
        hint = nearest(text, known) or f"; there are {', '.join(known)}"
        having = [rubric for rubric in known if text.rpartition("/")[2] in load_rubric(rubric).names]
        if having:
            raise RubricError(f"{text!r} is a criterion, not a rubric; a whole rubric is wanted here: {' or '.join(having)}")
        raise RubricError(f"there is no rubric {text!r}{hint}; a file of your own ends in .yaml")
    return _read(known[text], known[text].stat().st_mtime_ns)


def load_criteria(name: str | Path, folder: Path | None = None) -> tuple[Rubric, tuple[Criterion, ...]]:
    """``rubric``, ``rubric/criterion`` or the name of a criterion that one shipped rubric has: the rubric and what to rate.

    Raises RubricError.
    """
    text = str(name)
    if text in shipped() or text.endswith((".yaml", ".yml")):
        rubric = load_rubric(text, folder)
        return rubric, rubric.criteria
    whole, slash, part = text.rpartition("/")
    if slash and (whole in shipped() or whole.endswith((".yaml", ".yml"))):
        rubric = load_rubric(whole, folder)
        if part not in rubric.names:
            hint = nearest(part, rubric.names) or f"; it has {', '.join(rubric.names)}"
            raise RubricError(f"rubric {whole} has no criterion {part!r}{hint}")
        return rubric, (rubric.criterion(part),)
    having = {rubric: found for rubric in shipped() if text in (found := load_rubric(rubric)).names}
    if len(having) == 1:
        (rubric,) = having.values()
        return rubric, (rubric.criterion(text),)
    if having:
        raise RubricError(f"several rubrics have a criterion {text!r}: say {' or '.join(f'{r}/{text}' for r in having)}")
    known = [*shipped(), *(name for rubric in shipped() for name in load_rubric(rubric).names)]
    hint = nearest(text, known) or f"; there are {', '.join(shipped())}"
    raise RubricError(f"there is no rubric or criterion {text!r}{hint}; a file of your own ends in .yaml")


@lru_cache(maxsize=64)
def _read(path: Path, stamp: int) -> Rubric:
    return read_model(path, Rubric, "rubric", RubricError)
