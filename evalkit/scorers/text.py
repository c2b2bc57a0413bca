"""Metrics that compare a generated answer with its references: exact, contained, by tokens, by number.

With several references the best one counts; with several answers (repeats) a sample's row is the mean over them.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evalkit.errors import ScorerError
from evalkit.scorers.base import BaseScorer
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, references, serves, share
from evalkit.types import Json, Record, Score

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DIGITS = str.maketrans("", "", string.digits)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What exact_match ignores, by lm-eval's parameter names and in its order."""

    regexes_to_ignore: tuple[str, ...] = ()
    ignore_case: bool = False
    ignore_punctuation: bool = False
    ignore_numbers: bool = False

    @classmethod
    def of(cls, regexes: Sequence[str] | str | None, case: bool, punctuation: bool, numbers: bool) -> Cleaning:
        """Checked parameters; raises ScorerError for a broken regular expression."""
        patterns = (regexes,) if isinstance(regexes, str) else tuple(regexes or ())
        for pattern in patterns:
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                raise ScorerError(f"scorer parameter 'regexes_to_ignore': {pattern!r} is not a pattern ({error})") from error
        return cls(patterns, bool(case), bool(punctuation), bool(numbers))

    def __call__(self, text: str) -> str:
        for pattern in self.regexes_to_ignore:
            text = re.sub(pattern, "", text)
        if self.ignore_case:
            text = text.lower()
        if self.ignore_punctuation:
            text = text.translate(_PUNCTUATION)
        if self.ignore_numbers:
            text = text.translate(_DIGITS)
        return text

    def parameters(self) -> dict[str, Json]:
        """The parameters that differ from their defaults."""
        pairs: dict[str, Json] = {
            "regexes_to_ignore": list(self.regexes_to_ignore),
            "ignore_case": self.ignore_case,
            "ignore_punctuation": self.ignore_punctuation,
            "ignore_numbers": self.ignore_numbers,
        }
        return {key: value for key, value in pairs.items() if value}


#: Score in [0, 1] of an answer against one reference.
Compare = Callable[[str, str], float]


class Compared(BaseScorer):
    """The best comparison with any reference, averaged over a sample's answers."""

    def __init__(self, name: str, compare: Compare, parameters: Mapping[str, Json], *, proportion: bool) -> None:
        self.name = name
        self.metrics = (share(name, proportion=proportion),)
        self._compare = compare
        self._parameters = dict(parameters)

    def parameters(self) -> Mapping[str, Json]:
        return self._parameters

    def score_one(self, record: Record) -> Score:
        given = answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        golds = references(record.sample)
        if not golds:
            return Score.unscored(NO_REFERENCE)
        values = [max(self._compare(answer, gold) for gold in golds) for answer in given]
        value = sum(values) / len(values)
        return Score((value,), value, detail={"answers": values} if len(values) > 1 else {})


@serves("generate_until")
def exact_match(
    regexes_to_ignore: Sequence[str] | str | None = None,
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_numbers: bool = False,
) -> Compared:
    """Whether the answer equals a reference, after dropping what the parameters name."""
    clean = Cleaning.of(regexes_to_ignore, ignore_case, ignore_punctuation, ignore_numbers)
    return Compared("exact_match", lambda a, b: float(clean(a) == clean(b)), clean.parameters(), proportion=True)


@serves("generate_until")
def contains(ignore_case: bool = True) -> Compared:
    """Whether a reference stands anywhere in the answer."""
    fold = str.casefold if ignore_case else str
    return Compared(
        "contains", lambda a, b: float(fold(b.strip()) in fold(a)), {"ignore_case": bool(ignore_case)}, proportion=True
    )


@serves("generate_until")
def squad_exact_match() -> Compared:
    """Whether the answer equals a reference, both normalised as SQuAD does (case, punctuation, articles, white space)."""
    return Compared("squad_exact_match", lambda a, b: float(squad_tokens(a) == squad_tokens(b)), {}, proportion=True)


@serves("generate_until")
def token_f1() -> Compared:
    """Word overlap F1 with the best reference, normalised as SQuAD does (case, punctuation, articles)."""
    return Compared("token_f1", overlap_f1, {}, proportion=False)


@serves("generate_until")
def numeric_match(tolerance: float = 1e-6, pick: str = "last") -> Compared:
    """Whether the last (or first) number of the answer equals the reference's, within a relative tolerance."""
    if pick not in ("last", "first"):
        raise ScorerError(f"scorer parameter 'pick' must be 'last' or 'first', not {pick!r}")
    if not isinstance(tolerance, int | float) or tolerance < 0:
        raise ScorerError(f"scorer parameter 'tolerance' must be a number of at least 0, not {tolerance!r}")

    def compare(answer: str, gold: str) -> float:
        got, want = find_number(answer, pick), find_number(gold, pick)
        if got is None or want is None:
            return 0.0
        return float(abs(got - want) <= tolerance * max(abs(got), abs(want)))

    return Compared("numeric_match", compare, {"tolerance": tolerance, "pick": pick}, proportion=True)


def find_number(text: str, pick: str = "last") -> float | None:
    """The first or last number in ``text``, thousands separators dropped."""
    found = _NUMBER.findall(text)
    return float(found[-1 if pick == "last" else 0].replace(",", "")) if found else None


def squad_tokens(text: str) -> list[str]:
    """Words of ``text`` as SQuAD's scorer sees them: lower case, no punctuation, no English articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def overlap_f1(answer: str, gold: str) -> float:
    """Harmonic mean of word precision and recall; two texts without words agree."""
    got, want = squad_tokens(answer), squad_tokens(gold)
    if not got or not want:
        return float(got == want)
    common = sum((Counter(got) & Counter(want)).values())
    return 2 * common / (len(got) + len(want))
