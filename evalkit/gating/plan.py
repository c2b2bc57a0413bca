"""What a policy can certify with the data it has, before anything is spent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from evalkit.comparison.base import RunScores
from evalkit.comparison.numbers import is_share
from evalkit.figures import count, counted
from evalkit.gating.base import Kind, Require
from evalkit.gating.checks import data_of
from evalkit.gating.floors import Level, level_of
from evalkit.gating.plan_sizes import Sized, sized_tasks
from evalkit.gating.policy import Policy
from evalkit.gating.select import Selected, resolved_margin, selected
from evalkit.gating.sentences import allowance, amount
from evalkit.scorers.base import MetricInfo
from evalkit.stats.distributions import normal_quantile, t_quantile
from evalkit.stats.power import discordance_sd, noninferiority_size


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One check: the margin asked, and the smallest that its data certify with the power wanted, were the systems equal.

    Margins are in the metric's units (``percent``: a share, shown in percentage points). ``can`` is ``None`` where nothing
    is known of the data; ``sentence`` says why. ``assumed`` is what of the candidate had to be assumed.
    """

    name: str
    kind: Kind
    require: Require
    task: str
    metric: str | None
    slice: str | None
    n: int | None
    margin: float | None
    certifiable: float | None
    needed: int | None
    can: bool | None
    sentence: str
    percent: bool = False
    assumed: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """How much an item's difference is taken to vary: its standard deviation, and how many items are worth one (clusters).

    ``span`` is what an item can change by at most, ``None`` where that is not known. ``share``: of 0/1 items.
    """

    sd: float
    design_effect: float
    span: float | None
    assumed: str
    share: bool = True

    def quantile(self, alpha: float, n: float) -> float:
        """Standard errors to the one-sided bound, as the comparison itself takes them."""
        return normal_quantile(1 - alpha) if self.share else t_quantile(1 - alpha, max(n / self.design_effect - 1, 1.0))


def plan_gate(policy: Policy, baseline: RunScores | None, *, power: float = 0.8, discordance: float = 0.08) -> list[PlanRow]:
    """What each check of ``policy`` can certify with ``power`` over the samples that ``baseline`` has.

    ``discordance`` is the share of items whose correctness flips between equal systems, assumed for 0/1 metrics. Differences
    of other metrics are taken to vary as the baseline's own values do (as they would were the two correlated by a half).
    Clusters count by the baseline's design effect. Without a baseline, sizes are those of tasks whose data is at hand.

    Raises NotComparable and ConfigError as `decide_gate` does, for what the baseline alone can tell, and TaskError for tasks
    that are not known.
    """
    if not 0 < power < 1 or not 0 < discordance <= 1:
        raise ValueError(f"power and discordance are shares between 0 and 1, not {power} and {discordance}")
    if baseline is None:
        return list(_without_baseline(policy, power, discordance))
    return [_planned(policy, one, baseline, power, discordance) for one in selected(policy, baseline, baseline)]


def certifiable_margin(spread: Spread, n: float, alpha: float, power: float) -> float:
    """The smallest margin that ``n`` items show with ``power``, one-sided at ``alpha``, were the systems equal.

    By the normal approximation; never less than what no change at all would show, span z^2 / (n + z^2).
    """
    margin = math.sqrt(noninferiority_size(spread.sd, 1.0, alpha=alpha, power=power) * spread.design_effect / n)
    if spread.span is None:
        return margin
    z2 = spread.quantile(alpha, n) ** 2
    return max(margin, spread.span * z2 / (n / spread.design_effect + z2))


def items_needed(spread: Spread, margin: float, alpha: float, power: float) -> int | None:
    """The items at which `certifiable_margin` is ``margin``; ``None`` for no margin at all."""
    if margin <= 0:
        return None
    least = math.ceil(noninferiority_size(spread.sd, margin, alpha=alpha, power=power) * spread.design_effect)
    high = max(least, 1)
    while certifiable_margin(spread, high, alpha, power) > margin * (1 + 1e-9):
        least, high = high, 2 * high
    while high - least > 1:
        middle = (least + high) // 2
        enough = certifiable_margin(spread, middle, alpha, power) <= margin * (1 + 1e-9)
        least, high = (least, middle) if enough else (middle, high)
    return high


def _planned(policy: Policy, one: Selected, baseline: RunScores, power: float, discordance: float) -> PlanRow:
    found = one.found
    kind: Kind = "metric" if found.slice is None else "slice"
    base = (found.key, kind, one.require, found.task, found.metric.name, found.slice, found.n)
    percent = is_share(found.metric)
    if one.margin is None:
        return PlanRow(*base, None, None, None, None, "only its floor is checked", percent)
    if found.slice is not None and found.n < one.min_n:
        few = f"{counted(found.n, 'item')}, fewer than min_n {one.min_n}: shown, not tested"
        return PlanRow(*base, one.margin, None, None, None, few, percent)
    spread = spread_of(found.metric, level_of(baseline, one), discordance)
    if spread is None or not found.n:
        return PlanRow(*base, one.margin, None, None, None, "the baseline has too few values to tell", percent)
    return _row(base, spread, one.margin, policy.alpha, power, percent, data_of(baseline, one)[0])


def spread_of(metric: MetricInfo, level: Level | None, discordance: float) -> Spread | None:
    """What is assumed of the differences of a metric, from the baseline's own values."""
    if level is None:
        return None
    if metric.proportion:
        variance = level.value * (1 - level.value)
        clustered = level.units < level.n and level.stderr is not None and variance > 0
        effect = max(1.0, level.n * (level.stderr or 0.0) ** 2 / variance) if clustered else 1.0
        return _flips(discordance, effect)
    if level.stderr is None:
        return None
    span = None if metric.low is None or metric.high is None else metric.high - metric.low
    return Spread(level.stderr * math.sqrt(level.n), 1.0, span, "differences vary as the baseline's values do", share=False)


def _flips(discordance: float, design_effect: float = 1.0) -> Spread:
    assumed = f"{100 * discordance:g} % of items flip"
    if design_effect > 1:
        assumed += f", clusters count {design_effect:.2g} times"
    return Spread(discordance_sd(discordance), design_effect, 1.0, assumed)


def _row(
    base: tuple[str, Kind, Require, str, str, str | None, int],
    spread: Spread,
    margin: float,
    alpha: float,
    power: float,
    percent: bool,
    size: int | None,
) -> PlanRow:
    n = base[-1]
    smallest = certifiable_margin(spread, n, alpha, power)
    needed = items_needed(spread, margin, alpha, power)
    can = needed is not None and n >= needed
    asked, enough = allowance(margin, percent), f"{counted(n, 'item')} are enough for {amount(smallest, percent)}"
    if can:
        sentence = f"can certify {asked}: {enough}"
    elif needed is None:
        sentence = f"cannot certify {asked}: {enough}; a margin must be above 0"
    elif size is not None and needed > size:
        sentence = f"cannot certify {asked}: {enough}; needs {count(needed)}, more than the {count(size)} that there are"
    else:
        there = "" if size is None or size <= n else f" of {count(size)}"
        sentence = f"cannot certify {asked}: {enough}; needs {count(needed)}{there}"
    return PlanRow(*base, margin, smallest, needed, can, sentence, percent, spread.assumed)


def _without_baseline(policy: Policy, power: float, discordance: float) -> Iterator[PlanRow]:
    for at, check in enumerate(policy.checks):
        for sized in sized_tasks(policy, at):
            yield _sized(policy, at, sized, power, discordance)
            for part in check.slices:
                why = "the sizes of slices are those of a baseline: name one"
                require: Require = part.require or "not-fail"
                name = f"{_name(sized)} [{part.name}]"
                metric = None if sized.metric is None else sized.metric.name
                yield PlanRow(name, "slice", require, sized.task, metric, part.name, None, None, None, None, None, why)


def _sized(policy: Policy, at: int, sized: Sized, power: float, discordance: float) -> PlanRow:
    check, metric = policy.checks[at], sized.metric
    require, name = policy.required(check), None if metric is None else metric.name
    said = check.margin or policy.defaults.margin
    unknown = PlanRow(
        _name(sized), "metric", require, sized.task, name, None, sized.n, None, None, None, None, sized.unknown
    )
    if metric is None or sized.n is None:
        return unknown
    base: tuple[str, Kind, Require, str, str, None, int] = (
        _name(sized), "metric", require, sized.task, metric.name, None, sized.n
    )  # fmt: skip
    percent = is_share(metric)
    if said is None or said.kind == "relative" or not metric.proportion:
        why = "only its floor is checked" if said is None else "how its values vary is known from a baseline: name one"
        return PlanRow(*base, None, None, None, None, why, percent)
    margin = resolved_margin(policy, at, metric, sized.task, said, None)
    return _row(base, _flips(discordance), margin, policy.alpha, power, percent, sized.n)


def _name(sized: Sized) -> str:
    filter_ = "" if sized.filter in ("", "none") else f" {sized.filter}"
    return f"{sized.task}{filter_}" + (f" {sized.metric.name}" if sized.metric is not None else "")
