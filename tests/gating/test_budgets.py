"""Budgets: latency is tested, money and tokens are counted, and what nobody knows decides nothing."""

from __future__ import annotations

import numpy as np
import pytest
from gate_runs import run, task

from evalkit.comparison.base import ERROR, MISSING
from evalkit.gating import latency
from evalkit.gating.gate import decide_gate
from evalkit.gating.latency import below_p, exceeds_p, shown_at
from evalkit.gating.policy import Policy


def check(budgets, baseline, candidate, **keys):
    policy = Policy.model_validate({"gate": "g", "budgets": budgets, **keys})
    (found,) = [c for c in decide_gate(policy, run("base", baseline), run("cand", candidate)).checks if c.kind == "budget"]
    return found


def sides(n: int, key: str, baseline, candidate):
    return tuple(task("t", np.ones(n), **{key: column}) for column in (baseline, candidate))


def test_latency_against_the_baseline_is_a_ratio_over_the_same_samples():
    rng = np.random.default_rng(0)
    each = rng.lognormal(0, 1, 400)  # samples differ far more than runs do

    def verdict(factor, noise=0.05, n=400, name="median_latency"):
        own = [each[:n] * rng.lognormal(0, noise, n) for _ in range(2)]
        return check({name: "+10%"}, *sides(n, "latency_s", own[0], factor * own[1]))

    assert verdict(1.0).verdict == "PASS"
    slow = verdict(1.4)
    assert slow.verdict == "FAIL" and slow.unit == "s" and slow.p < 0.01
    assert slow.detail["ratio"] == pytest.approx(1.4, abs=0.15)
    low, high = slow.detail["ratio_ci"]
    assert low < slow.detail["ratio"] < high
    assert verdict(1.1).verdict == "INCONCLUSIVE"
    assert verdict(1.4, name="p95_latency").verdict in ("FAIL", "INCONCLUSIVE")
    few = verdict(2.0, n=12)
    assert few.verdict == "INCONCLUSIVE" and "needs 20 samples" in few.needs


def test_a_percentile_against_seconds_is_an_exact_test():
    def verdict(fast, slow, n=None):
        x = [1.0] * fast + [9.0] * slow
        return check({"p95_latency_s": 4}, *sides(len(x), "latency_s", x, x))

    assert verdict(59, 0).verdict == "PASS", "1 - .95^59 > .95"
    assert verdict(58, 0).verdict == "INCONCLUSIVE" and "59 at least (has 58)" in verdict(58, 0).needs
    assert verdict(80, 20).verdict == "FAIL"
    assert verdict(93, 7).verdict == "INCONCLUSIVE"


def test_of_many_samples_a_part_is_drawn_and_says_the_same(monkeypatch):
    rng = np.random.default_rng(4)
    a = rng.lognormal(0, 1, 12_000)
    b = a * rng.lognormal(0.02, 0.2, 12_000)
    part, interval = latency.ratio_evidence(a, b, 0.5, 0.05)
    monkeypatch.setattr(latency, "_DRAWN", 12_000)
    monkeypatch.setattr(latency, "_REPLICATES", 300)
    whole, expected = latency.ratio_evidence(a, b, 0.5, 0.05)
    assert part.value == whole.value
    assert interval[1] - interval[0] == pytest.approx(expected[1] - expected[0], rel=0.25)


def test_exact_binomial_tails_are_scipys():
    from scipy.stats import binom

    for slower, n, share in ((0, 59, 0.05), (7, 100, 0.05), (12, 30, 0.5), (400, 1000, 0.5)):
        assert exceeds_p(slower, n, share) == pytest.approx(binom.sf(slower - 1, n, share), rel=1e-9)
        assert below_p(slower, n, share) == pytest.approx(binom.cdf(slower, n, share), rel=1e-9)


def test_a_percentiles_interval_covers():
    rng = np.random.default_rng(1)
    truth = np.log(2)
    found = [shown_at(rng.exponential(1, 60), 0.5)[1] for _ in range(300)]
    assert sum(low <= truth <= high for low, high in found) / 300 >= 0.94
    assert shown_at(rng.exponential(1, 20), 0.95)[1] is None


def test_dollars_are_exact_and_unknown_ones_cannot_pass():
    known = [0.01] * 100
    assert check({"cost_usd": 1.0}, *sides(100, "cost_usd", known, known)).verdict == "PASS"
    over = check({"cost_usd": 0.99}, *sides(100, "cost_usd", known, known))
    assert over.verdict == "FAIL" and over.p is None and over.sentence == "$1, at most $0.99 allowed"
    cached = [0.01] * 60 + [np.nan] * 40
    part = check({"cost_usd": 1.0}, *sides(100, "cost_usd", known, cached))
    assert part.verdict == "INCONCLUSIVE" and "the cost of 40 of 100 samples is not known" in part.sentence
    assert check({"cost_usd": 0.5}, *sides(100, "cost_usd", known, cached)).verdict == "FAIL", (
        "60 cents are too many already"
    )
    assert check({"cost_usd": "+10%"}, *sides(100, "cost_usd", known, [0.012] * 100)).verdict == "FAIL"
    nothing = check({"cost_usd": 1.0}, *sides(100, "cost_usd", None, None))
    assert nothing.verdict == "INCONCLUSIVE" and "no price" in nothing.sentence


def test_output_length_is_bounded_both_ways():
    a = [100.0] * 50

    def verdict(tokens, limit="±20%"):
        return check({"output_tokens": limit}, *sides(50, "output_tokens", a, [tokens] * 50)).verdict

    assert [verdict(t) for t in (79.0, 80.0, 100.0, 120.0, 121.0)] == ["FAIL", "PASS", "PASS", "PASS", "FAIL"]
    assert verdict(10.0, "+20%") == "PASS" and verdict(121.0, "+20%") == "FAIL"
    assert verdict(99.0, 99) == "PASS" and verdict(99.5, 99) == "FAIL"


def test_failures_of_the_candidate_are_counted():
    fine, broken = task("t", np.ones(200)), task("t", np.ones(200), status={0: ERROR, 1: MISSING})
    found = check({"error_rate": "0.5%"}, fine, broken)
    assert found.verdict == "FAIL" and found.candidate == pytest.approx(0.01) and found.percent
    assert found.sentence == "2 of 200 samples without an answer (1 %), 0.5% allowed"
    assert check({"error_rate": "1%"}, fine, broken).verdict == "PASS"


def test_no_data_is_inconclusive_and_a_budget_may_be_only_reported():
    pair = sides(50, "latency_s", None, None)
    policy = {"gate": "g", "checks": [{"task": "t", "margin": "10pp"}]}
    runs = run("base", pair[0]), run("cand", pair[1])
    strict = decide_gate(Policy.model_validate({**policy, "budgets": {"median_latency": "+10%"}}), *runs)
    assert strict.verdict == "INCONCLUSIVE" and "no latency is known" in strict.headline
    shown = {"median_latency": {"limit": "+10%", "require": "report"}}
    assert decide_gate(Policy.model_validate({**policy, "budgets": shown}), *runs).verdict == "PASS"


def test_each_sample_counts_once_whatever_its_filters():
    tasks = [task("t", np.ones(50), filter_=name, cost_usd=[0.01] * 50) for name in ("strict", "flexible")]
    policy = Policy.model_validate({"gate": "g", "budgets": {"cost_usd": 0.6}})
    (found,) = decide_gate(policy, run("base", *tasks), run("cand", *tasks)).checks
    assert found.candidate == pytest.approx(0.5) and found.verdict == "PASS"
