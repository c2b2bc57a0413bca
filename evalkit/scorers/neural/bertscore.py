"""BERTScore (Zhang et al. 2020): precision, recall and F1 by greedy matching of contextual token embeddings.

Equal to the bert-score package where that is right, and itself where it is not: scores do not depend on what else is in a
batch, RoBERTa's first word keeps its leading space under transformers 5, a blank text breaks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evalkit.encoder.base import Encoder, Loader, Rows, Tokens
from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.common import one_of, references, serves, whole
from evalkit.scorers.neural import bertscore_layers as layers
from evalkit.scorers.neural import bertscore_tables as tables
from evalkit.scorers.neural.base import NeuralScorer, scored
from evalkit.scorers.neural.bertscore_match import (
    BLANK,
    Frequencies,
    Match,
    TokenWeights,
    best,
    is_blank,
    match,
    plain_weights,
)
from evalkit.scorers.neural.bertscore_package import Package, package_hash
from evalkit.scorers.ngram.pairs import score_pairs
from evalkit.types import Json, Record, Score, content_hash

#: Bytes of token states in memory at once, beside what the encoder keeps.
STATES_BYTES = 1 << 28
_CHUNK = 1024  # sentences tokenised at once for idf

#: Why a pair has no score.
NO_WEIGHT = "all idf weights of a side are 0: every one of its tokens is in every sentence that idf was counted on"
ONLY_SPECIAL = "a side holds nothing but special tokens written out, which have no weight"
BY_PACKAGE = "bert-score gives no number for it: a side is blank, or its idf weights are all 0"


@dataclass(frozen=True, slots=True)
class Pair:
    """A candidate's best match with its references, and the token rows it was made from."""

    match: Match
    rows: tuple[Tokens, ...]


class BertScore(NeuralScorer):
    """BERTScore of answers against references, in [-1, 1] without rescaling; several answers count with their mean.

    Of several references the best precision, recall and F1 count, each by itself. A blank side scores 0. ``idf`` is whether
    tokens weigh by their rarity in the references (``True``), or in the sentences of a file, one a line (its path).
    ``rescale`` is whether scores are rescaled by the package's baseline for ``lang`` (``True``), or a baseline file's.
    """

    name = "bertscore"

    def __init__(
        self,
        model: str | None = None,
        lang: str = "en",
        num_layers: int | None = None,
        idf: bool | str = False,
        rescale: bool | str = False,
        dtype: str = "float32",
        device: str = "auto",
        batch_tokens: int | None = None,
        cache: bool = True,
        revision: str | None = None,
        backend: str = "native",
    ) -> None:
        self._lang = str(lang).lower()
        model = tables.default_model(self._lang) if model is None else model
        super().__init__(model, dtype=dtype, device=device, batch_tokens=batch_tokens, cache=cache, revision=revision)
        self.layer = self._best_layer() if num_layers is None else whole("num_layers", num_layers, 0)
        self.network = f"bertscore-{self.layer}"
        self._sentences = _sentence_file(idf) if isinstance(idf, str) else None
        self.idf = bool(idf)
        custom = rescale if isinstance(rescale, str) else None
        self.baseline = tables.baseline(model, self._lang, self.layer, custom) if rescale else None
        self._custom = custom
        self._backend = one_of("backend", backend, ("native", "bert-score"))
        if self._backend == "bert-score" and (self.spec.dtype != "float32" or revision is not None):
            raise ScorerError("bertscore: backend bert-score computes in float32 and knows no revision")
        self._weights: TokenWeights | None = None
        self.metrics = tuple(
            MetricInfo(f"bertscore_{kind}", low=None if rescale else -1.0, high=1.0, ideal=1.0, mean=True, column=column)
            for column, kind in enumerate(("f1", "precision", "recall"))
        )

    def _best_layer(self) -> int:
        if tables.table_name(self.spec.model) is not None:
            return tables.best_layer(self.spec.model)
        return tables.best_layer(self.spec.model, self.place.file("config.json"))

    def check(self) -> None:
        super().check()
        tables.require_layer(self.place.name, self.layer, self.place.file("config.json"))

    def loader(self) -> Loader:
        return layers.loader(self.place, self.layer)

    def parameters(self) -> Mapping[str, Json]:
        idf = "no" if not self.idf else "references" if self._sentences is None else _text_digest(self._sentences)
        rescale = "no" if self.baseline is None else f"{'custom' if self._custom else self._lang}-{self.baseline.digest}"
        found = {**super().parameters(), "layer": self.layer, "idf": idf, "rescale": rescale}
        return found if self._backend == "native" else {**found, "backend": self._backend, **_package_version()}

    def signature_of(self, stats: Array) -> str:
        """The signature with a hash of the references that idf was counted on."""
        if self._weights is None or self._sentences is not None:  # without idf, or a file's hash stands there already
            return self.signature()
        return f"{self.signature()}|idf_corpus:{self._weights.digest}"

    def detail(self, stats: Array) -> Mapping[str, Json]:
        named = package_hash(self.place.name, self.layer, self.idf, self.baseline is not None, self._custom is not None)
        found: dict[str, Json] = {**super().detail(stats), "bert-score hash": named}
        if self._weights is not None:
            found["idf"] = {"sentences": self._weights.sentences, "hash": self._weights.digest}
        return found

    def prepare(self, records: Iterable[Record]) -> TokenWeights | Package:
        """Load the network and count the tokens that idf needs."""
        texts = (text for record in records for text in references(record.sample)) if self.idf else iter(())
        return self.ready(texts)

    def ready(self, texts: Iterable[str]) -> TokenWeights | Package:
        """What `pairs` needs; ``texts`` are the references, over which idf is counted where no file is given."""
        sentences = iter(texts if self._sentences is None else self._sentences)
        if self._backend == "bert-score":
            return Package(self.spec, self.place, self.layer, list(sentences) if self.idf else None)
        encoder = self.encoder()
        if not self.idf:
            return plain_weights(encoder.tokenizer)
        frequencies = Frequencies()
        while chunk := list(islice(sentences, _CHUNK)):
            frequencies.add(self._tokens(encoder, chunk))
        self._weights = frequencies.weights()
        return self._weights

    def _tokens(self, encoder: Encoder, texts: Sequence[str]) -> list[Tokens]:
        return encoder.tokenise(texts, prefix_space=layers.wants_space(encoder.module, encoder.tokenizer))

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        ready = self.prepare(records) if state is None else state
        return score_pairs(records, lambda candidates, golds: self.pairs(candidates, golds, ready), self._score)

    def _score(self, pairs: Sequence[Pair]) -> Score:
        """A record's score: the mean over its answers."""
        values = np.array([(p.match.f1, p.match.precision, p.match.recall) for p in pairs]).mean(axis=0)
        if np.isnan(values).any():
            known = dict(zip(("f1", "precision", "recall"), values.tolist(), strict=True))
            why = BY_PACKAGE if self._backend == "bert-score" else NO_WEIGHT if self.idf else ONLY_SPECIAL
            return Score.unscored(why, **{name: value for name, value in known.items() if value == value})
        return scored(values.tolist(), float(values[0]), [row for pair in pairs for row in pair.rows])

    def pairs(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]], ready: TokenWeights | Package
    ) -> list[Pair]:
        """One `Pair` a candidate, rescaled where that is asked for. ``references`` holds one or more a candidate."""
        if isinstance(ready, Package):
            return [Pair(self._rescaled(m), rows) for m, rows in ready.pairs(candidates, references)]
        encoder = self.encoder()
        firsts = self._tokens(encoder, candidates)
        flat = iter(self._tokens(encoder, [text for golds in references for text in golds]))
        rows = [(first, *islice(flat, len(golds))) for first, golds in zip(firsts, references, strict=True)]
        found: list[Pair] = []
        for part in self._parts(rows, _width(encoder.module)):
            distinct = list(dict.fromkeys(row for own in part for row in own if not is_blank(row)))
            states = encoder.map(
                distinct, layers.unit_states(encoder.module), key=f"bertscore|layer {self.layer}|1", what="BERTScore"
            )
            known = dict(zip(distinct, states, strict=True))
            weights = {row: ready.of(row.ids) for row in distinct}
            for own in part:
                matches = [_matched(own[0], gold, known, weights) for gold in own[1:]]
                found.append(Pair(self._rescaled(best(matches)), own))
        return found

    def _parts(self, rows: Sequence[tuple[Tokens, ...]], width: int) -> Iterator[list[tuple[Tokens, ...]]]:
        """The pairs in parts whose token states fit in memory."""
        part: list[tuple[Tokens, ...]] = []
        size = 0
        for own in rows:
            cost = 4 * width * sum(len(row.ids) for row in own)
            if part and size + cost > STATES_BYTES:
                yield part
                part, size = [], 0
            part.append(own)
            size += cost
        if part:
            yield part

    def _rescaled(self, found: Match) -> Match:
        b = self.baseline
        if b is None:
            return found
        pairs = ((found.precision, b.precision), (found.recall, b.recall), (found.f1, b.f1))
        return Match(*((x - base) / (1 - base) for x, base in pairs))


def _matched(candidate: Tokens, reference: Tokens, states: Mapping[Tokens, Rows], weights: Mapping[Tokens, Array]) -> Match:
    if candidate not in states or reference not in states:
        return BLANK
    return match(states[candidate], states[reference], weights[candidate], weights[reference])


def _width(module: Any) -> int:
    config = module.config
    return int(getattr(config, "hidden_size", None) or getattr(config, "d_model", None) or 1024)


def _sentence_file(path: str) -> list[str]:
    try:
        lines = Path(path).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScorerError(f"bertscore: idf is True, False or a text file with a sentence a line; {path}: {error}") from error
    sentences = [line for line in lines if line.strip()]
    if len(sentences) < 2:
        raise ScorerError(f"bertscore: {path} holds {len(sentences)} sentences; idf needs at least two to tell tokens apart")
    return sentences


def _text_digest(sentences: Sequence[str]) -> str:
    return content_hash(list(sentences), 8)


def _package_version() -> dict[str, Json]:
    from importlib.metadata import version

    return {"bert_score": version("bert-score")}


class BertScores(NamedTuple):
    """One number a candidate, each array (n,); NaN where the idf weights of a side are all 0."""

    precision: Array
    recall: Array
    f1: Array


def bertscore_pairs(candidates: Sequence[str], references: Sequence[str | Sequence[str]], **parameters: Any) -> BertScores:
    """BERTScore of lists: ``references`` holds one or several texts a candidate. ``parameters`` are those of `bertscore`.

    The network stays loaded for the next call, and texts that were encoded before are not encoded again. Raises
    ScorerError for lists of different length.
    """
    if len(candidates) != len(references):
        raise ScorerError(f"bertscore: {len(candidates)} candidates and {len(references)} references")
    golds = [[item] if isinstance(item, str) else list(item) for item in references]
    empty = next((i for i, own in enumerate(golds) if not own), None)
    if empty is not None:
        raise ScorerError(f"bertscore: candidate {empty} has no reference")
    scorer = bertscore(**parameters)
    found = scorer.pairs(candidates, golds, scorer.ready(text for own in golds for text in own)) if golds else []
    values = np.array([(p.match.precision, p.match.recall, p.match.f1) for p in found]).reshape(-1, 3)
    return BertScores(*values.T)


@serves("generate_until")
def bertscore(
    model: str | None = None,
    lang: str = "en",
    num_layers: int | None = None,
    idf: bool | str = False,
    rescale: bool | str = False,
    dtype: str = "float32",
    device: str = "auto",
    batch_tokens: int | None = None,
    cache: bool = True,
    revision: str | None = None,
    backend: str = "native",
) -> BertScore:
    """BERTScore: how well the contextual embeddings of answer and reference tokens match."""
    return BertScore(model, lang, num_layers, idf, rescale, dtype, device, batch_tokens, cache, revision, backend)
