"""Paired tests: sacrebleu's own p-values, differences with intervals, shared draws, clusters."""

from __future__ import annotations

import random

import numpy as np
import pytest

from evalkit.stats import paired
from evalkit.stats.paired import Pair, mean_pair, paired_tests

WORDS = [*"abcdefgh", "the", "cat", "dog", "house", "sat", "ran", "under", "small", "river", "quickly"]


def translations(n: int, seed: int, noise: float) -> tuple[list[str], list[str], list[str]]:
    """References, a baseline's outputs and another system's, which agrees with the baseline on half of the rows."""
    rng = random.Random(seed)
    references = [" ".join(rng.choices(WORDS, k=rng.randint(4, 25))) for _ in range(n)]

    def spoilt(text: str) -> str:
        return " ".join(rng.choice(WORDS) if rng.random() < noise else word for word in text.split() if rng.random() > 0.05)

    first = [spoilt(text) for text in references]
    return (
        references,
        first,
        [spoilt(text) if rng.random() < 0.5 else other for text, other in zip(references, first, strict=True)],
    )


def bleu_value(totals: np.ndarray) -> np.ndarray:
    from evalkit.scorers.ngram.corpus import bleu_scores

    return bleu_scores(totals)


def ter_value(totals: np.ndarray) -> np.ndarray:
    return 100 * totals[..., 0] / totals[..., 1]


def chrf_value(totals: np.ndarray) -> np.ndarray:
    """chrF with six orders, all of them in every text (sacrebleu's effective order then changes nothing)."""
    hypothesis, reference, matches = np.moveaxis(totals.reshape(*totals.shape[:-1], 6, 3), -1, 0)
    precision, recall = (matches / hypothesis).mean(-1), (matches / reference).mean(-1)
    return 100 * 5 * precision * recall / (4 * precision + recall)


@pytest.mark.parametrize(("n", "seed"), [(3, 1), (8, 2), (40, 3), (150, 4)])
@pytest.mark.parametrize("kind", ["bs", "ar"])
def test_p_values_are_sacrebleus(n: int, seed: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sacrebleu.metrics import BLEU, CHRF, TER
    from sacrebleu.significance import PairedTest

    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    references, first, second = translations(n, seed, 0.2)
    metrics = {"BLEU": (BLEU(), bleu_value), "chrF2": (CHRF(), chrf_value), "TER": (TER(), ter_value)}
    pairs = {
        name: Pair(*(np.array(m._extract_corpus_statistics(texts, [references]), float) for texts in (first, second)), value)
        for name, (m, value) in metrics.items()
    }
    ours = paired_tests(pairs)
    engines = {name: m for name, (m, _) in metrics.items()}
    _, theirs = PairedTest([("a", first), ("b", second)], engines, [references], test_type=kind)()
    for name in metrics:
        p = ours[name].p_bootstrap if kind == "bs" else ours[name].p_randomisation
        assert p == theirs[name][1].p_value, name
        assert ours[name].system == pytest.approx(theirs[name][1].score, abs=1e-9)


def test_the_seed_is_sacrebleus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    assert paired.environment_seed() == 12345
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    assert paired.environment_seed() == 7
    monkeypatch.setenv("SACREBLEU_SEED", "None")
    assert paired.environment_seed() is None


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pair = {"m": mean_pair(rng.random(77), rng.random(77))}
    whole = paired_tests(pair)
    monkeypatch.setattr(paired, "_CHUNK", 77 * 33)
    parts = paired_tests(pair)
    assert (whole["m"].p_bootstrap, whole["m"].p_randomisation) == (parts["m"].p_bootstrap, parts["m"].p_randomisation)
    assert whole["m"].ci == pytest.approx(parts["m"].ci, abs=1e-12)
    coins = np.concatenate(list(paired._coins(77, 100, 5)))
    assert np.array_equal(coins, np.random.default_rng(5).integers(2, size=(100, 77), dtype=bool))


def test_metrics_share_their_draws() -> None:
    rng = np.random.default_rng(1)
    first, second, third = rng.random((3, 60))
    alone = paired_tests({"x": mean_pair(first, second)})
    together = paired_tests({"x": mean_pair(first, second), "y": mean_pair(first, third)})
    assert alone["x"].p_bootstrap == together["x"].p_bootstrap
    assert alone["x"].difference == pytest.approx(together["x"].difference, abs=1e-15)


def test_a_mean_agrees_with_scipy() -> None:
    from scipy import stats

    rng = np.random.default_rng(2)
    first = rng.random(400)
    second = first + rng.normal(0.01, 0.1, 400)
    found = paired_tests({"mean": mean_pair(first, second)})["mean"]
    expected = stats.ttest_rel(second, first)
    assert found.difference == pytest.approx((second - first).mean())
    assert found.p_randomisation == pytest.approx(expected.pvalue, abs=0.015)
    assert found.stderr == pytest.approx(stats.sem(second - first), rel=0.1)
    assert found.ci == pytest.approx(tuple(expected.confidence_interval()), abs=0.002)
    assert (found.n, found.units, found.resamples, found.trials) == (400, 400, 1000, 10000)


def test_ties_do_not_count_as_more_extreme() -> None:
    """Differences of 0, 1 and -1 tie with the observed one most of the time, however the sums are rounded."""
    first = np.array([0.1, 0.7, 0.3, 0.9, 0.2, 0.6])
    second = first.copy()
    second[0] += 0.1
    found = paired_tests({"m": mean_pair(first, second)})["m"]
    assert found.p_randomisation == pytest.approx(1 / 10_001)  # every trial has a difference of exactly the same size


def test_equal_systems_are_not_told_apart() -> None:
    rows = np.random.default_rng(3).random(20)
    found = paired_tests({"m": mean_pair(rows, rows.copy())})["m"]
    assert (found.difference, found.p_bootstrap, found.p_randomisation, found.ci) == (0.0, 1.0, 1.0, None)


def test_clusters_are_drawn_and_swapped_whole() -> None:
    rng = np.random.default_rng(4)
    shifts = rng.normal(0, 0.3, 12)
    clusters = np.repeat(np.arange(12), 25)
    first = rng.random(300)
    second = first + shifts[clusters] + rng.normal(0, 0.05, 300)
    naive = paired_tests({"m": mean_pair(first, second)})["m"]
    whole = paired_tests({"m": mean_pair(first, second)}, clusters=clusters)["m"]
    assert (whole.n, whole.units) == (300, 12)
    assert whole.difference == pytest.approx(naive.difference)
    assert whole.stderr > 3 * naive.stderr
    assert whole.p_randomisation > naive.p_randomisation


def test_one_row_and_undefined_values_have_no_p() -> None:
    one = paired_tests({"m": mean_pair(np.array([0.2]), np.array([0.5]))})["m"]
    assert (one.difference, one.ci, one.p_bootstrap, one.p_randomisation) == (pytest.approx(0.3), None, None, None)
    empty = Pair(np.zeros((5, 2)), np.ones((5, 2)), paired.mean_of_totals)
    undefined = paired_tests({"m": empty})["m"]
    assert (undefined.baseline, undefined.difference, undefined.p_bootstrap) == (None, None, None)
    assert paired_tests({}) == {}


def test_rows_must_match() -> None:
    with pytest.raises(ValueError, match=r"\[2, 3\] rows"):
        paired_tests({"m": Pair(np.ones((2, 2)), np.ones((3, 2)), paired.mean_of_totals)})


def test_many_rows_get_fewer_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "_TRIAL_DRAWS", 2_000 * 500)
    monkeypatch.setattr(paired, "_RESAMPLE_DRAWS", 200 * 500)
    rng = np.random.default_rng(5)
    found = paired_tests({"m": mean_pair(rng.random(500), rng.random(500))})["m"]
    assert (found.resamples, found.trials) == (200, 2_000)
