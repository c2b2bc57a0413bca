"""A gate lets a judge decide on the criteria on which it was shown to agree with people, and on no others."""

from __future__ import annotations

import json
from pathlib import Path

from judge_runs import drawn, judged_run, judging, ratings

import evalkit
from evalkit.calibrate.judge_file import write_calibration


def test_a_calibrated_judge_decides_and_an_uncalibrated_criterion_does_not(tmp_path: Path) -> None:
    run = judged_run(tmp_path, judge=judging(0.0, 0.4))
    policy = tmp_path / "gate.yaml"
    policy.write_text(
        json.dumps({"gate": "g", "checks": [{"task": "summ", "metric": "coherence", "margin": 0.5, "min_judge_alpha": 0.6}]})
    )
    before = evalkit.gate(policy, run, run)
    assert before.verdict == "INCONCLUSIVE" and "the judge has no calibration" in before.headline

    (path,) = write_calibration(evalkit.calibrate_judge(run, ratings(tmp_path / "r.csv", drawn(80, 120)), replicates=100))
    assert evalkit.gate(policy, run, run).verdict == "PASS"

    kept = json.loads(path.read_text())
    assert kept["alpha"]["criterion"] == "coherence" and kept["by_metric"]["coherence"]["n"] == kept["n"]
    path.write_text(json.dumps(kept | {"by_metric": {"fluency": kept["by_metric"]["coherence"]}}))
    other = evalkit.gate(policy, run, run)
    assert other.verdict == "INCONCLUSIVE"
    assert "the judge was compared with people on fluency, not on coherence" in other.headline
