"""Figures as people read them, the same wherever evalkit shows one."""

from __future__ import annotations


def number(value: float | None, digits: int = 4) -> str:
    """Four decimals, as lm-eval prints; fewer for large numbers, a dash where there is none."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1e6:
        return f"{value:.4g}"
    if size >= 1000:
        return f"{value:.1f}"
    return f"{value:.{digits}f}"


def interval(ci: tuple[float, float] | None) -> str:
    """``[low, high]``."""
    return "–" if ci is None else f"[{number(ci[0])}, {number(ci[1])}]"


def arrow(higher_is_better: bool | None) -> str:
    """Which way is better; nothing where neither is."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def count(value: int) -> str:
    """With thin separators: 12,345."""
    return f"{value:,}"


def counted(value: int, thing: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{count(value)} {thing}{'' if value == 1 else 's'}"
