"""A rubric on the terminal: whether its file is right, and what a judge reads of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.rubric.schema import Criterion, Rubric


def is_rubric(name: str) -> bool:
    """Whether ``name`` is a file with a rubric in it: its keys tell it from a task file."""
    from pathlib import Path

    import yaml

    path = Path(name).expanduser()
    if not name.endswith((".yaml", ".yml")) or not path.is_file():
        return False
    try:
        data = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError):
        return False  # whoever reads it as a task says what is wrong with it, and where
    return isinstance(data, dict) and ("rubric" in data or "criteria" in data) and "dataset_path" not in data


def validate_rubrics(names: list[str], json: bool) -> None:
    """Print each rubric with its criteria and the prompt of the first one. Raises RubricError with file, line and key."""
    from evalkit.cli.output import print_json
    from evalkit.rubric.load import load_rubric

    rubrics = [load_rubric(name) for name in names]
    if json:
        print_json({"rubrics": [_told(name, rubric) for name, rubric in zip(names, rubrics, strict=True)]})
        return
    for name, rubric in zip(names, rubrics, strict=True):
        print(
            f"=== {name}: ok\n{rubric.rubric}, version {rubric.version}, hash {rubric.hash}, {rubric.form}, {rubric.style}"
        )
        for one in rubric.criteria:
            steps = f"{len(one.steps)} steps" if one.steps else "no steps"
            print(f"{one.name}: {', '.join(one.scale.points)}; shows {', '.join(rubric.shows(one))}; {steps}")
        for message in _prompt(rubric, rubric.criteria[0]):
            print(f"--- {message['role']}\n{message['content']}")
        print("---\n")


def _told(name: str, rubric: Rubric) -> dict[str, Any]:
    return {
        "file": name,
        "rubric": rubric.rubric,
        "version": rubric.version,
        "hash": rubric.hash,
        "criteria": list(rubric.names),
        "prompts": {one.name: _prompt(rubric, one) for one in rubric.criteria},
    }


def _prompt(rubric: Rubric, criterion: Criterion) -> list[dict[str, str]]:
    from evalkit.scorers.judge.base import Texts
    from evalkit.scorers.judge.prompt import judge_prompt, pair_prompt

    texts = Texts("(output)", input="(input)", source="(source)", reference="(reference)", other="(other output)")
    make = pair_prompt if rubric.form == "pairwise" else judge_prompt
    found = make(rubric, criterion, texts, style=rubric.style, answer="marked", criteria=rubric.criteria)
    return [{"role": message.role, "content": message.content} for message in found]
