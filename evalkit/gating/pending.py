"""A check that was measured and waits for its verdict: FAIL is held against p values of the whole gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from evalkit.gating.base import CheckResult, Verdict
from evalkit.stats.multiple import holm


class Settled(NamedTuple):
    """A verdict, why in one line, and what would settle it where it is INCONCLUSIVE."""

    verdict: Verdict | None
    sentence: str
    needs: str | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """``settle`` gives the verdict once Holm's p (and over how many tests it is) is known.

    ``p`` is ``None`` where nothing is tested: exact checks (tokens, failures) and what cannot be tested take no share of
    alpha.
    """

    result: CheckResult
    p: float | None
    settle: Callable[[float | None, int], Settled]

    @property
    def tested(self) -> bool:
        """Whether this is one of the tests that can FAIL the gate."""
        return self.p is not None and self.result.require != "report"


def settled(result: CheckResult, verdict: Verdict | None, sentence: str, needs: str | None = None) -> Pending:
    """A check that needs no test."""
    return Pending(result, None, lambda p, tests: Settled(verdict, sentence, needs))


def settle_all(pending: Sequence[Pending]) -> tuple[CheckResult, ...]:
    """Every check with its verdict, in order. Holm's correction runs over all tests that can FAIL the gate.

    A check that is only reported is not among them: it is held against its own p.
    """
    family = [i for i, one in enumerate(pending) if one.tested]
    adjusted = dict(zip(family, holm([pending[i].p or 0.0 for i in family]), strict=True))
    return tuple(_finished(one, adjusted.get(i, one.p), len(family)) for i, one in enumerate(pending))


def _finished(one: Pending, p_adjusted: float | None, tests: int) -> CheckResult:
    verdict, sentence, needs = one.settle(p_adjusted, tests if one.tested else 1)
    return replace(
        one.result,
        verdict=verdict,
        sentence=sentence,
        needs=needs if verdict == "INCONCLUSIVE" else None,
        p=one.p,
        p_adjusted=p_adjusted,
    )
