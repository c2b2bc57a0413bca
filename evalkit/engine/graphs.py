"""Capture and replay of decode steps: a replay launches all of a step's kernels at once, without Python in between.

A captured step is bound to addresses: it reads and writes the tensors that it was captured with, and must be forgotten
when one of them goes away.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from evalkit.engine.base import in_a_line, out_of_memory
from evalkit.engine.kvcache import Stem
from evalkit.engine.sampling import Sampler

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

#: A step is captured when it has been run this often: capturing costs as much as a few steps.
WORTH = 3

#: Captured steps that are kept, those used last: each holds memory for its intermediate results and its kernels.
_KEPT = 32


@dataclass(frozen=True, slots=True)
class Key:
    """What is baked into a captured step: ``rows`` that it computes, ``span`` own keys that each of them attends to, the
    ``stems``, and how tokens are chosen: by ``sampler`` (None: the most likely one), or not at all if not ``chooses``.
    """

    rows: int
    span: int
    stems: tuple[Stem, ...]
    sampler: Sampler | None = None
    chooses: bool = True


class Recorder(Protocol):
    """Records what a step computes. `CudaRecorder` here; the tests have one that traces the step on a CPU."""

    def capture(self, step: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        """A call that does again what ``step`` does, on the same tensors, whatever they hold by then.

        ``step`` may be run any number of times meanwhile. The result is good until the next replay of any step.
        """


class CudaRecorder:
    """Records by CUDA graphs. All share one pool of memory: no two of them run at a time, and a result is used before the
    next replay, which may overwrite it.
    """

    def __init__(self, device: Any) -> None:
        import torch

        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def capture(self, step: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        import torch

        with torch.cuda.device(self._device):
            # Libraries make their handles and workspaces on first use of a stream, which must not be captured.
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                step()
            current.wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            # Only this thread's calls must be capturable; others may go on pinning memory.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                result = step()

        def replay() -> torch.Tensor:
            graph.replay()
            return result

        return replay


class Graphs:
    """Runs steps, by replay where they have been captured.

    ``worth``: how often a step is run before it is captured.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder: Recorder | None = recorder
        self.worth = WORTH
        self._captured: OrderedDict[Key, Callable[[], torch.Tensor]] = OrderedDict()
        self._uses: Counter[Key] = Counter()

    def run(self, key: Key, step: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What ``step`` gives, which does the same for the same ``key`` and may be run more than once without harm.

        The result is good until the next run. Raises what ``step`` raises, and RuntimeError where memory runs out; where
        it cannot be captured for another reason, that is logged, and nothing is captured from then on.
        """
        replay = self._captured.get(key) or self._capture(key, step)
        if replay is None:
            return step()
        self._captured[key] = replay
        self._captured.move_to_end(key)
        while len(self._captured) > _KEPT:
            self._captured.popitem(last=False)
        return replay()

    def _capture(self, key: Key, step: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor] | None:
        if self._recorder is None:
            return None
        self._uses[key] += 1
        if self._uses[key] <= self.worth:
            return None
        try:
            return self._recorder.capture(step)
        except Exception as error:  # whatever a model's own code does that cannot be captured
            if out_of_memory(error):
                raise
            log.warning("Decode steps cannot be captured (%s); they are launched one by one.", in_a_line(error))
        self._recorder = None
        self.clear()
        return None

    def forget(self, stem: Stem) -> None:
        """Drop the steps that read the keys and values of ``stem``."""
        for kept in (self._captured, self._uses):
            for key in [key for key in kept if stem in key.stems]:
                del kept[key]

    def clear(self) -> None:
        """Drop all steps: the cache that they write to goes away."""
        self._captured.clear()
        self._uses.clear()
