"""COMET's networks: an encoder, the mix of its layers, and the heads on top, by the names their checkpoints use.

Shapes: B rows, T tokens, H the encoder's width, L + 1 hidden states (embeddings first).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.scorers.neural.comet.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Heads:
    """What stands on the encoder: kept apart from it, in single precision, whatever the encoder computes in."""

    module: Any
    settings: Settings

    def on(self, device: Any) -> Any:
        return self.module.to(device)


def network(settings: Settings, encoder: Any) -> nn.Module:
    """A module whose parameters have a checkpoint's names; `split` takes it apart."""
    from torch import nn

    width = int(encoder.config.hidden_size)
    module: Any = nn.Module()
    module.encoder = nn.Module()
    module.encoder.model = encoder
    if settings.layer is None:
        module.layerwise_attention = _mixture(int(encoder.config.num_hidden_layers) + 1)
    module.estimator = nn.Module()
    module.estimator.ff = _feed_forward(settings, width * settings.width)
    if settings.labels:
        module.hidden2tag = nn.Linear(width, len(settings.labels) + 1)
    made: nn.Module = module
    return made


def split(module: Any, settings: Settings) -> Any:
    """The encoder, a transformers model, with everything else as its attribute ``heads``, out of reach of its casts."""
    model = module.encoder.model
    del module.encoder
    model.heads = Heads(module, settings)
    return model


def hidden_states(model: Any, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Sequence[Tensor]:
    """The L + 1 hidden states, each (B, T, H)."""
    given = {} if types is None else {"token_type_ids": types}
    states: Sequence[Tensor] = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, **given).hidden_states
    return states


def sentence_vectors(module: Any, settings: Settings, hidden: Sequence[Tensor], mask: Tensor) -> Tensor:
    """What the estimator reads of each row: (B, H), in single precision."""
    if settings.pool == "default":
        return pooled(hidden[-1], mask, "cls")
    if settings.layer is not None:
        return pooled(hidden[settings.layer], mask, settings.pool)
    return _mixed(module.layerwise_attention, settings, hidden, mask)


def estimate(module: Any, vectors: Tensor) -> Tensor:
    """Scores (B,) of the estimator's input (B, H x vectors side by side)."""
    layers = module.estimator.ff
    scores: Tensor = layers(vectors.to(layers[0].weight.dtype)).float().flatten()
    return scores


def side_by_side(mt: Tensor, src: Tensor, ref: Tensor | None = None) -> Tensor:
    """The estimator's input from vectors (B, H): six of them with a reference, four without."""
    import torch

    if ref is None:
        return torch.cat([mt, src, mt * src, (mt - src).abs()], dim=1)
    return torch.cat([mt, ref, mt * ref, (mt - ref).abs(), mt * src, (mt - src).abs()], dim=1)


def word_chances(module: Any, settings: Settings, hidden: Sequence[Tensor]) -> Tensor:
    """Probabilities (B, T, labels + 1) of "no error" and of each severity, token by token."""
    head = module.hidden2tag
    chances: Tensor = head(hidden[settings.word_layer].to(head.weight.dtype)).float().softmax(dim=-1)
    return chances


def sparsemax(scores: Tensor) -> Tensor:
    """The point of the probability simplex nearest to ``scores`` (K,); many are exactly 0 (Martins and Astudillo, 2016)."""
    import torch

    ordered = torch.sort(scores, descending=True).values
    ranks = torch.arange(1, len(scores) + 1, dtype=scores.dtype, device=scores.device)
    sums = torch.cumsum(ordered, dim=0) - 1
    support = int((ordered * ranks > sums).sum())
    return torch.clamp(scores - sums[support - 1] / support, min=0)


def pooled(hidden: Tensor, mask: Tensor, pool: str) -> Tensor:
    """(B, T, H) to (B, H) in single precision: the mean or maximum over real tokens, special ones included, or the first."""
    if pool == "cls":
        return hidden[:, 0].float()
    if pool == "max":
        return hidden.float().masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)
    real = mask.unsqueeze(-1).float()
    return (hidden.float() * real).sum(dim=1) / real.sum(dim=1)


def _mixed(attention: Any, settings: Settings, hidden: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Pooled mix of all layers, gamma * sum_k w_k h_k.

    A mean over tokens and a choice of one token are linear, so each layer is pooled first and vectors are mixed.
    """
    import torch

    scalars = torch.cat(list(attention.scalar_parameters)).float()
    weights = sparsemax(scalars) if settings.sparse else scalars.softmax(dim=0)
    late = settings.pool == "max"
    parts = [h.float() if late else pooled(h, mask, settings.pool) for h in hidden]
    if settings.layer_norm:
        parts = [_normed(part, h, mask) for part, h in zip(parts, hidden, strict=True)]
    mix: Tensor = attention.gamma.float() * sum(w * part for w, part in zip(weights, parts, strict=True))
    return pooled(mix, mask, "max") if late else mix


def _normed(part: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
    """``part`` of a layer by that layer's one mean and one variance a row, over real tokens and dimensions together.

    So COMET's ``layer_norm`` works; it is no normalisation of each token.
    """
    real = mask.unsqueeze(-1).float()
    count = mask.sum(dim=1).float() * hidden.shape[-1]
    mean = (hidden.float() * real).sum(dim=(1, 2)) / count
    variance = (((hidden.float() - mean[:, None, None]) * real) ** 2).sum(dim=(1, 2)) / count
    shape = (-1,) + (1,) * (part.dim() - 1)
    return (part - mean.view(shape)) / (variance + 1e-12).sqrt().view(shape)


def _mixture(states: int) -> Any:
    import torch
    from torch import nn

    mixture: Any = nn.Module()
    mixture.scalar_parameters = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(states)])
    mixture.gamma = nn.Parameter(torch.ones(1))
    return mixture


def _feed_forward(settings: Settings, width: int) -> nn.Sequential:
    from torch import nn

    layers: list[nn.Module] = []
    for size in settings.hidden_sizes:
        layers += [nn.Linear(width, size), getattr(nn, settings.activation)(), nn.Identity()]  # where training has dropout
        width = size
    layers.append(nn.Linear(width, 1))
    if settings.final_activation:
        layers.append(getattr(nn, settings.final_activation)())
    return nn.Sequential(*layers)
