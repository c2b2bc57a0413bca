"""What a study can show, before anybody rates: intervals, detectable differences, rows and minutes.

Normal approximations, as a plan needs no more: intervals of a mean and of a share, the paired difference of `stats.power`,
the usual test of a share against one half, and Bonett and Wright's interval (2000) of a rank correlation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.human.design import Counts
from evalkit.rubric.schema import Rubric
from evalkit.stats.distributions import normal_quantile
from evalkit.stats.intervals import Interval
from evalkit.stats.power import detectable_difference, sample_size

#: Standard deviations as shares of a scale's range, measured on SummEval (1 to 5): of an item's mean rating over items
#: .5 to .9, of the difference of two systems on the same item .8 to 1.1.
ITEM_SD, DIFFERENCE_SD = 0.9 / 4, 1.0 / 4

#: What a plan answers where nothing else is wanted, in points of a scale of 1 to 5.
HALF_WIDTHS, DIFFERENCES = (0.3, 0.2, 0.1), (0.5, 0.3, 0.2, 0.1)
WIN_RATES = (0.55, 0.6, 0.65, 0.7)
CORRELATIONS = (0.5, 0.7)

#: Words a minute that a careful rater reads, and seconds to decide on one criterion.
READING, DECIDING = 200, 8.0

#: An overlap below this leaves an agreement coefficient with an interval too wide to be of use.
OVERLAP = 30


def half_width(n: float, sd: float, level: float = 0.95) -> float:
    """Half the width of the interval of a mean over ``n`` items."""
    return normal_quantile(0.5 + level / 2) * sd / math.sqrt(n)


def items_for_half_width(wanted: float, sd: float, level: float = 0.95) -> int:
    """Items after which the interval of a mean is ``wanted`` wide to either side at most."""
    return _ceiling((normal_quantile(0.5 + level / 2) * sd / wanted) ** 2)


def items_for_difference(difference: float, sd: float, power: float = 0.8) -> int:
    """Items to find a paired ``difference`` of two systems with ``power`` (two-sided, 5 %); ``sd``: of an item."""
    return _ceiling(sample_size(difference, sd**2, power=power))


def pairs_for_win_rate(rate: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Pairs to find with ``power`` that a true win ``rate`` is not one half (two-sided); ties not counted."""
    found = normal_quantile(1 - alpha / 2) * 0.5 + normal_quantile(power) * math.sqrt(rate * (1 - rate))
    return _ceiling((found / (rate - 0.5)) ** 2)


def detectable_win_rate(n: int, power: float = 0.8) -> float:
    """The smallest true win rate above one half that ``n`` pairs find with ``power``; 1 where not even that is found."""
    low, high = 0.5, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if pairs_for_win_rate(middle, power) <= n else (middle, high)
    return high


def correlation_interval(rho: float, n: int, level: float = 0.95) -> Interval:
    """Interval of a Spearman correlation of ``n`` > 3 items (Bonett and Wright 2000)."""
    half = normal_quantile(0.5 + level / 2) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def _ceiling(value: float) -> int:
    return math.ceil(value - 1e-9)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a plan is made of: the study as its options would make it."""

    form: str
    systems: int
    available: int
    items: int
    annotators: int
    overlap: int
    sheets: tuple[Counts, ...]
    seconds: float
    """An item row of the study takes this long, as `row_seconds` estimates it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of a plan: a question, what this study's number of items gives, and how many items a wanted answer needs."""

    question: str
    here: str
    needed: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user wants of a study; without any of it the plan answers for the usual values."""

    interval: float | None = None
    difference: float | None = None
    win_rate: float | None = None
    sd: float | None = None


def row_seconds(rubric: Rubric, words: float) -> float:
    """Seconds for one row with ``words`` words to read: an estimate, to be replaced by a trial with a few rows."""
    return 60 * words / READING + DECIDING * len(rubric.criteria)


def answers(shape: Shape, rubric: Rubric, wanted: Wanted) -> list[Answer]:
    """What the study can tell, and what it takes to tell more."""
    n = shape.items
    found = _win_rates(n, wanted) if shape.form == "pairwise" else _means(n, shape.systems, rubric, wanted)
    if n > 3:
        spans = ", ".join("{:g}: [{:.2f}, {:.2f}]".format(rho, *correlation_interval(rho, n)) for rho in CORRELATIONS)
        question = "correlation with a metric or judge (95 % interval if it is ...)"
        found.append(Answer(question, spans, (("+-0.15 at 0.5", _items_for_correlation(0.5, 0.15)),)))
    return found


def _means(n: int, systems: int, rubric: Rubric, wanted: Wanted) -> list[Answer]:
    span = max(criterion.scale.ceiling - criterion.scale.floor for criterion in rubric.criteria)
    sd = wanted.sd if wanted.sd is not None else ITEM_SD * span
    widths = (wanted.interval,) if wanted.interval else tuple(width * span / 4 for width in HALF_WIDTHS)
    needed = tuple((f"+-{width:g}", items_for_half_width(width, sd)) for width in widths)
    found = [Answer(f"mean of a system (95 % interval, SD {sd:g})", f"+-{half_width(n, sd):.2f}", needed)]
    if systems > 1:
        sd = wanted.sd if wanted.sd is not None else DIFFERENCE_SD * span
        differences = (wanted.difference,) if wanted.difference else tuple(size * span / 4 for size in DIFFERENCES)
        needed = tuple((f"{size:g}", items_for_difference(size, sd)) for size in differences)
        here = f"{detectable_difference(n, sd**2):.2f}"
        found.append(Answer(f"difference of two systems (80 % power, SD {sd:g})", here, needed))
    return found


def _win_rates(n: int, wanted: Wanted) -> list[Answer]:
    rates = (wanted.win_rate,) if wanted.win_rate else WIN_RATES
    needed = tuple((f"{rate:.0%}", pairs_for_win_rate(rate)) for rate in rates)
    return [
        Answer("win rate of a pair of systems (95 % interval at 50 %)", f"+-{100 * half_width(n, 0.5):.1f} pp", ()),
        Answer("win rate that differs from 50 % (80 % power)", f"{detectable_win_rate(n):.0%}", needed),
    ]


def _items_for_correlation(rho: float, half: float) -> int:
    n = 4
    while (span := correlation_interval(rho, n))[1] - span[0] > 2 * half:
        n += 1
    return n


def advice(shape: Shape) -> list[str]:
    """What a reader of the plan should change, if anything."""
    found = []
    if shape.annotators > 1 and shape.overlap < min(OVERLAP, shape.items):
        found.append(
            f"{shape.overlap} items are rated by everybody: agreement between annotators will have a wide interval "
            f"(--overlap {min(OVERLAP, shape.items)} or more)"
        )
    if shape.annotators > 1 and shape.overlap == shape.items and shape.items > OVERLAP and shape.available > shape.items:
        found.append(
            "everybody rates every item: for the same work, more items with an overlap of 30 to 50 tell systems apart better"
        )
    return found


def minutes(sheets: Sequence[Counts], seconds: float) -> list[int]:
    """Minutes for each sheet."""
    return [math.ceil(sheet.rows * seconds / 60) for sheet in sheets]
