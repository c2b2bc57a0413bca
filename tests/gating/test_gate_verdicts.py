"""From a policy and two runs to one verdict and one exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from gate_runs import Likert, Loss, Ratio, Share, flipped, run, task

from evalkit.comparison.base import ERROR, UNSCORED
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.render import flips, lines
from evalkit.errors import ConfigError, NotComparable
from evalkit.gating import terminal
from evalkit.gating.base import CheckResult
from evalkit.gating.cells import cells, worse
from evalkit.gating.gate import decide_gate, overall
from evalkit.gating.policy import Policy, load_policy
from evalkit.scorers.likelihood import Perplexity
from evalkit.stats.intervals import wilson


def policy(**keys) -> Policy:
    return Policy.model_validate({"gate": "test", **keys})


def two(n: int, lost: int, gained: int, name: str = "t", **more):
    a, b = flipped(n, lost, gained)
    return task(name, a, **more), task(name, b, **more)


def gated(found: Policy, *pairs, **more):
    baseline, candidate = run("base", *(a for a, _ in pairs), **more), run("cand", *(b for _, b in pairs), **more)
    return decide_gate(found, baseline, candidate)


def by_name(result) -> dict[str, CheckResult]:
    return {check.name: check for check in result.checks}


def test_the_same_scores_pass():
    result = gated(policy(checks=[{"task": "t", "margin": "2pp"}]), two(500, 0, 0))
    assert (result.verdict, result.exit_code) == ("PASS", 0)
    check = by_name(result)["t exact_match"]
    assert (check.verdict, check.difference, check.lost, check.gained) == ("PASS", 0.0, 0, 0)
    assert check.percent and check.method == "tango" and -0.02 < check.bound < 0
    assert result.baseline.model == "mock/base" and result.candidate.run_id == "cand"


def test_a_real_drop_fails_and_says_where():
    result = gated(policy(checks=[{"task": "t", "margin": "2pp"}]), two(400, 40, 10))
    assert (result.verdict, result.exit_code) == ("FAIL", 1)
    assert result.headline.startswith(
        "FAIL: 1 of 2 checks failed: t exact_match: 7.5 pp worse, beyond the margin of 2 pp (p <"
    )


def test_too_few_items_are_inconclusive_with_what_would_settle_it():
    result = gated(policy(checks=[{"task": "t", "margin": "2pp"}]), two(40, 1, 1, size=1319))
    assert (result.verdict, result.exit_code) == ("INCONCLUSIVE", 3)
    needs = by_name(result)["t exact_match"].needs
    assert "items (has 40 of 1,319)" in needs or "more than the 1,319" in needs
    assert "a margin of at least" in needs


@pytest.mark.parametrize(("inconclusive", "code"), [("fail", 3), ("warn", 0), ("pass", 0)])
def test_what_inconclusive_is_for_ci_is_the_policys_to_say(inconclusive, code):
    result = gated(policy(inconclusive=inconclusive, checks=[{"task": "t", "margin": "2pp"}]), two(40, 0, 0))
    assert (result.verdict, result.exit_code) == ("INCONCLUSIVE", code)


def test_not_fail_only_has_to_be_not_worse_and_report_never_decides():
    unsure, bad = two(40, 1, 1, "unsure"), two(400, 60, 0, "bad")
    checks = [{"task": "good", "margin": "2pp"}, {"task": "unsure", "margin": "2pp", "require": "not-fail"}]
    good = two(500, 0, 0, "good")
    assert gated(policy(checks=checks), good, unsure).verdict == "PASS"
    reported = gated(policy(checks=[checks[0], {"task": "bad", "margin": "2pp", "require": "report"}]), good, bad)
    assert reported.verdict == "PASS" and by_name(reported)["bad exact_match"].verdict == "FAIL"
    assert (
        gated(policy(checks=[checks[0], {"task": "bad", "margin": "2pp", "require": "not-fail"}]), good, bad).exit_code == 1
    )


def test_nothing_decided_is_no_pass():
    only = policy(checks=[{"task": "t", "margin": "2pp", "require": "report"}])
    assert gated(only, two(500, 0, 0)).verdict == "INCONCLUSIVE"
    assert overall([]) == "INCONCLUSIVE"


def test_fail_is_held_against_holm_over_all_tests_of_the_gate():
    """One drop with p = .03 of ten checks is what chance brings."""
    drop = two(400, 32, 18, "t0")
    alone = gated(policy(checks=[{"task": "t0", "margin": "2pp"}]), drop)
    assert alone.verdict == "FAIL"
    rest = [two(400, 5, 5, f"t{i}") for i in range(1, 10)]
    many = gated(policy(checks=[{"task": "*", "margin": "2pp"}]), drop, *rest)
    check = by_name(many)["t0 exact_match"]
    assert check.p == by_name(alone)["t0 exact_match"].p < 0.05 < check.p_adjusted == pytest.approx(10 * check.p)
    assert check.verdict == "INCONCLUSIVE" and "by Holm over 10 tests" in check.sentence
    assert many.verdict == "INCONCLUSIVE"


def test_lower_is_better_metrics_fail_upwards():
    rng = np.random.default_rng(0)
    a = rng.normal(2, 0.5, 400).clip(0)
    found = policy(checks=[{"task": "t", "metric": "loss", "margin": 0.02}])

    def judged(shift):
        columns = [np.column_stack([x, x]) for x in (a, (a + shift + rng.normal(0, 0.02, 400)).clip(0))]
        return gated(found, tuple(task("t", x, scorer=Loss()) for x in columns))

    assert judged(0.0).verdict == "PASS"
    worse = judged(0.1)
    assert worse.verdict == "FAIL" and by_name(worse)["t loss"].difference > 0 and "worse" in worse.headline
    assert judged(-0.1).verdict == "PASS"


def test_a_metric_without_direction_is_refused_unless_reported():
    values = np.zeros((50, 2))
    pair = (task("t", values, scorer=Loss()),) * 2
    with pytest.raises(ConfigError, match=r"neither more nor less balance is better"):
        gated(policy(checks=[{"task": "t", "metric": "balance", "margin": 1}]), pair)
    shown = gated(policy(checks=[{"task": "t", "metric": "balance", "margin": 1, "require": "report"}]), pair)
    assert by_name(shown)["t balance"].verdict is None


def test_points_are_refused_for_what_is_no_share_and_relative_margins_are_of_the_baseline(tmp_path):
    rng = np.random.default_rng(1)
    a = np.column_stack([rng.integers(2, 9, 300), np.full(300, 10)])
    pair = (task("t", a, scorer=Ratio()), task("t", a + [[1, 0]] * 300, scorer=Ratio()))
    path = tmp_path / "p.yaml"
    path.write_text("gate: g\ndefaults:\n  margin: 2pp\nchecks:\n  - {task: t}\n")
    with pytest.raises(ConfigError, match=r"p.yaml:3: 2pp is in percentage points, but ratio of t is no share"):
        gated(load_policy(path), pair)
    result = gated(policy(checks=[{"task": "t", "margin": "5%"}]), pair)
    check = by_name(result)["t ratio"]
    assert check.margin == pytest.approx(0.05 * check.baseline) and check.detail["relative_margin"] == "5%"
    assert check.verdict == "PASS" and check.method == "bootstrap" and not check.percent


def test_slices_are_checked_apart_and_small_ones_only_shown():
    n = 400
    a, b = flipped(n, 0, 0)
    b[:60] = 0  # of one subject
    labels = ["law"] * 120 + ["tiny"] * 20 + ["math"] * (n - 140)
    pair = tuple(task("t", x, slices={"subject": labels}) for x in (a, b))
    found = policy(checks=[{"task": "t", "margin": "30pp", "slices": ["subject"]}])
    result = gated(found, pair)
    checks = by_name(result)
    assert [c.kind for c in result.checks] == ["metric", "slice", "slice", "slice", "errors"]
    assert checks["t exact_match"].verdict == "PASS"
    assert checks["t exact_match [subject=law]"].verdict == "FAIL"
    assert checks["t exact_match [subject=math]"].verdict == "PASS"
    small = checks["t exact_match [subject=tiny]"]
    assert small.verdict is None and small.p is None and "too few to be tested (min_n 30)" in small.sentence
    assert result.verdict == "FAIL"
    one = gated(policy(checks=[{"task": "t", "margin": "30pp", "slices": ["subject=math"]}]), pair)
    assert [c.slice for c in one.checks if c.kind == "slice"] == ["subject=math"] and one.verdict == "PASS"


def test_a_check_with_fewer_pairs_than_min_n_cannot_pass_but_can_fail():
    small = policy(checks=[{"task": "t", "margin": "40pp", "min_n": 100}])
    check = by_name(gated(small, two(50, 0, 0)))["t exact_match"]
    assert check.verdict == "INCONCLUSIVE" and check.needs == "needs 100 items (has 50)"
    assert gated(small, two(50, 25, 0)).verdict == "FAIL"


def test_clusters_widen_what_is_not_independent():
    rng = np.random.default_rng(2)
    groups = np.repeat(rng.integers(0, 2, 40), 20).astype(float)
    flips = np.repeat(rng.random(40) < 0.1, 20)
    pair = groups, np.where(flips, 1 - groups, groups)
    labels = [f"p{i // 20}" for i in range(800)]
    found = {"task": "t", "margin": "5pp"}
    alone = by_name(gated(policy(checks=[found]), tuple(task("t", x) for x in pair)))["t exact_match"]
    own = by_name(gated(policy(checks=[found]), tuple(task("t", x, clusters=labels) for x in pair)))["t exact_match"]
    by = policy(defaults={"cluster_by": "passage"}, checks=[found])
    named = by_name(gated(by, tuple(task("t", x, slices={"passage": labels}) for x in pair)))["t exact_match"]
    assert own.bound == named.bound < alone.bound and own.units == named.units == 40
    assert own.method == named.method == "t-clustered"
    without = by_name(gated(by, tuple(task("t", x) for x in pair)))["t exact_match"]
    assert without.method == "tango", "a default clusters only tasks that have the slice"


def test_groups_are_pooled_and_patterns_name_tasks():
    pairs = [two(300, 0, 0, "mmlu_a"), two(300, 0, 0, "mmlu_b")]
    groups = [{"group": "mmlu", "leaves": ["mmlu_a", "mmlu_b"]}]
    whole = gated(policy(checks=[{"task": "mmlu", "margin": "1pp"}]), *pairs, groups=groups)
    assert [c.name for c in whole.checks if c.kind == "metric"] == ["mmlu exact_match"] and whole.checks[0].n == 600
    parts = gated(policy(checks=[{"task": "mmlu*", "margin": "1pp"}]), *pairs, groups=groups)
    assert [c.name for c in parts.checks if c.kind == "metric"] == ["mmlu_a exact_match", "mmlu_b exact_match"]
    both = gated(policy(checks=[{"task": "*", "margin": "1pp"}, {"task": "mmlu_b", "margin": "9pp"}]), *pairs, groups=groups)
    margins = {c.name: c.margin for c in both.checks if c.kind == "metric"}
    assert margins == {"mmlu_a exact_match": 0.01, "mmlu_b exact_match": 0.09}, "a task's own check wins over a pattern's"


def test_what_is_checked_twice_alike_is_refused_and_the_closer_check_wins():
    pair = two(500, 0, 0)
    with pytest.raises(ConfigError, match=r"t exact_match is checked by policy test, too: write one check"):
        gated(policy(checks=[{"task": "t", "margin": "2pp"}, {"task": "t", "margin": "3pp"}]), pair)
    closer = [
        {"task": "t", "metric": "exact_match", "margin": "9pp"},
        {"task": "t", "margin": "2pp"},
        {"task": "*", "margin": "1pp"},
    ]
    (check,) = [c for c in gated(policy(checks=closer), pair).checks if c.kind == "metric"]
    assert check.margin == 0.09
    last = [{"task": "*", "margin": "1pp"}, {"task": "t*", "margin": "3pp"}]
    (check,) = [c for c in gated(policy(checks=last), pair).checks if c.kind == "metric"]
    assert check.margin == 0.03


def test_floors_are_the_candidates_own():
    def judged(right, floor, n=200):
        pair = tuple(task("t", flipped(n, 0, 0, right)[0]) for _ in range(2))
        result = gated(policy(checks=[{"task": "t", "floor": floor}]), pair)
        return next(check for check in result.checks if check.kind == "floor")

    high = judged(189, 0.9, 250)  # Wilson's one-sided bounds of 189 / 250
    assert high.verdict == "FAIL" and high.name == "t exact_match >= 0.9"
    assert judged(140, 0.6).verdict == "PASS"
    assert judged(140, 0.68).verdict == "INCONCLUSIVE" and "items at this value (has 200)" in judged(140, 0.68).needs
    assert judged(140, 0.8).verdict == "FAIL"
    assert judged(140, 0.72).verdict == "INCONCLUSIVE"
    assert judged(140, 0.6).bound == pytest.approx(wilson(0.7, 200, 0.9)[0])


@pytest.mark.parametrize("right", [0, 3, 70, 139, 140])
@pytest.mark.parametrize("floor", [0.0, 0.01, 0.3, 0.5, 0.95, 1.0])
def test_a_floors_p_agrees_with_its_bounds(right, floor):
    pair = tuple(task("t", flipped(140, 0, 0, right)[0]) for _ in range(2))
    check = gated(policy(checks=[{"task": "t", "floor": floor}]), pair).checks[0]
    low, high = wilson(right / 140, 140, 0.9)
    expected = "PASS" if low >= floor else "FAIL" if high < floor else "INCONCLUSIVE"
    assert check.verdict == expected


def test_a_candidates_new_failures_fail_a_check_of_their_own():
    a, b = flipped(400, 0, 0)
    lost = {i: ERROR for i in range(3)} | {10: UNSCORED}
    found = {"checks": [{"task": "t", "margin": "5pp"}]}
    result = gated(policy(**found), (task("t", a), task("t", b, status=lost)))
    check = by_name(result)["t errors"]
    assert check.kind == "errors" and check.verdict == "FAIL" and result.verdict == "FAIL"
    assert check.sentence == (
        "4 of 400 samples that the baseline scored have no score (3 failed, 1 unscored): 1 %, at most 0.5 % may"
    )
    assert by_name(result)["t exact_match"].n == 396, "they are in no pair"
    assert result.notes == ("samples without a score in one of the runs are in no pair: 4 of t",)
    lenient = gated(policy(max_error_rate="2%", **found), (task("t", a), task("t", b, status=lost)))
    assert lenient.verdict == "PASS"
    theirs = gated(policy(**found), (task("t", a, status=lost), task("t", b)))
    assert theirs.verdict == "PASS" and by_name(theirs)["errors"].n == 396, "the baseline's own failures are no fault"


def test_failures_can_count_as_wrong():
    a, b = flipped(400, 0, 0)
    lost = {i: ERROR for i in range(40)}
    found = policy(errors="wrong", max_error_rate=1, checks=[{"task": "t", "margin": "5pp"}])
    result = gated(found, (task("t", a), task("t", b, status=lost)))
    check = by_name(result)["t exact_match"]
    assert check.n == 400 and check.difference == pytest.approx(-0.1) and result.verdict == "FAIL"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"task": "gsm8j"}, r"base has no task 'gsm8j' \(did you mean gsm8k\?\)"),
        ({"task": "only"}, r"cand has no task 'only'"),
        (
            {"task": "gsm8k", "metric": "exact_math"},
            r"gsm8k of base has no metric 'exact_math' \(did you mean exact_match\?\)",
        ),
        ({"task": "gsm8k", "filter": "strict"}, r"gsm8k of base has no filter 'strict'; there are none"),
        ({"task": "gsm8k", "slices": ["subjct"]}, r"gsm8k of base has no slice 'subjct' \(did you mean subject\?\)"),
        ({"task": "gsm8k", "slices": ["subject=x"]}, r"gsm8k has no slice 'subject=x'"),
        ({"task": "gsm8k", "cluster_by": "passage"}, r"gsm8k of base has no slice 'passage'"),
        ({"task": "zzz*"}, r"base has no task 'zzz\*'; there are gsm8k, only"),
    ],
)
def test_what_a_run_does_not_have_is_not_gated(check, message):
    a = task("gsm8k", flipped(50, 0, 0)[0], slices={"subject": ["law"] * 50})
    baseline, candidate = run("base", a, task("only", [1.0] * 50)), run("cand", a)
    with pytest.raises(NotComparable, match=message) as caught:
        decide_gate(policy(checks=[{"margin": "2pp", **check}]), baseline, candidate)
    assert caught.value.exit_code == 4


def test_other_tasks_of_the_runs_do_not_matter():
    a = task("t", flipped(500, 0, 0)[0])
    baseline, candidate = run("b", a, task("u", [1.0], version="1")), run("c", a, task("u", [1.0], version="2"))
    assert decide_gate(policy(checks=[{"task": "t", "margin": "2pp"}]), baseline, candidate).verdict == "PASS"
    with pytest.raises(NotComparable, match="version"):
        decide_gate(policy(checks=[{"task": "*", "margin": "2pp"}]), baseline, candidate)


def judge_runs(folder: Path):
    rng = np.random.default_rng(3)
    a = rng.integers(1, 6, 400).astype(float)
    pair = task("t", a, scorer=Likert()), task("t", a, scorer=Likert())
    return run("base", pair[0]), run("cand", pair[1], path=folder)


def calibration(**keys) -> str:
    known = {"schema": 1, "judge": Likert().signature(), "alpha": {"value": 0.71, "ci": [0.63, 0.78]}, "n": 240}
    return json.dumps({**known, **keys})


def test_a_judge_decides_only_when_it_agrees_with_people(tmp_path):
    baseline, candidate = judge_runs(tmp_path)
    check = {"task": "t", "metric": "judge", "margin": 0.2, "min_judge_alpha": 0.6, "floor": 1.5}
    found = policy(checks=[check])
    (tmp_path / "calibration").mkdir()
    path = tmp_path / "calibration" / "judge.json"

    missing = decide_gate(found, baseline, candidate)
    assert missing.verdict == "INCONCLUSIVE" and "the judge has no calibration" in missing.headline

    path.write_text(calibration())
    assert decide_gate(found, baseline, candidate).verdict == "PASS"

    path.write_text(calibration(alpha={"value": 0.41}))
    weak = decide_gate(found, baseline, candidate)
    assert weak.verdict == "INCONCLUSIVE" and {c.verdict for c in weak.checks if c.kind != "errors"} == {"INCONCLUSIVE"}
    assert "the judge agrees too little with people: alpha 0.41 < 0.60 (240 items)" in weak.headline

    path.write_text(calibration(judge="judge|version:2"))
    with pytest.raises(NotComparable, match=r"calibrates judge\|version:2, but t is judged by judge\|version:1"):
        decide_gate(found, baseline, candidate)
    path.write_text(calibration(n=0))
    with pytest.raises(NotComparable, match=r"judge.json: n: "):
        decide_gate(found, baseline, candidate)
    path.write_text("{")
    with pytest.raises(NotComparable, match=r"judge.json is not JSON"):
        decide_gate(found, baseline, candidate)


def test_a_named_calibration_must_be_there_beside_the_policy(tmp_path):
    baseline, candidate = judge_runs(tmp_path / "run")
    text = {"gate": "g", "checks": [{"task": "t", "margin": 0.2, "min_judge_alpha": 0.6, "calibration": "c.json"}]}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(text))
    with pytest.raises(NotComparable, match=r"calibration .*c.json cannot be read: No such file"):
        decide_gate(load_policy(tmp_path / "p.yaml"), baseline, candidate)
    (tmp_path / "c.json").write_text(calibration())
    assert decide_gate(load_policy(tmp_path / "p.yaml"), baseline, candidate).verdict == "PASS"


class Exact(Share):
    name = "last"
    metrics = (replace(Share.metrics[0], name="last"),)


def mixed_group(**status):
    a, b = flipped(200, 0, 0)
    base = run("base", task("mc", a), task("gen", a, scorer=Exact()), groups=[{"group": "g", "leaves": ["mc", "gen"]}])
    cand = run(
        "cand", task("mc", b), task("gen", b, scorer=Exact(), **status), groups=[{"group": "g", "leaves": ["mc", "gen"]}]
    )
    return base, cand


def test_a_member_that_lacks_the_groups_metric_is_a_check_of_its_own():
    runs = mixed_group(status={3: ERROR, 4: ERROR, 5: ERROR})
    result = decide_gate(policy(checks=[{"task": "g", "margin": "2pp"}]), *runs)
    assert [(c.name, c.n) for c in result.checks] == [("g exact_match", 200), ("gen last", 197), ("gen errors", 200)]
    assert result.verdict == "FAIL"


def test_a_member_that_another_check_names_is_left_to_it():
    for other in ("gen", "ge*"):
        checks = [{"task": "g", "margin": "2pp"}, {"task": other, "margin": "9pp"}]
        result = decide_gate(policy(checks=checks), *mixed_group())
        assert {c.name: c.margin for c in result.checks if c.kind == "metric"} == {"g exact_match": 0.02, "gen last": 0.09}
        assert not result.notes


def test_two_groups_may_share_a_member():
    groups = [{"group": name, "leaves": ["mc", "gen"]} for name in ("g", "h")]
    runs = [
        replace(one, manifest={**one.manifest, "groups": [{**one.manifest["groups"][0], **g} for g in groups]})
        for one in mixed_group()
    ]
    result = decide_gate(policy(checks=[{"task": name, "margin": "2pp"} for name in "gh"]), *runs)
    assert sorted(c.name for c in result.checks) == ["errors", "g exact_match", "gen last", "h exact_match"]


def test_a_member_that_nothing_checks_is_told():
    result = decide_gate(policy(checks=[{"task": "g", "metric": "exact_match", "margin": "2pp"}]), *mixed_group())
    assert result.notes == ("g exact_match is without gen, which has no exact_match: no check judges it",)


def test_samples_of_a_perplexity_got_worse_where_they_are_less_likely():
    """A sample shows its log-likelihood, of which more is better, of the perplexity less."""
    rng = np.random.default_rng(0)
    before = -rng.gamma(1.3, 2.9, 200)
    after = before.copy()
    after[:3] -= (0.5, 2.0, 1.0)
    after[3] += 3.0
    runs = [run(name, task("t", values, scorer=Perplexity())) for name, values in (("base", before), ("cand", after))]
    (check, _) = decide_gate(policy(checks=[{"task": "t", "margin": "5%"}]), *runs).checks
    assert (check.lost, check.gained) == (3, 1)
    assert [flip.id for flip in check.flips] == ["q00001", "q00002", "q00000", "q00003"]
    assert [flip.id for flip in worse(check)] == ["q00001", "q00002", "q00000"]
    assert sum(flip.effect for flip in check.flips) / 200 == pytest.approx(check.difference, rel=0.1)
    marks = {row[-1]: row[2] for row in flips(lines(compare_scores(*runs))).rows}
    assert marks == {"q00000": "▼", "q00001": "▼", "q00002": "▼", "q00003": "▲"}


def test_repeats_are_advised_only_where_answers_are_sampled():
    def needs(**settings):
        runs = [run(name, scores) for name, scores in zip(("base", "cand"), two(60, 0, 0), strict=True)]
        runs[1].manifest["config"]["gen_kwargs"] = settings
        return decide_gate(policy(checks=[{"task": "t", "margin": "2pp"}]), *runs).checks[0].needs

    assert "K >= " in needs(temperature=0.7) and "K >= " in needs(temperature=0.7, do_sample=True)
    greedy = ({}, {"temperature": 0}, {"temperature": 0.7, "do_sample": False})
    assert not any("K >= " in needs(**settings) for settings in greedy)


def test_a_baseline_at_the_floor_is_told():
    result = gated(policy(checks=[{"task": "t", "margin": "2pp"}]), (task("t", np.zeros(200)), task("t", np.zeros(200))))
    assert result.verdict == "PASS"
    assert result.notes == (
        "t exact_match: the baseline is at 0.0000, the worst that there is: these samples cannot show a loss",
    )


def test_what_is_only_shown_has_its_reason_on_the_terminal():
    checks = [{"task": "t", "margin": "2pp", "require": "report"}, {"task": "u", "margin": "9pp"}]
    result = gated(policy(checks=checks), two(60, 0, 0), two(60, 0, 0, "u"))
    assert result.verdict == "PASS"
    reason = "shown (INCONCLUSIVE) t exact_match: unchanged, but it could be"
    assert any(line.startswith(reason) for line in terminal.lines(result))


@pytest.mark.parametrize("margin", ["200pp", "100pp", 1])
def test_a_margin_as_wide_as_the_metric_is_refused(margin):
    with pytest.raises(ConfigError, match="is the whole range of exact_match of t"):
        gated(policy(checks=[{"task": "t", "margin": margin}]), two(60, 0, 0))


def test_a_ceiling_is_shown_as_one():
    scores = task("t", np.full(50, 0.3) + np.linspace(0, 0.1, 50), scorer=Loss())
    result = gated(policy(checks=[{"task": "t", "metric": "loss", "floor": 0.5}]), (scores, scores))
    assert [cells(check).margin for check in result.checks if check.kind == "floor"] == ["≤ 0.5000"]
