"""What is captured, when, and for how long it is kept."""

from __future__ import annotations

import contextlib
import types

import pytest
from tape import Broken, Tape

from evalkit.engine import graphs
from evalkit.engine.graphs import CudaRecorder, Graphs, Key
from evalkit.engine.kvcache import Stem


def counting():
    """A step that adds a cell to a sum, and both tensors."""
    import torch

    cell, total = torch.zeros(3), torch.zeros(3)

    def step():
        return total + cell

    return step, cell, total


def test_a_step_is_captured_when_it_has_been_used_a_few_times():
    step, cell, _ = counting()
    tape = Tape()
    kept = Graphs(tape)
    for use in range(6):
        cell.fill_(use)
        assert kept.run(Key(4, 128, ()), step).tolist() == [use] * 3
        assert tape.captures == (use >= graphs.WORTH)
    assert tape.replays == 6 - graphs.WORTH
    kept.run(Key(8, 128, ()), step)
    assert tape.captures == 1


def test_the_tape_bakes_in_what_the_host_says_and_refuses_to_be_asked():
    step, cell, total = counting()
    number = 1
    replay = Tape().capture(lambda: step() * number)
    number = 5
    cell.fill_(3)
    total.fill_(1)
    assert replay().tolist() == [4] * 3
    with pytest.raises(RuntimeError, match="capturing"):
        Tape().capture(lambda: step() * float(cell[0]))


def test_only_so_many_are_kept_those_used_last(monkeypatch):
    monkeypatch.setattr(graphs, "_KEPT", 2)
    step, _, _ = counting()
    tape = Tape()
    kept = Graphs(tape)
    kept.worth = 0
    for rows in (1, 2, 1, 3, 1, 2):
        kept.run(Key(rows, 128, ()), step)
    assert tape.captures == 4  # the 2 went when the 3 came


def test_steps_of_a_stem_or_a_cache_that_goes_away_are_forgotten():
    step, _, _ = counting()
    tape, stem, other = Tape(), Stem([1, 2], 0), Stem([3], 0)
    kept = Graphs(tape)
    kept.worth = 0
    keys = [Key(2, 128, stems) for stems in ((), (stem,), (stem, other), (other,))]
    for key in keys:
        kept.run(key, step)
    kept.forget(stem)
    for key in keys:
        kept.run(key, step)
    assert tape.captures == 4 + 2
    kept.clear()
    kept.run(keys[0], step)
    assert tape.captures == 7


def test_memory_that_runs_out_while_capturing_is_told():
    step, _, _ = counting()
    kept = Graphs(Broken(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")))
    kept.worth = 0
    with pytest.raises(RuntimeError, match="out of memory"):
        kept.run(Key(2, 128, ()), step)


def test_cuda_graphs_are_warmed_up_and_captured_on_one_stream_and_share_their_pool(monkeypatch):
    """The calls, in order, on a stand-in for torch.cuda."""
    import torch

    calls = []

    class Stream:
        def __init__(self, device=None):
            self.name = f"side of {device}"

        def wait_stream(self, other):
            calls.append(f"{self.name} waits for {other.name}")

    @contextlib.contextmanager
    def on(name):
        calls.append(f"on {name}")
        yield
        calls.append(f"off {name}")

    class Graph:
        def replay(self):
            calls.append("replay")

    def recording(graph, *, pool, stream, capture_error_mode):
        assert isinstance(graph, Graph)
        return on(f"graph in {pool}, {stream.name}, {capture_error_mode}")

    current = types.SimpleNamespace(
        name="current", wait_stream=lambda other: calls.append(f"current waits for {other.name}")
    )
    for name, value in {
        "Stream": Stream,
        "CUDAGraph": Graph,
        "graph": recording,
        "graph_pool_handle": lambda: "pool",
        "current_stream": lambda: current,
        "device": lambda device: on(device),
        "stream": lambda stream: on(stream.name),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    replay = CudaRecorder("gpu 1").capture(lambda: calls.append("step") or "result")
    once = ["on gpu 1", "side of gpu 1 waits for current", "on side of gpu 1", "step", "off side of gpu 1"]
    graph = "graph in pool, side of gpu 1, thread_local"
    assert calls == [*once, "current waits for side of gpu 1", f"on {graph}", "step", f"off {graph}", "off gpu 1"]
    assert [replay(), replay()] == ["result"] * 2 and calls[-2:] == ["replay"] * 2


def test_on_a_gpu_the_texts_are_those_of_steps_launched_one_by_one():
    import copy

    import torch
    from test_generate_slots import WIDE, Letters, model, same, some_jobs, texts

    from evalkit.engine.continuous import ContinuousGenerator

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    gpu = torch.device("cuda")
    module = copy.deepcopy(model("gemma3")).to(gpu)
    engine = ContinuousGenerator(module, Letters(), gpu, None, limits=WIDE, strict=True)
    assert engine.able and engine._steps is not None
    replayed = texts(engine, some_jobs())
    assert engine._steps._graphs._recorder is not None
    engine._steps = None
    same(replayed, texts(engine, some_jobs()))
