"""BLEURT's network and its two tokenisers, from checkpoints in Hugging Face format.

BLEURT (Sellam, Das and Parikh, 2020; BLEURT-20: Pu et al., 2021) is a BERT or RemBERT with a pooler and one linear output,
so transformers' own classes compute it. The keys of a checkpoint converted to PyTorch (``model_type`` ``bleurt``) are
renamed; one that already is a ``BertForSequenceClassification`` with one output loads as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from evalkit.encoder.base import Checkpoint, EncoderSpec, Tokens, checkpoint, wrong_kind
from evalkit.errors import ScorerError

Gelu = Literal["config", "erf", "tanh"]

#: What transformers calls the two forms: the exact one, and the tanh approximation that the TensorFlow original computes.
_ACTIVATIONS = {"erf": "gelu", "tanh": "gelu_new"}
EXPECTED = "a BLEURT checkpoint (Hugging Face format: model_type bleurt, or bert or rembert with one label)"
#: Checkpoints whose names tell the TensorFlow original they were converted from.
_CONVERTED = (
    *("BLEURT-20", "BLEURT-20-D12", "BLEURT-20-D6", "BLEURT-20-D3"),
    *(f"bleurt-{size}-{length}" for size in ("tiny", "base", "large") for length in (128, 512)),
)


class PieceTokenizer(Protocol):
    """Texts to ids without special tokens; a text that spells ``[SEP]`` stays text, as in the original."""

    cls: int
    sep: int

    @property
    def model_max_length(self) -> int | None:
        """Most tokens of a pair, where the tokeniser's files say so."""
        ...

    def ids(self, texts: Sequence[str]) -> list[list[int]]: ...


class WordPieces:
    """BERT's WordPiece from ``tokenizer.json`` or ``vocab.txt``."""

    def __init__(self, model: str, revision: str | None) -> None:
        from transformers import BertTokenizer

        self._tokenizer = BertTokenizer.from_pretrained(model, revision=revision)
        self.cls, self.sep = int(self._tokenizer.cls_token_id), int(self._tokenizer.sep_token_id)
        self.model_max_length = int(self._tokenizer.model_max_length)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found = self._tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)
        return [list(row) for row in found["input_ids"]]


class SentencePieces:
    """The SentencePiece model of RemBERT, read by the sentencepiece package itself."""

    model_max_length = None

    def __init__(self, path: str) -> None:
        import sentencepiece

        self._pieces: Any = sentencepiece.SentencePieceProcessor()
        self._pieces.Load(path)
        self.cls, self.sep = (int(self._pieces.PieceToId(piece)) for piece in ("[CLS]", "[SEP]"))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(row) for row in self._pieces.EncodeAsIds(list(texts))]


def load(spec: EncoderSpec, gelu: Gelu = "config") -> tuple[Any, PieceTokenizer]:
    """The network and its tokeniser.

    ``gelu``: the activation that the checkpoint's configuration names, or one form of it whatever that says. Raises
    ScorerError, in one line, for a checkpoint of something else.
    """
    from transformers import BertConfig, RemBertConfig

    place = checkpoint(spec.model, spec.revision, needs=(), kind=EXPECTED)
    raw = configuration(place)
    kind = raw.get("model_type")
    given = {
        k: v for k, v in raw.items() if k not in ("model_type", "architectures", "embedding_size", "dtype", "torch_dtype")
    }
    narrow = raw.get("embedding_size") if kind == "bleurt" else None
    if narrow:
        given |= {"input_embedding_size": narrow, "bos_token_id": None, "eos_token_id": None}
    config = RemBertConfig(**given) if narrow or kind == "rembert" else BertConfig(**given)
    if gelu != "config":
        config.hidden_act = _ACTIVATIONS[gelu]
    return _weights(place, config, converted=kind == "bleurt"), _tokenizer(place)


def configuration(place: Checkpoint) -> dict[str, Any]:
    """The checkpoint's ``config.json``. Raises ScorerError where it is not one of BLEURT; for TensorFlow's, what to use."""
    path = place.file("config.json")
    if path is None and {"saved_model.pb", "bleurt_config.json"} & set(place.found):
        known = {name.lower(): name for name in _CONVERTED}
        fitting = known.get(place.name.lower(), "BLEURT-20-D12")
        raise ScorerError(
            f"{place.source} is a TensorFlow checkpoint of BLEURT: use one in Hugging Face format, such as "
            f"model: lucadiliello/{fitting}"
        )
    if path is None:
        raise wrong_kind(place, EXPECTED)
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScorerError(f"{path} is not JSON: {error}") from error
    if raw.get("model_type") not in ("bleurt", "bert", "rembert"):
        raise wrong_kind(place, EXPECTED)
    return raw


def _weights(place: Checkpoint, config: Any, *, converted: bool) -> Any:
    import torch
    from transformers import BertForSequenceClassification, RemBertForSequenceClassification

    if config.num_labels != 1:
        raise wrong_kind(place, EXPECTED)
    rem = config.model_type == "rembert"
    kind: Any = RemBertForSequenceClassification if rem else BertForSequenceClassification
    names = {r"^bleurt\.encoder\.embedding_projection\.": "rembert.encoder.embedding_hidden_mapping_in."} if rem else {}
    names |= {r"^bleurt\.": f"{config.model_type}."}
    module, found = kind.from_pretrained(
        place.source,
        revision=place.revision,
        config=config,
        key_mapping=names if converted else None,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if missing := sorted(found["missing_keys"]):
        raise wrong_kind(place, f"{EXPECTED} with all its weights (no {missing[0]})")
    return module.eval()


def _tokenizer(place: Checkpoint) -> PieceTokenizer:
    for name in ("spm.model", "sentencepiece.model"):
        path = place.file(name)
        if path is not None:
            return SentencePieces(str(path))
    if all(place.file(name) is None for name in ("tokenizer.json", "vocab.txt")):
        raise wrong_kind(place, f"{EXPECTED} with its tokeniser (vocab.txt, tokenizer.json or spm.model)")
    return WordPieces(place.source, place.revision)


def lengths_kept(reference: int, candidate: int, most: int) -> tuple[int, int]:
    """How many tokens of each side stay: one after the other leaves the longer side, the candidate where they are equal."""
    while reference + candidate > most:
        if reference > candidate:
            reference -= 1
        else:
            candidate -= 1
    return reference, candidate


def pair_rows(
    tokenizer: PieceTokenizer, references: Sequence[str], candidates: Sequence[str], max_tokens: int
) -> list[Tokens]:
    """``[CLS] reference [SEP] candidate [SEP]`` of each pair, of at most ``max_tokens``; token types 0 and 1."""
    texts = list(dict.fromkeys((*references, *candidates)))
    ids = dict(zip(texts, tokenizer.ids(texts), strict=True))
    rows = []
    for reference, candidate in zip(references, candidates, strict=True):
        first, second = ids[reference], ids[candidate]
        kept, kept_too = lengths_kept(len(first), len(second), max_tokens - 3)
        rows.append(
            Tokens(
                ids=(tokenizer.cls, *first[:kept], tokenizer.sep, *second[:kept_too], tokenizer.sep),
                special=(True, *[False] * kept, True, *[False] * kept_too, True),
                types=(0,) * (kept + 2) + (1,) * (kept_too + 1),
                cut=len(first) + len(second) - kept - kept_too,
                blank=not first or not second,
            )
        )
    return rows
