"""COMET's judgement of single translations: rows through the encoder service, scores and error spans out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evalkit.encoder.base import Batch, Encoder, Rows, Tokens
from evalkit.scorers.neural.comet.inputs import Piece, joint, pieces, translation_tokens
from evalkit.scorers.neural.comet.networks import (
    Heads,
    estimate,
    hidden_states,
    sentence_vectors,
    side_by_side,
    word_chances,
)
from evalkit.scorers.neural.comet.settings import Settings
from evalkit.scorers.neural.comet.spans import Span, mqm, spans

#: Weights of the readings mt+src, mt+ref and mt+src+ref in a token's label, and (with MQM last) in XCOMET's score.
_WORD_WEIGHTS = (0.1667, 0.3333, 0.5)
_XCOMET_WEIGHTS = (0.12, 0.33, 0.33, 0.22)
#: Pairs that go through the estimator at once.
_CHUNK = 2048
#: Raised where the numbers behind a cached row change.
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One translation with what it is judged by."""

    mt: str
    src: str | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A translation's score; ``rows`` are the inputs that went into it.

    ``readings`` are the scores of single readings (``src``, ``ref``, ``src+ref``) where there are several or where the score
    is more than one of them. ``spans`` are errors found, ``None`` for a model without a word head; ``mqm`` in [0, 1] is
    XCOMET's only.
    """

    value: float
    rows: tuple[Tokens, ...]
    readings: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[Span, ...] | None = None
    mqm: float | None = None


def verdicts(encoder: Encoder, jobs: Sequence[Job], key: str) -> list[Verdict]:
    """One verdict a job; equal jobs, and equal texts or rows of different jobs, are computed once.

    ``key`` names what beside the weights makes the numbers (an encoder's configuration, a changed layer mix).
    """
    heads: Heads = encoder.module.heads
    settings = heads.settings
    most = int(encoder.module.config.max_position_embeddings) - 2
    texts = [text for job in jobs for text in (job.mt, job.src, job.ref) if text is not None]
    known = pieces(encoder.tokenizer, texts, most - 2)
    unique = list(dict.fromkeys(jobs))
    key = f"comet:{_VERSION}|{key}"
    made = _joint(encoder, heads, unique, known, key, most) if settings.joint else _apart(encoder, heads, unique, known, key)
    by_job = dict(zip(unique, made, strict=True))
    return [by_job[job] for job in jobs]


def _apart(encoder: Encoder, heads: Heads, jobs: Sequence[Job], known: Mapping[str, Piece], key: str) -> list[Verdict]:
    """Regression: each text is a vector of its own, and the estimator compares them."""
    import torch

    module = heads.on(encoder.device)

    def forward(batch: Batch) -> Sequence[Any]:
        hidden = hidden_states(encoder.module, batch.ids, batch.mask)
        return list(sentence_vectors(module, heads.settings, hidden, batch.mask).unbind(0))

    rows = {text: piece.alone() for text, piece in known.items()}
    vectors = dict(zip(rows, encoder.map(list(rows.values()), forward, key=f"{key}|vector", what="COMET"), strict=True))

    def stack(texts: Sequence[str]) -> Any:
        return torch.from_numpy(np.stack([vectors[text] for text in texts])).to(encoder.device)

    values: list[float] = []
    for start in range(0, len(jobs), _CHUNK):
        part = jobs[start : start + _CHUNK]
        refs = stack([str(job.ref) for job in part]) if heads.settings.width == 6 else None
        with torch.inference_mode():
            joined = side_by_side(stack([job.mt for job in part]), stack([str(job.src) for job in part]), refs)
            values += estimate(module, joined).tolist()
    return [
        Verdict(value, tuple(rows[text] for text in (job.mt, job.src, job.ref) if text is not None))
        for job, value in zip(jobs, values, strict=True)
    ]


def _joint(
    encoder: Encoder, heads: Heads, jobs: Sequence[Job], known: Mapping[str, Piece], key: str, most: int
) -> list[Verdict]:
    """UniTE, Kiwi, XCOMET: translation and what it is judged by in one row; with source and reference three rows."""
    settings = heads.settings
    readings = [_readings(job) for job in jobs]
    rows = [
        [
            joint(known[job.mt], [known[text] for text in texts], settings.separators, most, settings.types)
            for texts in reading.values()
        ]
        for job, reading in zip(jobs, readings, strict=True)
    ]
    flat = [row for group in rows for row in group]
    found = iter(encoder.map(flat, _row_forward(encoder, heads), key=f"{key}|joint", what="COMET"))
    made = []
    for job, reading, group in zip(jobs, readings, rows, strict=True):
        arrays = [next(found) for _ in group]
        made.append(_verdict(settings, job.mt, known[job.mt], list(reading), arrays, tuple(group)))
    return made


def _readings(job: Job) -> dict[str, tuple[str, ...]]:
    """The texts that follow the translation in each row, by the reading's name."""
    if job.src is None or job.ref is None:
        return {"src": (job.src,)} if job.src is not None else {"ref": (str(job.ref),)}
    return {"src": (job.src,), "ref": (job.ref,), "src+ref": (job.src, job.ref)}


def _row_forward(encoder: Encoder, heads: Heads) -> Any:
    """From a batch to each row's score; with a word head to (tokens of the translation + 1, labels), the score in [0, 0]."""
    import torch

    module = heads.on(encoder.device)

    def forward(batch: Batch) -> Sequence[Any]:
        hidden = hidden_states(encoder.module, batch.ids, batch.mask, batch.types)
        scores = estimate(module, sentence_vectors(module, heads.settings, hidden, batch.mask))
        if not heads.settings.labels:
            return list(scores.unbind(0))
        chances = word_chances(module, heads.settings, hidden)
        first = torch.zeros_like(chances[:, :1])
        first[:, 0, 0] = scores
        whole = torch.cat([first, chances], dim=1)
        return [whole[i, : 1 + translation_tokens(row)] for i, row in enumerate(batch.rows)]

    return forward


def _verdict(
    settings: Settings, text: str, mt: Piece, names: Sequence[str], arrays: Sequence[Rows], rows: tuple[Tokens, ...]
) -> Verdict:
    """One job's verdict from what the network gave for its readings."""
    scores = [float(array.flat[0]) for array in arrays]
    found = None
    if settings.labels:
        parts = [array[1:] for array in arrays]
        weights = _WORD_WEIGHTS if len(parts) == 3 else (1.0,)
        chances = np.sum([part * np.float32(w) for part, w in zip(parts, weights, strict=True)], axis=0)
        found = spans(text, mt.offsets, chances, settings.labels)
    if settings.kind != "xcomet_metric":
        value = sum(scores) / len(scores)
        return Verdict(value, rows, dict(zip(names, scores, strict=True)) if len(scores) > 1 else {}, found)
    quality = mqm(found or ())
    *shares, last = _XCOMET_WEIGHTS
    each = shares if len(scores) == 3 else [sum(shares)]
    value = sum(share * min(score, 1.0) for share, score in zip(each, scores, strict=True)) + last * quality
    return Verdict(value, rows, dict(zip(names, scores, strict=True)), found, quality)
