"""What several scorers need of a record: its right choices, its answers, its references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from evalkit.errors import ScorerError
from evalkit.scorers.base import MetricInfo
from evalkit.types import OutputType, Record, Sample

T = TypeVar("T")


def serves(*output_types: OutputType) -> Callable[[T], T]:
    """Mark a scorer's factory with the kinds of task it can score; without the mark it serves all."""

    def mark(factory: T) -> T:
        factory.output_types = output_types  # type: ignore[attr-defined]
        return factory

    return mark


def share(name: str, column: int = 0, *, proportion: bool = True) -> MetricInfo:
    """A metric in [0, 1] that is the mean of a column; ``proportion`` where its rows are right or wrong."""
    return MetricInfo(name, low=0.0, high=1.0, ideal=1.0, mean=True, proportion=proportion, column=column)


def whole(name: str, value: Any, least: int = 1) -> int:
    """``value`` as a whole number of at least ``least``; a ScorerError naming the parameter otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ScorerError(f"scorer parameter {name!r} must be a whole number of at least {least}, not {value!r}")
    return value


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """``value`` if it is one of ``allowed``; a ScorerError naming the parameter otherwise."""
    options = tuple(allowed)
    if value not in options:
        raise ScorerError(f"scorer parameter {name!r} must be one of {', '.join(options)}, not {value!r}")
    return str(value)


def gold_indices(sample: Sample) -> tuple[int, ...] | None:
    """Indices of a sample's right choices; ``None`` where the target names no choice.

    A target may be an index, the text of a choice, or several of either.
    """
    choices = sample.choices or ()
    target = sample.target
    if isinstance(target, int):  # the usual case first: this runs once for every sample and scorer
        return (int(target),) if 0 <= target < len(choices) else None
    found = []
    for item in target if isinstance(target, tuple | list) else (target,):
        if hasattr(item, "__index__"):
            if not 0 <= item < len(choices):
                return None
            found.append(int(item))
        elif item in choices:
            found.append(choices.index(item))
        else:
            return None
    return tuple(found) or None


def no_gold(sample: Sample) -> str:
    """Why a sample without a right choice is unscored."""
    return f"target {sample.target!r} is not among the {len(sample.choices or ())} choices"


def references(sample: Sample) -> tuple[str, ...]:
    """The reference texts of a sample: its target or targets, an index standing for the choice it names; maybe none."""
    target = sample.target
    if target is None:
        return ()
    items: Sequence[Any] = target if isinstance(target, tuple | list) else (target,)
    choices = sample.choices
    return tuple(
        choices[item] if isinstance(item, int) and choices and 0 <= item < len(choices) else str(item) for item in items
    )


def answers(record: Record) -> list[str] | None:
    """The record's answers, one or K; ``None`` where the filter left something that is no text."""
    answer = record.answer
    if isinstance(answer, str):
        return [answer]
    if isinstance(answer, list | tuple) and answer and all(isinstance(item, str) for item in answer):
        return list(answer)
    return None


def no_answer(record: Record) -> str:
    """Why a record without a text answer is unscored."""
    return f"filter {record.filter!r} gave {type(record.answer).__name__}, not text"


def source_text(sample: Sample, column: str) -> str | None:
    """The text a sample's answer was made from: column ``column`` of its data; ``None`` where there is none.

    A scorer that reads it names the column in its ``columns``, so that data without it is refused before anything runs.
    """
    value = sample.doc.get(column)
    return None if value is None else str(value)


NO_REFERENCE = "the sample has no reference (no doc_to_target)"
