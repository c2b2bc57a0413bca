"""Continuations through transformers' ``generate``: padded on the left, each sequence with its own stops and its own draws.

Sampling adds Gumbel noise to the warped log-probabilities and takes the maximum, which draws from the softmax exactly
(Gumbel 1954; Yellott 1977). Each sequence has a generator of its own, so its draws do not depend on its batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.engine.base import WARPERS, Generated, GenerateJob
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
    sampler = _Sampler(module, settings, jobs) if settings.pop("do_sample", False) else None
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
    ends = _end_tokens(module, tokenizer)
    lengths = watch.lengths if watch else [None] * len(jobs)
    return [_cut(row, length, ends, seconds) for row, length in zip(out[:, width:].tolist(), lengths, strict=True)]


def _cut(row: list[int], length: int | None, ends: frozenset[int], seconds: float) -> Generated:
    stopped = length is not None
    row = row[:length]
    at = next((index for index, token in enumerate(row) if token in ends), None)
    if at is not None:
        row, stopped = row[: at + 1], True
    return Generated(row, stopped, seconds)


def _end_tokens(module: Any, tokenizer: Any) -> frozenset[int]:
    ends = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    several = ends if isinstance(ends, list | tuple) else [ends]
    return frozenset(int(token) for token in (*several, tokenizer.eos_token_id) if token is not None)


def _config(settings: Mapping[str, Any], max_tokens: int, pad: int) -> Any:
    """Greedy as far as transformers is concerned: a checkpoint's own sampling defaults are neutralised."""
    from transformers import GenerationConfig

    neutral = {"temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0}
    kept = {name: value for name, value in settings.items() if name not in WARPERS}
    return GenerationConfig(do_sample=False, max_new_tokens=max_tokens, pad_token_id=pad, use_cache=True, **neutral, **kept)


class _Sampler:
    """A logits processor after which the most likely token is the drawn one.

    What a request leaves open is what ``generate`` itself would use: the checkpoint's setting, else top_k 50.
    """

    def __init__(self, module: Any, settings: Mapping[str, Any], jobs: Sequence[GenerateJob]) -> None:
        import torch
        import transformers

        own = getattr(module, "generation_config", None)
        self._warpers = []
        for name, (kind, off) in WARPERS.items():
            value = settings.get(name)
            if value is None:
                value = getattr(own, name, None)
            if value is None:
                value = 50 if name == "top_k" else off
            if value != off:
                self._warpers.append(getattr(transformers, kind)(value))
        self._draws = [torch.Generator().manual_seed(job.seed) for job in jobs]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        for warp in self._warpers:
            scores = warp(input_ids, scores)
        noise = torch.stack([torch.empty(scores.shape[-1]).exponential_(generator=draw) for draw in self._draws])
        return torch.log_softmax(scores, dim=-1) - noise.log().to(scores.device)


class _Watch:
    """A stopping criterion with its own stop strings for each sequence; notes the length at which each one stopped."""

    def __init__(self, tokenizer: Any, jobs: Sequence[GenerateJob], width: int, stop: threading.Event) -> None:
        self.lengths: list[int | None] = [None] * len(jobs)
        self._tokenizer, self._jobs, self._width, self._stop = tokenizer, jobs, width, stop
        # A stop string of n bytes ends within n tokens (and one that is only partly its own).
        self._look = max((len(text.encode()) for job in jobs for text in (*job.until, job.think_end or "")), default=0) + 1
        self._thinking = [job.think_end is not None for job in jobs]

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        import torch

        if self._stop.is_set():
            return torch.ones(len(self._jobs), dtype=torch.bool, device=input_ids.device)
        tails = input_ids[:, max(self._width, input_ids.shape[1] - self._look) :].tolist()
        active = [at for at, length in enumerate(self.lengths) if length is None]
        for at, text in zip(active, self._tokenizer.batch_decode([tails[at] for at in active]), strict=True):
            if self._hit(at, text):
                self.lengths[at] = input_ids.shape[1] - self._width
        return torch.tensor([length is not None for length in self.lengths], device=input_ids.device)

    def _hit(self, at: int, tail: str) -> bool:
        job = self._jobs[at]
        if job.think_end is not None:
            _, found, tail = tail.rpartition(job.think_end)
            self._thinking[at] = self._thinking[at] and not found
            if self._thinking[at]:
                return False
        return any(stop in tail for stop in job.until)
