"""Is an answer made up? Its sentences are held against other answers that the same model drew for the same prompt.

In the manner of SelfCheckGPT (Manakul et al. 2023, arXiv 2303.08896): what a model knows it says again, what it makes up
comes out otherwise the next time. The first answer is checked, sentence by sentence, against all the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.encoder.base import Tokens
from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, BaseScorer, MetricInfo
from evalkit.scorers.common import one_of, serves
from evalkit.scorers.judge.asking import Ask, acceptable, combined, parse_mode
from evalkit.scorers.judge.base import Verdict
from evalkit.scorers.judge.prompt import MARK, MATERIAL, nonce_of, tagged
from evalkit.scorers.judge.single import SingleJudge, held, missing_note, verdicts
from evalkit.scorers.neural.base import scored
from evalkit.scorers.neural.embedding import EmbeddingSimilarity
from evalkit.scorers.ngram.rouge_words import unicode_words
from evalkit.scorers.sampled import drawn, greedy, greedy_note, sentences
from evalkit.types import Json, Message, Record, Request, Response, Score

NAME = "selfcheck"

#: How a judge may answer, and how far each means that the sentence is made up; the values are the paper's.
POINTS: Mapping[str, float] = {"yes": 0.0, "no": 1.0, "unclear": 0.5}

_SYSTEM = (
    "You are given a text and a sentence, and say whether the text supports the sentence. "
    f"{MATERIAL}\n\n"
    "Answer yes if the text states or plainly implies all that the sentence claims, no if it contradicts any of it or does "
    "not mention it, and unclear only if the text leaves it open which of the two holds. Go by the text alone: what you "
    "know of the matter yourself does not count."
)


@serves("generate_until")
def selfcheck(
    by: str = "ngram",
    model: str | None = None,
    role: str = "judge",
    score_mode: str = "argmax",
    max_tokens: int = 256,
    device: str = "auto",
) -> BaseScorer:
    """How likely the first of several answers is made up, sentence by sentence, by the others (SelfCheckGPT).

    ``by``: ngram (words that the other answers lack, no network), embedding (1 - cosine with the nearest sentence of each
    other answer; ``model`` is an encoder) or judge (a yes/no question for each sentence and other answer; ``model`` is the
    judge). Needs ``repeats`` in the task; no reference is read. Higher is worse.
    """
    if one_of("by", by, ("ngram", "embedding", "judge")) != "judge" and (role, score_mode, max_tokens) != (
        "judge",
        "argmax",
        256,
    ):
        raise ScorerError(f"scorer 'selfcheck': role, score_mode and max_tokens are for by: judge, not by: {by}")
    if by == "judge":
        return JudgeCheck(model, role, score_mode, max_tokens)
    if by == "embedding":
        if model is None:
            raise ScorerError("scorer 'selfcheck': by embedding needs model, a hub id or a directory of an encoder")
        return EmbeddingCheck(model, device=device)
    if model is not None:
        raise ScorerError("scorer 'selfcheck': model is for by: embedding and by: judge, not by: ngram")
    return NgramCheck()


@dataclass(frozen=True, slots=True)
class Checked:
    """What is held against what: the sentences of the first answer, and the other answers that have any."""

    answer: str
    sentences: tuple[str, ...]
    samples: tuple[str, ...]
    blank: int
    """Other answers without a sentence, which are left out."""

    @classmethod
    def of(cls, record: Record) -> Checked | str:
        """Those of a record; the reason where there are none."""
        given = drawn(record)
        if isinstance(given, str):
            return given
        own = sentences(given[0])
        if not own:
            return "the first answer, which is the one that is checked, has no sentence"
        others = [answer for answer in given[1:] if sentences(answer)]
        if not others:
            return "all answers but the first, which it is checked against, are blank"
        return cls(given[0], tuple(own), tuple(others), len(given) - 1 - len(others))

    def told(self, values: Sequence[float | None], **more: Json) -> dict[str, Json]:
        """What the report shows: each sentence with its value."""
        rows = [
            {"text": text, "value": None if value is None else round(value, 6)}
            for text, value in zip(self.sentences, values, strict=True)
        ]
        shown: dict[str, Json] = {"sentences": rows, "samples": len(self.samples), **more}
        return {**shown, "blank_samples": self.blank} if self.blank else shown


def _metrics(high: float | None) -> tuple[MetricInfo, ...]:
    return (
        MetricInfo(NAME, False, low=0.0, high=high, ideal=0.0, mean=True, column=0),
        MetricInfo(f"{NAME}_worst", False, low=0.0, high=high, ideal=0.0, mean=True, column=1, headline=False),
    )


def _row(values: Sequence[float]) -> tuple[float, float]:
    """Mean over sentences, and the worst one."""
    return math.fsum(values) / len(values), max(values)


class NgramCheck(BaseScorer):
    """SelfCheckGPT's unigram variant: a sentence's value is the largest -ln p among its words.

    p is a word's share of all words of all answers, the checked one included, so that it is never 0. Words are those of
    `unicode_words` (punctuation is no word, which it is in the paper's code). From 0 up, without a bound: it grows with the
    length and number of the answers, so that only runs of the same task and ``repeats`` compare.
    """

    name = NAME
    metrics = _metrics(None)

    def parameters(self) -> Mapping[str, Json]:
        return {"by": "ngram", "n": 1, "words": "unicode"}

    def score_one(self, record: Record) -> Score:
        checked = Checked.of(record)
        if isinstance(checked, str):
            return Score.unscored(checked)
        counts = Counter(word for answer in (checked.answer, *checked.samples) for word in unicode_words(answer))
        total = counts.total()
        rarest = [min(unicode_words(text), key=lambda word: (counts[word], -len(word))) for text in checked.sentences]
        values = [math.log(total / counts[word]) for word in rarest]
        mean, worst = _row(values)
        return Score((mean, worst, float(greedy(record))), mean, detail=checked.told(values, rarest=rarest))

    def notes(self, stats: Array) -> Sequence[str]:
        return greedy_note(int(stats[:, 2].sum()))


class EmbeddingCheck(BaseScorer):
    """A sentence's value is 1 - the mean over other answers of its cosine with the nearest of their sentences.

    The form of SelfCheckGPT's BERTScore variant with sentence embeddings in the place of BERTScore's F (which matches single
    tokens, and is rescaled by a baseline there): numbers of the two do not compare. In [0, 2].
    """

    name = NAME
    live = False
    metrics = _metrics(2.0)

    def __init__(self, model: str, *, device: str = "auto") -> None:
        self._encoder = EmbeddingSimilarity(model, device=device)
        self.check = self._encoder.check

    def parameters(self) -> Mapping[str, Json]:
        return {"by": "embedding", **self._encoder.parameters()}

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        """All sentences of the records are encoded in one go, equal ones once."""
        found = [Checked.of(record) for record in records]
        others = [[] if isinstance(item, str) else [sentences(sample) for sample in item.samples] for item in found]
        texts = [text for item in found if not isinstance(item, str) for text in item.sentences]
        texts += [text for samples in others for sample in samples for text in sample]
        vectors, tokens = self._encoder.vectors(texts) if texts else ({}, dict[str, Tokens]())
        scores = []
        for record, checked, samples in zip(records, found, others, strict=True):
            if isinstance(checked, str):
                scores.append(Score.unscored(checked))
                continue
            own = np.stack([vectors[text] for text in checked.sentences]).astype(np.float64)
            best = [
                (own @ np.stack([vectors[text] for text in sample]).astype(np.float64).T).max(axis=1) for sample in samples
            ]
            values = (1.0 - np.clip(np.mean(best, axis=0), -1.0, 1.0)).tolist()
            rows = [tokens[text] for text in (*checked.sentences, *(text for sample in samples for text in sample))]
            mean, worst = _row(values)
            scores.append(scored((mean, worst, float(greedy(record))), mean, rows, **checked.told(values)))
        return scores

    def detail(self, stats: Array) -> Mapping[str, Json]:
        return self._encoder.detail(stats)

    def notes(self, stats: Array) -> Sequence[str]:
        return (*self._encoder.notes(stats), *greedy_note(int(stats[:, 2].sum())))


class JudgeCheck(SingleJudge):
    """SelfCheckGPT's prompt variant: is this sentence supported by this other answer? Yes 0, no 1, unclear 0.5.

    A sentence's value is the mean over the other answers, in [0, 1]. A reply that holds no verdict is missing (the paper's
    code takes it for 0.5), after it was asked for again twice. Sentences times other answers are asked.
    """

    name = NAME
    metrics = _metrics(1.0)

    def __init__(self, model: str | None, role: str, score_mode: str, max_tokens: int) -> None:
        super().__init__(model, role, parse_mode(score_mode), POINTS, max_tokens)

    def parameters(self) -> Mapping[str, Json]:
        return {"by": "judge", **super().parameters()}

    def requests(self, record: Record) -> Sequence[Request]:
        return held(verdicts(self._asks(Checked.of(record))), ())[1]

    def more(self, record: Record) -> Sequence[Request]:
        return held(verdicts(self._asks(Checked.of(record))), record.judged.get(self.name, ()))[1]

    def acceptable(self, request: Request, response: Response) -> bool:
        return acceptable(request, response, POINTS)

    def score_one(self, record: Record) -> Score:
        checked = Checked.of(record)
        if isinstance(checked, str):
            return Score.unscored(checked)
        found, _ = held(verdicts(self._asks(checked)), record.judged.get(self.name, ()))
        if found is None:
            return Score.unscored("the judge has not answered")
        flat = [combined(draws) for draws in found]
        width = len(checked.sentences)
        by_sentence = [flat[at::width] for at in range(width)]
        values = [_mean(column) for column in by_sentence]
        failed, refused = (sum(verdict.state == state for verdict in flat) for state in ("error", "refusal"))
        labels = [[verdict.label or verdict.state for verdict in column] for column in by_sentence]
        detail = checked.told(values, judge=self.judge_name, verdicts=labels)
        known = [value for value in values if value is not None]
        if not known:
            reason = next((verdict.reason for verdict in flat if verdict.reason), None)
            return Score.unscored(reason or "the judge gave no verdict", **detail)
        mean, worst = _row(known)
        row = (mean, worst, float(greedy(record)), float(failed), float(refused), float(len(flat)))
        return Score(row, mean, detail=detail)

    def detail(self, stats: Array) -> Mapping[str, Json]:
        failed, refused, asked = (int(stats[:, column].sum()) for column in (3, 4, 5))
        return {
            "judge": self.judge_name,
            "score_mode": str(self._mode),
            "verdicts": asked,
            "failed": failed,
            "refused": refused,
        }

    def notes(self, stats: Array) -> Sequence[str]:
        greedily, failed, refused, asked = (int(stats[:, column].sum()) for column in (2, 3, 4, 5))
        return (*self._warnings, *missing_note(failed, refused, asked), *greedy_note(greedily))

    def _asks(self, checked: Checked | str) -> list[Ask]:
        """In the order sample, sentence, so that all questions about one sample begin alike; none where there is nothing."""
        if isinstance(checked, str):
            return []
        key = nonce_of(NAME, checked.answer, *checked.samples)
        return [
            self.ask(self._messages(sample, sentence, key)) for sample in checked.samples for sentence in checked.sentences
        ]

    def _messages(self, sample: str, sentence: str, key: str) -> tuple[Message, ...]:
        bare = self._mode.kind == "logprobs"
        form = "Reply with nothing but" if bare else f'Reply with one line: "{MARK} " and then'
        asked = f"Is the sentence supported by the text? {form} yes, no or unclear."
        return (
            Message("system", _SYSTEM),
            Message("user", "\n\n".join([tagged("the text", sample, key), tagged("the sentence", sentence, key), asked])),
        )


def _mean(column: Sequence[Verdict]) -> float | None:
    """The mean of those that are scores."""
    known = [verdict.value for verdict in column if verdict.value is not None]
    return math.fsum(known) / len(known) if known else None
