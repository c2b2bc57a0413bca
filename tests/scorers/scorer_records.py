"""Records as a run hands them to scorers, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evalkit.scorers.base import BaseScorer, Scorer
from evalkit.scorers.estimate import Estimate, estimate
from evalkit.types import Record, Request, Response, Sample


def choice_record(
    lls: Sequence[float],
    target: Any,
    choices: Sequence[str] = (),
    greedy: Sequence[bool] = (),
    doc: dict[str, Any] | None = None,
    index: int = 0,
) -> Record:
    """A multiple-choice record; more log-likelihoods than choices are unconditional ones."""
    names = tuple(choices) or tuple(f"choice {i}" for i in range(len(lls)))
    flags = list(greedy) or [False] * len(lls)
    sample = Sample("t", f"s{index}", index, doc or {}, target, names)
    requests = tuple(Request("loglikelihood", "Q", f" {i}", slot=i) for i in range(len(lls)))
    responses = tuple(Response("k", logprob=ll, is_greedy=g) for ll, g in zip(lls, flags, strict=True))
    return Record(sample, requests, responses)


def text_record(
    answer: Any,
    target: Any,
    choices: Sequence[str] | None = None,
    doc: dict[str, Any] | None = None,
    index: int = 0,
    filter_: str = "none",
) -> Record:
    """A generation; a list of answers stands for repeats."""
    texts = answer if isinstance(answer, list) else [answer]
    sample = Sample("t", f"s{index}", index, doc or {}, target, tuple(choices) if choices else None)
    requests = tuple(Request("generate", "Q", repeat=i) for i in range(len(texts)))
    responses = tuple(Response("k", text=text, finish="stop") for text in texts)
    return Record(sample, requests, responses, filter_, answer)


def rolling_record(ll: float, text: str, index: int = 0) -> Record:
    sample = Sample("t", f"s{index}", index, {}, text)
    return Record(sample, (Request("loglikelihood_rolling", text),), (Response("k", logprob=ll),))


def likelihood_record(ll: float, greedy: bool, index: int = 0) -> Record:
    sample = Sample("t", f"s{index}", index, {}, " word")
    return Record(sample, (Request("loglikelihood", "Q", " word"),), (Response("k", logprob=ll, is_greedy=greedy),))


def rows(scorer: Scorer, records: Sequence[Record]) -> np.ndarray:
    """The statistics of the scored records, (n, width)."""
    scores = scorer.score(records, scorer.prepare(records))
    return np.array([score.stats for score in scores if score.stats is not None], dtype=np.float64)


def values(scorer: BaseScorer, records: Sequence[Record]) -> dict[str, float]:
    """Metric values over records."""
    stats = rows(scorer, records)
    return {name: float(v) for name, v in scorer.aggregate(stats, np.ones(len(stats))).items()}


def estimates(scorer: Scorer, records: Sequence[Record], clusters: Any = None) -> dict[str, Estimate]:
    stats = rows(scorer, records)
    codes = None if clusters is None else np.asarray(clusters)
    return {metric.name: estimate(scorer, metric, stats, codes) for metric in scorer.metrics}
