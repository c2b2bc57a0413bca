"""Generation by continuous batching, and what it leaves to the plain engine."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from evalkit.engine.admission import Entry, entries
from evalkit.engine.ahead import StaticSlots
from evalkit.engine.base import Engine, Generated, GenerateDone, GenerateJob, in_a_line, out_of_memory
from evalkit.engine.decode import Decoder
from evalkit.engine.graphs import WORTH, CudaRecorder, Graphs, Recorder
from evalkit.engine.head import UnsupportedError
from evalkit.engine.memory import limits_for
from evalkit.engine.packed import packed
from evalkit.engine.plain import evaluating
from evalkit.engine.sampling import Choice, Chooser, understood
from evalkit.engine.slots import Slot, SlotLimits, Slots
from evalkit.engine.steps import StaticSteps
from evalkit.engine.stops import Pieces, Stops, end_tokens
from evalkit.engine.trial import check
from evalkit.errors import ModelError
from evalkit.types import Failure

log = logging.getLogger(__name__)

#: By device: sequences at a time, and tokens of prompts in one pass.
_SLOTS = {"cpu": 64, "gpu": 256}
_CHUNK = {"cpu": 1024, "gpu": 8192}

#: Answers from this many tokens on are worth some preparation.
_LONG = 32

#: Where so few tokens of one sequence do not fit, nothing does.
_LEAST = 64


class ContinuousGenerator:
    """Generates as an `evalkit.engine.base.Engine` does: shared beginnings once, each text ending for itself.

    What it does not do itself goes to ``plain``: settings other than sampling's and the repetition penalty, and models that
    fail its self-check (``strict`` raises a ModelError instead). ``batch_size`` caps the sequences at a time.

    On a GPU steps are captured and launched ahead (`evalkit.engine.ahead`), behind a self-check of its own; on a CPU, where
    that gains nothing, only with a ``recorder`` (for tests). ``ahead`` False keeps the host in step with the device.
    """

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        device: Any,
        plain: Engine,
        batch_size: int | None = None,
        *,
        limits: SlotLimits | None = None,
        strict: bool = False,
        recorder: Recorder | None = None,
        ahead: bool = True,
    ) -> None:
        self._module, self._tokenizer, self._device, self._plain = module, tokenizer, device, plain
        self._batch_size, self._strict, self._limits = batch_size, strict, limits
        self._checked = False
        self._decoder: Decoder | None = None
        self._recorder, self._ahead = recorder, ahead
        self._steps: StaticSteps | None = None

    @property
    def able(self) -> bool:
        """Whether the model can be run this way; the first time, the self-check runs."""
        if not self._checked:
            self._checked = True
            with evaluating(self._module):
                self._decoder = self._choose()
                self._steps = self._static(self._decoder) if self._decoder else None
        return self._decoder is not None

    def generate(self, jobs: Sequence[GenerateJob], done: GenerateDone, stop: threading.Event) -> None:
        choosers: dict[int, Chooser] = {}
        rest: list[int] = []
        own = getattr(self._module, "generation_config", None)
        made: dict[str, Chooser] = {}
        for index, job in enumerate(jobs):
            if not job.prompt or job.max_tokens < 1 or not understood(job.settings, own) or stop.is_set() or not self.able:
                rest.append(index)
                continue
            key = json.dumps(dict(job.settings), sort_keys=True, default=repr)
            try:
                made[key] = choosers[index] = made.get(key) or Chooser(job.settings, own)
            except (ValueError, TypeError) as error:
                done(index, Failure("bad-settings", str(error)))
        if choosers:
            # To reorder the weights costs about as much as 10 steps, so it must pay.
            long = len(choosers) > 2 and max(jobs[index].max_tokens for index in choosers) >= _LONG
            with evaluating(self._module), packed(self._module, self._device) if long else nullcontext():
                self._run(jobs, choosers, done, stop)
        if rest and not stop.is_set():
            self._plain.generate([jobs[index] for index in rest], lambda at, result: done(rest[at], result), stop)

    def _run(
        self, jobs: Sequence[GenerateJob], choosers: dict[int, Chooser], done: GenerateDone, stop: threading.Event
    ) -> None:
        """Continue ``jobs`` by their index in ``choosers``; after running out of memory, the unfinished ones again."""
        import torch

        assert self._decoder is not None
        ends, pieces = end_tokens(self._module, self._tokenizer), Pieces(self._tokenizer)

        def enter(entry: Entry) -> Slot:
            job, chooser = jobs[entry.jobs[0]], choosers[entry.jobs[0]]
            return Slot(entry, job, Choice(chooser, job.seed, job.prompt), Stops(job, pieces), time.perf_counter())

        def ended(entry: Entry, tokens: list[int], stopped: bool, seconds: float) -> None:
            for index in entry.jobs:
                done(index, Generated(list(tokens), stopped, seconds))

        wanted = list(choosers)
        while wanted:
            limits = self._limits = self._limits or self._fitting()
            queue = deque(entries(jobs, wanted, limits.slots))
            if self._steps is None:
                slots = Slots(self._decoder, queue, limits, enter, ends, ended)
            else:
                slots = StaticSlots(self._decoder, queue, limits, enter, ends, ended, self._steps, ahead=self._ahead)
            try:
                slots.run(stop)
                return
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            wanted = self._smaller(slots, jobs, done)
            del slots  # with its keys and values
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _smaller(self, slots: Slots, jobs: Sequence[GenerateJob], done: GenerateDone) -> list[int]:
        """After memory ran out: halve what is done at a time, or give up on the one sequence that does not fit."""
        assert self._limits is not None
        failed: list[int] = []
        if len(slots.running) > 1 or self._limits.chunk > _LEAST:
            count = max(len(slots.running) // 2, 1)
            self._limits = replace(
                self._limits, slots=count, tokens=self._limits.tokens // 2, chunk=max(self._limits.chunk // 2, _LEAST)
            )
        else:
            failed = slots.running[0].entry.jobs
            for index in failed:
                length = len(jobs[index].prompt) + jobs[index].max_tokens
                why = f"no room on the device for one sequence of {length} tokens"
                done(index, Failure("out-of-memory", why, retryable=True))
        left = [*(slot.entry for slot in slots.running), *slots.queue]
        return [index for entry in left for index in entry.jobs if index not in failed]

    def _fitting(self) -> SlotLimits:
        kind = "cpu" if self._device.type == "cpu" else "gpu"
        fits = limits_for(self._module, self._device)
        slots = min(self._batch_size or _SLOTS[kind], fits.rows_of_logits)
        return SlotLimits(slots, fits.kv_tokens, min(_CHUNK[kind], fits.pass_tokens))

    def _choose(self) -> Decoder | None:
        try:
            decoder = Decoder(self._module, self._device)
            check(self._module, self._device, decoder)
        except Exception as error:  # whatever a model's own code does not like about it
            reason = str(error) if isinstance(error, UnsupportedError) else in_a_line(error)
        else:
            return decoder
        why = f"{type(self._module).__name__} cannot generate by continuous batching: {reason}"
        if self._strict:
            raise ModelError(f"{why} (leave out -M engine=prefix)")
        log.warning("%s. transformers' own way is taken.", why)
        return None

    def _static(self, decoder: Decoder) -> StaticSteps | None:
        """Steps of fixed shapes where the device gains by them; None where they, or their replay, give other numbers."""
        parts = {parameter.device for parameter in self._module.parameters()}
        if len(parts) != 1 or not (self._recorder or self._device.type == "cuda"):
            return None  # a captured step runs on one device
        try:
            graphs = Graphs(self._recorder or CudaRecorder(self._device))
            steps = StaticSteps(decoder, self._device, graphs)
            graphs.worth = 0
            check(self._module, self._device, decoder, steps)
            graphs.worth = WORTH
        except Exception as error:  # whatever a model's own code does not like about it
            reason = str(error) if isinstance(error, UnsupportedError) else in_a_line(error)
            log.warning("Decode steps of %s have no fixed shapes: %s.", type(self._module).__name__, reason)
            return None
        return steps
