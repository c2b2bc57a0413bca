"""Whether two runs may be compared, task by task; and which of their samples are the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.comparison.base import MISSING, Measured, Mismatch, RunScores, TaskScores
from evalkit.comparison.explain import differing_options, differing_prompts, other_data
from evalkit.comparison.rerun import rerun_command
from evalkit.errors import NotComparable, UsageError, nearest

Positions = npt.NDArray[np.int64]

#: Reasons that are told in full; of further ones, how many there are.
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Matched:
    """One task and filter of two runs. ``at`` are the positions (n,) of the samples that both have, in the baseline's order.

    ``scorers``: those that both have and that compute the same.
    """

    baseline: TaskScores
    system: TaskScores
    at: tuple[Positions, Positions]
    scorers: tuple[tuple[Measured, Measured], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Matching:
    """What of two runs can be compared, and what a reader must know of the rest."""

    pairs: tuple[Matched, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reason:
    kind: Mismatch
    task: str
    text: str
    remedy: str


def match_runs(
    baseline: RunScores,
    system: RunScores,
    *,
    tasks: Collection[str] | None = None,
    metrics: Collection[str] | None = None,
    min_overlap: float = 0.98,
    strict: bool = True,
) -> Matching:
    """The tasks, filters and scorers that both runs have, each with the samples that are the same.

    ``tasks`` and ``metrics``: only these; what differs in others then does not matter. Without ``strict`` a scorer that
    computes differently in the two runs is left out with a note. Raises NotComparable as `compare_scores` says.
    """
    notes = [note for run in (baseline, system) for note in _unfinished(run)]
    common, alone = _common_tasks(baseline, system, tasks)
    notes += alone
    matched: list[Matched] = []
    reasons: list[_Reason] = []
    for task in common:
        found = [(b, _filter_of(system, b)) for b in baseline.tasks.values() if b.task == task]
        pairs = [(b, s) for b, s in found if s is not None]
        notes += _filters_alone(baseline, system, task)
        if not pairs:
            other = next(scores for scores in system.tasks.values() if scores.task == task)
            why = differing_prompts(baseline, system, found[0][0], other)
            text = ": ".join(["no filter is in both runs", *([", ".join(why)] if why else [])])
            reasons.append(_Reason("task", task, text, _again(baseline, system, task)))
            continue
        at = joined(pairs[0][0].ids, pairs[0][1].ids)
        task_reasons = list(_task_reasons(baseline, system, *pairs[0], at, min_overlap))
        for b, s in pairs:
            scorers, different, left_out = _scorers(baseline, system, b, s, metrics)
            task_reasons += different if strict or metrics is not None else []
            left_out += [] if strict or metrics is not None else [f"left out: {reason.text}" for reason in different]
            matched.append(Matched(b, s, at, scorers, (*_task_notes(b, s), *left_out)))
        reasons += task_reasons
    if reasons:
        raise NotComparable(_told(baseline, system, reasons))
    return Matching(tuple(matched), tuple(dict.fromkeys(notes)))


def joined(baseline: Sequence[str], system: Sequence[str]) -> tuple[Positions, Positions]:
    """Positions of the units that both have, in the baseline's order."""
    if baseline == system:
        everything = np.arange(len(baseline), dtype=np.int64)
        return everything, everything
    where = {unit: position for position, unit in enumerate(system)}
    pairs = [(position, where[unit]) for position, unit in enumerate(baseline) if unit in where]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _unfinished(run: RunScores) -> Iterator[str]:
    """A note on a run that did not finish but whose samples are all answered; raises NotComparable for any other."""
    status = str(run.manifest["status"])
    if status == "complete":
        return
    gaps: dict[str, int] = {}
    for scores in run.tasks.values():  # a task's filters have the same samples
        unasked = int(run.manifest["tasks"][scores.task]["samples"]) - len(scores.ids)
        waiting = max((int((m.status == MISSING).sum()) for m in scores.measured), default=0)
        gaps[scores.task] = max(unasked, 0) + waiting
    missing = sum(gaps.values())
    if missing or status == "running":
        where = run.path or run.source
        what = f"{missing} of its samples are not answered" if missing else "it was never finished"
        raise NotComparable(
            f"run {run.name} is {status}: {what}; finish it first: the same command again, or evalkit run --resume {where}"
        )
    yield f"{run.name} is {status}: requests of it failed that asking again might mend (evalkit run --resume)"


def _common_tasks(baseline: RunScores, system: RunScores, tasks: Collection[str] | None) -> tuple[list[str], list[str]]:
    """Tasks of both runs in the baseline's order, and notes on the others."""
    theirs, ours = (list(dict.fromkeys(task for task, _ in run.tasks)) for run in (baseline, system))
    wanted = None if tasks is None else _wanted(baseline, system, tasks)
    common = [task for task in theirs if task in ours and (wanted is None or task in wanted)]
    alone = [
        f"only {run.name} has {', '.join(sorted(rest))}"
        for run, own, other in ((baseline, theirs, ours), (system, ours, theirs))
        if (rest := {task for task in own if task not in other and (wanted is None or task in wanted)})
    ]
    if not common:
        raise NotComparable(
            f"{baseline.name} and {system.name} have no task in common ({', '.join(theirs[:5])} against "
            f"{', '.join(ours[:5])}); run again: {rerun_command(system, baseline)}"
        )
    return common, alone


def _wanted(baseline: RunScores, system: RunScores, names: Collection[str]) -> set[str]:
    """Tasks by name, or by the name of a group that either run has."""
    groups = {str(group["group"]): group["leaves"] for run in (baseline, system) for group in run.manifest["groups"]}
    known = {task for run in (baseline, system) for task, _ in run.tasks}
    for name in names:
        if name not in known and name not in groups:
            raise UsageError(f"neither run has a task or group {name!r}{nearest(name, {*known, *groups})}")
    return {leaf for name in names for leaf in ([name] if name in known else groups[name])}


def _filter_of(run: RunScores, scores: TaskScores) -> TaskScores | None:
    return run.tasks.get((scores.task, scores.filter))


def _filters_alone(baseline: RunScores, system: RunScores, task: str) -> Iterator[str]:
    for run, other in ((baseline, system), (system, baseline)):
        rest = [name for found, name in run.tasks if found == task and (task, name) not in other.tasks]
        if rest:
            yield f"{task}: only {run.name} has the filter {', '.join(rest)}"


def _task_reasons(
    baseline: RunScores,
    system: RunScores,
    b: TaskScores,
    s: TaskScores,
    at: tuple[Positions, Positions],
    min_overlap: float,
) -> Iterator[_Reason]:
    """Why the samples of a task are not the same in both runs."""
    again = _again(baseline, system, b.task)
    if b.version != s.version:
        older = rerun_command(baseline, system, [b.task])
        yield _Reason(
            "version",
            b.task,
            f"version {b.version} in {baseline.name}, {s.version} in {system.name}",
            f"run {baseline.name} again, too: {older}",
        )
        return
    n, most = len(at[0]), max(len(b.ids), len(s.ids))
    different = np.flatnonzero(b.digests[at[0]] != s.digests[at[1]])
    if len(different):
        first = b.ids[at[0][different[0]]]
        data = other_data(b, s)
        what = "data or prompts differ" if data else "prompts differ"
        why = differing_prompts(baseline, system, b, s)
        text = f"{what} in {len(different)} of {n} samples (first {first}){': ' if why else ''}{', '.join(why)}"
        yield _Reason("data" if data else "prompt", b.task, text, again)
    elif most and n < min_overlap * most:
        why = differing_options(baseline, system, ("limit", "samples"))
        what = f"{n} of {most} samples are in both runs ({n / most:.1%}, below {min_overlap:.0%})"
        if not n and other_data(b, s):
            yield _Reason("data", b.task, f"the data is another one: {what}", again)
        else:
            yield _Reason("overlap", b.task, what + (f": {', '.join(why)}" if why else ""), again)
    elif baseline.manifest["config"].get("apply_chat_template") and (why := differing_prompts(baseline, system, b, s)):
        # what the chat template made of it is not compared, so that what went in must be the same
        yield _Reason("prompt", b.task, ", ".join(why), again)
    if (mine := _pipeline(baseline, b)) != (theirs := _pipeline(system, s)):
        yield _Reason("scorer", b.task, f"filter {b.filter} is {theirs} in {system.name}, {mine} in {baseline.name}", again)


def _pipeline(run: RunScores, scores: TaskScores) -> Any:
    """The steps of the filter as the task's definition has them."""
    listed = _entry(run, scores).get("definition", {}).get("filter_list") or ()
    return next((found["filter"] for found in listed if found["name"] == scores.filter), None)


def _scorers(
    baseline: RunScores, system: RunScores, b: TaskScores, s: TaskScores, metrics: Collection[str] | None
) -> tuple[tuple[tuple[Measured, Measured], ...], list[_Reason], list[str]]:
    """Scorers of both, those that compute differently, and notes on those that only one has."""
    wanted = [m for m in b.measured if metrics is None or {info.name for info in m.scorer.metrics} & set(metrics)]
    theirs = {m.scorer.name: m for m in s.measured}
    pairs, different, notes = [], [], []
    for mine in wanted:
        other = theirs.get(mine.scorer.name)
        if other is None:
            notes.append(f"{mine.scorer.name} is measured in {baseline.name} only (evalkit rescore adds scorers to a run)")
        elif other.signature != mine.signature:
            text = f"scorer {mine.scorer.name} is {other.signature} in {system.name}, {mine.signature} in {baseline.name}"
            different.append(_Reason("scorer", b.task, text, _rescore(baseline, system)))
        else:
            pairs.append((mine, other))
    return tuple(pairs), different, notes


def _task_notes(b: TaskScores, s: TaskScores) -> Iterator[str]:
    if b.definition != s.definition:
        yield "the task's definition has changed, what its samples ask has not"


def _again(baseline: RunScores, system: RunScores, task: str) -> str:
    return f"run again: {rerun_command(system, baseline, [task])}"


def _rescore(baseline: RunScores, system: RunScores) -> str:
    """Both by the scorers of now: a run is scored again, a score file made again."""
    words = [
        f"evalkit rescore {run.path}" if run.path else f"{run.source} promoted again from its run, rescored"
        for run in (baseline, system)
    ]
    return f"score both again: {'; '.join(words)}"


def _told(baseline: RunScores, system: RunScores, reasons: Sequence[_Reason]) -> str:
    """One line: what differs, and what to do about it."""
    texts = list(dict.fromkeys(f"{reason.task}: {reason.text}" for reason in reasons))
    shown = "; ".join(texts[:_TOLD]) + (f"; and {len(texts) - _TOLD} more" if len(texts) > _TOLD else "")
    remedies = list(dict.fromkeys(reason.remedy for reason in reasons))
    first = remedies[0]
    if len({reason.task for reason in reasons}) > 1 and reasons[0].remedy.startswith("run again"):
        tasks = list(dict.fromkeys(reason.task for reason in reasons))
        first = f"run again: {rerun_command(system, baseline, tasks)}"
    return f"{system.name} cannot be compared with {baseline.name}: {shown}. To compare them, {first}"


def _entry(run: RunScores, scores: TaskScores) -> Mapping[str, Any]:
    entry: Mapping[str, Any] = run.manifest["tasks"][scores.task]
    return entry
