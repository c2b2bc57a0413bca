"""Published and recomputed numbers: UniEval's correlations, ChatGPT's verdicts on swapped texts, alpha's closed form."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.calibrate.judge_agreement import alpha
from evalkit.calibrate.judge_bias import items_needed, order_effects, ties
from evalkit.calibrate.validate import validate_metrics
from evalkit.stats.agreement import krippendorff_alpha

JUDGE = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "judge"
golden = pytest.mark.skipif(not JUDGE.is_dir(), reason="the golden files are not beside this checkout")


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (JUDGE / name).read_text().splitlines()]


def expected() -> dict[str, dict]:
    return json.loads((JUDGE / "expected_correlations.json").read_text())


@golden
def test_unievals_table_comes_out_to_six_decimals() -> None:
    sets = defaultdict(list)
    for row in lines("unieval_scores.jsonl"):
        sets[row["set"]].append(row)
    wanted = {name: entry for name, entry in expected().items() if name.startswith("unieval/")}
    checked = 0
    for name, rows in sets.items():
        found = validate_metrics(
            rows, columns={"human": ["human"], "computed": ["pred"], "item": "i"}, levels=["segment"], replicates=0
        )
        for dimension in {entry.split("/")[2] for entry in wanted if entry.split("/")[1] == name}:
            level = found.find(f"pred.{dimension}", dimension, "segment")
            entry = wanted[f"unieval/{name}/{dimension}"]
            values = [round(level.coefficients[c].value, 6) for c in ("pearson", "spearman", "kendall")]
            assert (level.n, values) == (entry["n"], entry["sample"]), (name, dimension)
            checked += 1
    assert checked == len(wanted) == 14


def verdict(reply: str) -> float:
    """How far the text shown first won: the files' own rule, the reply's first letter."""
    return {"A": 1.0, "B": 0.0, "C": 0.5}[reply[0]]


@golden
def test_swapped_verdicts_give_the_known_shares() -> None:
    pairs = defaultdict(list)
    for row in lines("summeval_chatgpt_h2h_swap.jsonl"):
        pairs[row["dim"]].append((verdict(row["resp"]), verdict(row["resp_swapped"])))
    assert sum(map(len, pairs.values())) == 4400
    for dimension, given_ in pairs.items():
        entry, found = expected()[f"swap_chatgpt/{dimension}"], order_effects(np.array(given_))
        assert (found["pairs"], found["flips"], found["same"]) == (entry["n"], entry["flip"], entry["same"])
        assert round(found["flip"]["value"], 6) == entry["flip_share"]
        assert round(found["first_slot"]["value"], 6) == entry["first_slot_share"]
        for share in (found["flip"], found["first_slot"]):
            low, high = share["ci"]
            assert low < share["value"] < high and 0.02 < high - low < 0.09
    # the direction of the bias depends on the criterion: to the second text on consistency, to the first on relevance
    ends = {dimension: order_effects(np.array(given_))["first_slot"]["ci"] for dimension, given_ in pairs.items()}
    assert ends["consistency"][1] < 0.5 < ends["relevance"][0]


def test_a_judge_that_always_takes_the_first_text() -> None:
    found = order_effects(np.ones((40, 2)))
    assert found["flip"]["value"] == 1 and found["first_slot"]["value"] == 1
    assert found["first_slot"]["ci"][0] < 0.93  # 40 pairs, not 80 independent verdicts
    assert order_effects(np.zeros((0, 2))) == {"pairs": 0}


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(3, 15)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_alphas_closed_form_is_krippendorffs(pairs: list[tuple[int, int]]) -> None:
    judge, human = np.array([a for a, _ in pairs], float), np.array([b / 3 for _, b in pairs])
    counts = np.random.default_rng(len(pairs)).integers(0, 3, len(pairs))
    for weights in (np.ones(len(pairs), dtype=int), counts):
        if weights.sum() < 2:
            continue
        repeated = np.stack([np.repeat(judge, weights), np.repeat(human, weights)])
        for scale in ("interval", "ordinal"):
            mine = float(alpha(judge, human, scale, weights[None].astype(float))[0])  # type: ignore[arg-type]
            theirs = krippendorff_alpha(repeated, scale)  # type: ignore[arg-type]
            assert np.isnan(mine) if theirs is None else mine == pytest.approx(theirs, abs=1e-9)


def test_items_needed_are_those_of_bonett_and_wright() -> None:
    # their interval of rho 0.5 with 100 items is [0.33, 0.64], with 200 [0.38, 0.60]; of 0.7 with 50 [0.50, 0.83]
    assert 95 <= items_needed(0.5, 0.155) <= 110
    assert 190 <= items_needed(0.5, 0.11) <= 215
    assert 48 <= items_needed(0.7, 0.165) <= 53
    assert items_needed(0.05) > 1500  # to be told from 0 at all


def test_ties_are_shares_of_pairs() -> None:
    assert ties(np.array([1.0, 1.0, 2.0])) == pytest.approx(1 / 3)
    assert ties(np.array([1.0])) is None
