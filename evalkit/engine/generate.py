"""Continuations through transformers' ``generate``: padded on the left, each sequence with its own stops and draws."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.engine.base import WARPERS, Generated, GenerateJob
from evalkit.engine.draws import signed
from evalkit.engine.sampling import Sampler
from evalkit.engine.stops import Pieces, Stops, end_tokens
from evalkit.types import content_hash

if TYPE_CHECKING:
    import torch


def group_of(job: GenerateJob) -> str:
    """Jobs of one group can be generated in one batch."""
    return content_hash([job.max_tokens, dict(job.settings)])


def generate_batch(
    module: Any, tokenizer: Any, jobs: Sequence[GenerateJob], device: Any, stop: threading.Event
) -> list[Generated] | None:
    """One result a job, for jobs of one group; None where ``stop`` was set meanwhile."""
    import torch

    started = time.perf_counter()
    pad = next((t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id) if t is not None), 0)
    width = max(len(job.prompt) for job in jobs)
    ids = torch.full((len(jobs), width), pad, dtype=torch.long)
    mask = torch.zeros((len(jobs), width), dtype=torch.long)
    for at, job in enumerate(jobs):
        ids[at, width - len(job.prompt) :] = torch.tensor(job.prompt, dtype=torch.long)
        mask[at, width - len(job.prompt) :] = 1
    settings = dict(jobs[0].settings)
    sampler = _Noise(module, settings, jobs, width) if settings.pop("do_sample", False) else None
    beams = int(settings.get("num_beams", 1))
    watch = _Watch(tokenizer, jobs, width, stop) if beams == 1 else None
    out = module.generate(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        generation_config=_config(settings, jobs[0].max_tokens, pad),
        logits_processor=[sampler] if sampler else [],
        stopping_criteria=[watch] if watch else [],
    )
    if stop.is_set():
        return None
    seconds = time.perf_counter() - started
    ends = end_tokens(module, tokenizer)
    lengths = watch.lengths if watch else [None] * len(jobs)
    return [_cut(row, length, ends, seconds) for row, length in zip(out[:, width:].tolist(), lengths, strict=True)]


def _cut(row: list[int], length: int | None, ends: frozenset[int], seconds: float) -> Generated:
    stopped = length is not None
    row = row[:length]
    at = next((index for index, token in enumerate(row) if token in ends), None)
    if at is not None:
        row, stopped = row[: at + 1], True
    return Generated(row, stopped, seconds)


def _config(settings: Mapping[str, Any], max_tokens: int, pad: int) -> Any:
    """Greedy as far as transformers is concerned: a checkpoint's own sampling defaults are neutralised."""
    from transformers import GenerationConfig

    neutral = {"temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0}
    kept = {name: value for name, value in settings.items() if name not in WARPERS}
    return GenerationConfig(do_sample=False, max_new_tokens=max_tokens, pad_token_id=pad, use_cache=True, **neutral, **kept)


class _Noise:
    """A logits processor after which the most likely token is the drawn one."""

    def __init__(self, module: Any, settings: Mapping[str, Any], jobs: Sequence[GenerateJob], width: int) -> None:
        import torch

        self._sampler = Sampler(settings, getattr(module, "generation_config", None))
        self._seeds = torch.tensor([signed(job.seed) for job in jobs])
        self._width = width

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        self._seeds = self._seeds.to(scores.device)
        return self._sampler.noisy(scores, self._seeds, torch.full_like(self._seeds, input_ids.shape[1] - self._width))


class _Watch:
    """A stopping criterion with its own stop strings for each sequence; notes the length at which each one stopped."""

    def __init__(self, tokenizer: Any, jobs: Sequence[GenerateJob], width: int, stop: threading.Event) -> None:
        pieces = Pieces(tokenizer)
        self.lengths: list[int | None] = [None] * len(jobs)
        self._stops = [Stops(job, pieces) for job in jobs]
        self._width, self._stop = width, stop
        self._look = max((stops.look for stops in self._stops), default=1)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        import torch

        if self._stop.is_set():
            return torch.ones(len(self._stops), dtype=torch.bool, device=input_ids.device)
        tails = input_ids[:, max(self._width, input_ids.shape[1] - self._look) :].tolist()
        for at, (stops, tail) in enumerate(zip(self._stops, tails, strict=True)):
            if self.lengths[at] is None and stops.ended(tail):
                self.lengths[at] = input_ids.shape[1] - self._width
        return torch.tensor([length is not None for length in self.lengths], device=input_ids.device)
