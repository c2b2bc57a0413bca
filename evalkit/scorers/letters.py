"""Multiple choice in letter form: the letter that a model wrote, or the probabilities of those it could have written."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping

from evalkit.scorers.base import Array, BaseScorer, MetricInfo
from evalkit.scorers.common import answers, gold_indices, no_answer, no_gold, serves, share
from evalkit.types import Json, Record, Score

#: Where a response keeps the likeliest first tokens of its answer.
TOP = "top_logprobs"


class LetterChoice(BaseScorer):
    """Share of right letters. An answer that names no option is wrong, and ``unparsed`` is the share of those."""

    name = "letter_choice"
    metrics = (
        share("acc"),
        MetricInfo("unparsed", None, low=0.0, high=1.0, mean=True, proportion=True, column=1, headline=False),
    )

    def parameters(self) -> Mapping[str, Json]:
        return {"form": "letter"}

    def score_one(self, record: Record) -> Score:
        gold = gold_indices(record.sample)
        if gold is None:
            return Score.unscored(no_gold(record.sample))
        given = answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        letters = string.ascii_uppercase[: len(record.sample.choices or ())]
        chosen = [letters.index(text) if len(text) == 1 and text in letters else None for text in given]
        value = sum(index in gold for index in chosen) / len(chosen)
        return Score(
            (value, sum(index is None for index in chosen) / len(chosen)), value, chance=len(set(gold)) / len(letters)
        )

    def detail(self, stats: Array) -> Mapping[str, Json]:
        return {"form": "letter", "unparsed": float(stats[:, 1].mean())}


class LetterLogprobs(BaseScorer):
    """Share of samples whose likeliest letter, as the answer's first token, is right.

    ``letter_mass`` is the probability of all letters together. Servers give the likeliest tokens only, so that it is a lower
    bound; a letter that is not among them is less likely than those that are. Without any, the sample is unscored.
    """

    name = "letter_logprobs"
    metrics = (
        share("acc"),
        MetricInfo("letter_mass", None, low=0.0, high=1.0, mean=True, column=1, headline=False),
    )

    def parameters(self) -> Mapping[str, Json]:
        return {"form": "letter-logprobs"}

    def score_one(self, record: Record) -> Score:
        gold = gold_indices(record.sample)
        if gold is None:
            return Score.unscored(no_gold(record.sample))
        response = record.responses[0] if record.responses else None
        top = response.extra.get(TOP) if response is not None else None
        if not isinstance(top, Mapping):
            return Score.unscored("the model gave no top_logprobs")
        masses = self.masses(top, len(record.sample.choices or ()))
        if not any(masses):
            return Score.unscored(f"no option's letter is among the {len(top)} likeliest first tokens")
        value = float(masses.index(max(masses)) in gold)
        shown = {letter: round(mass, 6) for letter, mass in zip(string.ascii_uppercase, masses, strict=False)}
        return Score((value, min(1.0, sum(masses))), value, chance=len(set(gold)) / len(masses), detail={"letters": shown})

    def masses(self, top: Mapping[str, float], count: int) -> list[float]:
        """Probability of each of ``count`` letters: of all tokens that are that letter but for marks and blanks."""
        found = [0.0] * count
        for token, logprob in top.items():
            letter = token.strip(" \t\r\n()[].:*\"'▁Ġ")
            if len(letter) == 1 and letter in string.ascii_uppercase[:count]:
                found[string.ascii_uppercase.index(letter)] += math.exp(logprob)
        return found

    def detail(self, stats: Array) -> Mapping[str, Json]:
        return {"form": "letter-logprobs", "letter_mass": float(stats[:, 1].mean())}


@serves("generate_until")
def letter_choice() -> LetterChoice:
    """Share of right letters among answers to lettered options (a multiple-choice task's letter form)."""
    return LetterChoice()


@serves("generate_until")
def letter_logprobs() -> LetterLogprobs:
    """Share of samples whose likeliest first token among the letters is right (form letter-logprobs)."""
    return LetterLogprobs()
