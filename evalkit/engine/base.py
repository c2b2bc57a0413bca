"""The seam between adapter and inference: token jobs in, numbers and tokens out.

An engine gets a whole wave at once, so that it may share work between jobs in any way it likes; whatever it does, a
job's result must not depend on the other jobs (within float error).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalkit.types import Failure


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Score ``continuation`` after ``context``: both at least one token, together at most the model's window + 1."""

    context: Sequence[int]
    continuation: Sequence[int]


@dataclass(frozen=True, slots=True)
class Scored:
    """Natural-log probability summed over the continuation, and whether each of its tokens was the most likely one."""

    logprob: float
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class GenerateJob:
    """Continue ``prompt`` (tokens) by at most ``max_tokens``, until one of the stop strings or an end token.

    ``settings`` are further generation settings by transformers' names; ``seed`` fixes the draws where they sample.
    ``think_end`` is the text before which stop strings do not count.
    """

    prompt: Sequence[int]
    max_tokens: int
    until: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    think_end: str | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """The new ``tokens`` (the stopping one included), and whether it ``stopped`` by itself rather than by the limit."""

    tokens: list[int]
    stopped: bool
    seconds: float


#: Settings of sampling that become logits warpers, in transformers' order: name -> (class, value that switches it off).
WARPERS: Mapping[str, tuple[str, float]] = {
    "temperature": ("TemperatureLogitsWarper", 1.0),
    "top_k": ("TopKLogitsWarper", 0),
    "top_p": ("TopPLogitsWarper", 1.0),
    "min_p": ("MinPLogitsWarper", 0.0),
    "typical_p": ("TypicalLogitsWarper", 1.0),
}

#: Called once a job, with its index in the wave, as soon as its result (or failure) is there.
ScoreDone = Callable[[int, Scored | Failure], None]
GenerateDone = Callable[[int, Generated | Failure], None]


class Engine(Protocol):
    """Local inference. Both methods return when all jobs are done, or soon after ``stop`` is set.

    ``kind`` is ``prefix`` or ``plain``, or ``undecided`` before the first use; ``reason`` why it is not what was asked for.
    """

    @property
    def kind(self) -> str: ...

    @property
    def reason(self) -> str | None: ...

    def score(self, jobs: Sequence[ScoreJob], done: ScoreDone, stop: threading.Event) -> None: ...

    def generate(self, jobs: Sequence[GenerateJob], done: GenerateDone, stop: threading.Event) -> None: ...


class Budget:
    """How much goes into one forward pass: at most ``rows`` sequences and ``tokens`` padded tokens.

    After running out of memory it halves, for good, and the same items are packed again.
    """

    def __init__(self, tokens: int, rows: int | None) -> None:
        self.tokens = tokens
        self.rows = rows or tokens
        self._again = False

    def pack(self, lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
        """``(start, end)`` of consecutive batches over ``lengths``, which must be descending.

        A batch that `shrink` was called for comes again, smaller.
        """
        start = 0
        while start < len(lengths):
            fits = min(self.rows, max(self.tokens // max(lengths[start], 1), 1))
            end = min(start + fits, len(lengths))
            self._again = False
            yield start, end
            start = start if self._again else end

    def shrink(self, rows: int, length: int) -> bool:
        """Make room after a batch of ``rows`` sequences of ``length`` tokens failed; False where it was a single one."""
        if rows <= 1:
            return False
        self.tokens, self._again = max(rows * length // 2, 1), True
        self.rows = min(self.rows, max(rows // 2, 1))
        return True


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is a device's (or the host's) way of saying that memory ran out."""
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or any(
        words in text for words in ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def in_a_line(error: BaseException) -> str:
    """Its type and the beginning of its text: those of compilers and drivers are pages long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def build_engine(
    kind: str, module: Any, tokenizer: Any, device: Any, batch_size: int | None = None, *, compiled: bool = False
) -> Engine:
    """``plain``: batches by length; ``prefix``: shared beginnings computed once, or a ModelError where the model cannot;
    ``auto``: ``prefix`` where the model can, else ``plain``, said once in the log. ``compiled`` is for ``plain`` only, which
    ``auto`` then is; it raises a ModelError where torch cannot compile.
    """
    from evalkit.engine.plain import PlainEngine
    from evalkit.engine.prefix import PrefixEngine

    plain = PlainEngine(module, tokenizer, device, batch_size, compiled=compiled)
    if compiled or kind == "plain":
        return plain
    return PrefixEngine(module, device, plain, batch_size, tokenizer=tokenizer, strict=kind == "prefix")
