"""Hold a candidate against a policy and a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.comparison.base import RunScores
from evalkit.comparison.load import load_scores
from evalkit.comparison.scorefile import promote as write_scores
from evalkit.errors import ConfigError, Incomplete, Interrupted
from evalkit.gating.base import GateResult
from evalkit.gating.candidate import candidate_options, first_options, require_same_tasks, taken_up, unfinished
from evalkit.gating.execute import find_baseline, gate_scores, read_policy
from evalkit.gating.policy import Policy
from evalkit.report.finished import executed
from evalkit.runner.prepare import prepare
from evalkit.runner.run import Run
from evalkit.runner.session import Progress, Silent


def gate(
    policy: str | Path | Policy,
    candidate: str | Path | Run | None = None,
    baseline: str | Path | Run | None = None,
    *,
    model: Any = None,
    all_tasks: bool = False,
    inconclusive: str | None = None,
    allow_missing_baseline: bool = False,
    promote: str | Path | None = None,
    output_dir: str | Path = "runs",
    progress: Progress | None = None,
    **settings: Any,
) -> GateResult:
    """Judge a candidate by a policy: PASS, FAIL or INCONCLUSIVE, with everything that it rests on.

    Args:
        policy: the policy's file.
        candidate: a run (its directory, name, ``latest`` or itself) or a score file.
        baseline: as ``candidate``, or ``git:REF:PATH``; the policy's own by default.
        model: instead of ``candidate``, a model that is run first, exactly as the baseline was.
        all_tasks: run ``model`` on all tasks of the baseline, not only on those that the policy needs.
        inconclusive: ``fail``, ``warn`` or ``pass`` instead of what the policy says.
        allow_missing_baseline: without a baseline check floors and absolute budgets alone; the exit code then is 0.
        promote: a file that becomes the next baseline (the candidate's scores, no texts) on PASS, or where there was none.
        output_dir: where runs are looked for and written.
        progress: who shows how the candidate's run goes.
        settings: with ``model``, further fields of `RunOptions` that are the candidate's own: ``model_args``, ``device`` ...

    Returns:
        The result; its ``exit_code`` is the command line's.

    Raises:
        NotComparable: there can be no verdict: no baseline, or runs that differ in what was asked.
        Incomplete: the candidate's run did not finish; the same call goes on with it.
        UsageError: bad input, with one line that says what, where and what to do.
    """
    read = read_policy(policy, inconclusive)
    if (candidate is None) == (model is None):
        raise ConfigError("name what is judged: either a candidate's run, or a model to run")
    if settings and model is None:
        raise ConfigError(f"{next(iter(settings))} is for a model that is run; this candidate is a run already")
    if promote is not None and not str(promote).endswith(".jsonl.gz"):
        raise ConfigError(f"promote {promote}: the name of a score file ends in .jsonl.gz")
    found = find_baseline(read, _source(baseline), output_dir=output_dir, missing_ok=allow_missing_baseline)
    if model is not None:
        own = {**settings, "output_dir": output_dir}
        candidate = _candidate(read, found, model, all_tasks, progress or Silent(), own)
    scores = load_scores(_source(candidate) or "", output_dir=output_dir)
    result = gate_scores(read, found, scores, missing=_source(baseline))
    if promote is None or not (result.verdict == "PASS" or (found is None and result.exit_code == 0)):
        return result
    write_scores(scores, Path(promote))
    return replace(result, baseline_promoted=True)


def _source(given: str | Path | Run | None) -> str | Path | None:
    return given.path if isinstance(given, Run) else given


def _candidate(
    policy: Policy, baseline: RunScores | None, model: Any, all_tasks: bool, progress: Progress, own: Mapping[str, Any]
) -> Run:
    """The candidate's run, made as the baseline's was; without one, of the policy's tasks as they are by default."""
    if baseline is None:
        prepared = prepare(first_options(policy, model, **own), progress.phase)
    else:
        prepared = prepare(candidate_options(policy, baseline, model, all_tasks=all_tasks, **own), progress.phase)
        require_same_tasks(prepared, baseline)
    if (note := taken_up(prepared)) is not None:
        progress.warning(note)
    done = executed(prepared, True, progress)
    if done.status == "interrupted":
        raise Interrupted("interrupted; whatever was answered is kept, and the same command goes on with it")
    if done.status != "complete":
        raise Incomplete(f"no verdict, the candidate's run {done.path} is incomplete: {unfinished(done.manifest)}")
    return done
