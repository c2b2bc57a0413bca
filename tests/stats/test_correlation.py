"""Correlations equal scipy's, published tables come out to their digits, and what is undefined is never a number."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.stats import correlation
from evalkit.stats.correlation import COEFFICIENTS, by_row, tidy, tie_calibrated, weighted
from evalkit.stats.levels import LEVELS, Level, agreement, rated

JUDGE = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "judge"
THREE = COEFFICIENTS[:3]

few = st.integers(-3, 3).map(lambda k: k / 3)
columns = st.lists(st.tuples(few, few), min_size=2, max_size=30).map(lambda rows: np.array(rows).T)
wide = st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=2, max_size=30).map(lambda rows: tidy(np.array(rows).T))


def by_scipy(x: np.ndarray, y: np.ndarray) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        functions = (scipy.stats.pearsonr, scipy.stats.spearmanr, scipy.stats.kendalltau)
        return [float(function(x, y)[0]) for function in functions]


def same(one: float, other: float) -> bool:
    return (math.isnan(one) and math.isnan(other)) or one == pytest.approx(other, abs=1e-9)


@given(columns | wide)
@settings(deadline=None)
def test_both_forms_equal_scipy(pair: np.ndarray) -> None:
    x, y = pair
    expected = by_scipy(x, y)
    for found in (weighted(x, y, np.ones((1, len(x)))), by_row(x[None], y[None])):
        for name, value in zip(THREE, expected, strict=True):
            assert same(float(found[name][0]), value), name


@given(columns, st.data())
@settings(deadline=None)
def test_a_weight_is_so_many_copies_of_a_row(pair: np.ndarray, data: st.DataObject) -> None:
    x, y = pair
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(x), max_size=len(x))))
    drawn = np.repeat(np.arange(len(x)), counts)
    found = weighted(x, y, counts[None].astype(float))
    copied = by_row(x[drawn][None], y[drawn][None], drawn[None])
    for name in COEFFICIENTS:
        assert same(float(found[name][0]), float(copied[name][0])), name


def test_pairwise_accuracy_counts_a_tie_of_both_as_agreement() -> None:
    x, y = np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0, 2.0])
    # of six pairs: 3 ordered alike, 1 tied in both, 2 tied in the rating only
    assert weighted(x, y, np.ones((1, 4)))["accuracy"][0] == pytest.approx(4 / 6)
    assert by_row(x[None], y[None])["accuracy"][0] == pytest.approx(4 / 6)


def test_the_best_threshold_makes_ties_of_small_differences() -> None:
    x, y = np.array([[0.10, 0.12, 0.90]]), np.array([[1.0, 1.0, 2.0]])
    accuracy, threshold = tie_calibrated(x, y) or (0, 0)
    assert (accuracy, threshold) == (1.0, pytest.approx(0.02))
    assert by_row(x, y)["accuracy"][0] == pytest.approx(2 / 3)
    assert tie_calibrated(y, x) == (pytest.approx(2 / 3), 0.0)
    assert tie_calibrated(x[:, :1], y[:, :1]) is None


def test_missing_entries_are_left_out() -> None:
    x, y = np.array([[1.0, 2.0, np.nan, 4.0]]), np.array([[1.0, 3.0, 9.0, 2.0]])
    assert by_row(x, y)["kendall"][0] == pytest.approx(by_row(x[:, [0, 1, 3]], y[:, [0, 1, 3]])["kendall"][0])


def test_what_is_undefined_has_a_reason_and_no_value() -> None:
    def reasons(x: list[float], y: list[float], items: str, systems: str) -> dict[str, Any]:
        rows, _ = rated(np.array(x), np.array(y), items, systems)
        return {level: agreement(rows, level).coefficients["kendall"] for level in LEVELS}

    flat = reasons([1, 1, 1, 1], [1, 2, 3, 4], "aabb", "xyxy")
    assert all(found.value is None and found.ci is None for found in flat.values())
    assert flat["segment"].reason == "the metric is the same everywhere"
    assert flat["summary"].reason == "in every item the metric or the rating is the same everywhere"
    alone = reasons([1, 2, 3], [1, 2, 3], "abc", "xxx")
    assert alone["segment"].value == pytest.approx(1.0)
    assert alone["summary"].reason == "no item has outputs of two systems"
    assert alone["system"].reason == "there is one system: at least 2 are needed"
    nothing = reasons([math.nan, 1], [1, 1], "ab", "xy")
    assert nothing["segment"].reason == "1 usable row: at least 2 are needed"


def test_items_with_a_constant_side_are_left_out_not_zero() -> None:
    x, y = np.array([1.0, 2, 3, 1, 2, 3]), np.array([1.0, 2, 3, 5, 5, 5])
    found = agreement(rated(x, y, "aaabbb", "xyzxyz")[0], "summary")
    assert found.coefficients["spearman"].value == pytest.approx(1.0)
    assert (found.coefficients["spearman"].used, found.items, found.coefficients["accuracy"].used) == (1, 2, 2)


def test_noise_of_summation_makes_no_ranks() -> None:
    x = np.array([0.1 + 0.2, 0.3, 0.5])
    rows, _ = rated(x, np.array([1.0, 2.0, 3.0]), "aaa", "xyz")
    assert agreement(rows, "summary").coefficients["kendall"].value == pytest.approx(
        by_scipy(np.array([3, 3, 5]), rows.y)[2]
    )


def test_intervals_cover_the_truth_and_repeat() -> None:
    rng = np.random.default_rng(3)
    covered = {level: 0 for level in ("segment", "summary")}
    for _ in range(40):
        z = rng.normal(size=(2, 40, 6))
        x, y = z[0].ravel(), (0.6 * z[0] + 0.8 * z[1]).ravel()
        rows, _ = rated(x, y, [i for i in range(40) for _ in range(6)], [j for _ in range(40) for j in range(6)])
        for level, truth in (("segment", 0.6), ("summary", 0.57)):  # six points give a little less than 0.6 on average
            low, high = agreement(rows, level, replicates=100).coefficients["pearson"].ci or (9, 9)
            covered[level] += low <= truth <= high
    assert min(covered.values()) >= 33
    assert agreement(rows, "system") == agreement(rows, "system")


def test_a_system_level_interval_knows_how_few_systems_there_are() -> None:
    rng = np.random.default_rng(0)
    quality = np.repeat(np.linspace(0, 1, 8)[None], 200, axis=0)
    x, y = ((quality + rng.normal(size=quality.shape)).ravel() for _ in range(2))
    items, systems = np.divmod(np.arange(quality.size), 8)
    found = agreement(rated(x, y, items.tolist(), systems.tolist())[0], "system").coefficients["kendall"]
    assert found.value is not None and found.value > 0.8 and found.ci is not None and found.ci[1] - found.ci[0] > 0.2


def test_a_metric_may_bring_its_own_system_values() -> None:
    rows, _ = rated(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 4]), "aabb", "xyxy")
    found = agreement(rows, "system", system_values=lambda weights: np.array([[2.0, 1.0]] * len(weights)))
    assert found.coefficients["kendall"].value == pytest.approx(-1.0)


def test_large_data_stays_bounded() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=50_000)
    y = x + rng.normal(size=50_000)
    found = agreement(rated(x, y, range(50_000))[0], "segment", replicates=2).coefficients["kendall"]
    assert found.value == pytest.approx(scipy.stats.kendalltau(x, y)[0], abs=1e-9)


def test_wide_rows_are_counted_as_narrow_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 9, (2, 5, 20)).astype(float)
    x[0, 3] = np.nan
    units = rng.integers(0, 20, (5, 20))
    x, y = np.take_along_axis(x, units, axis=1), np.take_along_axis(y, units, axis=1)
    narrow = by_row(x, y, units)
    monkeypatch.setattr(correlation, "_WIDE", 10)
    wide = by_row(x, y, units)
    for name in COEFFICIENTS:
        assert wide[name] == pytest.approx(narrow[name], abs=1e-12)
    monkeypatch.setattr(correlation, "_MOST_PAIRS", 10)
    assert tie_calibrated(x, y) is None


# What other people published or computed


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((JUDGE / "expected_correlations.json").read_text("utf-8"))
    return {k.split("/", 1)[1]: v for k, v in found.items() if k.split("/", 1)[0] == name}


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (JUDGE / name).read_text("utf-8").splitlines()]


def check(expected: dict[str, Any], rows: Any) -> None:
    for level, key in (("segment", "sample"), ("summary", "summary"), ("system", "system")):
        if key in expected:
            found: Level = agreement(rows, level, replicates=0)
            assert [found.coefficients[name].value for name in THREE] == pytest.approx(expected[key], abs=6e-7)
            assert found.n == expected["n"]
            if level == "summary":
                assert (found.items, found.coefficients["pearson"].used) == (expected["items"], expected["items_used"])


needs_goldens = pytest.mark.skipif(not JUDGE.is_dir(), reason="the goldens are not beside the checkout")


@needs_goldens
@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL"])
def test_rouge_on_summeval(kind: str) -> None:
    rows = lines("summeval_human16.jsonl")
    for dimension, expected in golden(f"{kind}_avg11_summeval16").items():
        x, y = ([row[side][name] for row in rows] for side, name in (("rouge", kind), ("human", dimension)))
        check(expected, rated(np.array(x), np.array(y), [r["doc"] for r in rows], [r["system"] for r in rows])[0])


@needs_goldens
def test_unieval_on_four_data_sets() -> None:
    rows = lines("unieval_scores.jsonl")
    expected = golden("unieval")
    assert len(expected) == 14
    for name, numbers in expected.items():
        data, dimension = name.split("/")
        some = [row for row in rows if row["set"] == data]
        x, y = (np.array([row[side][dimension] for row in some]) for side in ("pred", "human"))
        check(numbers, rated(x, y, range(len(some)))[0])


@needs_goldens
def test_sampled_judgements_on_topical_chat() -> None:
    """G-Eval with GPT-3.5: 20 sampled replies an item, their mean against the human mean (Chiang and Lee 2023, table 2)."""
    rows = lines("topicalchat_geval35_responses.jsonl")
    for dimension, expected in golden("geval35_topicalchat").items():
        some = [row for row in rows if row["dim"] == dimension]
        means = np.array([np.mean([value for value in row["parsed"] if value is not None]) for row in some])
        human = np.array([row["human"] for row in some])
        check(expected, rated(means, human, [r["doc"] for r in some], [r["system"] for r in some])[0])
