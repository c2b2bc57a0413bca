"""What docs/judges.md shows can be done."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from evalkit.rubric.load import load_criteria, shipped
from evalkit.rubric.schema import Rubric
from evalkit.runner.prepare import scorer_spec
from evalkit.scorers.base import ScoringPlan
from evalkit.scorers.registry import build_scorers
from evalkit.tasks.schema import TaskConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "judges.md").read_text("utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def test_the_pages_rubric_and_task_are_ones():
    (rubric,) = [block for block in BLOCKS if "rubric" in block]
    assert Rubric.model_validate(rubric).names == ("politeness",)
    (task,) = [block for block in BLOCKS if "task" in block and "rubric" not in block]
    assert [entry.name for entry in TaskConfig.model_validate(task).scorers] == ["judge", "judge"]


def test_its_scorers_can_be_built():
    for block in BLOCKS:
        for entry in block.get("scorers", ()):
            if "my-rubrics" not in str(entry):
                build_scorers(ScoringPlan("generate_until", scorers=(scorer_spec(entry),)))
    for given in re.findall(r"--scorers (\S+)", PAGE):
        (scorer,) = build_scorers(ScoringPlan("generate_until", scorers=(scorer_spec(given),)))
        assert scorer.name == "judge"


def test_every_shipped_rubric_and_criterion_is_named():
    for name in shipped():
        assert f"`{name}`" in PAGE
        for criterion in load_criteria(name)[1]:
            assert criterion.name in PAGE or criterion.name == name.replace("-", "_"), criterion.name
