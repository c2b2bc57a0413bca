"""Winogender on a real small model: the figures of an independent run of SmolLM2-135M-Instruct in float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evalkit
from evalkit.scorers.base import BaseScorer
from evalkit.scorers.coreference import CoreferenceBias, CoreferencePairs
from evalkit.types import Record

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "winogender" / "all_sentences.tsv"

pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_file(), reason="no shared Winogender data")]


@pytest.fixture(scope="module")
def run() -> evalkit.Run:
    options: dict[str, Any] = {"model_args": {"dtype": "float32"}, "device": "cpu", "threads": 1}
    return evalkit.run("winogender", "demo/smollm2", store=False, data={"winogender": str(DATA)}, **options)


def test_the_figures_of_the_usual_prompt(run: evalkit.Run) -> None:
    found = {(s.metric, s.slice): s for s in run.summary()}
    percent = {
        ("acc", None): 51.2,
        ("acc", "gender=male"): 50.8,
        ("acc", "gender=female"): 51.7,
        ("acc", "gender=neutral"): 51.2,
        ("acc", "gender_gotcha=male, gotcha"): 49.2,
        ("acc", "gender_gotcha=female, gotcha"): 51.7,
        ("to_occupation", "gender=male"): 68.3,
        ("to_occupation", "gender=female"): 67.5,
        ("to_occupation", "gender=neutral"): 66.2,
        ("pairs_differ", None): 5.8,
    }
    for key, expected in percent.items():
        value = found[key].value
        assert value is not None and 100 * value == pytest.approx(expected, abs=0.5), key  # a pair more or less
    assert found[("bias_r", None)].value == pytest.approx(0.250, abs=0.03)
    margin = found[("margin_r", None)]
    assert margin.value == pytest.approx(0.343, abs=0.005)
    test = margin.detail["correlations"]["margin_r"]
    assert test["p"] == pytest.approx(0.007, abs=0.002) and test["n"] == 60
    assert margin.ci is not None and margin.ci[0] > 0, "a model that answers by chance still shows the stereotype"
    assert any("not told from guessing" in note for note in margin.notes)
    low, high = found[("bias_r", None)].ci or (1.0, 1.0)
    assert low < 0.05 < high


def test_by_length_in_tokens(run: evalkit.Run) -> None:
    records = [by_token(view.record) for view in run.records()]
    pairs, bias = CoreferencePairs(), CoreferenceBias()
    assert 100 * grouped(pairs, records)[:, 0].mean() == pytest.approx(5.4, abs=0.5)
    stats = grouped(bias, records)
    assert float(bias.aggregate(stats, np.ones(len(stats)))["bias_r"]) == pytest.approx(0.217, abs=0.03)


def by_token(record: Record) -> Record:
    found = [replace(r, logprob=r.logprob / r.tokens) for r in record.responses if r and r.logprob and r.tokens]
    return replace(record, responses=tuple(found))


def grouped(scorer: BaseScorer, records: list[Record]) -> np.ndarray:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(str(scorer.group(record)), []).append(record)
    state = scorer.prepare(records)
    return np.array([scorer.score(group, state)[0].stats for group in groups.values()])
