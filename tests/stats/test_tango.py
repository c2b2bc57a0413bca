"""Tango's interval against its definition (root by brentq), and exact McNemar against statsmodels and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as scipy_stats

from evalkit.stats.exact import mcnemar_chi2, mcnemar_mid_p, mcnemar_p, mcnemar_worse_p
from evalkit.stats.tango import tango_interval, tango_variance, tango_z


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(2, 3000))
    lost = draw(st.integers(0, n))
    return lost, draw(st.integers(0, n - lost)), n


@given(tables(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@settings(deadline=None)
def test_bounds_are_where_the_statistic_is_z(table: tuple[int, int, int], level: float) -> None:
    lost, gained, n = table
    low, high = tango_interval(lost, gained, n, level)
    difference, z = (gained - lost) / n, scipy_stats.norm.ppf(0.5 + level / 2)
    assert -1 <= low <= difference <= high <= 1 and low < high
    if -1 < difference < 1:
        edge = 1 - 1e-12
        assert low == pytest.approx(
            optimize.brentq(lambda d: float(tango_z(lost, gained, n, d)) - z, -edge, difference), abs=1e-9
        )
        assert high == pytest.approx(
            optimize.brentq(lambda d: float(tango_z(lost, gained, n, d)) + z, difference, edge), abs=1e-9
        )


@given(tables(), st.floats(-0.95, 0.95))
@settings(deadline=None, max_examples=50)
def test_the_variance_is_that_of_the_likeliest_shares(table: tuple[int, int, int], delta: float) -> None:
    lost, gained, n = table
    least, most = max(0.0, -delta), (1 - delta) / 2

    def against(q: float) -> float:
        shares = (q, q + delta, 1 - 2 * q - delta)
        counts = (lost, gained, n - lost - gained)
        return -sum(count * math.log(max(share, 1e-300)) for count, share in zip(counts, shares, strict=True) if count)

    best = optimize.minimize_scalar(against, bounds=(least, most), method="bounded", options={"xatol": 1e-10}).x
    variance = float(tango_variance(lost, gained, n, delta))
    q = (variance - delta * (1 - delta)) / 2
    assert least - 1e-9 <= q <= most + 1e-9
    assert against(q) <= against(best) + 1e-6 * max(1.0, abs(against(best)))


def test_an_interval_always_has_width() -> None:
    for n in (1, 5, 50, 5000):
        z2 = 1.959963984540054**2
        assert tango_interval(0, 0, n) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)))
    assert tango_interval(50, 0, 50)[1] < -0.8 and tango_interval(50, 0, 50)[0] == -1


def test_arrays_are_as_numbers() -> None:
    lost, gained = np.arange(20)[:, None], np.arange(15)[None, :]
    z = tango_z(lost, gained, 100, -0.02)
    assert z.shape == (20, 15)
    assert z[7, 3] == pytest.approx(float(tango_z(7, 3, 100, -0.02)))
    assert (np.diff(z, axis=0) < 0).all() and (np.diff(z, axis=1) > 0).all()


@pytest.mark.parametrize("counts", [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_what_is_no_table_is_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no paired counts"):
        tango_interval(*counts)


@given(st.integers(0, 400), st.integers(0, 400))
@settings(deadline=None)
def test_mcnemar_is_statsmodels(lost: int, gained: int) -> None:
    contingency = pytest.importorskip("statsmodels.stats.contingency_tables")
    table = [[10, lost], [gained, 5]]
    if lost + gained:
        assert mcnemar_p(lost, gained) == pytest.approx(contingency.mcnemar(table, exact=True).pvalue, rel=1e-9)
        expected = scipy_stats.binomtest(lost, lost + gained, alternative="greater").pvalue
        assert mcnemar_worse_p(lost, gained) == pytest.approx(expected, rel=1e-9)
        for correct in (True, False):
            found, theirs = mcnemar_chi2(lost, gained, correct=correct), contingency.mcnemar(table, False, correct)
            assert found == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9, abs=1e-300)
    else:
        assert mcnemar_p(0, 0) == mcnemar_worse_p(0, 0) == mcnemar_mid_p(0, 0) == 1
        assert mcnemar_chi2(0, 0) is None


def test_mid_p_by_hand() -> None:
    assert mcnemar_mid_p(8, 4) == pytest.approx(0.266845703125)
    assert mcnemar_mid_p(4, 8) == pytest.approx(0.266845703125)
    assert mcnemar_mid_p(6, 0) == pytest.approx(2**-6)
    with pytest.raises(ValueError, match="no counts"):
        mcnemar_worse_p(-1, 3)
