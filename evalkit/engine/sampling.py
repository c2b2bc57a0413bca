"""The next token: the most likely one, or one drawn from what the sampling settings leave of the distribution.

To draw, Gumbel noise is added to the warped log-probabilities and the maximum taken, which draws from the softmax exactly
(Gumbel 1954; Yellott 1977). The noise is a function of a sequence's seed and of how many tokens it has (see
`evalkit.engine.draws`), so its draws do not depend on its batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.engine.base import WARPERS
from evalkit.engine.draws import gumbel, signed

if TYPE_CHECKING:
    import torch

#: Of a checkpoint's own generation settings, those that leave the most likely token as it is, or that are heeded here.
_HEEDED = frozenset({*WARPERS, "repetition_penalty"})
_HARMLESS = frozenset(
    {
        "_from_model_config",
        "bos_token_id",
        "cache_implementation",
        "decoder_start_token_id",
        "disable_compile",
        "do_sample",
        "early_stopping",
        "eos_token_id",
        "epsilon_cutoff",
        "eta_cutoff",
        "length_penalty",
        "low_memory",
        "max_length",
        "max_matching_ngram_size",
        "max_new_tokens",
        "pad_token_id",
        "top_h",
        "transformers_version",
        "use_cache",
    }
)
#: Settings of assisted generation, which is off without an assistant.
_ASSISTED = ("num_assistant", "assistant_", "target_lookbehind")
_ONE = frozenset({"num_beams", "num_beam_groups", "num_return_sequences", "encoder_repetition_penalty"})


def understood(settings: Mapping[str, Any], own: Any) -> bool:
    """Whether the next token under ``settings``, and the checkpoint's ``own`` generation config, is what is drawn here.

    Searches (beams), constraints and other penalties are not.
    """
    if not set(settings) <= _HEEDED | {"do_sample", "num_beams"} or int(settings.get("num_beams", 1)) != 1:
        return False
    given = own.to_dict() if own is not None else {}
    return all(
        name in _HEEDED | _HARMLESS
        or name.startswith(_ASSISTED)
        or value in (None, False, 0, [], {})
        or (name in _ONE and value == 1)
        for name, value in given.items()
    )


def chosen(settings: Mapping[str, Any], own: Any, name: str, default: Any) -> Any:
    """What a request says, else the checkpoint's ``own`` generation config, else ``default``."""
    return next((v for v in (settings.get(name), getattr(own, name, None)) if v is not None), default)


class Sampler:
    """Draws under one set of settings. Raises ValueError where transformers does not take a value.

    What a request leaves open is what ``generate`` itself would use: the checkpoint's setting, else top_k 50.
    """

    def __init__(self, settings: Mapping[str, Any], own: Any) -> None:
        import transformers

        self._warpers = []
        for name, (kind, off) in WARPERS.items():
            value = chosen(settings, own, name, 50 if name == "top_k" else off)
            if value != off:
                self._warpers.append(getattr(transformers, kind)(value))

    def noisy(self, scores: torch.Tensor, seeds: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """``scores`` (rows, vocabulary) of which the maximum is the drawn token.

        ``seeds`` and ``steps`` (rows,) are int64 on the same device: each row's seed, and how many new tokens it has.
        """
        import torch

        for warp in self._warpers:
            scores = warp(None, scores)  # none of them looks at the tokens before
        return torch.log_softmax(scores, dim=-1).add_(gumbel(seeds, steps, scores.shape[-1]))


class Chooser:
    """How the next token of one sequence is chosen under ``settings``: a penalty, and a sampler if it is drawn.

    Raises ValueError for values out of range.
    """

    def __init__(self, settings: Mapping[str, Any], own: Any) -> None:
        from transformers import RepetitionPenaltyLogitsProcessor

        self.penalty = float(chosen(settings, own, "repetition_penalty", 1.0))
        if self.penalty != 1.0:
            RepetitionPenaltyLogitsProcessor(self.penalty)  # says what is wrong with it
        self.sampler = Sampler(settings, own) if settings.get("do_sample", False) else None

    @property
    def plain(self) -> bool:
        return self.penalty == 1.0 and self.sampler is None


class Choice:
    """One sequence's way of choosing: what its settings share with others', its own seed, the tokens it has seen."""

    def __init__(self, chooser: Chooser, seed: int, prompt: Sequence[int]) -> None:
        import torch

        self.chooser = chooser
        self.seed = signed(seed)
        self.seen = torch.tensor(sorted(set(prompt)), dtype=torch.long) if chooser.penalty != 1.0 else None


def choose(logits: torch.Tensor, choices: Sequence[Choice], steps: Sequence[int]) -> list[int]:
    """The next token of each row of ``logits`` (rows, vocabulary), which may be overwritten.

    ``steps``: how many new tokens each row's sequence has.
    """
    import torch

    if all(choice.chooser.plain for choice in choices):
        return [int(token) for token in largest(logits).tolist()]
    scores = logits.float()
    kinds: dict[int, list[int]] = {}
    for row, choice in enumerate(choices):
        kinds.setdefault(id(choice.chooser), []).append(row)
    tokens = torch.empty(len(choices), dtype=torch.long, device=logits.device)
    for rows in kinds.values():
        index = torch.tensor(rows, device=logits.device)
        some, ways = scores.index_select(0, index), [choices[row] for row in rows]
        chooser = ways[0].chooser
        if chooser.penalty != 1.0:
            some = _penalised(some, ways, chooser.penalty)
        if chooser.sampler is not None:
            drawn = torch.tensor([[way.seed for way in ways], [steps[row] for row in rows]]).to(logits.device)
            some = chooser.sampler.noisy(some, drawn[0], drawn[1])
        tokens[index] = largest(some)
    result = [int(token) for token in tokens.tolist()]
    for choice, token in zip(choices, result, strict=True):
        if choice.seen is not None:
            choice.seen = torch.cat([choice.seen, torch.tensor([token])])
    return result


def _penalised(scores: torch.Tensor, choices: Sequence[Choice], penalty: float) -> torch.Tensor:
    """Tokens that a sequence has seen made less likely, as in transformers (CTRL, Keskar et al. 2019)."""
    import torch

    seen = [choice.seen for choice in choices if choice.seen is not None]
    rows = torch.repeat_interleave(torch.arange(len(seen)), torch.tensor([len(one) for one in seen]))
    where = (rows.to(scores.device), torch.cat(seen).to(scores.device))
    values = scores[where]
    scores[where] = torch.where(values < 0, values * penalty, values / penalty)
    return scores


def largest(scores: torch.Tensor) -> torch.Tensor:
    """Each row's argmax (the first of equals). On a CPU, maxima of blocks first: argmax itself is several times slower."""
    block = math.gcd(scores.shape[-1], 1024)
    if scores.device.type != "cpu" or block < 16:
        return scores.argmax(dim=-1)
    blocks = scores.reshape(len(scores), -1, block)
    best = blocks.amax(dim=-1).argmax(dim=-1)
    inside = blocks.gather(1, best[:, None, None].expand(-1, 1, block)).squeeze(1).argmax(dim=-1)
    return best * block + inside
