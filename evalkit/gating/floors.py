"""Floors: what the candidate itself must reach, whatever the baseline, over all of its samples that have a score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evalkit.comparison.base import OK, Measured, RunScores, TaskScores
from evalkit.comparison.numbers import format_value, is_share
from evalkit.errors import ConfigError
from evalkit.figures import count
from evalkit.gating.base import CheckResult
from evalkit.gating.decide import Evidence, decide_floor
from evalkit.gating.judges import doubt
from evalkit.gating.names import measured_of
from evalkit.gating.pending import Pending, Settled, settled
from evalkit.gating.policy import Policy
from evalkit.gating.select import Selected
from evalkit.gating.sentences import p_words
from evalkit.scorers.base import MetricInfo
from evalkit.stats.distributions import normal_cdf, normal_quantile, t_cdf, t_quantile
from evalkit.stats.intervals import effective_n, wilson
from evalkit.stats.means import cluster_codes, clustered_stderr, mean_stderr
from evalkit.stats.resample import bootstrap, replicate_stderr


@dataclass(frozen=True, slots=True)
class Level:
    """A candidate's own value: over ``n`` items in ``units`` independent ones, with the standard error of its mean."""

    value: float
    stderr: float | None
    n: int
    units: int
    share: bool

    def bounds(self, alpha: float) -> tuple[float | None, float | None]:
        """One-sided bounds at 1 - ``alpha``: Wilson's of a share (of its effective n), else Student's t."""
        if self.share:
            return wilson(self.value, self._effective, 1 - 2 * alpha)
        if self.stderr is None:
            return None, None
        reach = t_quantile(1 - alpha, self.units - 1) * self.stderr
        return self.value - reach, self.value + reach

    def p_below(self, floor: float, *, turned: bool = False) -> float | None:
        """One-sided p of "reaches the floor", the reading of `bounds` the other way round; ``turned``: not above it."""
        distance = floor - self.value if turned else self.value - floor
        if self.share:
            spread = math.sqrt(max(floor * (1 - floor), 0.0) / self._effective)
            return normal_cdf(distance / spread) if spread else float(distance >= 0)
        if self.stderr is None:
            return None
        return t_cdf(distance / self.stderr, self.units - 1) if self.stderr else float(distance >= 0)

    @property
    def _effective(self) -> float:
        """Clusters, and tasks that weigh differently, make items worth more or less than one."""
        return float(self.n) if self.units == self.n else effective_n(self.value, self.stderr, self.units)


def floor_checks(policy: Policy, chosen: list[Selected], candidate: RunScores) -> Iterator[Pending]:
    """The floor of every check that has one. Raises ConfigError for a floor that its metric cannot have."""
    return (floor_check(policy, one, candidate) for one in chosen if one.check.floor is not None and one.found.slice is None)


def floor_check(policy: Policy, one: Selected, candidate: RunScores) -> Pending:
    floor, metric = one.check.floor, one.found.metric
    assert floor is not None
    _fits(policy, one, floor)
    level = level_of(candidate, one)
    result = _result(policy, one, floor, level)
    if (why := doubt(policy, one.check, one.found, candidate)) is not None:
        return settled(result, "INCONCLUSIVE", why, why)
    if level is None:
        nothing = "no sample of the candidate has a value"
        return settled(result, "INCONCLUSIVE", nothing, nothing)
    turned = metric.higher_is_better is False
    shown = _distance(level, floor, policy.alpha, turned)
    told = f"{format_value(level.value, metric)} of {count(level.n)} items"
    needed = f"{'at most' if turned else 'at least'} {format_value(floor, metric)}"

    def settle(p: float | None, tests: int) -> Settled:
        verdict = decide_floor(shown, policy.alpha, p=p)
        bound = level.bounds(policy.alpha)[1 if turned else 0]
        if verdict == "PASS":
            return Settled(
                verdict, f"{told}, {'at most' if turned else 'at least'} {format_value(bound, metric)}: {needed} is reached"
            )
        if verdict == "FAIL":
            return Settled(verdict, f"{told}, but {needed} is asked ({p_words(shown.p, p, tests)})")
        return Settled(
            verdict,
            f"{told}, but {needed} is asked, and chance can move it across",
            _needs(level, floor, shown, policy.alpha),
        )

    return Pending(result, shown.p, settle)


def level_of(run: RunScores, one: Selected) -> Level | None:
    """The run's own value of a selected metric; a group's from its tasks, weighed as the group weighs them."""
    levels = [
        level
        for task, measured in measured_of(run, one.found)
        if (level := task_level(task, measured, one.found.metric, one.cluster_by)) is not None
    ]
    if len(levels) <= 1:
        return levels[0] if levels else None
    by_size = bool(one.found.detail.get("weight_by_size", True))
    weights = np.array([level.n if by_size else 1 for level in levels], dtype=np.float64)
    weights /= weights.sum()
    value = math.fsum(w * level.value for w, level in zip(weights, levels, strict=True))
    known = [level.stderr for level in levels if level.stderr is not None]
    stderr = (
        math.sqrt(math.fsum((w * s) ** 2 for w, s in zip(weights, known, strict=True)))
        if len(known) == len(levels)
        else None
    )
    n, units = sum(level.n for level in levels), sum(level.units for level in levels) - len(levels) + 1
    return Level(value, stderr, n, units, all(level.share for level in levels))


def task_level(task: TaskScores, measured: Measured, metric: MetricInfo, cluster_by: str | None = None) -> Level | None:
    """The value of one task; ``None`` without a value. Clusters widen the error, corpus metrics have it from a bootstrap."""
    scored = np.flatnonzero(measured.status == OK)
    clusters = task.clusters if cluster_by is None else task.slices.get(cluster_by)
    codes = None
    if clusters is not None and measured.units == task.ids:
        labels = [label or f"\0{i}" for i, label in zip(scored.tolist(), clusters[scored].tolist(), strict=True)]
        codes = cluster_codes(labels)[0] if labels else None
    stats = measured.stats[scored]
    if metric.mean:
        column = stats[:, metric.column]
        kept = np.isfinite(column)
        x, codes = column[kept], None if codes is None else cluster_codes(codes[kept])[0]
        if not len(x):
            return None
        units = len(x) if codes is None else int(codes.max()) + 1
        stderr = mean_stderr(x) if codes is None else clustered_stderr(x, codes)
        return Level(float(x.mean()), stderr, len(x), units, metric.proportion)
    n = len(stats)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(measured.scorer.aggregate(stats, np.ones(n))[metric.name]) if n else math.nan
    if not math.isfinite(value):
        return None
    units = n if codes is None else int(codes.max()) + 1
    drawn = bootstrap(lambda w: {"": measured.scorer.aggregate(stats, w)[metric.name]}, n, clusters=codes, replicates=1000)
    return Level(value, replicate_stderr(drawn[""]) if units > 1 else None, n, units, False)


def _distance(level: Level, floor: float, alpha: float, turned: bool) -> Evidence:
    lower, upper = level.bounds(alpha)
    p = level.p_below(floor, turned=turned)
    if turned:
        return Evidence(
            floor - level.value, None if upper is None else floor - upper, None if lower is None else floor - lower, p
        )
    return Evidence(
        level.value - floor, None if lower is None else lower - floor, None if upper is None else upper - floor, p
    )


def _needs(level: Level, floor: float, shown: Evidence, alpha: float) -> str:
    """Items at which the value that was seen would be shown to reach the floor, or not to."""
    spread = math.sqrt(floor * (1 - floor)) if level.share else (level.stderr or 0.0) * math.sqrt(level.n)
    if not shown.value or not spread:
        return "needs a value that is farther from the floor"
    wanted = math.ceil((normal_quantile(1 - alpha) * spread / shown.value) ** 2)
    return f"needs ~{count(max(wanted, level.n + 1))} items at this value (has {count(level.n)})"


def _fits(policy: Policy, one: Selected, floor: float) -> None:
    metric, where = one.found.metric, policy.where("checks", one.at, "floor")
    if metric.higher_is_better is None:
        raise ConfigError(f"{where}: neither more nor less {metric.name} is better: it has no floor")
    if (metric.low is not None and floor < metric.low) or (metric.high is not None and floor > metric.high):
        low, high = ("-inf" if end is None else f"{end:g}" for end in (metric.low, metric.high))
        hint = f"; {floor:g}% is {floor / 100:g}" if is_share(metric) and 1 < floor <= 100 else ""
        raise ConfigError(f"{where}: {metric.name} of {one.found.task} is within {low} and {high}, not {floor:g}{hint}")


def _result(policy: Policy, one: Selected, floor: float, level: Level | None) -> CheckResult:
    found = one.found
    turned = found.metric.higher_is_better is False
    bounds = (None, None) if level is None else level.bounds(policy.alpha)
    both = (None, None) if level is None else level.bounds(0.025)
    return CheckResult(
        name=f"{found.key} {'<=' if turned else '>='} {floor:g}",
        kind="floor",
        verdict=None,
        require=one.require,
        sentence="",
        task=found.task,
        metric=found.metric.name,
        candidate=None if level is None else level.value,
        ci=None if both[0] is None or both[1] is None else (both[0], both[1]),
        bound=bounds[1 if turned else 0],
        floor=floor,
        n=None if level is None else level.n,
        units=None if level is None else level.units,
        method=None if level is None else "wilson" if level.share else "t",
        higher_is_better=found.metric.higher_is_better,
        percent=is_share(found.metric),
        detail={"signature": found.signature, "filter": found.filter, "check": one.at},
    )
