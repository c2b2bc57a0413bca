"""What a COMET checkpoint says of itself: its ``hparams.yaml``, checked, with COMET's defaults for what it leaves out.

Followed is COMET 2.2.7 (Rei et al., "COMET: A Neural Framework for MT Evaluation", 2020; UniTE, Wan et al., 2022; Kiwi, Rei
et al., 2022; XCOMET, Guerreiro et al., 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evalkit.errors import ScorerError, nearest

Kind = Literal["regression_metric", "referenceless_regression_metric", "unified_metric", "xcomet_metric"]
Segment = Literal["src", "ref"]

#: COMET's name of an encoder -> the ``model_type`` of its configuration, tokens between two segments, whether the joint
#: input carries token types (COMET computes them for RemBERT, too, but its encoder drops them).
ENCODERS: Mapping[str, tuple[str, int, bool]] = {
    "BERT": ("bert", 1, True),
    "MiniLM": ("bert", 2, False),
    "RemBERT": ("rembert", 1, False),
    "XLM-RoBERTa": ("xlm-roberta", 2, False),
    "XLM-RoBERTa-XL": ("xlm-roberta-xl", 2, False),
}
ACTIVATIONS = ("Tanh", "Sigmoid", "ReLU", "GELU", "ELU", "SELU", "SiLU", "Softplus", "LeakyReLU")

_REGRESSION = {"layer_transformation": "softmax", "layer_norm": True, "pool": "avg", "hidden_sizes": [3072, 1024]}
_UNIFIED = {
    "layer_transformation": "sparsemax", "layer_norm": True, "word_layer": 24, "hidden_sizes": [3072, 1024],
    "input_segments": ["mt", "src", "ref"], "word_level_training": False, "error_labels": ["minor", "major"],
}  # fmt: skip
_XCOMET = {
    **_UNIFIED, "layer_norm": False, "word_layer": 36, "hidden_sizes": [2560, 1280], "word_level_training": True,
    "error_labels": ["minor", "major", "critical"],
}  # fmt: skip
#: What COMET's constructors take for keys that a checkpoint does not state (old ones state fewer).
_DEFAULTS: Mapping[Kind, Mapping[str, Any]] = {
    "regression_metric": _REGRESSION,
    "referenceless_regression_metric": {**_REGRESSION, "hidden_sizes": [2048, 1024]},
    "unified_metric": _UNIFIED,
    "xcomet_metric": _XCOMET,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """A checkpoint's architecture. ``layer`` is an index into the hidden states (0 = embeddings), ``None`` their mix.

    ``segments`` are what is read beside the translation; ``labels`` the severities that the word head knows, in its order,
    empty without one; ``word_layer`` the hidden state under it. ``doubt`` is a warning about the checkpoint, if any.
    """

    kind: Kind
    encoder_model: str
    pretrained_model: str
    pool: str
    layer: int | None
    sparse: bool
    layer_norm: bool
    hidden_sizes: tuple[int, ...]
    activation: str
    final_activation: str | None
    segments: tuple[Segment, ...]
    word_layer: int
    labels: tuple[str, ...]
    doubt: str | None = None

    @property
    def joint(self) -> bool:
        """Whether the segments are encoded in one sequence (UniTE, Kiwi, XCOMET), or each by itself."""
        return self.kind in ("unified_metric", "xcomet_metric")

    @property
    def width(self) -> int:
        """Vectors that the estimator reads side by side."""
        return {"regression_metric": 6, "referenceless_regression_metric": 4}.get(self.kind, 1)

    @property
    def separators(self) -> int:
        """Special tokens between two segments of a joint input."""
        return ENCODERS[self.encoder_model][1]

    @property
    def types(self) -> bool:
        """Whether a joint input carries token types."""
        return ENCODERS[self.encoder_model][2]


def settings(where: str, given: Mapping[str, Any], transformation: str | None = None) -> Settings:
    """``given`` (the keys of an ``hparams.yaml``) as checked settings; ``where`` names the file in messages.

    ``transformation`` ("softmax", "sparsemax") stands in for what the file says of the mix of layers. Raises ScorerError.
    """
    kind = _kind(where, given)
    values = {"activations": "Tanh", "final_activation": None, **_DEFAULTS[kind], **given}
    joint = kind in ("unified_metric", "xcomet_metric")
    read = _Reader(where, values)
    encoder_model = read.one_of("encoder_model", tuple(ENCODERS))
    labelled = joint and (kind == "xcomet_metric" or bool(values["word_level_training"]))
    stated = read.one_of("layer_transformation", ("softmax", "sparsemax", "sparsemax_patch"))
    return Settings(
        kind=kind,
        encoder_model=encoder_model,
        pretrained_model=read.text("pretrained_model"),
        pool="cls" if joint else read.one_of("pool", ("avg", "cls", "max", "default")),
        layer=read.layer("sent_layer" if joint else "layer"),
        # "sparsemax_patch" is how checkpoints that were trained with softmax by mistake are marked since (COMET issue 195)
        sparse=(transformation or stated) == "sparsemax",
        layer_norm=read.switch("layer_norm"),
        hidden_sizes=read.sizes("hidden_sizes"),
        activation=read.activation("activations") or "Tanh",
        final_activation=read.activation("final_activation"),
        segments=_segments(kind, read),
        word_layer=read.whole("word_layer") if labelled else 0,
        labels=read.texts("error_labels") if labelled else (),
        doubt=_doubt(where, joint and stated == "sparsemax" and transformation is None),
    )


def _kind(where: str, given: Mapping[str, Any]) -> Kind:
    name = given.get("class_identifier")
    if name == "ranking_metric":
        raise ScorerError(
            f"{where}: a ranking metric, which orders translations and gives no score; take a regression_metric checkpoint "
            "(Unbabel/wmt22-comet-da)"
        )
    for kind in _DEFAULTS:
        if kind == name:
            return kind
    hint = nearest(str(name), _DEFAULTS) or f"; evalkit reads {', '.join(_DEFAULTS)}"
    raise ScorerError(f"{where}: class_identifier {name!r} is no COMET class that evalkit knows{hint}")


def _segments(kind: Kind, read: _Reader) -> tuple[Segment, ...]:
    if kind == "referenceless_regression_metric":
        return ("src",)
    if kind != "unified_metric":
        return ("src", "ref")
    named = read.texts("input_segments")
    if "mt" not in named or not set(named) <= {"mt", "src", "ref"} or len(set(named)) < 2:
        raise read.wrong("input_segments", "a list of 'mt' and one or both of 'src' and 'ref'")
    segments: tuple[Segment, ...] = ("src", "ref")
    return tuple(segment for segment in segments if segment in named)


def _doubt(where: str, old: bool) -> str | None:
    if not old:
        return None
    return (
        f"{where} says layer_transformation: sparsemax. The published Kiwi, UniTE and XCOMET models were trained with "
        "softmax, and their files say sparsemax_patch since COMET 2.2.5: if this is an old copy of one of them, the scores "
        "are not the published ones; fetch it again or set layer_transformation=softmax"
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """The values of one file, each checked as it is read."""

    where: str
    values: Mapping[str, Any]

    def wrong(self, key: str, expected: str) -> ScorerError:
        found = f"{key} is {self.values[key]!r}" if key in self.values else f"{key} is missing"
        return ScorerError(f"{self.where}: {found}; expected {expected}")

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.values.get(key)
        if value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}")
        return str(value)

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a name or directory")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key)
        if not isinstance(value, list | tuple) or not value or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of names")
        return tuple(value)

    def switch(self, key: str) -> bool:
        value = self.values.get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def whole(self, key: str) -> int:
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.wrong(key, "a layer's number, 0 or more")
        return value

    def layer(self, key: str) -> int | None:
        return None if self.values.get(key, "mix") == "mix" else self.whole(key)

    def sizes(self, key: str) -> tuple[int, ...]:
        value = self.values.get(key)
        value = [value] if isinstance(value, int) else value
        if not isinstance(value, list | tuple) or not value or not all(type(item) is int and item > 0 for item in value):
            raise self.wrong(key, "a list of layer sizes")
        return tuple(value)

    def activation(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is None or value == "None":
            return None
        found = next((name for name in ACTIVATIONS if name.lower() == str(value).lower()), None)
        if found is None:
            raise self.wrong(key, f"one of {', '.join(ACTIVATIONS)}")
        return found
