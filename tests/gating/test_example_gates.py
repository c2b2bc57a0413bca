"""The example policies work as they are, on tasks that ship with evalkit."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

import evalkit
from evalkit.comparison.base import RunScores
from evalkit.comparison.load import load_scores
from evalkit.gating.gate import decide_gate
from evalkit.gating.judges import read_calibration
from evalkit.gating.plan import plan_gate
from evalkit.gating.policy import Budgets, Check, Policy, json_schema, load_policy
from evalkit.resources import builtin_dir

POLICIES = sorted(builtin_dir("gates").glob("*.yaml"))
TASKS = ["quickstart", "translation"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunScores]:
    folder = tmp_path_factory.mktemp("runs")
    specs = {"echo": "mock/echo", "failing": "mock/failing"}
    found = {}
    for name, model in specs.items():
        options = {"model_args": {"rate": "0.2"}} if name == "failing" else {}
        made = evalkit.run(tasks=TASKS, model=model, output_dir=str(folder), name=name, max_error_rate=1.0, **options)
        found[name] = load_scores(made.path, name=name)
    return found


def test_there_are_examples():
    assert {path.stem for path in POLICIES} >= {"release", "smoke"}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_an_example_is_sound_and_asks_nothing_that_its_data_cannot_certify(path: Path):
    assert not list(jsonschema.Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(path.read_text("utf-8"))))
    rows = plan_gate(load_policy(path), None)
    assert rows and not [row.sentence for row in rows if row.can is False]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_an_example_passes_a_run_against_itself_and_stops_one_that_fails(path: Path, runs: dict[str, RunScores]):
    policy = load_policy(path)
    same = decide_gate(policy, runs["echo"], runs["echo"])
    assert same.verdict == "PASS", same.headline
    assert all(check.gained == check.lost == 0 for check in same.checks if check.kind in ("metric", "slice"))
    assert decide_gate(policy, runs["echo"], runs["failing"]).verdict == "FAIL"


def test_the_policy_of_the_manual_is_one(tmp_path: Path):
    manual = (Path(__file__).resolve().parents[2] / "docs" / "gating.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", manual, re.DOTALL)
    (tmp_path / "p.yaml").write_text(example, encoding="utf-8")
    assert len(load_policy(tmp_path / "p.yaml").checks) == 4
    (calibration,) = re.findall(r"```json\n(.*?)```", manual, re.DOTALL)
    (tmp_path / "c.json").write_text(calibration, encoding="utf-8")
    assert read_calibration(tmp_path / "c.json").alpha.value == 0.71


def test_the_manual_has_every_key():
    manual = (Path(__file__).resolve().parents[2] / "docs" / "gating.md").read_text("utf-8")
    for model in (Policy, Check, Budgets):
        assert not [key for key in model.model_fields if f"`{key}`" not in manual]
