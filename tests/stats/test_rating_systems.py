"""Bradley-Terry and Elo: by hand, against evalica's own numbers, and where there is nothing to rate."""

from __future__ import annotations

import math

import evalica
import numpy as np
import pytest

from evalkit.stats.rating_systems import Comparisons, bradley_terry, elo, expected_win, unrated, win_matrix


def made(systems: str, *rows: tuple[str, str, float], clusters=None) -> Comparisons:
    names = tuple(systems.split())
    return Comparisons(
        names,
        np.array([names.index(a) for a, _, _ in rows], dtype=np.int64),
        np.array([names.index(b) for _, b, _ in rows], dtype=np.int64),
        np.array([w for _, _, w in rows]),
        np.arange(len(rows)) if clusters is None else np.array(clusters),
    )


def values(ratings):
    return [rating.value for rating in ratings]


def test_three_wins_of_four_are_odds_of_three_to_one():
    found = made("x y", ("x", "y", 1.0), ("y", "x", 0.0), ("x", "y", 1.0), ("x", "y", 0.0))
    x, y = values(bradley_terry(found, replicates=0))
    assert x - y == pytest.approx(400 * math.log10(3)) and x + y == pytest.approx(2000)
    assert expected_win(x, y) == pytest.approx(0.75)


def test_ties_are_half_a_win_for_either():
    tied = made("x y", ("x", "y", 1.0), ("x", "y", 0.5), ("x", "y", 0.5), ("x", "y", 0.5), ("x", "y", 0.0))
    assert values(bradley_terry(tied, replicates=0)) == pytest.approx([1000, 1000])
    wins, played = win_matrix(made("x y", ("x", "y", 0.75), ("y", "x", 0.5)))
    assert wins.tolist() == [[0, 1.25], [0.75, 0]] and played.tolist() == [[0, 2], [2, 0]]


def tournament(n: int = 300, seed: int = 0) -> Comparisons:
    rng = np.random.default_rng(seed)
    strength = {"a": 0.0, "b": 0.7, "c": 1.2}
    rows = []
    for i in range(n):
        x, y = [("a", "b"), ("b", "c"), ("c", "a")][i % 3]
        chance = 1 / (1 + math.exp(strength[y] - strength[x]))
        rows.append((x, y, 0.5 if rng.random() < 0.2 else float(rng.random() < chance)))
    return made("a b c", *rows)


def test_bradley_terry_is_evalicas():
    found = tournament()
    winner = {1.0: evalica.Winner.X, 0.5: evalica.Winner.Draw, 0.0: evalica.Winner.Y}
    scores = evalica.bradley_terry(
        found.first.tolist(), found.second.tolist(), [winner[w] for w in found.wins.tolist()], tolerance=1e-10, limit=1000
    ).scores
    logs = np.log10([scores[0], scores[1], scores[2]])
    assert values(bradley_terry(found, replicates=0)) == pytest.approx(
        (1000 + 400 * (logs - logs.mean())).tolist(), abs=1e-4
    )


def test_elo_is_evalicas_over_shuffled_orders():
    found = made("x y", *[("x", "y", 1.0)] * 3)  # every order is the same
    scores = evalica.elo([0] * 3, [1] * 3, [evalica.Winner.X] * 3, initial=1000.0, scale=400.0, k=4.0).scores
    assert values(elo(found, replicates=0)) == pytest.approx([scores[0], scores[1]])


def test_order_does_not_matter_and_better_systems_stand_higher():
    found = tournament()
    for rate in (bradley_terry, elo):
        a, b, c = rate(found, replicates=200)
        assert a.value < b.value < c.value
        assert all(r.ci[0] < r.value < r.ci[1] for r in (a, b, c))
        assert rate(found, replicates=200) == [a, b, c]
    assert a.ci[1] < c.ci[0]


def test_intervals_draw_whole_items():
    """The same comparisons four times over know no more than once."""
    rows = [(x, y, w) for x, y, w in zip(*_named(tournament(90)), strict=True)]
    once = made("a b c", *rows)
    copied = made("a b c", *rows * 4, clusters=list(range(90)) * 4)
    fooled = made("a b c", *rows * 4)
    width = [np.diff(bradley_terry(found)[0].ci)[0] for found in (once, copied, fooled)]
    assert width[1] == pytest.approx(width[0], rel=0.02) and width[2] < 0.7 * width[0]


def _named(found: Comparisons):
    return [found.systems[i] for i in found.first], [found.systems[i] for i in found.second], found.wins.tolist()


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (made("x y", ("x", "y", 1.0), ("x", "y", 1.0)), "x never lost"),
        (made("x y z", ("x", "y", 1.0), ("x", "y", 0.0), ("z", "x", 1.0), ("z", "y", 1.0)), "z never lost"),
        (made("x y z w", ("x", "y", 0.5), ("z", "w", 0.5)), "z, w and x are not compared"),
        (made("x", ), "but one system"),
    ],
)  # fmt: skip
def test_without_a_maximum_there_is_a_reason_and_no_number(found, reason):
    assert {r.value for r in bradley_terry(found)} == {None}
    assert all(reason in r.reason for r in bradley_terry(found))
    assert reason in unrated(win_matrix(found)[0], found.systems)


def test_comparisons_that_never_vary_have_points_and_no_interval():
    found = made("x y", *[("x", "y", 0.5)] * 10)
    for rate in (bradley_terry, elo):
        (x, y) = rate(found)
        assert (x.value, y.value) == (pytest.approx(1000), pytest.approx(1000))
        assert x.ci is None and "do not vary" in x.reason


def test_nearly_separated_systems_have_no_interval():
    found = made("x y", *[("x", "y", 1.0)] * 30, ("x", "y", 0.0))
    x, _ = bradley_terry(found)
    assert x.value > 1200 and x.ci is None and "many resampled" in x.reason


def test_a_system_that_was_not_compared_has_no_elo():
    x, _, z = elo(made("x y z", ("x", "y", 1.0), ("x", "y", 0.0)))
    assert x.value is not None and z.value is None and "not compared" in z.reason
