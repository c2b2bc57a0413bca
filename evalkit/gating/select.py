"""Which comparisons a policy's checks name, with everything a check says of them resolved."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from evalkit.comparison.base import Comparison, RunScores
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.numbers import is_share
from evalkit.errors import ConfigError
from evalkit.gating.base import Require
from evalkit.gating.names import Named, absent, is_pattern, leaves, matching_tasks, names_of
from evalkit.gating.policy import Check, Policy, SliceCheck
from evalkit.gating.quantities import Margin
from evalkit.scorers.base import MetricInfo


@dataclass(frozen=True, slots=True)
class Selected:
    """A comparison that a check (number ``at`` of the policy) asks for. ``margin`` is in the metric's units.

    ``margin`` is ``None`` where the check has only a floor. ``said`` is the margin as the policy has it. ``cluster_by``: the
    slice whose labels are the clusters, where these are not the task's own.
    """

    at: int
    check: Check
    found: Comparison
    margin: float | None
    said: Margin | None
    require: Require
    min_n: int
    cluster_by: str | None = None


def selected(policy: Policy, baseline: RunScores, candidate: RunScores) -> list[Selected]:
    """The comparisons of all checks in the policy's order, each check's slices after it.

    Raises NotComparable for a task, metric, filter or slice that a run does not have (with the nearest names) and for runs
    that must not be compared, ConfigError for a margin that does not fit its metric and for what is checked twice.
    """
    chosen = [names_of(policy, at, baseline, candidate) for at in range(len(policy.checks))]
    comparisons = _compared(policy, baseline, candidate, chosen)
    found: list[Selected] = []
    for at, check in enumerate(policy.checks):
        by = _clusters(policy, check, baseline)
        found += [replace(one, cluster_by=by) for one in _picked(policy, at, chosen[at], comparisons[by])]
    return _once(policy, found)


def _once(policy: Policy, found: list[Selected]) -> list[Selected]:
    """Each comparison under the check that names it most closely: its task, then its metric; of patterns the last.

    Raises ConfigError for two checks that name it alike: one would be lost without a word.
    """
    closest: dict[tuple[str, str, str, str], Selected] = {}
    for one in found:
        other = closest.get(_key(one.found))
        if other is not None and other.at != one.at and _closeness(other) == _closeness(one) > (False, False):
            raise ConfigError(
                f"{policy.where('checks', one.at)}: {one.found.key} is checked by {policy.where('checks', other.at)}, too: "
                "write one check"
            )
        if other is None or _closeness(one) >= _closeness(other):
            closest[_key(one.found)] = one
    return [one for one in found if closest[_key(one.found)].at == one.at]


def _closeness(one: Selected) -> tuple[bool, bool]:
    """A group's name is none of its members that are checked by themselves."""
    metric = one.check.metric
    by_name = not is_pattern(one.check.task) and (one.found.slice is not None or one.found.task == one.check.task)
    return by_name, metric is not None and not is_pattern(metric)


def resolved_margin(policy: Policy, at: int, metric: MetricInfo, task: str, said: Margin, baseline: float | None) -> float:
    """``said`` in the metric's units. Raises ConfigError with the line where it does not fit the metric."""
    where = policy.where("checks", at, "margin") if policy.checks[at].margin else policy.where("defaults", "margin")
    if said.kind == "points" and not is_share(metric):
        raise ConfigError(
            f"{where}: {said} is in percentage points, but {metric.name} of {task} is no share between 0 and 1: give it a "
            f"margin in its own units (0.5) or relative to the baseline (5%){_apart(policy.checks[at], task)}"
        )
    if (
        said.kind != "relative"
        and metric.low is not None
        and metric.high is not None
        and said.value >= metric.high - metric.low
    ):
        hint = f"; {said}pp is {said} percentage points" if is_share(metric) and said.kind == "units" else ""
        raise ConfigError(
            f"{where}: a margin of {said} is the whole range of {metric.name} of {task} "
            f"({metric.low:g} to {metric.high:g}){hint}"
        )
    return said.value * abs(baseline or 0.0) if said.kind == "relative" else said.value


def _apart(check: Check, task: str) -> str:
    """What to do where a check of several tasks meets one that is not like the others."""
    return "" if check.task == task else f", in a check of its own (task: {task})"


def _key(found: Comparison) -> tuple[str, str, str, str]:
    return found.task, found.filter, f"{found.scorer} {found.metric.name}", found.slice or ""


def _clusters(policy: Policy, check: Check, baseline: RunScores) -> str | None:
    """The slice whose labels are the clusters: the check's own, or the default where all its tasks have it."""
    if check.cluster_by is not None or policy.defaults.cluster_by is None:
        return check.cluster_by
    names = {leaf for task in matching_tasks(check.task, baseline) for leaf in leaves(baseline, task)}
    having = [policy.defaults.cluster_by in task.slices for (name, _), task in baseline.tasks.items() if name in names]
    return policy.defaults.cluster_by if having and all(having) else None


def _compared(
    policy: Policy, baseline: RunScores, candidate: RunScores, chosen: list[Named]
) -> dict[str | None, list[Comparison]]:
    """All comparisons by what they are clustered by: one pass for each."""
    tasks: dict[str | None, dict[str, None]] = {}
    metrics: dict[str | None, dict[str, None]] = {}
    slices: dict[str | None, set[str]] = {}
    for check, named in zip(policy.checks, chosen, strict=True):
        by = _clusters(policy, check, baseline)
        tasks.setdefault(by, {}).update(dict.fromkeys(named.tasks))
        metrics.setdefault(by, {}).update(dict.fromkeys(named.metrics))
        slices.setdefault(by, set()).update(part.name.partition("=")[0] for part in check.slices)
    return {
        by: compare_scores(
            baseline,
            candidate,
            tasks=list(names),
            metrics=list(metrics[by]),
            slices=sorted(slices[by]) or False,
            cluster_by=by,
            min_overlap=policy.min_overlap,
            errors_as_wrong=policy.errors == "wrong",
        )
        for by, names in tasks.items()
    }


def _picked(policy: Policy, at: int, named: Named, comparisons: Collection[Comparison]) -> Iterator[Selected]:
    """A check's comparisons, each with its slices after it (those of its tasks, for a group)."""
    check = policy.checks[at]
    mine = [c for c in comparisons if c.metric.name in named.metrics and check.filter in (None, c.filter)]
    order = {task: place for place, task in enumerate(named.tasks)}
    whole = sorted((c for c in mine if c.slice is None and c.task in order), key=lambda c: order[c.task])
    sliced = [c for c in mine if c.slice is not None and any(c.task in members for members in named.tasks.values())]
    for part in check.slices:
        if not any(_is_of(part, c) for c in sliced):
            raise absent(policy, at, "slices", part.name, (str(c.slice) for c in sliced))
    for found in whole:
        yield _whole(policy, at, found)
        rest = [c for c in sliced if _belongs(c, found, named)]
        yield from (_slice(policy, at, part, c) for part in check.slices for c in rest if _is_of(part, c))


def _is_of(part: SliceCheck, found: Comparison) -> bool:
    """Whether a comparison is of a slice's label: any (``subject``), or one (``subject=history``)."""
    return found.slice == part.name or str(found.slice).startswith(f"{part.name}=")


def _belongs(part: Comparison, whole: Comparison, named: Named) -> bool:
    same = (part.filter, part.metric.name) == (whole.filter, whole.metric.name)
    return same and part.task in named.tasks[whole.task] and (part.task != whole.task or part.scorer == whole.scorer)


def _whole(policy: Policy, at: int, found: Comparison) -> Selected:
    check = policy.checks[at]
    said = check.margin or policy.defaults.margin
    require = _directed(policy, at, found, policy.required(check))
    margin = None if said is None else resolved_margin(policy, at, found.metric, found.task, said, found.baseline_value)
    return Selected(at, check, found, margin, said, require, check.min_n or policy.defaults.min_n)


def _slice(policy: Policy, at: int, part: SliceCheck, found: Comparison) -> Selected:
    check = policy.checks[at]
    said = part.margin or check.margin or policy.defaults.margin
    if said is None:
        raise ConfigError(f"{policy.where('checks', at)}: slices of {check.task} need a margin (2pp, 0.5, 5%)")
    inherited: Require = "report" if policy.required(check) == "report" else "not-fail"
    require = _directed(policy, at, found, part.require or inherited)
    margin = resolved_margin(policy, at, found.metric, found.task, said, found.baseline_value)
    return Selected(at, check, found, margin, said, require, part.min_n or check.min_n or policy.defaults.min_n)


def _directed(policy: Policy, at: int, found: Comparison, require: Require) -> Require:
    """A metric of which neither more nor less is better cannot be worse: it is reported, unless the check insists."""
    if found.metric.higher_is_better is not None or require == "report":
        return require
    if policy.checks[at].metric is None:
        return "report"
    raise ConfigError(
        f"{policy.where('checks', at, 'metric')}: neither more nor less {found.metric.name} is better: it cannot get worse "
        "(require: report shows it)"
    )
