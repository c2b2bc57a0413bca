"""Kappas against statsmodels, Krippendorff's alpha against its definition, and what is not defined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.stats import agreement
from evalkit.stats.agreement import Scale, cohen_kappa, fleiss_kappa, krippendorff_alpha


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60))
@settings(deadline=None)
def test_cohen_is_statsmodels(ratings: list[tuple[int, int]]) -> None:
    rater = pytest.importorskip("statsmodels.stats.inter_rater")
    first, second = np.array(ratings).T
    if len({*first, *second}) == 1:
        assert cohen_kappa(first, second, 4) is None
        return
    table = np.zeros((4, 4))
    np.add.at(table, (first, second), 1)
    for ours, theirs in (("none", None), ("linear", "linear"), ("quadratic", "fc")):
        found = cohen_kappa(first, second, 4, ours)
        with np.errstate(all="ignore"):  # its test statistic where the error is 0
            expected = rater.cohens_kappa(table, wt=theirs)
        assert found.value == pytest.approx(expected.kappa, abs=1e-9)
        assert found.stderr == pytest.approx(np.nan_to_num(expected.std_kappa), abs=1e-7)  # NaN is the root of -1e-17


def test_fleiss_is_statsmodels() -> None:
    rater = pytest.importorskip("statsmodels.stats.inter_rater")
    counts = np.random.default_rng(0).multinomial(6, [0.2, 0.5, 0.3], size=40).astype(float)
    assert fleiss_kappa(counts) == pytest.approx(rater.fleiss_kappa(counts), abs=1e-12)
    assert fleiss_kappa(np.array([[3.0, 0.0], [3.0, 0.0]])) is None


def coincidences(ratings: np.ndarray, scale: Scale) -> float:
    """Alpha by the table of coincidences, value by value, as the paper defines it."""
    values = sorted({value for value in ratings[~np.isnan(ratings)]})
    table = np.zeros((len(values), len(values)))
    for unit in ratings.T:
        given_ = unit[~np.isnan(unit)]
        for i in range(len(given_)):
            for j in range(len(given_)):
                if i != j:
                    table[values.index(given_[i]), values.index(given_[j])] += 1 / (len(given_) - 1)
    marginals = table.sum(axis=1)

    def distance(a: int, b: int) -> float:
        low, high = min(a, b), max(a, b)
        return {
            "nominal": float(a != b),
            "ordinal": (marginals[low : high + 1].sum() - (marginals[a] + marginals[b]) / 2) ** 2,
            "interval": (values[a] - values[b]) ** 2,
            "ratio": ((values[a] - values[b]) / (values[a] + values[b])) ** 2 if values[a] + values[b] else 0.0,
        }[scale]

    pairs = [(a, b) for a in range(len(values)) for b in range(len(values))]
    seen = sum(table[a, b] * distance(a, b) for a, b in pairs)
    chance = sum(marginals[a] * marginals[b] * distance(a, b) for a, b in pairs) / (marginals.sum() - 1)
    return 1 - seen / chance


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval", "ratio"])
@pytest.mark.parametrize("seed", range(5))
def test_krippendorff_by_its_definition(scale: Scale, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, 30).astype(float)
    ratings = np.where(rng.random((4, 30)) < 0.6, truth, rng.integers(0, 5, (4, 30)))
    ratings[rng.random((4, 30)) < 0.3] = np.nan
    expected = coincidences(ratings, scale)
    assert krippendorff_alpha(ratings, scale) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(agreement, "_CHUNK", 3)
    assert krippendorff_alpha(ratings, scale) == pytest.approx(expected, abs=1e-12)


def test_chance_agreement_is_about_zero_and_contradiction_below() -> None:
    rng = np.random.default_rng(1)
    assert abs(krippendorff_alpha(rng.integers(0, 3, (2, 3000)).astype(float), "nominal")) < 0.05
    opposed = np.array([[0.0, 1.0] * 20, [1.0, 0.0] * 20])
    assert krippendorff_alpha(opposed, "nominal") < -0.9
    assert cohen_kappa(opposed[0].astype(int), opposed[1].astype(int), 2).value == -1


def test_what_never_varies_is_not_agreement() -> None:
    assert krippendorff_alpha(np.ones((3, 10)), "interval") is None
    assert krippendorff_alpha(np.array([[1.0, np.nan], [np.nan, 2.0]]), "nominal") is None
    assert krippendorff_alpha(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]), "ordinal") == 1
    ones = np.ones(8, dtype=np.int64)
    assert cohen_kappa(ones, ones, 2) is None


def test_what_cannot_be_rated_is_refused() -> None:
    with pytest.raises(ValueError, match="as many ratings"):
        cohen_kappa(np.array([0]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="within 0 and 1"):
        cohen_kappa(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="same number of raters"):
        fleiss_kappa(np.array([[2.0, 1.0], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="no negative values"):
        krippendorff_alpha(np.array([[-1.0, 2.0], [1.0, 2.0]]), "ratio")
