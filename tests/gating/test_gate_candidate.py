"""A candidate is run as its baseline was: which options are the baseline's, which its own, which nobody's to take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import evalkit
from evalkit.comparison.base import RunScores
from evalkit.errors import ConfigError, NotComparable
from evalkit.gating.candidate import candidate_options, needed_tasks, unfinished
from evalkit.gating.policy import Policy
from evalkit.runner.options import RunOptions

QUICK = ("knowledge", "grammar", "sentiment", "arithmetic")


def policy(*tasks: str) -> Policy:
    return Policy.model_validate({"gate": "g", "checks": [{"task": task, "margin": "2pp"} for task in tasks]})


def baseline(**options) -> RunScores:
    """A baseline over the group quickstart, as a score file remembers it."""
    config = RunOptions(**{"tasks": ["quickstart"], "model": "mock/uniform", "seed": 7, **options}).public()
    kinds = {name: "generate_until" if name == "arithmetic" else "multiple_choice" for name in QUICK}
    manifest = {
        "config": config,
        "identity": {"tasks": {name: {} for name in QUICK}},
        "tasks": {name: {"output_type": kind, "version": "1.0", "num_fewshot": 0} for name, kind in kinds.items()},
        "groups": [{"group": "quickstart", "leaves": list(QUICK), "children": list(QUICK)}],
    }
    return RunScores("base", "baselines/b.jsonl.gz", None, manifest, {(name, "none"): None for name in QUICK})


def test_what_is_asked_is_the_baselines_and_the_machine_the_candidates():
    asked = {"limit": 20, "num_fewshot": 2, "gen_kwargs": {"temperature": 0.5}, "system_instruction": "Be brief."}
    before = baseline(
        **asked, model_args={"text": "x"}, device="cuda", batch_size=4, max_error_rate=0.2, output_dir="elsewhere"
    )
    found = candidate_options(policy("quickstart"), before, "mock/echo", model_args={"wave": "5"}, device="cpu")
    assert {name: getattr(found, name) for name in asked} == asked
    assert (found.seed, found.tasks, found.max_error_rate) == (7, ["quickstart"], 0.2)
    assert (found.model, found.model_args, found.device, found.batch_size) == ("mock/echo", {"wave": "5"}, "cpu", None)
    assert found.output_dir == "runs"


def test_only_the_tasks_that_the_policy_needs_are_run():
    picked = {"samples": {"knowledge": [1], "grammar": [2]}}
    found = candidate_options(policy("knowledge", "arith*"), baseline(**picked), "mock/echo")
    assert (found.tasks, found.samples) == (["knowledge", "arithmetic"], {"knowledge": [1]})
    assert candidate_options(policy("quickstart"), baseline(), "mock/echo").tasks == ["quickstart"]
    assert candidate_options(policy("knowledge"), baseline(), "mock/echo", all_tasks=True).tasks == ["quickstart"]
    budgets = Policy.model_validate({"gate": "g", "budgets": {"cost_usd": 2}})
    assert needed_tasks(budgets, baseline()) is None
    assert candidate_options(budgets, baseline(), "mock/echo").tasks == ["quickstart"]


def test_a_task_that_the_baseline_lacks_is_told_before_anything_runs():
    with pytest.raises(
        NotComparable, match=r"base has no task 'knowlege' \(did you mean knowledge\?\)|has no task 'knowlege'"
    ):
        candidate_options(policy("knowlege"), baseline(), "mock/echo")


def test_multiple_choice_is_asked_in_the_form_that_auto_came_to():
    before = baseline()
    assert candidate_options(policy("knowledge"), before, "mock/echo").form == "loglikelihood"
    tasks = {name: {**entry, "output_type": "generate_until"} for name, entry in before.manifest["tasks"].items()}
    forms = {name: {"form": "letter"} for name in QUICK if name != "arithmetic"}
    lettered = replace(before, manifest={**before.manifest, "tasks": tasks, "identity": {"tasks": forms}})
    assert candidate_options(policy("knowledge"), lettered, "mock/echo").form == "letter"
    assert candidate_options(policy("knowledge"), baseline(form="letter"), "mock/echo").form == "letter"


def test_scorers_that_came_by_rescoring_are_measured_too():
    before = baseline(scorers=["exact_match:ignore_case=true"])
    extra = [{"name": "exact_match", "params": {"ignore_case": True}}, {"name": "bleu", "params": {"tokenize": "char"}}]
    before.manifest["tasks"]["arithmetic"]["extra_scorers"] = extra
    found = candidate_options(policy("arithmetic"), before, "mock/echo").scorers
    assert found == ["exact_match:ignore_case=true", {"name": "bleu", "tokenize": "char"}]


def test_code_is_never_allowed_by_a_baseline():
    before = baseline(allow_code=True, trust_remote_code=True)
    found = candidate_options(policy("knowledge"), before, "mock/echo")
    assert (found.allow_code, found.trust_remote_code) == (False, False)
    assert candidate_options(policy("knowledge"), before, "mock/echo", allow_code=True).allow_code


def test_judges_are_the_baselines_unless_their_secrets_are_gone():
    before = baseline(roles={"judge": "openai/gpt,api_key=very-secret-indeed"})
    with pytest.raises(ConfigError, match=r"secrets are not stored with a run; give it: --role judge="):
        candidate_options(policy("knowledge"), before, "mock/echo")
    again = candidate_options(policy("knowledge"), before, "mock/echo", roles={"judge": "openai/gpt"})
    assert again.roles == {"judge": "openai/gpt"}
    assert candidate_options(policy("knowledge"), baseline(roles={"judge": "mock/echo"}), "m").roles == {
        "judge": "mock/echo"
    }


@pytest.mark.parametrize(
    ("own", "said"), [({"seed": 1}, "seed is the baseline's"), ({"devise": "cpu"}, "did you mean device")]
)
def test_options_that_are_not_the_candidates_are_refused(own, said):
    with pytest.raises(ConfigError, match=said):
        candidate_options(policy("knowledge"), baseline(), "mock/echo", **own)


def test_a_baseline_that_no_run_can_repeat_is_refused():
    before = baseline()
    for config in ({}, {**before.manifest["config"], "model": "<GivenModel>"}):
        with pytest.raises(ConfigError, match="does not say how it was run"):
            candidate_options(policy("knowledge"), replace(before, manifest={**before.manifest, "config": config}), "m")


def test_why_a_run_is_unfinished():
    assert unfinished({}) == "not everything was answered. The same again goes on with it"
    goes_on = ". The same again goes on with it"
    assert unfinished({"counts": {"failures": 2, "retryable": 1}}) == f"2 requests failed{goes_on}"
    spent = {"counts": {"budget": "spent"}, "facts": {"t": {"missing": 3}}}
    assert unfinished(spent) == f"spent; 3 samples not answered{goes_on}"
    assert unfinished({"counts": {"failures": 2}, "config": {"max_error_rate": 0.01}}) == (
        "2 requests failed for good, more than the 1% that a run may lose (--max-error-rate). The same again changes "
        "nothing; --retry-errors asks them again"
    )


def test_a_callable_is_gated_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = evalkit.run("arithmetic", "mock/echo", limit=30)
    judged = tmp_path / "gate.yaml"
    judged.write_text("gate: g\nchecks: [{task: arithmetic, margin: 20pp}]\n")
    result = evalkit.gate(judged, baseline=before, model=lambda prompt: "no idea")
    assert (result.verdict, result.exit_code) == ("PASS", 0)
    assert result.candidate.run_id != result.baseline.run_id and Path(result.candidate.source).parent.name == "runs"
    assert evalkit.gate(judged, before, before).verdict == "PASS"
    with pytest.raises(ConfigError, match="device is for a model that is run"):
        evalkit.gate(judged, before, before, device="cpu")
