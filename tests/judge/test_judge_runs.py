"""A judge in a task: asked through the planner, journal, cache, budget and account as any model, and scored from them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from judge_kit import CRITERIA, argmax, rows, saying, weighing, write_task, writer

import evalkit
from evalkit.comparison.load import load_scores
from evalkit.errors import ConfigError, Incomplete, Interrupted, ScorerError
from evalkit.gating.candidate import candidate_options
from evalkit.gating.policy import Policy
from evalkit.models.mock import prompt_text
from evalkit.runner.options import RunOptions
from evalkit.types import Failure, Request

VALUE = (0.1 * 1 + 0.1 * 2 + 0.2 * 3 + 0.2 * 4 + 0.3 * 5) / 0.9


class Told:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.phases: list[str] = []
        self.totals: tuple[int, int, int] | None = None
        self.done = 0

    def started(self, run: Any, samples: int, requests: int, resumed: int) -> None:
        self.warnings += run.manifest["warnings"]
        self.totals = (samples, requests, resumed)

    def answered(self, task: str, done: int, errors: int, running: Any) -> None:
        self.done = done

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def working(self, what: str, done: int, total: int) -> None: ...

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def scored(self, task: str, summaries: Any) -> None: ...


def values(run: Any) -> dict[str, float | None]:
    return {s.metric: s.value for s in run.summary() if s.slice is None}


def statuses(run: Any) -> Counter[str]:
    """Of every score file's lines."""
    import gzip

    return Counter(
        json.loads(line)["status"]
        for path in (run.path / "scores").iterdir()
        for line in gzip.open(path, "rt", encoding="utf-8")
    )


def test_a_judge_in_a_task_from_end_to_end(tmp_path: Path) -> None:
    task = write_task(tmp_path, [{"judge": "summarisation"}, "exact_match"])
    candidate, judge = writer(), weighing()
    told = Told()
    run = evalkit.run(task, candidate, roles={"judge": judge}, output_dir=tmp_path / "runs", progress=told)
    assert run.status == "complete"
    assert values(run) == pytest.approx({**dict.fromkeys(CRITERIA, VALUE), "exact_match": 1.0})
    # 5 samples and 4 canaries, by 4 criteria with 5 labels each; nothing is asked twice
    assert len(judge.seen) == len({request.key for request in judge.seen}) == (5 + 4) * 4 * 5
    assert len(candidate.seen) == 5
    assert told.totals == (5, 5 + 180, 0)
    assert told.done == 185
    assert run.manifest["roles"]["judge"]["fingerprint"] == judge.fingerprint
    assert f"judge:acme/scales@{judge.fingerprint[:12]}" in run.manifest["identity"]["tasks"]["sums"]["scorers"][0]
    usage = {(row["role"], row["model"], row["task"]): row["requests"] for row in run.manifest["usage"]}
    assert usage == {("model", "acme/writer-7b", "sums"): 5, ("judge", "acme/scales", "sums"): 180}
    assert "judge,acme/scales,sums" in (run.path / "usage.csv").read_text()
    fluency = next(s for s in run.summary() if s.metric == "fluency")
    assert len(fluency.detail["canaries"]) == 16
    assert fluency.detail["outside"]["mean"] == pytest.approx(0.1)
    assert evalkit.rescore(run.path).summary() == run.summary()
    assert len(judge.seen) == 180


def test_what_shares_its_beginning_is_asked_together(tmp_path: Path) -> None:
    """All labels and criteria of a sample one after another, and all samples in one pass."""
    judge = weighing()
    evalkit.run(write_task(tmp_path, [{"judge": "summarisation"}]), writer(), roles={"judge": judge}, store=False)
    order = [request.sample_id for request in judge.seen]
    assert order == [""] * 80 + [f"s{i}" for i in range(5) for _ in range(20)]


def test_another_judge_is_another_run(tmp_path: Path) -> None:
    task = write_task(tmp_path, [argmax()])
    silent = saying(lambda request: Failure("time-out", "no answer", retryable=True))
    first = evalkit.run(task, writer(), roles={"judge": silent}, output_dir=tmp_path / "runs")
    assert first.status == "incomplete"
    other = evalkit.run(
        task, writer(), roles={"judge": saying(lambda q: "VERDICT: 4", "acme/other")}, output_dir=tmp_path / "runs"
    )
    assert other.path != first.path
    with pytest.raises(ConfigError, match=r"roles\.judge"):
        evalkit.run(
            task,
            writer(),
            roles={"judge": saying(lambda q: "x", "acme/third")},
            output_dir=tmp_path / "runs",
            resume=str(first.path),
        )


def test_a_failed_judge_leaves_a_run_that_can_go_on(tmp_path: Path) -> None:
    task = write_task(tmp_path, [argmax(), "exact_match"])
    broken = saying(
        lambda q: (
            Failure("status", "bad gateway", retryable=True, status=502)
            if "rain 3" in prompt_text(q.prompt)
            else "VERDICT: 2"
        )
    )
    first = evalkit.run(task, writer(), roles={"judge": broken}, output_dir=tmp_path / "runs")
    assert first.status == "incomplete"
    found = next(s for s in first.summary() if s.metric == "coherence")
    assert (found.value, found.n, found.unscored) == (2.0, 4, 1)
    assert values(first)["exact_match"] == 1.0
    candidate, mended = writer(), saying(lambda q: "VERDICT: 4")
    again = evalkit.run(task, candidate, roles={"judge": mended}, output_dir=tmp_path / "runs")
    assert (again.path, again.status, len(candidate.seen), len(mended.seen)) == (first.path, "complete", 0, 1)
    assert values(again)["coherence"] == pytest.approx((4 * 2 + 4) / 5)


def test_an_endpoint_that_is_gone_ends_the_judges_phase_and_no_answer_is_lost(tmp_path: Path) -> None:
    task = write_task(tmp_path, [argmax()], rows(150))
    gone = saying(lambda q: Failure("connection", "refused", retryable=True), wave=1)
    first = evalkit.run(task, writer(), roles={"judge": gone}, output_dir=tmp_path / "runs")
    assert (first.status, first.manifest["counts"]["systemic"], len(gone.seen)) == ("incomplete", "refused", 100)
    candidate, back = writer(), saying(lambda q: "VERDICT: 5")
    again = evalkit.run(task, candidate, roles={"judge": back}, output_dir=tmp_path / "runs")
    assert (again.status, len(candidate.seen), len(back.seen)) == ("complete", 0, 150)


def test_unreadable_replies_are_asked_for_again_in_rounds_over_all_samples(tmp_path: Path) -> None:
    attempts: Counter[str] = Counter()

    def reply(request: Request) -> str:
        attempts[request.sample_id] += 1
        wanted = {"s1": 2, "s2": 3, "s3": 99}.get(request.sample_id, 1)
        return "VERDICT: 3" if attempts[request.sample_id] >= wanted else "Well, it depends."

    judge = saying(reply)
    run = evalkit.run(write_task(tmp_path, [argmax()]), writer(), roles={"judge": judge}, output_dir=tmp_path / "runs")
    assert attempts == {"s0": 1, "s1": 2, "s2": 3, "s3": 3, "s4": 1}
    assert [q.sample_id for q in judge.seen] == ["s0", "s1", "s2", "s3", "s4", "s1", "s2", "s3", "s2", "s3"]
    found = next(s for s in run.summary() if s.metric == "coherence")
    assert (found.value, found.n, found.unscored) == (3.0, 4, 1)
    assert run.status == "complete"
    assert evalkit.rescore(run.path).summary() == run.summary()


def test_only_answers_with_a_verdict_serve_other_runs(tmp_path: Path) -> None:
    task = write_task(tmp_path, [argmax()])
    settings: dict[str, Any] = {"cache": tmp_path / "cache", "output_dir": tmp_path / "runs", "new": True}

    def go(reply: str) -> tuple[Any, Any]:
        judge = saying(lambda q: reply if "rain 2" in prompt_text(q.prompt) else "VERDICT: 4")
        return judge, evalkit.run(task, writer(), roles={"judge": judge}, **settings)

    judge, run = go("That is hard to say.")
    assert (len(judge.seen), values(run)["coherence"]) == (5 + 2, 4.0)
    judge, run = go("VERDICT: 1")
    assert len(judge.seen) == 1
    assert values(run)["coherence"] == pytest.approx((4 * 4 + 1) / 5)
    judge, run = go("never asked")
    assert (len(judge.seen), run.manifest["counts"]["from_cache"]) == (0, 10)


def test_a_budget_that_ends_in_the_judges_phase(tmp_path: Path) -> None:
    task = write_task(tmp_path, [argmax()], rows(20))
    settings: dict[str, Any] = {
        "output_dir": tmp_path / "runs",
        "price": {"judge": {"in": 1000.0, "out": 0.0}, "model": {"in": 0.0, "out": 0.0}},
    }
    judge = saying(lambda q: "VERDICT: 4", wave=1)
    run = evalkit.run(task, writer(), roles={"judge": judge}, max_cost=0.95, **settings)  # ten cents a request
    assert (run.status, len(judge.seen)) == ("incomplete", 10)
    assert "--max-cost 0.95" in run.manifest["counts"]["budget"]
    assert next(s for s in run.summary() if s.metric == "coherence").unscored == 10
    candidate, judge = writer(), saying(lambda q: "VERDICT: 4", wave=1)
    again = evalkit.run(task, candidate, roles={"judge": judge}, max_cost=5, **settings)
    assert (again.path, again.status, len(candidate.seen), len(judge.seen)) == (run.path, "complete", 0, 10)
    costs = {row["role"]: row["cost_usd"] for row in again.manifest["usage"]}
    assert costs == {"model": 0.0, "judge": pytest.approx(2.0)}


def test_a_run_that_is_killed_while_the_judge_answers_asks_nothing_twice(tmp_path: Path) -> None:
    task = write_task(tmp_path, [{"judge": "summarisation"}])
    command = [
        sys.executable,
        "-m",
        "evalkit",
        "run",
        "--tasks",
        task,
        "--model",
        "mock/echo",
        "--output-dir",
        str(tmp_path / "runs"),
    ]
    killed = subprocess.run(
        [*command, "--role", "judge=mock/uniform,die_after=33"], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = subprocess.run([*command, "--role", "judge=mock/uniform", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (p for p in (tmp_path / "runs").iterdir() if not p.is_symlink())
    run = evalkit.open_run(path)
    assert run.manifest["counts"]["resumed"] == 5 + 33
    judges = next(row for row in run.manifest["usage"] if row["role"] == "judge")
    assert judges["requests"] == 180  # as many as there are: none was answered twice
    assert values(run) == dict.fromkeys(CRITERIA, pytest.approx(3.0))


def test_pairs_and_a_panel_have_accounts_of_their_own(tmp_path: Path) -> None:
    panel = {"judge": "summarisation/coherence", "models": ["mock/uniform", "mock/echo"], "role": "panel", "canaries": False}
    pairs = {"name": "judge_pairwise", "against": "other", "role": "pairs", "canaries": False}
    first = saying(lambda q: "VERDICT: A", "acme/first")
    run = evalkit.run(write_task(tmp_path, [panel, pairs]), writer(), roles={"pairs": first}, output_dir=tmp_path / "runs")
    assert {row["role"]: (row["model"], row["requests"]) for row in run.manifest["usage"]} == {
        "model": ("acme/writer-7b", 5),
        "panel_1": ("mock/uniform", 25),
        "panel_2": ("mock/echo", 25),
        "pairs": ("acme/first", 10),
    }
    found = values(run)
    assert found["coherence@panel_1"] == pytest.approx(3.0)
    assert found["coherence"] == pytest.approx((3.0 + found["coherence@panel_2"]) / 2)
    assert (found["win_rate"], found["flip_rate"], found["first_slot"]) == (0.5, 1.0, 1.0)  # always the first one


def test_one_role_cannot_be_two_models(tmp_path: Path) -> None:
    scorers = [argmax(model="mock/echo"), argmax("summarisation/fluency", model="mock/uniform", label="flow")]
    task = write_task(tmp_path, scorers)
    with pytest.raises(ConfigError, match=r"two models for the role 'judge', mock/echo and mock/uniform.*role: judge_2"):
        evalkit.run(task, writer(), store=False)
    judge = saying(lambda q: "VERDICT: 2")
    assert values(evalkit.run(task, writer(), roles={"judge": judge}, store=False)) == {"coherence": 2.0, "flow": 2.0}
    with pytest.raises(ConfigError, match="asks the role 'judge'; name its model with --role judge="):
        evalkit.run(write_task(tmp_path, [argmax()]), writer(), store=False)


def test_a_judge_that_cannot_give_probabilities_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    judge, candidate = saying(lambda q: "3"), writer()
    long = tmp_path / "long.yaml"
    long.write_text(
        "rubric: long\ntask: Rate it.\ncriteria:\n- {name: worth, definition: How good., scale: {low: 1, high: 100}}\n",
        "utf-8",
    )
    with pytest.raises(ScorerError, match=r"score_mode: sample:20"):
        evalkit.run(write_task(tmp_path, [{"judge": str(long)}]), candidate, roles={"judge": judge}, store=False)
    assert not judge.seen and not candidate.seen


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("acme/writer-7b", "the judge acme/writer-7b is the model under test"),
        ("meta/llama-3-70b", "the judge meta/llama-3-70b is of the model's own family (llama), which judges tend to favour"),
        ("openai/gpt-4o", None),
    ],
)
def test_a_related_judge_is_told_at_the_start_and_with_the_numbers(tmp_path: Path, name: str, expected: str | None) -> None:
    candidate = writer()
    candidate.name = "meta/llama-3-8b"
    judge = saying(lambda q: "VERDICT: 2", name)
    if expected and "under test" in expected:
        judge.name, judge.fingerprint = name, candidate.fingerprint
    told = Told()
    run = evalkit.run(
        write_task(tmp_path, [argmax()]), candidate, roles={"judge": judge}, output_dir=tmp_path, progress=told
    )
    (summary,) = run.summary()
    assert run.manifest["warnings"] == ([expected] if expected else [])
    assert [line for line in told.warnings if not line.startswith("the price of")] == run.manifest["warnings"]
    assert [note for note in summary.notes if "judge" in note] == ([expected] if expected else [])


def test_a_dry_run_says_what_judges_come_on_top(tmp_path: Path) -> None:
    pairs = {"name": "judge_pairwise", "against": "other", "role": "pairs", "canaries": False}
    task = write_task(tmp_path, [{"judge": "summarisation"}, pairs], rows(7))
    candidate, judge, other = writer(), weighing(), saying(lambda q: "x")
    options = RunOptions(tasks=(task,), model=candidate, roles={"judge": judge, "pairs": other})
    (plan,) = evalkit.plan(options=options)
    assert plan.scorers_ask == {"judge": (7 + 4) * 4 * 5, "pairs": 14}
    assert not candidate.seen and not judge.seen and not other.seen


def test_given_outputs_are_judged(tmp_path: Path) -> None:
    data = tmp_path / "outputs.jsonl"
    data.write_text(
        "".join(
            json.dumps({"id": r["id"], "source": r["source"], "prediction": r["summary"], "other": "snow"}) + "\n"
            for r in rows(3)
        )
    )
    judge = saying(lambda q: "VERDICT: B" if "Text B" in prompt_text(q.prompt) else "VERDICT: 4")
    scorers = [argmax(), {"name": "judge_pairwise", "against": "other", "canaries": False}]
    done = evalkit.score(data, scorers=scorers, roles={"judge": judge}, output_dir=tmp_path / "runs")
    assert done.status == "complete"
    assert values(done.run) | {"win_rate_lc": None} == {
        "coherence": 4.0, "win_rate": 0.5, "win_rate_lc": None, "flip_rate": 1.0, "first_slot": 0.0,
    }  # fmt: skip
    with pytest.raises(evalkit.errors.UsageError, match="--references FILE"):
        evalkit.score(data, scorers=[{"judge": "correctness"}], roles={"judge": judge}, store=False)
    with pytest.raises(evalkit.errors.UsageError, match="reads the column 'rival'"):
        evalkit.score(data, scorers=[{"name": "judge_pairwise", "against": "rival"}], roles={"judge": judge}, store=False)


# --- rescoring ------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path: Path) -> Any:
    return evalkit.run(write_task(tmp_path, ["exact_match"], rows(20)), writer(), output_dir=tmp_path / "runs")


def test_a_finished_run_is_judged_without_its_model(tmp_path: Path, finished: Any) -> None:
    judge = weighing()
    told = Told()
    done = evalkit.rescore(finished.path, ["judge:coherence"], roles={"judge": judge}, progress=told)
    assert values(done) == pytest.approx({"exact_match": 1.0, "coherence": VALUE})
    assert told.totals == (20, (20 + 4) * 5, 0) and told.done == 120
    assert [row["requests"] for row in done.manifest["usage"]] == [20, 120]
    assert done.manifest["roles"]["judge"]["name"] == "acme/scales"
    assert evalkit.open_run(done.path).status == "complete"
    # from now on the run knows its judge: no model is needed to score it again
    assert evalkit.rescore(done.path).summary() == done.summary()
    assert evalkit.rescore(done.path, ["judge:coherence"]).summary() == done.summary()
    assert len(judge.seen) == 120
    assert len([view for view in evalkit.open_run(done.path).records() if "judge" in view.scores]) == 20
    with pytest.raises(ScorerError, match=r"did not ask it; rescoring calls no model unless one is named: --role judge="):
        evalkit.rescore(done.path, ["judge:fluency,label=flow"])
    more = evalkit.rescore(done.path, ["judge:fluency,label=flow"], roles={"judge": weighing()})
    assert values(more)["flow"] == pytest.approx(VALUE)
    with pytest.raises(ConfigError, match=r"'judge' would be two models, acme/scales \(in this run so far\) and mock/echo"):
        evalkit.rescore(done.path, ["judge:relevance,label=point,model=mock/echo"])
    with pytest.raises(ConfigError, match="--role critic: no scorer of this run asks it; they ask judge"):
        evalkit.rescore(done.path, roles={"critic": weighing()})


def test_a_second_judge_has_its_own_row_of_costs(tmp_path: Path, finished: Any) -> None:
    evalkit.rescore(finished.path, ["judge:coherence,model=mock/uniform,canaries=false"])
    done = evalkit.rescore(finished.path, ["judge:coherence,model=mock/echo,canaries=false,role=second,label=again"])
    rows_ = {(row["role"], row["model"], row["task"]): row["requests"] for row in done.manifest["usage"]}
    assert rows_ == {
        ("model", "acme/writer-7b", "sums"): 20,
        ("judge", "mock/uniform", "sums"): 100,
        ("second", "mock/echo", "sums"): 100,
    }
    lines = (done.path / "usage.csv").read_text()
    assert "judge,mock/uniform,sums" in lines and "second,mock/echo,sums" in lines
    assert "mock/uniform" in (done.path / "report.html").read_text()


def snapshot(path: Path) -> dict[str, Any]:
    manifest = json.loads((path / "run.json").read_text())
    return {
        "summary": (path / "summary.json").read_bytes(),
        "tasks": manifest["tasks"],
        "roles": manifest["roles"],
        "status": manifest["status"],
        "scores": sorted(p.name for p in (path / "scores").iterdir()),
    }


def test_a_budget_ends_rescoring_and_more_of_it_goes_on(tmp_path: Path, finished: Any) -> None:
    before = snapshot(finished.path)
    settings: dict[str, Any] = {"price": {"judge": {"in": 1000.0, "out": 0.0}}}
    judge = saying(lambda q: "VERDICT: 4", wave=1)
    with pytest.raises(Incomplete, match=r"--max-cost 0.75 is spent.*The run is as it was"):
        evalkit.rescore(finished.path, [argmax()], roles={"judge": judge}, max_cost=0.75, **settings)
    assert (len(judge.seen), snapshot(finished.path)) == (8, before)
    judge = saying(lambda q: "VERDICT: 4", wave=1)
    done = evalkit.rescore(finished.path, [argmax()], roles={"judge": judge}, max_cost=5, **settings)
    assert (len(judge.seen), values(done)["coherence"]) == (12, 4.0)
    assert {row["role"]: row["cost_usd"] for row in done.manifest["usage"]}["judge"] == pytest.approx(2.0)


def test_an_interrupted_rescoring_leaves_the_run_as_it_was(tmp_path: Path, finished: Any) -> None:
    before = snapshot(finished.path)

    def stopping(request: Request) -> str:
        if request.sample_id == "s6":
            os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C
        return "VERDICT: 3"

    first = saying(stopping, wave=1)
    with pytest.raises(Interrupted, match="the run is as it was"):
        evalkit.rescore(finished.path, [argmax()], roles={"judge": first})
    assert (len(first.seen), snapshot(finished.path)) == (7, before)
    again = saying(lambda q: "VERDICT: 3")
    done = evalkit.rescore(finished.path, [argmax()], roles={"judge": again})
    assert (len(again.seen), values(done)["coherence"]) == (13, 3.0)


def test_failures_that_may_be_mended_are_not_scored_yet(tmp_path: Path, finished: Any) -> None:
    before = snapshot(finished.path)
    tired = saying(lambda q: Failure("time-out", "late", retryable=True) if q.sample_id == "s1" else "VERDICT: 3")
    with pytest.raises(Incomplete, match="1 request failed that may yet be answered"):
        evalkit.rescore(finished.path, [argmax()], roles={"judge": tired})
    assert snapshot(finished.path) == before
    lost = saying(lambda q: Failure("status", "no", status=400) if q.sample_id == "s1" else "VERDICT: 3")
    told = Told()
    done = evalkit.rescore(finished.path, [argmax()], roles={"judge": lost}, progress=told)
    assert (len(lost.seen), values(done)["coherence"]) == (1, 3.0)
    assert "1 request failed for good; --retry-errors asks them again" in told.warnings


def test_a_related_judge_is_told_when_a_run_is_rescored(tmp_path: Path, finished: Any) -> None:
    told = Told()
    judge = saying(lambda q: "VERDICT: 3", "acme/writer-7b")
    judge.fingerprint = finished.manifest["fingerprints"]["model"]
    done = evalkit.rescore(finished.path, [argmax()], roles={"judge": judge}, progress=told)
    expected = "the judge acme/writer-7b is the model under test"
    assert expected in told.warnings and expected in done.manifest["warnings"]
    assert expected in next(s for s in done.summary() if s.metric == "coherence").notes


def test_a_candidate_is_judged_by_the_judge_that_its_baseline_was_rescored_with(tmp_path: Path, finished: Any) -> None:
    evalkit.rescore(finished.path, ["judge:coherence,canaries=false"], roles={"judge": "mock/uniform"})
    policy = Policy.model_validate({"gate": "g", "checks": [{"task": "sums", "metric": "coherence", "margin": "0.5"}]})
    options = candidate_options(policy, load_scores(finished.path), "mock/echo", output_dir=tmp_path / "runs")
    assert options.roles == {"judge": "mock/uniform"}
    candidate = evalkit.run(options=options)
    assert values(candidate)["coherence"] == pytest.approx(3.0)
    assert "coherence" in {found.metric.name for found in evalkit.compare(finished.path, candidate)}


def test_every_sample_is_in_one_state(tmp_path: Path) -> None:
    judge = saying(lambda q: "" if q.sample_id in ("s1", "s4") else "VERDICT: 1")
    run = evalkit.run(write_task(tmp_path, [argmax()]), writer(), roles={"judge": judge}, output_dir=tmp_path / "runs")
    assert statuses(run) == {"ok": 3, "unscored": 2}
