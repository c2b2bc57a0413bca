"""BLEURT: a network trained on human ratings says how much of a reference's meaning a text conveys (Sellam et al., 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, cast

import numpy as np

from evalkit.encoder.base import Batch, Checkpoint, Encoder, Loader, Tokens
from evalkit.scorers.base import MetricInfo
from evalkit.scorers.common import one_of, serves, whole
from evalkit.scorers.neural.base import NeuralScorer, scored
from evalkit.scorers.neural.bleurt_network import EXPECTED, Gelu, configuration, load, pair_rows
from evalkit.scorers.ngram.reference_texts import answers_with_references, over_references, reference_lists
from evalkit.types import Json, Record, Score

MODEL = "lucadiliello/BLEURT-20-D12"


@serves("generate_until")
class Bleurt(NeuralScorer):
    """BLEURT of answers against the reference: higher is better, not bounded (about 0 to 1, below and above happen).

    Checkpoints differ in scale: compare values of one checkpoint only. BLEURT-20 and its distilled sizes are multilingual.

    Args:
        model: a checkpoint in Hugging Face format: a conversion (lucadiliello/BLEURT-20, -D12, -D6, -D3, bleurt-base-512,
            ...) or a sequence classifier with one label (Elron/bleurt-large-512).
        references: ``max`` or ``mean`` over several references (the original takes one). Several answers: their mean.
        gelu: ``config`` computes what the checkpoint's configuration names, ``erf`` (the PyTorch conversions) or ``tanh``
            (the TensorFlow original) that form of it; they differ by some 1e-4 to 1e-3.
        max_length: most tokens of reference and candidate together, special ones included; by default what network and
            tokeniser take. Longer pairs lose tokens at the end of the longer text, of the candidate where both are equal.
    """

    name = "bleurt"
    metrics = (MetricInfo("bleurt", mean=True),)
    needs = ()  # `place` asks further
    kind = EXPECTED

    def __init__(
        self,
        model: str = MODEL,
        references: str = "max",
        gelu: str = "config",
        max_length: int | None = None,
        dtype: str = "float32",
        device: str = "auto",
        batch_tokens: int | None = None,
        cache: bool = True,
        revision: str | None = None,
    ) -> None:
        super().__init__(model, dtype=dtype, device=device, batch_tokens=batch_tokens, cache=cache, revision=revision)
        self._over = one_of("references", references, ("max", "mean"))
        self._gelu = cast(Gelu, one_of("gelu", gelu, ("config", "erf", "tanh")))
        self._most = None if max_length is None else whole("max_length", max_length, 5)
        self.network = f"bleurt:{self._gelu}"

    @property
    def place(self) -> Checkpoint:
        """Where the checkpoint is. Raises ScorerError where it is none of BLEURT."""
        known = self._place is not None
        place = super().place
        if not known:
            configuration(place)
        return place

    def loader(self) -> Loader:
        return partial(load, gelu=self._gelu)

    def parameters(self) -> Mapping[str, Json]:
        own = {"references": self._over, "gelu": self._gelu, "max_length": self._most or "checkpoint"}
        return {**super().parameters(), **own}

    def prepare(self, records: Iterable[Record]) -> Encoder:
        return self.encoder()

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        given = [answers_with_references(record) for record in records]
        pairs = [(a, r) for item in given if not isinstance(item, Score) for a in item[0] for r in item[1]]
        found = iter(self._pairs(state or self.encoder(), [a for a, _ in pairs], [r for _, r in pairs]))
        return [item if isinstance(item, Score) else self._one(*item, found) for item in given]

    def _one(self, answers: Sequence[str], references: Sequence[str], found: Iterator[tuple[float, Tokens]]) -> Score:
        values, rows = zip(*islice(found, len(answers) * len(references)), strict=True)
        value = over_references(np.array(values).reshape(len(answers), len(references)), self._over)
        return scored((value,), value, rows)

    def _pairs(self, encoder: Encoder, candidates: Sequence[str], references: Sequence[str]) -> list[tuple[float, Tokens]]:
        """The value of each pair, and the row it was computed from."""
        most = encoder.max_tokens()
        rows = pair_rows(encoder.tokenizer, references, candidates, min(self._most or most, most))

        def forward(batch: Batch) -> Any:
            return encoder.module(
                input_ids=batch.ids, attention_mask=batch.mask, token_type_ids=batch.types, return_dict=True
            ).logits[:, 0]

        found = encoder.map(rows, forward, key="bleurt:1", what="BLEURT")
        return [(float(value), row) for value, row in zip(found, rows, strict=True)]

    def values(self, candidates: Sequence[str], references: Sequence[str | Sequence[str]]) -> list[float]:
        """BLEURT of each candidate against its reference, or its list of references. Raises ScorerError."""
        lists = reference_lists(candidates, references)
        pairs = [(c, r) for c, several in zip(candidates, lists, strict=True) for r in several]
        found = iter(self._pairs(self.encoder(), [c for c, _ in pairs], [r for _, r in pairs]))
        return [over_references(np.array([[next(found)[0] for _ in several]]), self._over) for several in lists]


def bleurt_scores(
    candidates: Sequence[str], references: Sequence[str | Sequence[str]], /, model: str = MODEL, **settings: Any
) -> list[float]:
    """BLEURT of each candidate against its reference or references; ``settings`` are the parameters of `Bleurt`."""
    return Bleurt(model, **settings).values(candidates, references)
