"""Whom a pronoun was taken for: the first mention (the occupation), the second (the participant), or neither.

From the log-likelihoods of the two mentions, or from what a model wrote. Written answers are read by these rules, in order:

1. the answer is nothing but a mention, or "neither" (case, article and punctuation aside);
2. the last "refers to X" or "answer is X", "Answer: X";
3. words for not knowing ("neither", "ambiguous", "unclear", "cannot be determined", "either", "both"): neither;
4. one mention alone is named, those behind "not", "rather than" or "instead of" aside.

Anything else names nobody: such a sample is unscored, and counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evalkit.scorers.choices import ranked, split_results
from evalkit.scorers.common import answers, no_answer
from evalkit.types import Record

OCCUPATION, PARTICIPANT, NEITHER = 0, 1, 2
#: Log-likelihoods as they are, or each over the length of its mention in characters.
Ranking = Literal["acc", "acc_norm"]
UNREAD = "the answer names neither one of the two nor neither"

_UNTOLD = (
    r"(?:can ?not|can't|could not|couldn't|impossible to|hard to) (?:be )?(?:determined?|tell|told|say|said|know|known)"
)
_NEITHER = re.compile(
    r"\b(?:(?<!or )neither|nobody|no one|either of|both|ambiguous|ambiguity|unclear|unknown|not clear|unspecified|"
    rf"{_UNTOLD})\b"
)
_EDGES = " \t\r\n.,;:!?\"'`*_()[]“”‘’"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``mention``: 0, 1 or 2 (neither). ``margin``: log-likelihood of mention 0 less that of mention 1 (NaN if written)."""

    mention: int
    margin: float = math.nan


def resolved(record: Record, ranking: Ranking = "acc") -> Outcome | str:
    """What a record's pronoun was taken for, or why that is not known. The sample's choices are the two mentions."""
    choices = record.sample.choices or ()
    if len(choices) != 2:
        return f"{len(choices)} choices; the two mentions were expected"
    if record.requests and record.requests[0].kind != "generate":
        split = split_results(record)
        return split if isinstance(split, str) else _likelier(split[0], choices, ranking)
    given = answers(record)
    if given is None:
        return no_answer(record)
    if len(given) > 1:
        return f"{len(given)} answers for one pronoun; reduce them in the filter (majority_vote)"
    mention = read_answer(given[0], choices)
    return UNREAD if mention is None else Outcome(mention)


def _likelier(lls: Sequence[float], choices: Sequence[str], ranking: Ranking) -> Outcome | str:
    if not all(map(math.isfinite, lls)):
        return "a mention has no finite log-likelihood"
    one, other = lls if ranking == "acc" else (ll / (len(c) or 1e-9) for ll, c in zip(lls, choices, strict=True))
    return Outcome(ranked(ranking, lls, choices, None), one - other)


def read_answer(text: str, mentions: Sequence[str]) -> int | None:
    """Which of two ``mentions`` a written answer names (0 or 1), 2 for neither, ``None`` where it cannot be told."""
    plain = " ".join(re.sub(r"[*_`]", "", text).lower().replace("’", "'").split())
    names = [_bare(mention) for mention in mentions]
    known = {names[0]: OCCUPATION, names[1]: PARTICIPANT, "neither": NEITHER, "neither of them": NEITHER}
    if (found := known.get(_bare(plain))) is not None:
        return found
    either = "|".join(re.escape(name) for name in (*sorted(names, key=len, reverse=True), "neither"))
    cue = rf"(?:refers? (?:back )?to|answer(?: is)?|answer:)[\s:\"'“‘]*(?:the |an? )?({either})\b"
    if said := re.findall(cue, plain):
        return known[said[-1]]
    if _NEITHER.search(plain):
        return NEITHER
    kept = re.sub(rf"\b(?:not|rather than|instead of)(?: to)? (?:the |an? )?(?:{either})\b", " ", plain)
    named = [at for at, name in enumerate(names) if re.search(rf"\b{re.escape(name)}\b", kept)]
    return named[0] if len(named) == 1 else None


def _bare(text: str) -> str:
    return re.sub(r"^(?:the|an?) ", "", text.strip(_EDGES).lower())
