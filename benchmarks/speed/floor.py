"""The arithmetic floor: how fast a workload could be if nothing but the model's own products took time.

The products of the layers run at the speed this machine reaches on the model's own weights and shapes, each distinct token
once, the vocabulary once for each scored position; attention runs at that speed too. Norms, rotary positions, softmax,
tokenising and everything around them are free. A decode step costs what one pass of its live sequences costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

#: Tokens in a pass, for the rates.
_ROWS = (1, 2, 4, 8, 16, 32, 256, 512, 1024)
_WIDE = 256
_REPEATS = 3


def rates(job: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of all the layers' products, and of the output layer's, by tokens in a pass; parameters of both."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=getattr(torch, job["dtype"])).eval().to(job["device"])
    head = model.get_output_embeddings()
    body = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear) and layer is not head]
    config = model.config
    found: dict[str, Any] = {
        "body": sum(layer.weight.numel() for layer in body),
        "head": head.weight.numel(),
        "layers": config.num_hidden_layers,
        "width": config.num_attention_heads
        * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads),
        "body_seconds": {},
        "head_seconds": {},
    }
    with torch.inference_mode():
        for rows in _ROWS:
            inputs = {layer.in_features: torch.randn(rows, layer.in_features).to(head.weight) for layer in [*body, head]}
            found["body_seconds"][rows] = _best([(layer, inputs[layer.in_features]) for layer in body])
            found["head_seconds"][rows] = _best([(head, inputs[head.in_features])])
    return found


def _best(calls: Sequence[tuple[Callable[[Any], Any], Any]]) -> float:
    """The least seconds of several rounds of all calls, the first round left out."""
    import torch

    times = []
    for _ in range(_REPEATS + 1):
        begun = time.perf_counter()
        for layer, inputs in calls:
            layer(inputs)
        if calls[0][1].device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def counts(job: Mapping[str, Any]) -> dict[str, int]:
    """Of the requests: ``tokens``, ``rows`` and ``pairs`` as `trie_counts` has them; ``each`` counts tokens unshared."""
    from transformers import AutoConfig, AutoTokenizer

    from evalkit.engine.base import ScoreJob
    from evalkit.models.tokens import Tokens, resolve_max_length

    tokenizer = AutoTokenizer.from_pretrained(job["folder"])
    tokens = Tokens(tokenizer, resolve_max_length(AutoConfig.from_pretrained(job["folder"]), tokenizer))
    asked = [request for sample in job["requests"] for request in sample]
    if asked[0]["params"]:
        jobs = [ScoreJob(ids, [0]) for ids in tokens.prompts([q["prompt"] for q in asked])]
    else:
        cuts = tokens.pairs([(q["prompt"], q["rest"]) for q in asked])
        jobs = [ScoreJob(cut.context, cut.continuation) for cut in cuts]
    return {**counted(jobs), "each": sum(len(one.context) + len(one.continuation) - 1 for one in jobs)}


def counted(jobs: Sequence[Any]) -> dict[str, int]:
    """`trie_counts` of ``jobs``, each an `evalkit.engine.base.ScoreJob`."""
    import numpy as np

    from evalkit.engine.plan import Trie

    trie = Trie(jobs)
    scored = trie.lengths - np.maximum.reduceat(trie.sizes, trie.owned[:-1])
    return trie_counts(trie.lengths.tolist(), trie.shared.tolist(), scored.tolist())


def trie_counts(lengths: Sequence[int], shared: Sequence[int], scored: Sequence[int]) -> dict[str, int]:
    """Of sorted token rows: distinct ``tokens``, distinct scored positions (``rows``), and the ``pairs`` that attention has.

    ``shared[i]`` first tokens of row ``i`` are those of the row before; predictions from ``scored[i]`` on are needed.
    """
    tokens = rows = pairs = 0
    needed: list[bool] = []  # of the positions on the way to the row at hand: whether they are counted in ``rows``
    for length, common, first in zip(lengths, shared, scored, strict=True):
        del needed[common:]
        needed.extend([False] * (length - common))
        for position in range(first, length):
            rows += not needed[position]
            needed[position] = True
        tokens += length - common
        pairs += (length * (length + 1) - common * (common + 1)) // 2
    return {"tokens": tokens, "rows": rows, "pairs": pairs}


def gflops(rates: Mapping[str, Any], part: str) -> float:
    """The best speed reached in the ``body`` or the ``head``, in GFLOP/s."""
    seconds = {int(rows): float(one) for rows, one in rates[f"{part}_seconds"].items()}
    return max(2.0 * int(rates[part]) * rows / one for rows, one in seconds.items() if rows >= _WIDE) / 1e9


def floor_seconds(rates: Mapping[str, Any], counts: Mapping[str, int], lengths: Sequence[int] = ()) -> float:
    """The floor of a workload; ``lengths`` are the numbers of generated tokens of its sequences, where it generates."""
    body, head = gflops(rates, "body") * 1e9, gflops(rates, "head") * 1e9
    attention = 4 * rates["layers"] * rates["width"] * counts["pairs"]
    passes: float = (2 * rates["body"] * counts["tokens"] + attention) / body + 2 * rates["head"] * counts["rows"] / head
    return passes + decode_seconds(rates, lengths)


def decode_seconds(rates: Mapping[str, Any], lengths: Sequence[int]) -> float:
    """All steps after the first token, the live sequences of each together."""
    steps = [sum(length > step for length in lengths) for step in range(1, max(lengths, default=0))]
    return sum(_between(rates["body_seconds"], live) + _between(rates["head_seconds"], live) for live in steps)


def _between(seconds: Mapping[Any, float], rows: int) -> float:
    """Seconds of a pass of ``rows`` tokens, on the line between the measured sizes."""
    known = sorted((int(size), one) for size, one in seconds.items())
    for (low, start), (high, end) in pairwise(known):
        if rows <= high:
            return start + (end - start) * max(rows - low, 0) / (high - low)
    return known[-1][1] * rows / known[-1][0]
