"""A policy file says what it means, and what is wrong with it is told with its line."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from gate_runs import flipped, run, task
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import ConfigError
from evalkit.gating.gate import decide_gate
from evalkit.gating.policy import json_schema, load_policy
from evalkit.gating.quantities import Margin, parse_limit, parse_margin

FULL = """\
gate: release
baseline: git:main:baselines/release.jsonl.gz
alpha: 0.05            # one-sided; Holm over all fail tests
inconclusive: fail     # pass | warn | fail
defaults: {margin: 1.0pp, require: pass, min_n: 30, cluster_by: passage_id}
checks:
  - {task: gsm8k, metric: exact_match, margin: 2pp, floor: 0.55}
  - {task: wmt_de_en, metric: chrf, margin: 0.5}
  - {task: helpfulness, metric: judge, margin: 0.1, min_judge_alpha: 0.6}
  - {task: mmlu, metric: acc, slices: [subject], require: not-fail, margin: 3pp}
budgets: {median_latency: +10%, p95_latency_s: 4, cost_usd: 2.50, output_tokens: ±20%, error_rate: 0.5%}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_of_a_policy_is_read(tmp_path):
    policy = load_policy(written(tmp_path, FULL))
    assert [str(check.margin) for check in policy.checks] == ["2pp", "0.5", "0.1", "3pp"]
    assert policy.checks[0].margin == Margin(0.02, "points")
    assert policy.checks[0].floor == 0.55
    assert [part.name for part in policy.checks[3].slices] == ["subject"]
    assert policy.required(policy.checks[0]) == "pass" and policy.required(policy.checks[3]) == "not-fail"
    limits = {name: (b.limit.kind, b.limit.value) for name, b in policy.budgets.given().items()}
    assert limits == {
        "median_latency": ("more", 0.1),
        "p95_latency_s": ("absolute", 4.0),
        "cost_usd": ("absolute", 2.5),
        "output_tokens": ("within", 0.2),
        "error_rate": ("absolute", 0.005),
    }
    assert policy.max_error_rate == 0.005 and policy.errors == "leave-out"
    assert policy.where("checks", 1, "margin").endswith("policy.yaml:8")


def test_comments_and_layout_do_not_change_a_policys_hash(tmp_path):
    policy = load_policy(written(tmp_path, FULL))
    other = load_policy(written(tmp_path, yaml.safe_dump(yaml.safe_load(FULL), allow_unicode=True)))
    assert other.hash == policy.hash
    assert load_policy(written(tmp_path, FULL.replace("2pp", "3pp"))).hash != policy.hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gate: a\nchekcs: []", r":2: unknown key 'chekcs' \(did you mean checks\?\)"),
        ("gate: a\nchecks:\n - task: b\n   margn: 2pp", r":4: unknown key 'margn' \(did you mean margin\?\)"),
        ("gate: a\nchecks:\n - task: b\n   margin: 2 points", r":4: checks.0.margin: expected a margin: 2pp .*'2 points'"),
        ("gate: a\nchecks:\n - task: b\n   margin: -1", r":4: checks.0.margin: expected a margin"),
        ("gate: a\nchecks:\n - task: b\n   margin: yes", r":4: checks.0.margin: expected a margin"),
        ("gate: a\nchecks:\n - task: b", r":3: b needs a margin \(2pp, 0.5, 5%\), its own or in defaults, or a floor"),
        (
            "gate: a\nchecks:\n - task: b\n   margin: 2pp\n   require: fail",
            r":5: checks.0.require: expected 'pass', 'not-fail'",
        ),
        ("gate: a\nchecks:\n - task: b\n   margin: 1pp\n   slices: [x, x]", r"slice 'x' is named twice"),
        ("gate: a\nchecks:\n - task: b\n   margin: 1pp\n   calibration: c.json", r"calibration goes with min_judge_alpha"),
        ("gate: a\nbudgets:\n  cost: 3", r":3: unknown key 'cost' \(did you mean cost_usd\?\)"),
        ("gate: a\nbudgets:\n  cost_usd: 3%", r"cost_usd: 3% of what\? Write \+3%"),
        ("gate: a\nbudgets:\n  cost_usd: ±3%", r"less is no fault: write \+3%"),
        (
            "gate: a\nbudgets:\n  p95_latency_s: +3%",
            r"p95_latency_s is in seconds; against the baseline it is p95_latency: \+3%",
        ),
        ("gate: a\nbudgets:\n  median_latency: '+3'", r"against the baseline is in per cent"),
        ("gate: a\nbudgets:\n  error_rate: +3%", r"error_rate is a share of the candidate's samples"),
        ("gate: a\nalpha: 0.5\nchecks: [{task: a, margin: 1pp}]", r":2: alpha: expected less than 0.5, got 0.5"),
        (
            "gate: a\nmax_error_rate: 5\nchecks: [{task: a, margin: 1pp}]",
            r":2: max_error_rate: expected less than or equal to 1",
        ),
        ("gate: a", r":1: a policy needs checks or budgets"),
        ("checks: [{task: a, margin: 1pp}]", r":1: gate is missing"),
        ("- a", r":1: a gate policy is a mapping"),
        ("gate: [", r":1: YAML error"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_policy(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_policy_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"gate policy .*none.yaml cannot be read: No such file"):
        load_policy(tmp_path / "none.yaml")


def test_the_schema_takes_what_the_loader_takes():
    check = jsonschema.Draft202012Validator(json_schema())
    assert not list(check.iter_errors(yaml.safe_load(FULL)))
    assert not list(
        check.iter_errors({"gate": "a", "checks": [{"task": "b", "slices": "x"}], "budgets": {"cost_usd": "+5%"}})
    )
    for wrong in ({"gate": "a", "chekcs": []}, {"gate": "a", "checks": [{"task": "b", "margin": "2 points"}]}):
        assert list(check.iter_errors(wrong))


@settings(deadline=None)
@given(st.floats(0, 1e6), st.sampled_from(["pp", "%", ""]))
def test_a_margin_survives_being_written(value, unit):
    margin = parse_margin(f"{value:g}{unit}")
    assert parse_margin(str(margin)).value == pytest.approx(margin.value, rel=1e-5)
    assert parse_margin(str(margin)).kind == margin.kind


@pytest.mark.parametrize(
    ("text", "value", "kind", "shown"),
    [
        ("+10%", 0.1, "more", "+10%"),
        ("±20%", 0.2, "within", "±20%"),
        ("+-20 %", 0.2, "within", "±20%"),
        (4, 4.0, "absolute", "4"),
        ("0.5%", 0.005, "absolute", "0.5%"),
    ],
)
def test_limits_are_read_and_shown(text, value, kind, shown):
    limit = parse_limit(text)
    assert (limit.value, limit.kind, str(limit)) == (pytest.approx(value), kind, shown)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            "{task: t, margin: 2}",
            r":2: a margin of 2 is the whole range of exact_match of t \(0 to 1\); 2pp is 2 percentage points",
        ),
        ("{task: t, margin: 2pp, floor: 55}", r":2: exact_match of t is within 0 and 1, not 55; 55% is 0.55"),
    ],
)
def test_margins_and_floors_must_fit_their_metric(tmp_path, check, message):
    baseline = run("base", task("t", flipped(50, 0, 0)[0]))
    with pytest.raises(ConfigError, match=message):
        decide_gate(load_policy(written(tmp_path, f"gate: g\nchecks: [{check}]")), baseline, baseline)


def test_files_that_a_policy_names_are_beside_it(tmp_path):
    policy = load_policy(written(tmp_path, "gate: g\nbaseline: base.jsonl.gz\nchecks: [{task: t, margin: 1pp}]"))
    assert policy.baseline_source() == "base.jsonl.gz"
    (tmp_path / "base.jsonl.gz").write_bytes(b"")
    assert policy.baseline_source() == str(tmp_path / "base.jsonl.gz")
