"""``hf:ID-OR-PATH``: any Hugging Face text-classification model, through the encoder service."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np

from evalkit.classifiers.base import BaseClassifier, Counted, Direction, Verdict, counted, highest, threshold_of
from evalkit.encoder.base import (
    Batch,
    Checkpoint,
    Dtype,
    Encoder,
    EncoderSpec,
    Rows,
    Tokens,
    checkpoint,
    encoder,
    wrong_kind,
)
from evalkit.errors import ScorerError
from evalkit.types import Json

Activation = Literal["sigmoid", "softmax"]
_EXPECTED = "a text-classification model (Hugging Face format, with id2label)"
#: Names of labels, without case, blanks and marks, that leave no doubt.
_TOXIC = frozenset(
    {
        "toxic", "toxicity", "severetoxic", "severetoxicity", "obscene", "threat", "insult", "identityhate",
        "identityattack", "sexualexplicit", "hate", "hateful", "hatespeech", "offensive", "abusive", "harassment", "unsafe",
        "profanity",
    }
)  # fmt: skip
_CLEAN = frozenset(
    {
        "neutral", "nontoxic", "nottoxic", "nothate", "nohate", "nonhate", "nothateful", "notoffensive", "nonoffensive",
        "normal", "clean", "benign", "neither", "none", "safe", "ok", "notabusive", "acceptable",
    }
)  # fmt: skip
#: Tokens of a long text that two neighbouring chunks share, at most.
_OVERLAP = 64
_DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16", "float16")


class HFClassifier(BaseClassifier):
    """A sequence classifier by hub id or folder; texts longer than it takes are read in chunks, the highest score counts.

    Args:
        model: a hub id or a folder.
        counts: the labels that count (the highest does), or label -> weight (positive: 1, negative: -1). Without it, labels
            whose names say so are taken; a model whose names do not is refused.
        threshold: from this number on a text has the trait.
        activation: ``sigmoid`` (labels that do not exclude each other) or ``softmax`` (one label a text); by default what
            the checkpoint's ``problem_type`` says, else sigmoid for one label and softmax for several, as in transformers'
            own pipeline.
        measures: the trait in a word, for reports.
        higher_is: what a higher number says: ``worse``, ``better`` or ``neither``.
        dtype, device, batch_tokens, cache, revision: as for evalkit's other networks.
    """

    def __init__(
        self,
        model: str,
        counts: Sequence[str] | Mapping[str, float] | str | None = None,
        threshold: float = 0.5,
        activation: Activation | None = None,
        measures: str = "toxicity",
        higher_is: Direction = "worse",
        dtype: Dtype = "float32",
        device: str = "auto",
        batch_tokens: int | None = None,
        cache: bool = True,
        revision: str | None = None,
    ) -> None:
        self.spec = EncoderSpec(str(model), _one_of("dtype", dtype, _DTYPES), device, revision, batch_tokens, bool(cache))
        self._place = checkpoint(self.spec.model, revision, kind=_EXPECTED)
        self.name = f"hf:{self._place.name}"
        self.measures = str(measures)
        self.direction = _one_of("higher_is", higher_is, ("worse", "better", "neither"))
        config = _config(self._place)
        self.labels = _labels(config, self._place)
        self.threshold = threshold_of(threshold, self.name)
        self.activation = _activation(activation, config, len(self.labels), self.name)
        self.counts = (
            _guessed(self.labels, self.activation, self.name) if counts is None else counted(counts, self.labels, self.name)
        )

    @property
    def version(self) -> str:
        return self._place.fingerprint[:12]

    def parameters(self) -> Mapping[str, Json]:
        import transformers

        major = transformers.__version__.split(".")[0]
        return {"activation": self.activation, "dtype": self.spec.dtype, "transformers": major}

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        if not texts:
            return []
        network = encoder(self.spec, _load, name="classifier")
        chunks = _chunks(network, texts)

        def forward(batch: Batch) -> Any:
            given = {"input_ids": batch.ids, "attention_mask": batch.mask}
            if batch.types is not None:
                given["token_type_ids"] = batch.types
            return network.module(**given, return_dict=True).logits

        found = network.map([row for rows in chunks for row in rows], forward, key="classifier:1", what="classifying")
        verdicts, start = [], 0
        for rows in chunks:
            parts = [self._scores(logits) for logits in found[start : start + len(rows)]]
            verdicts.append(Verdict(highest(parts), chunks=len(rows)))
            start += len(rows)
        return verdicts

    def _scores(self, logits: Rows) -> dict[str, float]:
        x = np.asarray(logits, dtype=np.float64)
        if self.activation == "sigmoid":
            scores = np.exp(-np.logaddexp(0.0, -x))
        else:
            scores = np.exp(x - x.max())
            scores /= scores.sum()
        return dict(zip(self.labels, map(float, scores), strict=True))


def _load(spec: EncoderSpec) -> tuple[Any, Any]:
    """The network with every weight from its checkpoint: transformers would fill a missing head with noise and go on."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    place = checkpoint(spec.model, spec.revision, kind=_EXPECTED)
    where: dict[str, Any] = {"revision": place.revision, "trust_remote_code": False}
    module, info = AutoModelForSequenceClassification.from_pretrained(
        place.source, dtype=torch.float32, output_loading_info=True, **where
    )
    if lacking := info["missing_keys"]:
        raise wrong_kind(place, f"{_EXPECTED} with all its weights (no {min(lacking)})")
    return module.eval(), AutoTokenizer.from_pretrained(place.source, **where)


def _chunks(network: Encoder, texts: Sequence[str]) -> list[list[Tokens]]:
    """Rows of each text: one, or as many as its tokens need, each with the special tokens that the tokeniser puts around."""
    whole = network.tokenise(texts)
    return [[row] if not row.cut else _split(network, text, row) for text, row in zip(texts, whole, strict=True)]


def _split(network: Encoder, text: str, first: Tokens) -> list[Tokens]:
    before = next((i for i, special in enumerate(first.special) if not special), 0)
    after = next((i for i, special in enumerate(reversed(first.special)) if not special), 0)
    head, tail = first.ids[:before], first.ids[len(first.ids) - after :]
    ids = network.tokenizer(text.strip(), add_special_tokens=False, verbose=False)["input_ids"]
    room = len(first.ids) - before - after
    step = max(1, room - min(_OVERLAP, room // 4))
    rows = []
    for start in range(0, max(1, len(ids) - (room - step)), step):
        body = tuple(ids[start : start + room])
        special = (True,) * before + (False,) * len(body) + (True,) * after
        types = None if first.types is None else (first.types[0],) * (len(body) + before + after)
        rows.append(Tokens((*head, *body, *tail), special, types))
    return rows


def _config(place: Checkpoint) -> Mapping[str, Any]:
    path = place.file("config.json")
    if path is None:
        raise wrong_kind(place, _EXPECTED)
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _labels(config: Mapping[str, Any], place: Checkpoint) -> tuple[str, ...]:
    """The names of the outputs in their order; transformers' own ``LABEL_0`` where the file gives none."""
    named = config.get("id2label")
    if not any("SequenceClassification" in str(name) for name in config.get("architectures") or ()) and not named:
        raise wrong_kind(place, _EXPECTED)
    if not isinstance(named, Mapping) or not named:
        return tuple(f"LABEL_{i}" for i in range(int(config.get("num_labels") or 2)))
    by_id = {int(i): str(label) for i, label in named.items()}
    if sorted(by_id) != list(range(len(by_id))) or len(set(by_id.values())) < len(by_id):
        raise wrong_kind(place, f"{_EXPECTED}, one name for each output (id2label is {named!r})")
    return tuple(by_id[i] for i in range(len(by_id)))


def _activation(given: str | None, config: Mapping[str, Any], labels: int, who: str) -> Activation:
    if given is not None:
        return cast(Activation, _one_of("activation", given, ("sigmoid", "softmax")))
    kind = config.get("problem_type")
    if kind == "regression":
        raise ScorerError(f"{who} is a regression model, whose numbers are no probabilities: give activation: sigmoid if so")
    if kind == "multi_label_classification" or (kind is None and labels == 1):
        return "sigmoid"
    return "softmax"


def _guessed(labels: Sequence[str], activation: Activation, who: str) -> Counted:
    """The labels whose names say that they mean toxic. Raises ScorerError where a name leaves a doubt."""
    plain = ["".join(c for c in label.casefold() if c.isalnum()) for label in labels]
    toxic = tuple(label for label, name in zip(labels, plain, strict=True) if name in _TOXIC)
    unclear = [label for label, name in zip(labels, plain, strict=True) if name not in _TOXIC | _CLEAN]
    example = f"counts: [{(unclear or list(labels))[-1]}]"
    if unclear or not toxic:
        what = ", ".join(unclear or labels)
        raise ScorerError(f"{who}: the labels {what} do not say which of them mean toxic: say it with {example}")
    if activation == "softmax" and len(toxic) > 1:
        weights = ", ".join(f"{label}: 1" for label in toxic)
        raise ScorerError(
            f"{who} gives a text one of {', '.join(labels)}, and {len(toxic)} of them mean toxic: say whether the highest "
            f"counts (counts: [{', '.join(toxic)}]) or their sum (counts: {{{weights}}}); or, if a text can have several, "
            "give activation: sigmoid"
        )
    return Counted(toxic)


def _one_of(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    if value not in allowed:
        raise ScorerError(f"classifier parameter {name!r} must be one of {', '.join(allowed)}, not {value!r}")
    return value
