"""The output layer: log-probabilities and greediness tile by tile are those of the whole row."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import evalkit.engine.head as head_module  # noqa: E402
from evalkit.engine.head import Head, Picked  # noqa: E402
from evalkit.engine.layout import Layout  # noqa: E402

VOCABULARY, SIZE = 101, 16


class Tiny(torch.nn.Module):
    def __init__(self, dtype, bias):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(SIZE, VOCABULARY, bias=bias).to(dtype)

    def get_output_embeddings(self):
        return self.layer


def scored(module, hidden, sources, targets):
    head = Head(module)
    head.direct = True
    nothing = np.zeros((0, 2), dtype=np.int64)
    layout = Layout(0, nothing, nothing, nothing, nothing, nothing.astype(bool), nothing, sources, targets, sources)
    with torch.no_grad():
        return head.score(Picked(layout, [hidden]), None, layout)()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tile", [1, 7, 100, 2**21])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", ["cpu", "gpu"])
def test_tiles_do_not_show(way, dtype, tile, bias, monkeypatch):
    monkeypatch.setattr(head_module, "_TILE", {"cpu": tile * 12})
    if way == "gpu":  # its way of going over a tile, which gives the same anywhere
        monkeypatch.setattr(head_module._Running, "add", head_module._Running.add_unseen)
    monkeypatch.setattr(head_module, "_ROWS", 12)
    module = Tiny(dtype, bias)
    draw = np.random.default_rng(1)
    hidden = torch.from_numpy(draw.normal(size=(40, SIZE))).to(dtype) * 3
    sources = draw.integers(0, 40, 90)
    targets = draw.integers(0, VOCABULARY, 90)
    with torch.no_grad():
        rows = module.layer(hidden).argmax(-1).numpy()
        exact = torch.log_softmax(hidden.double() @ module.layer.weight.double().T + (module.layer.bias if bias else 0), -1)
    targets[::2] = rows[sources[::2]]  # so that half of them are the most likely ones
    logprobs, greedy = scored(module, hidden, sources, targets)
    assert np.array_equal(greedy, rows[sources] == targets)
    close = 1e-5 if dtype is torch.float32 else 0.05
    assert np.abs(logprobs - exact.numpy()[sources, targets]).max() < close


@pytest.mark.parametrize("tile", [1, 3, 64, 2**21])
@pytest.mark.parametrize("way", ["cpu", "gpu"])
def test_of_equally_likely_tokens_the_first_is_the_most_likely(way, tile, monkeypatch):
    monkeypatch.setattr(head_module, "_TILE", {"cpu": tile})
    if way == "gpu":
        monkeypatch.setattr(head_module._Running, "add", head_module._Running.add_unseen)
    module = Tiny(torch.float32, bias=False)
    with torch.no_grad():
        module.layer.weight.zero_()
        module.layer.weight[[5, 6, 70]] = 1.0
    hidden = torch.ones(1, SIZE)
    targets = np.array([5, 6, 70, 0])
    logprobs, greedy = scored(module, hidden, np.zeros(4, dtype=np.int64), targets)
    assert greedy.tolist() == [True, False, False, False]
    assert logprobs[0] == logprobs[1] == logprobs[2] > logprobs[3]


def test_what_is_no_number_stays_none():
    module = Tiny(torch.float32, bias=False)
    with torch.no_grad():
        module.layer.weight[3] = torch.nan
    logprobs, _ = scored(module, torch.ones(1, SIZE), np.zeros(1, dtype=np.int64), np.array([7]))
    assert np.isnan(logprobs[0])
