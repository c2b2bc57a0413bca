"""BARTScore: how likely a seq2seq model writes one text when it has read another (Yuan, Neubig and Liu, 2021)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.digest import file_digest
from evalkit.encoder.base import Encoder, Loader, Tokens
from evalkit.errors import ScorerError, nearest
from evalkit.scorers.base import MetricInfo
from evalkit.scorers.common import answers, no_answer, one_of, serves, source_text, whole
from evalkit.scorers.neural.bartscore_network import EXPECTED, load, log_likelihoods, pair_rows, require_kind
from evalkit.scorers.neural.base import NeuralScorer, scored
from evalkit.scorers.ngram.reference_texts import Matrix, answers_with_references, over_references, reference_lists
from evalkit.types import Json, Record, Score

MODEL = "facebook/bart-large-cnn"
#: What is asked of a pair, and which text is read and which one written.
DIRECTIONS = ("faithfulness", "precision", "recall", "f")


_Found = tuple[list[str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Texts:
    """What one sample compares."""

    answers: Sequence[str]
    references: Sequence[str]
    source: str

    def pairs(self, direction: str) -> list[tuple[str, str]]:
        """The text that is read and the one that is written, for every answer and its references in turn."""
        if direction == "faithfulness":
            return [(self.source, answer) for answer in self.answers]
        if direction == "precision":
            return [(reference, answer) for answer in self.answers for reference in self.references]
        return [(answer, reference) for answer in self.answers for reference in self.references]


@serves("generate_until")
class BartScore(NeuralScorer):
    """BARTScore of answers, one metric a direction: mean log-probability a token, at most 0, higher is better.

    No value is perfect: a text identical to its reference does not get 0, and models differ in scale. Compare values of one
    model only.

    Args:
        model: any seq2seq model. Its own tokeniser makes source and target; the decoder starts as the model itself would
            from labels (BART: ``</s>`` then ``<s>``; T5: the padding token; mBART: the language code). All target tokens
            count, special ones included.
        directions: ``faithfulness`` (source to answer), ``precision`` (reference to answer), ``recall`` (answer to
            reference), ``f`` (mean of the last two).
        references: ``mean`` (as the original) or ``max`` over several references. Several answers: their mean.
        source: the column of the data that holds the source text; only ``faithfulness`` reads it.
        weights: a PyTorch state dict for ``model``, such as the authors' ``bart.pth`` (trained on ParaBank 2).
        max_length: most tokens of a text, special ones included, where the model takes as many.
    """

    name = "bartscore"
    kind = EXPECTED

    def __init__(
        self,
        model: str = MODEL,
        directions: Sequence[str] = ("precision", "recall", "f"),
        references: str = "mean",
        source: str = "source",
        weights: str | None = None,
        max_length: int = 1024,
        dtype: str = "float32",
        device: str = "auto",
        batch_tokens: int | None = None,
        cache: bool = True,
        revision: str | None = None,
    ) -> None:
        super().__init__(model, dtype=dtype, device=device, batch_tokens=batch_tokens, cache=cache, revision=revision)
        self._directions = _directions(directions)
        self._over = one_of("references", references, ("max", "mean"))
        self._most = whole("max_length", max_length, 4)
        self._source = source
        self.columns = (source,) if "faithfulness" in self._directions else ()
        self.metrics = tuple(
            MetricInfo(f"bartscore_{name}", high=0.0, mean=True, column=column)
            for column, name in enumerate(self._directions)
        )
        self._weights = None if weights is None else Path(weights).expanduser()
        if self._weights is not None and not self._weights.is_file():
            raise ScorerError(f"scorer parameter 'weights': no file {weights} (a PyTorch state dict such as bart.pth)")

    @property
    def _weights_digest(self) -> str:
        return "" if self._weights is None else file_digest(self._weights)[:12]

    def encoder(self) -> Encoder:
        self.network = f"bartscore:{self._weights_digest}"
        return super().encoder()

    def check(self) -> None:
        super().check()
        require_kind(self.place)

    def loader(self) -> Loader:
        return partial(load, weights=self._weights)

    def parameters(self) -> Mapping[str, Json]:
        own: dict[str, Json] = {"directions": ",".join(self._directions), "max_length": self._most}
        if set(self._directions) - {"faithfulness"}:
            own["references"] = self._over
        if self.columns:
            own["source"] = self._source
        if self._weights is not None:
            own["state_dict"] = self._weights_digest
        return {**super().parameters(), **own}

    def prepare(self, records: Iterable[Record]) -> Encoder:
        return self.encoder()

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        given = [self._texts(record) for record in records]
        items = [item for item in given if not isinstance(item, Score)]
        found = iter(self._scores(state or self.encoder(), items))
        return [item if isinstance(item, Score) else next(found) for item in given]

    def _texts(self, record: Record) -> _Texts | Score:
        if set(self._directions) == {"faithfulness"}:
            texts = answers(record)
            found: _Found | Score = Score.unscored(no_answer(record)) if texts is None else (texts, ())
        else:
            found = answers_with_references(record)
        if isinstance(found, Score):
            return found
        source = source_text(record.sample, self._source) if self.columns else ""
        if source is None:
            return Score.unscored(f"the sample's column {self._source!r} is empty: faithfulness needs the source text")
        given, expected = found
        return _Texts(given, expected, source)

    def _scores(self, encoder: Encoder, items: Sequence[_Texts]) -> list[Score]:
        pairs = [pair for item in items for name in self._asked for pair in item.pairs(name)]
        rows = pair_rows(encoder, [read for read, _ in pairs], [written for _, written in pairs], self._most)
        values = log_likelihoods(encoder, rows)
        left = iter(zip(values, rows, strict=True))
        return [self._one(item, left) for item in items]

    @property
    def _asked(self) -> tuple[str, ...]:
        """The directions that the network is asked for: ``f`` is made of two."""
        wanted = set(self._directions) | ({"precision", "recall"} if "f" in self._directions else set())
        return tuple(name for name in DIRECTIONS if name in wanted - {"f"})

    def _one(self, item: _Texts, left: Iterator[tuple[float, Tokens]]) -> Score:
        tables: dict[str, Matrix] = {}
        used: list[Tokens] = []
        for name in self._asked:
            shape = (len(item.answers), 1 if name == "faithfulness" else len(item.references))
            values, rows = zip(*islice(left, shape[0] * shape[1]), strict=True)
            tables[name] = np.array(values).reshape(shape)
            used += rows
        if "f" in self._directions:  # of one and the same reference, before one is chosen
            tables["f"] = (tables["precision"] + tables["recall"]) / 2
        stats = [over_references(tables[name], self._over) for name in self._directions]
        if not np.isfinite(stats).all():
            return Score.unscored("the model gives one of the text's tokens no probability at all")
        others = {metric.name: stats[metric.column] for metric in self.metrics[1:]}
        return scored(stats, stats[0], used, **others)

    def values(
        self,
        candidates: Sequence[str],
        references: Sequence[str | Sequence[str]] | None = None,
        sources: Sequence[str] | None = None,
    ) -> dict[str, list[float]]:
        """The values of each candidate by direction. Raises ScorerError, also where texts are missing that one needs."""
        needs_references = set(self._directions) != {"faithfulness"}
        for what, texts, needed in (("references", references, needs_references), ("sources", sources, bool(self.columns))):
            if needed and texts is None:
                raise ScorerError(f"bartscore with directions {', '.join(self._directions)} needs {what}")
        lists = (
            reference_lists(candidates, references)
            if references is not None and needs_references
            else [()] * len(candidates)
        )
        read = [""] * len(candidates) if sources is None else list(sources)
        if len(read) != len(candidates):
            raise ScorerError(f"{len(candidates)} candidates but {len(read)} sources: give one for each")
        items = [_Texts([c], r, s) for c, r, s in zip(candidates, lists, read, strict=True)]
        found = [score.stats or () for score in self._scores(self.encoder(), items)]
        return {name: [stats[column] for stats in found] for column, name in enumerate(self._directions)}


def bartscore_scores(
    candidates: Sequence[str],
    references: Sequence[str | Sequence[str]] | None = None,
    sources: Sequence[str] | None = None,
    /,
    model: str = MODEL,
    **settings: Any,
) -> dict[str, list[float]]:
    """BARTScore of each candidate by direction; ``settings`` are the parameters of `BartScore`."""
    return BartScore(model, **settings).values(candidates, references, sources)


def _directions(given: Sequence[str]) -> tuple[str, ...]:
    """The directions asked for, in a fixed order. Raises ScorerError."""
    names = [part.strip() for part in given.split(",")] if isinstance(given, str) else list(given)
    for name in names:
        if name not in DIRECTIONS:
            raise ScorerError(
                f"bartscore has no direction {name!r}{nearest(str(name), DIRECTIONS)}: {', '.join(DIRECTIONS)}"
            )
    if not names:
        raise ScorerError(f"scorer parameter 'directions' is empty: name some of {', '.join(DIRECTIONS)}")
    return tuple(name for name in DIRECTIONS if name in names)
