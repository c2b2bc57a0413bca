"""The self-check of continuous batching: made-up texts continued in slots, against the model's own forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.engine.attend import Pass
from evalkit.engine.decode import Decoder
from evalkit.engine.head import UnsupportedError
from evalkit.engine.interface import text_config
from evalkit.engine.kvcache import KVCache, Stem
from evalkit.engine.steps import Row, StaticSteps

if TYPE_CHECKING:
    import torch

#: Largest difference of a log-probability in single precision.
_CLOSE = 2e-3

#: In half precision: the largest typical difference, as a share of what hiding the context changes.
_SHARE = 0.1

#: How far the same step may be apart from itself, as a share of the largest logit.
_OFF = 0.02

#: Tokens of the prompts behind their stem (the last one has none), and tokens that follow one by one.
_STEM, _TAILS, _STEPS = 9, (6, 2, 4, 5), 2


def check(module: Any, device: Any, decoder: Decoder, steps: StaticSteps | None = None) -> None:
    """Raises UnsupportedError where the two ways disagree by more than rounding, or a layer attends in another way.

    With ``steps``, what follows the prompts is computed by these.
    """
    import torch

    draw = np.random.default_rng(0)
    size = int(text_config(module).vocab_size)
    stem = Stem(draw.integers(0, size, _STEM).tolist(), 0)
    tails = [draw.integers(0, size, length + _STEPS) for length in _TAILS]
    stems = [stem] * (len(tails) - 1) + [None]
    got = torch.stack(_continued(decoder, stem, stems, tails, steps), dim=1).float()
    texts = [[*(one.tokens if one else ()), *tail.tolist()] for one, tail in zip(stems, tails, strict=True)]
    truth = _plainly(module, device, texts)
    off = (torch.log_softmax(got.cpu(), -1) - truth).abs()
    if next(module.parameters()).dtype in (torch.float32, torch.float64):
        if not off.max() <= _CLOSE:
            raise UnsupportedError(f"a self-check found log-probabilities {float(off.max()):.2g} apart")
        return
    blind = _plainly(module, device, [text[-_STEPS - 1 :] for text in texts])
    if not off.mean() <= _SHARE * (truth - blind).abs().mean():
        raise UnsupportedError(f"a self-check found log-probabilities {float(off.mean()):.2g} apart on average")


def _continued(
    decoder: Decoder, stem: Stem, stems: list[Stem | None], tails: list[Any], steps: StaticSteps | None
) -> list[torch.Tensor]:
    """Logits (rows, vocabulary) after the prompts, and after each of the tokens that follow but the last."""

    def numbers(values: Any) -> Any:
        return np.array(values, dtype=np.int64)

    stem.cache = KVCache(1, _STEM)
    first = Pass(stem.cache, 0, numbers(stem.tokens), numbers([_STEM]), numbers([0]), numbers([0]), [None])
    decoder.run(first, logits=False)
    decoder.agree(first)
    cache = KVCache(len(tails), max(_TAILS) + _STEPS + 1)
    base = numbers([one.end if one else 0 for one in stems])
    ids = np.concatenate([tail[:length] for tail, length in zip(tails, _TAILS, strict=True)])
    results = [decoder.run(Pass(cache, 0, ids, numbers(_TAILS), numbers([0] * len(tails)), base, stems))]
    if steps is not None:
        try:
            return [*results, *_stepped(steps, cache, stems, tails)]
        finally:
            steps.close()
    for step in range(_STEPS):
        done = numbers(_TAILS) + step
        ids = numbers([tail[at] for tail, at in zip(tails, done, strict=True)])
        results.append(decoder.run(Pass(cache, 0, ids, numbers([1] * len(tails)), done, base, stems)))
    return results


def _stepped(steps: StaticSteps, cache: KVCache, stems: list[Stem | None], tails: list[Any]) -> list[torch.Tensor]:
    """Logits after each of the tokens that follow; the last ones again, to see that the device goes on by itself."""
    limit = max(_TAILS) + _STEPS
    results: list[torch.Tensor] = []
    steps.open(cache)

    def place(tokens: Any, step: int) -> int:
        done = [length + step for length in _TAILS]
        rows = [
            Row(int(token), None, own, one.end if one else 0, limit, one, 0, step)
            for token, own, one in zip(tokens, done, stems, strict=True)
        ]
        steps.place(rows)
        return max(done)

    for step in range(_STEPS):
        longest = place([tail[length + step] for tail, length in zip(tails, _TAILS, strict=True)], step)
        results.append(steps.logits(len(tails), longest).clone())
    chosen = steps.launch(len(tails), longest, None)()
    alone = steps.logits(len(tails), longest + 1).clone()
    place(chosen, _STEPS)
    told = steps.logits(len(tails), longest + 1)
    best = results[-1].max(dim=-1).values
    gap = best - results[-1][range(len(tails)), chosen.tolist()]
    if not max(gap.abs().max(), (told - alone).abs().max()) <= _OFF * best.abs().max():
        raise UnsupportedError("a self-check found that a step does not go on from the one before")
    return results


def _plainly(module: Any, device: Any, texts: list[list[int]]) -> torch.Tensor:
    """Log-probabilities (texts, tokens, vocabulary) after the last tokens of each text, in float32."""
    import torch

    ids = torch.zeros((len(texts), max(map(len, texts))), dtype=torch.long)
    for row, text in enumerate(texts):  # padded on the right, which a causal model cannot see
        ids[row, : len(text)] = torch.tensor(text)
    logits = module(input_ids=ids.to(device), use_cache=False).logits
    ends = torch.tensor([len(text) for text in texts])[:, None] - torch.arange(_STEPS + 1, 0, -1)
    last = logits[torch.arange(len(texts), device=device)[:, None], ends.to(device)]
    return torch.log_softmax(last.float().cpu(), dim=-1)
