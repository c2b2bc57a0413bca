"""``evalkit judge steps``: a model writes down once how it would rate, and the rubric keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli import options as o
from evalkit.errors import ConfigError, RubricError, nearest

if TYPE_CHECKING:
    from evalkit.rubric.schema import Criterion, Rubric


def steps(
    name: Annotated[str, typer.Argument(metavar="RUBRIC", help="A rubric, by name or file (evalkit ls rubrics).")],
    model: Annotated[str | None, o.option("--model -m", "Who writes them: provider/name,option=value.")] = None,
    criterion: Annotated[
        list[str] | None, o.option("--criterion", "Only this one (repeat it). [default: all without steps]")
    ] = None,
    write: Annotated[bool, o.option("--write", "Put them in the file; of a shipped rubric, in a copy here.")] = False,
    force: Annotated[bool, o.option("--force", "Write over steps that are there.")] = False,
    json: o.Json = False,
) -> None:
    """Let a model write the evaluation steps of a rubric's criteria (auto-CoT, as in G-Eval).

    Read them before you use them. With --write they are frozen in the file, whose other lines stay as they are, and its
    version goes up; every judge and every human rater then works by the same steps.
    """
    from evalkit.calibrate.steps import written_steps
    from evalkit.cli.output import print_json, say
    from evalkit.cli.progress import shown
    from evalkit.rubric.load import load_rubric
    from evalkit.rubric.steps import with_steps
    from evalkit.runner.options import RunOptions
    from evalkit.runner.prepare import role_model

    rubric = load_rubric(name)
    chosen = _chosen(rubric, criterion, force)
    target = _target(name, force) if write else None
    if model is None:
        raise ConfigError("no model given; name one with --model provider/name (evalkit ls models lists providers)")
    with shown() as progress:
        progress.phase(f"loading {model}")
        judge = role_model(model, RunOptions(tasks=(), model=None))
        found = {one.name: written_steps(judge, rubric, one) for one in chosen}
    if target is not None:
        source, path = target
        text = with_steps(source.read_bytes().decode("utf-8"), {key: list(own) for key, own in found.items()}, force=force)
        path.write_bytes(text.encode("utf-8"))
    if json:
        print_json({"rubric": rubric.rubric, "model": judge.name, "steps": {key: list(own) for key, own in found.items()}})
    else:
        for key, own in found.items():
            print(f"{key}:")
            for number, step in enumerate(own, 1):
                print(f"  {number}. {step}")
    if target is None:
        say("\nnot written; read them, then: --write")
    else:
        written = load_rubric(str(target[1]))
        say(f"\nwritten to {target[1]}, version {written.version}, hash {written.hash}; use it as rubric: {target[1]}")


def _chosen(rubric: Rubric, names: list[str] | None, force: bool) -> list[Criterion]:
    if names:
        if wrong := next((name for name in names if name not in rubric.names), None):
            hint = nearest(wrong, rubric.names) or f"; it has {', '.join(rubric.names)}"
            raise RubricError(f"rubric {rubric.rubric} has no criterion {wrong!r}{hint}")
        chosen = [rubric.criterion(name) for name in names]
        if (full := [one.name for one in chosen if one.steps]) and not force:
            raise RubricError(f"criterion {full[0]} of rubric {rubric.rubric} has steps already; --force writes new ones")
        return chosen
    chosen = [one for one in rubric.criteria if force or not one.steps]
    if not chosen:
        raise RubricError(f"all criteria of rubric {rubric.rubric} have steps already; --force writes new ones")
    return chosen


def _target(name: str, force: bool) -> tuple[Path, Path]:
    """What is read, and the file that is written."""
    from evalkit.rubric.load import shipped

    if name not in shipped():
        path = Path(name).expanduser()
        return path, path
    copy = Path(f"{name}.yaml")
    if copy.exists() and not force:
        raise RubricError(f"{copy} is there already: name it instead ({copy}), or --force writes over it")
    return shipped()[name], copy
