"""BARTScore's network: how likely a seq2seq model finds a target text when it has read a source text."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.encoder.base import Batch, Checkpoint, Encoder, EncoderSpec, Forward, Tokens
from evalkit.errors import ScorerError
from evalkit.scorers.neural.whole_models import load_whole, require_family

EXPECTED = "a sequence-to-sequence model (Hugging Face format, such as BART, T5 or mBART)"
_KEY = "bartscore:1"


def require_kind(place: Checkpoint) -> None:
    """Raises ScorerError for a checkpoint of another kind, by its configuration alone."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES as FAMILIES

    require_family(place, FAMILIES, EXPECTED)


def load(spec: EncoderSpec, weights: Path | None = None) -> tuple[Any, Any]:
    """The network and its tokeniser; ``weights``: a state dict (``bart.pth``) that takes the place of the checkpoint's own.

    Raises ScorerError where the checkpoint is none of a seq2seq model, or where ``weights`` do not fit it.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES as FAMILIES

    module, tokenizer = load_whole(spec, AutoModelForSeq2SeqLM, FAMILIES, EXPECTED, lacking_is_fine=weights is not None)
    if weights is not None:
        _put(module, weights, spec.model)
    _decoder_input(module, torch.tensor([[1, 2]]), spec.model)
    return module, tokenizer


def _put(module: Any, path: Path, model: str) -> None:
    """Load the state dict at ``path``, tensors only; it must name every parameter that is not tied to one it names."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ScorerError(f"weights {path} are no PyTorch state dict of tensors: {str(error).splitlines()[0]}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    own = module.state_dict()
    strange = sorted(set(state) - set(own))
    odd = [name for name in state if name in own and state[name].shape != own[name].shape]
    held = {own[name].data_ptr() for name in state if name in own}
    lacking = [name for name, tensor in own.items() if name not in state and tensor.data_ptr() not in held]
    for what, names in (("lack", lacking), ("have a strange", strange), ("have another shape of", odd)):
        if names:
            raise ScorerError(f"weights {path} do not fit {model}: they {what} {names[0]} ({len(names)} such in all)")
    module.load_state_dict(state, strict=False)


def pair_rows(network: Encoder, sources: Sequence[str], targets: Sequence[str], max_length: int) -> list[Tokens]:
    """A row for each source and target, either cut at ``max_length`` tokens (or what the network takes, if less)."""
    most = min(max_length, network.max_tokens())
    texts = network.tokenise([*sources, *targets], max_tokens=most)
    return [
        Tokens(source.ids, source.special, None, target.ids, source.cut + target.cut, source.blank or target.blank)
        for source, target in zip(texts[: len(sources)], texts[len(sources) :], strict=True)
    ]


def log_likelihoods(network: Encoder, rows: Sequence[Tokens], key: str = "") -> list[float]:
    """Mean log-probability of each row's target tokens, special ones included, given the tokens before and the source.

    ``key`` tells weights apart that the network's fingerprint does not know.
    """
    found = network.map(rows, _forward(network.module), key=f"{_KEY}:{key}", what="BARTScore")
    return [float(value) for value in found]


def _forward(module: Any) -> Forward:
    def means(batch: Batch) -> list[Any]:
        before = _decoder_input(module, batch.target, "")
        logits = module(
            input_ids=batch.ids, attention_mask=batch.mask, decoder_input_ids=before, use_cache=False, return_dict=True
        ).logits
        return [
            _mean(logits[i, : len(row.target)], batch.target[i, : len(row.target)])
            for i, row in enumerate(batch.rows)
            if row.target is not None
        ]

    return means


def _mean(logits: Any, target: Any) -> Any:
    """Mean log-probability of ``target`` (n,) under ``logits`` (n, vocabulary), a row at a time to spare memory."""
    wide = logits.float()
    return (wide.gather(1, target[:, None])[:, 0] - wide.logsumexp(dim=1)).mean()


def _decoder_input(module: Any, target: Any, model: str) -> Any:
    """What the decoder reads to write ``target``: the model's own shift to the right, as ``labels=`` would do it."""
    own = getattr(module, "prepare_decoder_input_ids_from_labels", None)
    start = module.config.decoder_start_token_id
    try:
        if own is not None:
            return own(labels=target)
    except ValueError:
        start = None
    if start is None:
        raise ScorerError(
            f"{model} does not say which token its decoder starts with (decoder_start_token_id in config.json)"
        )
    import torch

    return torch.cat([target.new_full((len(target), 1), start), target[:, :-1]], dim=1)
