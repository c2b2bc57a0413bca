"""At a true drop of exactly the margin a PASS is false: how often it happens, by simulation with fixed seeds.

Alpha is .05. Student's t and the bootstrap pass .1 to .4 of these where changes are rare; the rates of t are asserted too,
so that the danger is on record.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evalkit.stats.difference import paired_difference, totals_difference
from evalkit.stats.distributions import t_quantile
from evalkit.stats.means import Array, Ints, clustered_stderr, mean_stderr
from evalkit.stats.paired import Pair, mean_pair

MARGIN, ALPHA, RUNS = 0.02, 0.05, 1500
NOISE = 0.014  # two and a half standard errors of a rate of .05

Draw = Callable[[np.random.Generator, int], Array]


def some_change(rng: np.random.Generator, n: int) -> Array:
    """6 % of the items change, by -1 to 1/3."""
    return np.where(rng.random(n) < 0.06, rng.uniform(-1, 1 / 3, n), 0.0)


def some_lose(rng: np.random.Generator, n: int) -> Array:
    """6 % of the items lose a third."""
    return np.where(rng.random(n) < 0.06, -1 / 3, 0.0)


def few_fail(rng: np.random.Generator, n: int) -> Array:
    """2 % of the items lose everything."""
    return np.where(rng.random(n) < 0.02, -1.0, 0.0)


def skewed(rng: np.random.Generator, n: int) -> Array:
    """A fifth of the items lose, a few of them much."""
    return np.where(rng.random(n) < 0.2, -np.minimum(rng.exponential(0.1, n), 1.0), 0.0)


def all_change(rng: np.random.Generator, n: int) -> Array:
    return np.clip(rng.normal(-MARGIN, 0.1, n), -1, 1)


def few_fail_among_noise(rng: np.random.Generator, n: int) -> Array:
    """2 % of the items lose everything, all others change a little."""
    return np.where(rng.random(n) < 0.02, -1.0, rng.normal(0, 0.03, n))


def passes_t(d: Array, clusters: Ints | None = None) -> bool:
    stderr = mean_stderr(d) if clusters is None else clustered_stderr(d, clusters)
    df = len(d) - 1 if clusters is None else int(clusters.max())
    return float(d.mean()) - t_quantile(1 - ALPHA, df) * (stderr or 0.0) > -MARGIN


@pytest.mark.parametrize(
    ("draw", "n", "by_t"),
    [
        (some_change, 50, 0.25),
        (some_change, 100, 0.13),
        (some_change, 400, 0.09),
        (some_lose, 100, 0.15),
        (few_fail, 50, 0.37),
        (few_fail, 200, 0.09),
        (skewed, 100, 0.12),
        (skewed, 400, 0.08),
        (all_change, 50, 0.05),
        (all_change, 200, 0.05),
        (few_fail_among_noise, 200, 0.1),
    ],
)
def test_of_items(draw: Draw, n: int, by_t: float) -> None:
    rng = np.random.default_rng(n)
    passed = by_student = 0
    for _ in range(RUNS):
        d = draw(rng, n)
        passed += paired_difference(np.full(n, 0.5), 0.5 + d, low=-0.5, high=0.5).lower(ALPHA) > -MARGIN
        by_student += passes_t(d)
    assert passed / RUNS < ALPHA + NOISE
    assert by_student / RUNS == pytest.approx(by_t, abs=0.03)


def clusters_fail(rng: np.random.Generator, count: int, size: int) -> Array:
    """3 % of the clusters lose all their items, 1 % gain them."""
    u = rng.random(count)
    return np.repeat(np.where(u < 0.03, -1.0, np.where(u < 0.04, 1.0, 0.0)), size)


def clusters_suffer(rng: np.random.Generator, count: int, size: int) -> Array:
    """6 % of the clusters lose half of their items, and gain a sixth."""
    hit, u = np.repeat(rng.random(count) < 0.06, size), rng.random(count * size)
    return np.where(hit & (u < 0.5), -1.0, np.where(hit & (u > 5 / 6), 1.0, 0.0))


def clusters_differ(rng: np.random.Generator, count: int, size: int) -> Array:
    """Items of every cluster flip, at rates that differ: 8.5 % lost, 6.5 % gained."""
    rate, u = np.repeat(rng.beta(0.4, 2.6, count), size) / 0.1333, rng.random(count * size)
    return np.where(u < 0.085 * rate, -1.0, np.where(u > 1 - 0.065 * rate, 1.0, 0.0))


@pytest.mark.parametrize("draw", [clusters_fail, clusters_suffer, clusters_differ])
@pytest.mark.parametrize(("count", "size"), [(10, 10), (60, 5), (150, 5)])
def test_of_clustered_right_or_wrong_items(
    draw: Callable[[np.random.Generator, int, int], Array], count: int, size: int
) -> None:
    rng = np.random.default_rng(count)
    codes = np.repeat(np.arange(count), size)
    passed = 0
    for _ in range(RUNS):
        d = draw(rng, count, size)
        baseline = (d < 0) * 1.0
        passed += paired_difference(baseline, baseline + d, clusters=codes).lower(ALPHA) > -MARGIN
    assert passed / RUNS < ALPHA + NOISE


def test_of_clusters_by_t_alone() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(60), 5)
    assert np.mean([passes_t(clusters_fail(rng, 60, 5), codes) for _ in range(RUNS)]) > 0.12


def test_of_two_tasks_of_different_sizes() -> None:
    rng = np.random.default_rng(1)
    weights = np.repeat([1 / 60, 1 / 600], [60, 600])
    passed = 0
    for _ in range(400):
        u = rng.random(660)
        d = np.where(u < 0.04, -1.0, np.where(u < 0.06, 1.0, 0.0))
        baseline = (d < 0) * 1.0
        passed += paired_difference(baseline, baseline + d, weights=weights).lower(ALPHA) > -MARGIN
    assert passed / 400 < ALPHA + 0.03


@pytest.mark.parametrize("n", [50, 100, 200])
def test_of_the_bootstrap(n: int) -> None:
    rng, runs = np.random.default_rng(n), 300
    first = np.full(n, 0.5)
    passed = 0
    for _ in range(runs):
        pair = mean_pair(first, first + some_change(rng, n))
        passed += totals_difference(pair, low=-0.5, high=0.5, resamples=300).lower(ALPHA) > -MARGIN
    assert passed / runs < ALPHA + 0.03


def all_rise(rng: np.random.Generator, n: int, nats: float) -> Array:
    return rng.normal(nats, 0.5, n)


def some_rise(rng: np.random.Generator, n: int, nats: float) -> Array:
    """A tenth of the items are less likely, a few of them much."""
    return np.where(rng.random(n) < 0.1, rng.exponential(nats / 0.1, n), 0.0)


def few_rise(rng: np.random.Generator, n: int, nats: float) -> Array:
    """Some 1 % of the items become as unlikely as any: by 5 nats."""
    return np.where(rng.random(n) < nats / 5, 5.0, 0.0)


@pytest.mark.parametrize("rise", [all_rise, some_rise, few_rise])
@pytest.mark.parametrize("n", [50, 100, 300])
def test_of_perplexities(rise: Callable[[np.random.Generator, int, float], Array], n: int) -> None:
    """exp of a mean without an upper end, 5 % worse: no range tells how much an item can change, the items' spread does."""
    rng, runs = np.random.default_rng(n), 200
    passed = 0
    for _ in range(runs):
        nats = rng.gamma(1.3, 2.9, n)
        rows = [np.column_stack([x, np.ones(n)]) for x in (nats, nats + rise(rng, n, np.log(1.05)))]
        pair = Pair(*rows, lambda totals: np.exp(totals[..., 0] / totals[..., 1]))
        passed += totals_difference(pair, low=1.0, resamples=200).flipped().lower(ALPHA) > -0.05 * np.exp(nats.mean())
    assert passed / runs < ALPHA + 0.035


def test_a_drop_is_still_found() -> None:
    """Caution has a price where changes are rare, but no large one: 10 % of 300 items lose a half."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(300):
        d = np.where(rng.random(300) < 0.1, -0.5, 0.0)
        one = paired_difference(np.full(300, 0.5), 0.5 + d, low=0, high=1)
        found += one.value < -MARGIN and one.p_worse() < ALPHA
    assert found / 300 > 0.95
