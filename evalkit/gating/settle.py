"""What would settle an INCONCLUSIVE check: more items, more answers an item, or a wider margin."""

from __future__ import annotations

import math

from evalkit.figures import count
from evalkit.gating.decide import Evidence
from evalkit.gating.sentences import amount
from evalkit.stats.difference import Difference

#: Beyond so many times the items there are, a number of items is no advice.
_MOST = 1000
_REPEATS = 32


def needs(
    test: Difference, shown: Evidence, margin: float, alpha: float, *, size: int | None, repeatable: bool, percent: bool
) -> str:
    """``needs ~1,546 items (has 300); or K >= 6 repeats, if answers are sampled; or a margin of at least 5.1 pp``.

    ``test`` is turned so that higher is better. ``size`` counts the items that the task has, where that is known;
    ``repeatable`` says that answers are sampled: scoring choices or greedy answers again brings nothing. K is what it takes
    at least, were all of the difference the chance of sampling.
    """
    ways = []
    wanted = _items(test, shown, margin, alpha)
    if wanted is not None and wanted > test.n:
        has = count(test.n) if size is None or size <= test.n else f"{count(test.n)} of {count(size)}"
        if size is None or wanted <= size:
            ways.append(f"~{count(wanted)} items (has {has})")
        else:
            ways.append(f"~{count(wanted)} items, more than the {count(size)} that there are")
        repeats = math.ceil(wanted / test.n)
        if repeatable and repeats <= _REPEATS:
            ways.append(f"K >= {repeats} repeats, if answers are sampled")
    if shown.lower is not None and shown.lower < 0:
        ways.append(f"a margin of at least {_above(-shown.lower, percent)}")
    return f"needs {'; or '.join(ways)}" if ways else "needs more than one unit that can be compared"


def _items(test: Difference, shown: Evidence, margin: float, alpha: float) -> int | None:
    """Items that certify the margin were the systems equal; where there are as many, at the difference that was seen.

    Within the margin that is what shows it within, beyond it what shows a drop. ``None`` where no sensible number would.
    """
    wanted = test.needed(margin, alpha) if margin > 0 else None
    if wanted is None or wanted <= test.n:
        distance = margin + shown.value if shown.value >= -margin else -shown.value
        wanted = test.needed(distance, alpha) if distance > 0 else None
    return None if wanted is None or wanted > _MOST * test.n else wanted


def _above(value: float, percent: bool) -> str:
    """``value`` rounded up, so that the margin named is indeed enough."""
    if percent:
        return amount(math.floor(1000 * value + 1) / 1000, True)
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return amount((math.floor(value / step) + 1) * step, False)
