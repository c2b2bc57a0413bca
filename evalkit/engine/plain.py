"""The plain engine: batches by length, one forward pass each, no work shared between prompts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any

from evalkit.engine.base import Budget, GenerateDone, GenerateJob, ScoreDone, ScoreJob, out_of_memory
from evalkit.engine.compiled import Compiled
from evalkit.engine.generate import generate_batch, group_of
from evalkit.engine.memory import limits_for
from evalkit.engine.score import rows_of, score_rows
from evalkit.types import Failure

#: Padded tokens in one batch, by device. To score, more than this makes no CPU faster, while small models on a GPU are
#: launch-bound; to generate, a step costs the same for many sequences as for one, so what bounds it is the cache's memory.
_SCORE_TOKENS = {"cpu": 2048, "gpu": 32768}
_GENERATE_TOKENS = {"cpu": 8192, "gpu": 65536}


class PlainEngine:
    """An `evalkit.engine.base.Engine` over a transformers model (or, to score only, any module from ids to logits).

    ``batch_size`` caps the sequences of a batch. ``compiled`` scores through torch.compile; to generate, each step's longer
    cache would be compiled anew. The module is put in eval mode only while it works.
    """

    kind = "plain"

    def __init__(
        self, module: Any, tokenizer: Any, device: Any, batch_size: int | None = None, *, compiled: bool = False
    ) -> None:
        self._module, self._tokenizer, self._device, self._batch_size = module, tokenizer, device, batch_size
        self.reason = "-M compile=true" if compiled else None
        self._compiled = Compiled(module, device) if compiled else None

    @cached_property
    def _to_score(self) -> Budget:
        fits = limits_for(self._module, self._device)
        return Budget(min(self._most(_SCORE_TOKENS), fits.pass_tokens, fits.rows_of_logits), self._batch_size)

    @cached_property
    def _to_generate(self) -> Budget:
        fits = limits_for(self._module, self._device)
        return Budget(min(self._most(_GENERATE_TOKENS), fits.kv_tokens), self._batch_size)

    def _most(self, tokens: Mapping[str, int]) -> int:
        return tokens["cpu" if self._device.type == "cpu" else "gpu"]

    def score(self, jobs: Sequence[ScoreJob], done: ScoreDone, stop: threading.Event) -> None:
        rows = rows_of(jobs)
        lengths = [len(row.tokens) for row in rows]
        with evaluating(self._module), self._compiled.used() if self._compiled else nullcontext():
            for start, end in self._to_score.pack(lengths):
                if stop.is_set():
                    return
                try:
                    results = list(score_rows(self._module, rows[start:end], jobs, self._device))
                except RuntimeError as error:
                    why = _no_room(error, self._to_score, end - start, lengths[start])
                    if why is not None:
                        for index in rows[start].jobs:
                            done(index, why)
                    continue
                for index, result in results:
                    done(index, result)

    def generate(self, jobs: Sequence[GenerateJob], done: GenerateDone, stop: threading.Event) -> None:
        groups: dict[str, list[int]] = {}
        for index, job in enumerate(jobs):
            groups.setdefault(group_of(job), []).append(index)
        with evaluating(self._module):
            for members in groups.values():
                self._generate_group(jobs, members, done, stop)

    def _generate_group(
        self, jobs: Sequence[GenerateJob], members: list[int], done: GenerateDone, stop: threading.Event
    ) -> None:
        members = sorted(members, key=lambda index: (-len(jobs[index].prompt), tuple(jobs[index].prompt)))
        lengths = [len(jobs[index].prompt) + jobs[index].max_tokens for index in members]
        for start, end in self._to_generate.pack(lengths):
            if stop.is_set():
                return
            batch = members[start:end]
            try:
                results = generate_batch(self._module, self._tokenizer, [jobs[i] for i in batch], self._device, stop)
            except RuntimeError as error:
                why = _no_room(error, self._to_generate, len(batch), lengths[start])
                if why:
                    done(batch[0], why)
                continue
            for index, result in zip(batch, results or (), strict=results is not None):
                done(index, result)


def _no_room(error: RuntimeError, budget: Budget, rows: int, length: int) -> Failure | None:
    """None where the batch will come again smaller; a failure where one sequence alone does not fit."""
    if not out_of_memory(error):
        raise error
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if budget.shrink(rows, length):
        return None
    return Failure("out-of-memory", f"no room on the device for one sequence of {length} tokens", retryable=True)


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Eval mode and no gradients; every submodule gets its own training mode back."""
    import torch

    modes = [(part, part.training) for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training
