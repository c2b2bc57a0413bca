"""Corrections for several tests, as statsmodels has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.stats import multiple
from evalkit.stats.multiple import holm

METHODS = {
    "bonferroni": multiple.bonferroni,
    "holm": multiple.holm,
    "holm-sidak": multiple.holm_sidak,
    "hommel": multiple.hommel,
    "fdr_bh": multiple.benjamini_hochberg,
    "fdr_by": multiple.benjamini_yekutieli,
}


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None)
@given(ps=st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.04, 1.0]), min_size=1, max_size=12))
def test_as_statsmodels(method: str, ps: list[float]) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    with np.errstate(all="ignore"):  # its logarithm of 0
        expected = multitest.multipletests(ps, method=method)[1].tolist()
    assert METHODS[method](ps) == pytest.approx(expected)


def test_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize("correct", METHODS.values())
def test_no_test_needs_no_correction(correct: Callable[[Sequence[float]], list[float]]) -> None:
    assert correct([]) == []
    assert correct([0.03]) == pytest.approx([0.03])


@pytest.mark.parametrize("correct", METHODS.values())
@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(correct: Callable[[Sequence[float]], list[float]], p: float) -> None:
    with pytest.raises(ValueError, match="within 0 and 1"):
        correct([0.5, p])
