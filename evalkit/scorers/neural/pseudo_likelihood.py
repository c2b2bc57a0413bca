"""How natural a masked language model finds the answers, without any reference (Salazar et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from evalkit.encoder.base import Encoder, Loader, Tokens
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.common import answers, no_answer, one_of, serves
from evalkit.scorers.neural.base import NeuralScorer, scored
from evalkit.scorers.neural.pll_network import (
    EXPECTED,
    VARIANTS,
    Variant,
    load,
    require_kind,
    sentence_rows,
    sentence_scores,
    token_scores,
)
from evalkit.scorers.totals import TotalsScorer, ratio
from evalkit.types import Json, Record, Score

MODEL = "bert-base-cased"
_SUM, _TOKENS, _MEAN = 1, 2, 0


@serves("generate_until")
class PseudoLikelihood(NeuralScorer, TotalsScorer):
    """Pseudo-log-likelihood of answers: the mean a token, the sum, and the pseudo-perplexity of all answers.

    ``pll``: mean over samples of the mean log-probability a token; ``pll_sum``: mean of the sums; ``pseudo_perplexity``:
    exp of minus all log-probabilities over all tokens, where long answers weigh more. Natural logarithms. A blank answer is
    unscored. An answer of n tokens takes n passes over it.

    Args:
        model: a masked language model. Values of two models, or of two tokenisers, cannot be compared.
        variant: ``original``, or ``within_word_l2r`` (the later pieces of a token's word are hidden with it).
        too_long: answers that do not fit the network: ``truncate`` scores the part that fits, and counts them; ``unscored``
            leaves them out, with the reason.
    """

    name = "pll"
    kind = EXPECTED
    network = "masked-lm"
    metrics = (
        MetricInfo("pll", high=0.0, mean=True, column=_MEAN),
        MetricInfo("pll_sum", high=0.0, mean=True, column=_SUM, headline=False),
        MetricInfo("pseudo_perplexity", higher_is_better=False, low=1.0, ideal=1.0),
    )

    def __init__(
        self,
        model: str = MODEL,
        variant: str = "original",
        too_long: str = "truncate",
        dtype: str = "float32",
        device: str = "auto",
        batch_tokens: int | None = None,
        cache: bool = True,
        revision: str | None = None,
    ) -> None:
        super().__init__(model, dtype=dtype, device=device, batch_tokens=batch_tokens, cache=cache, revision=revision)
        self._variant = cast(Variant, one_of("variant", variant, VARIANTS))
        self._too_long = one_of("too_long", too_long, ("truncate", "unscored"))

    def check(self) -> None:
        super().check()
        require_kind(self.place)

    def loader(self) -> Loader:
        return load

    def parameters(self) -> Mapping[str, Json]:
        return {**super().parameters(), "variant": self._variant, "too_long": self._too_long}

    def prepare(self, records: Iterable[Record]) -> Encoder:
        return self.encoder()

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        encoder: Encoder = state or self.encoder()
        given = [answers(record) for record in records]
        texts = [text for several in given for text in several or ()]
        rows = sentence_rows(encoder, texts)
        kept = [i for i, row in enumerate(rows) if not (row.cut and self._too_long == "unscored")]
        found = token_scores(encoder, [rows[i] for i in kept], [texts[i] for i in kept], self._variant)
        values = dict(zip(kept, found, strict=True))
        scores, first = [], 0
        for record, several in zip(records, given, strict=True):
            if several is None:
                scores.append(Score.unscored(no_answer(record)))
                continue
            at = range(first, first + len(several))
            scores.append(self._one([rows[i] for i in at], [values.get(i) for i in at], encoder.max_tokens()))
            first += len(several)
        return scores

    def _one(self, rows: Sequence[Tokens], values: Sequence[list[float] | None], most: int) -> Score:
        long = [len(row.ids) + row.cut for row, found in zip(rows, values, strict=True) if found is None]
        if long:
            return Score.unscored(f"{long[0]} tokens, more than the {most} that fit (too_long: truncate scores a part)")
        if not all(values):
            return Score.unscored("the answer is blank: there is no token to score")
        table = np.array([[sum(v) / len(v), sum(v), len(v)] for v in values if v])
        mean, total, tokens = table.mean(axis=0).tolist()
        if not math.isfinite(total):
            return Score.unscored("the model gives one of the answer's tokens no probability at all")
        others = {"pll_sum": total, "pseudo_perplexity": math.exp(min(-total / tokens, 700.0))}  # a finite number in files
        return scored((mean, total, tokens), mean, rows, **others, tokens=tokens)

    def features(self, stats: Array) -> Array:
        return np.column_stack([stats[:, [_MEAN, _SUM, _TOKENS]], np.ones(len(stats))])

    def finish(self, totals: Array) -> Mapping[str, Array]:
        count = totals[..., 3]
        return {
            "pll": ratio(totals[..., _MEAN], count),
            "pll_sum": ratio(totals[..., _SUM], count),
            "pseudo_perplexity": np.exp(-ratio(totals[..., _SUM], totals[..., _TOKENS])),
        }


def pll_scores(
    texts: Sequence[str], model: str = MODEL, variant: str = "original", **settings: Any
) -> list[tuple[float, int]]:
    """Sum of log-probabilities and number of tokens of each text; ``settings`` are the parameters of `PseudoLikelihood`."""
    return sentence_scores(
        PseudoLikelihood(model, variant, **settings).encoder(), texts, cast(Variant, one_of("variant", variant, VARIANTS))
    )
