"""Toxicity classification as a model task: local copies in the public sets' own columns, prompts, targets and numbers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import evalkit
from evalkit.tasks.moderation_labels import openai_moderation


@pytest.fixture
def surge(tmp_path: Path) -> Path:
    path = tmp_path / "surge.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "is_toxic"])
        writer.writerows((f"words of number {i}", "Toxic" if i % 3 == 0 else "Not Toxic") for i in range(24))
    return path


@pytest.fixture
def hatecheck(tmp_path: Path) -> Path:
    path = tmp_path / "cases.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["", "functionality", "case_id", "test_case", "label_gold", "target_ident", "templ_id"])
        for i in range(48):
            label, group = ("hateful", "non-hateful")[i % 2], ["women", "immigrants", ""][i % 3]
            writer.writerow([i, f"kind_{'h' if i % 2 == 0 else 'nh'}", i + 1, f"case {i}", label, group, i // 6])
    return path


def metrics(run: evalkit.Run) -> dict[str, float | None]:
    return {s.metric: s.value for s in run.summary() if s.slice is None}


def test_surge_is_scored_by_f1_and_auc(surge: Path) -> None:
    run = evalkit.run("toxicity_surge", "mock/echo", store=False, data={"toxicity_surge": str(surge)})
    assert {"acc", "f1", "precision", "recall", "auc", "average_precision"} == set(metrics(run))
    (auc,) = (s for s in run.summary() if s.metric == "auc")
    assert (auc.n, auc.n_shot, auc.chance, auc.detail["positive"]) == (24, 4, 0.5, 8) and auc.ci is not None


def test_hatecheck_has_errors_by_group_with_corrected_tests(hatecheck: Path) -> None:
    run = evalkit.run("toxicity_hatecheck", "mock/echo", store=False, data={"toxicity_hatecheck": str(hatecheck)})
    found = {s.metric: s for s in run.summary() if s.slice is None}
    assert {"fpr", "fnr", "fpr_gap", "fnr_gap"} <= set(found) and found["fpr"].higher_is_better is False
    panel = found["fpr"].detail["fpr"]
    assert isinstance(panel, dict)
    assert [(group["label"], group["n"]) for group in panel["groups"]] == [("immigrants", 8), ("women", 8)]
    assert all({"value", "ci", "p", "p_holm"} <= set(group) for group in panel["groups"]) and "templ_id" in panel["test"]
    assert {s.slice for s in run.summary() if s.slice} == {"functionality=kind_h", "functionality=kind_nh"}


def test_moderation_labels_become_one(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "S": 0, "HR": 1},
        {"prompt": "b", "S": 0, "V": 0},
        {"prompt": "c", "S": 1, "S3": 1},
        {"prompt": "d"},
    ]
    assert [list(openai_moderation(row)) for row in rows] == [
        [{**rows[0], "undesired": 1}],
        [{**rows[1], "undesired": 0}],
        [],
        [],
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = "toxicity_openai_moderation"
    run = evalkit.run(task, "mock/echo", store=False, data={task: str(path)})
    targets = [(view.record.sample.doc["prompt"], view.record.sample.target) for view in run.records(task)]
    assert targets == [("a", 1), ("b", 0)]


def test_no_shot_comes_from_the_data(hatecheck: Path) -> None:
    run = evalkit.run("toxicity_hatecheck", "mock/echo", store=False, limit=6, data={"toxicity_hatecheck": str(hatecheck)})
    prompts = [view.record.requests[0].prompt for view in run.records("toxicity_hatecheck")]
    assert all(str(prompt).count("Is this text hateful or non-hateful? It is") == 5 for prompt in prompts)
    assert all(str(prompt).count("case ") == 1 for prompt in prompts)


def test_the_projects_own_set_has_an_auc() -> None:
    assert "auc" in metrics(evalkit.run("toxicity", "mock/echo", store=False, limit=20))
