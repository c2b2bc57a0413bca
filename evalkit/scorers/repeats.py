"""Metrics over several answers to the same prompt: pass@k and majority vote."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from evalkit.errors import ScorerError
from evalkit.scorers.base import BaseScorer
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, references, serves, share, whole
from evalkit.scorers.text import Cleaning
from evalkit.stats.passk import pass_at_k, pass_hat_k
from evalkit.types import Json, Record, Score


def repeated_answers(record: Record) -> list[str] | None:
    """All answers of a record: what the filter kept, or every repeat's text where it kept the first one unchanged."""
    given = answers(record)
    if isinstance(record.answer, str) and record.filter == "none":
        texts = [r.text for r in record.responses if r is not None and r.text is not None]
        return texts or given
    return given


class Extracted(BaseScorer):
    """Answers reduced to what is compared: an optional pattern's match, then exact match's cleaning."""

    def __init__(self, pattern: str | None, ignore_case: bool, ignore_punctuation: bool) -> None:
        self._clean = Cleaning.of(None, ignore_case, ignore_punctuation, False)
        try:
            self._pattern = None if pattern is None else re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ScorerError(f"scorer parameter 'pattern': {pattern!r} is not a pattern ({error})") from error

    def parameters(self) -> Mapping[str, Json]:
        return {**self._clean.parameters(), **({"pattern": self._pattern.pattern} if self._pattern else {})}

    def extract(self, text: str) -> str | None:
        """The compared part of an answer; ``None`` where the pattern finds nothing."""
        if self._pattern is not None:
            found = self._pattern.search(text)
            if found is None:
                return None
            text = next((group for group in found.groups() if group is not None), found.group(0))
        return self._clean(text.strip())

    def golds(self, record: Record) -> set[str]:
        return {self._clean(gold.strip()) for gold in references(record.sample)}


@serves("generate_until")
class PassAtK(Extracted):
    """Chance that at least one of k answers is right, estimated without bias from all repeats (Chen et al. 2021).

    ``all_of_k`` adds pass^k, the chance that all k are right. An answer is right when it (or the ``pattern``'s match)
    equals a reference.
    """

    name = "pass_at_k"

    def __init__(
        self,
        k: int | Sequence[int] = 1,
        pattern: str | None = None,
        all_of_k: bool = False,
        ignore_case: bool = False,
        ignore_punctuation: bool = False,
    ) -> None:
        super().__init__(pattern, ignore_case, ignore_punctuation)
        self._k = tuple(whole("k", item) for item in ([k] if isinstance(k, int) else k))
        if not self._k:
            raise ScorerError("scorer parameter 'k' is empty; give one number or a list")
        self._all = bool(all_of_k)
        names = [f"pass@{k}" for k in self._k] + ([f"pass^{k}" for k in self._k] if self._all else [])
        self.metrics = tuple(share(name, column) for column, name in enumerate(names))

    def parameters(self) -> Mapping[str, Json]:
        return {**super().parameters(), "k": ",".join(map(str, self._k)), "all_of_k": self._all}

    def score_one(self, record: Record) -> Score:
        given = repeated_answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        n = len(given)
        if max(self._k) > n:
            return Score.unscored(
                f"pass@{max(self._k)} needs that many answers and filter {record.filter!r} keeps {n}; "
                "set repeats and end the filter with take_first_k"
            )
        golds = self.golds(record)
        if not golds:
            return Score.unscored(NO_REFERENCE)
        right = sum(self.extract(answer) in golds for answer in given)
        stats = [pass_at_k(n, right, k) for k in self._k]
        if self._all:
            stats += [pass_hat_k(n, right, k) for k in self._k]
        return Score(tuple(stats), stats[0], detail={"answers": n, "right": right})


@serves("generate_until")
class MajorityVote(Extracted):
    """Whether the most frequent answer of all repeats is right; the earlier one wins a tie."""

    name = "majority_vote"
    metrics = (share("majority_vote"),)

    def __init__(self, pattern: str | None = None, ignore_case: bool = False, ignore_punctuation: bool = False) -> None:
        super().__init__(pattern, ignore_case, ignore_punctuation)

    def score_one(self, record: Record) -> Score:
        given = repeated_answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        golds = self.golds(record)
        if not golds:
            return Score.unscored(NO_REFERENCE)
        votes = Counter(vote for vote in map(self.extract, given) if vote is not None)
        if not votes:
            return Score.unscored("the pattern matches none of the answers")
        (winner, count), *_ = votes.most_common(1)
        value = float(winner in golds)
        return Score((value,), value, detail={"vote": winner, "votes": count, "answers": len(given)})
