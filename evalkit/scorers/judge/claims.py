"""Are an answer's claims in its source? A judge splits the answer into claims and looks each one up, quoting the source.

After FActScore (Min et al. 2023, arXiv 2305.14251), which counts supported claims, with one thing more: "supported" counts
only with a quotation that really stands in the source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.common import answers, no_answer, serves, source_text, whole
from evalkit.scorers.judge.asking import RETRIES, Ask, Mode, acceptable
from evalkit.scorers.judge.claim_replies import POINTS, STANDINGS, Finding, finding, read_claims
from evalkit.scorers.judge.pointwise import asked_of
from evalkit.scorers.judge.prompt import MARK, MATERIAL, nonce_of, tagged
from evalkit.scorers.judge.single import SingleJudge, Talk, held, missing_note, verdicts
from evalkit.scorers.judge.verdict import response_verdict
from evalkit.types import Json, Message, Record, Request, Response, Score

NAME = "claims"

_SPLIT = (
    "You take a text apart into the claims it makes. "
    f"{MATERIAL}\n\n"
    "A claim is one statement of fact that can be true or false by itself. Write each as a short full sentence that can be "
    "understood alone: names in the place of pronouns, one fact to a claim, nothing added, nothing of your own knowledge. "
    "Keep the order of the text. Leave out opinions, questions, greetings and what the text says about itself."
)
_CHECK = (
    "You are given a source text and a claim, and say what the source text says of the claim. "
    f"{MATERIAL}\n\n"
    "supported: the source text states or plainly implies all of the claim. contradicted: it says otherwise of any part of "
    "it. absent: it does neither. Go by the source text alone: what you know of the matter yourself does not count."
)
_LIST = "List the claims of the text. Reply with a JSON list of strings and nothing else, an empty one if it makes none."
_QUOTING = (
    "Is the claim supported by the source text, contradicted by it, or absent from it? Reply with two lines. The first: "
    '"QUOTE: " and then the words of the source text that show it, copied exactly, three words at least and none left out '
    f'between them, or none if it is absent. The second: "{MARK} " and then supported, contradicted or absent.'
)


@dataclass(frozen=True, slots=True)
class Listed:
    """The claims of one answer, the first ``max_claims`` of ``total``; ``None`` where the judge gave no list of them."""

    claims: tuple[str, ...] | None
    total: int = 0
    state: str = "score"
    reason: str | None = None


#: The slot of the second round's requests; the first round's have 0.
_CHECKING = 1

#: Nothing is a verdict on this scale: only failures and refusals are told apart.
_NO_SCALE = {"\0": 0.0}

#: For each answer its claims and what came of them.
Outcome = list[tuple[Listed, list[Finding]]]


@serves("generate_until")
class Claims(SingleJudge):
    """Share of an answer's claims that its source supports, each with a quotation that is verified to be there.

    Args:
        model: the judge, as ``--model`` has it; ``--role`` overrides it.
        source: column of the data with the text that claims must stand in; by default what the model under test was asked.
        max_claims: how many claims of an answer are looked up, the first ones; notes say where there were more.
        max_tokens: most tokens of a reply (the list of claims is the longest).

    Shares of the claims that got a verdict: ``claims_supported`` (with a quotation found in the source),
    ``claims_contradicted``, ``claims_not_in_source``, ``claims_unverified`` (called supported, without such a quotation);
    ``claims`` is how many the answer makes. An answer without a claim has a number of claims (0), and no shares. Several
    answers (repeats) count with their mean.
    """

    name = NAME
    metrics = (
        MetricInfo("claims_supported", low=0.0, high=1.0, ideal=1.0, mean=True, column=0),
        *(
            MetricInfo(f"claims_{standing}", False, low=0.0, high=1.0, ideal=0.0, mean=True, column=column, headline=False)
            for column, standing in enumerate(STANDINGS[1:], 1)
        ),
        MetricInfo("claims", None, low=0.0, mean=True, column=4, headline=False),
    )

    def __init__(
        self,
        model: str | None = None,
        role: str = "judge",
        source: str | None = None,
        max_claims: int = 30,
        max_tokens: int = 1024,
    ) -> None:
        super().__init__(model, role, Mode("argmax"), POINTS, max_tokens)
        self._source = source
        self.columns = () if source is None else (source,)
        self._most = whole("max_claims", max_claims)

    def parameters(self) -> Mapping[str, Json]:
        return {**super().parameters(), "source": self._source or "prompt", "max_claims": self._most}

    def requests(self, record: Record) -> Sequence[Request]:
        return self._far(record, ())[1]

    def more(self, record: Record) -> Sequence[Request]:
        return self._far(record, record.judged.get(self.name, ()))[1]

    def acceptable(self, request: Request, response: Response) -> bool:
        if request.slot == _CHECKING:
            return acceptable(request, response, POINTS)
        return response.error is None and self._listed(response).claims is not None

    def score_one(self, record: Record) -> Score:
        if answers(record) is None:
            return Score.unscored(no_answer(record))
        if self._text(record) is None:
            where = "no prompt" if self._source is None else f"no source (column {self._source!r})"
            return Score.unscored(f"the sample has {where}")
        if not self._checked(record):
            return Score.unscored("the answer is blank")
        outcome, _ = self._far(record, record.judged.get(self.name, ()))
        return Score.unscored("the judge has not answered") if outcome is None else self._scored(outcome)

    def _scored(self, outcome: Outcome) -> Score:
        listed = [(claims, found) for claims, found in outcome if claims.claims is not None]
        findings = [item for _, found in outcome for item in found]
        states = [claims.state for claims, _ in outcome] + [item.state for item in findings]
        detail: dict[str, Json] = {"judge": self.judge_name, "claims": [_told(item) for item in findings]}
        reasons = [claims.reason for claims, _ in outcome] + [item.reason for item in findings if item.standing is None]
        shares = [row for _, found in listed if (row := _shares(found)) is not None]
        if not listed or (findings and not shares):
            return Score.unscored(next((reason for reason in reasons if reason), "the judge gave no verdict"), **detail)
        means = np.mean(shares, axis=0).tolist() if shares else [math.nan] * len(STANDINGS)
        number = math.fsum(claims.total for claims, _ in listed) / len(listed)
        cut = sum(claims.total - len(claims.claims or ()) for claims, _ in listed)
        unquoted = sum(item.standing == "contradicted" and item.span is None for item in findings)
        tail = (cut, unquoted, states.count("error"), states.count("refusal"), len(states))
        if cut:
            detail["not_looked_up"] = cut
        return Score((*means, number, *map(float, tail)), means[0] if shares else None, detail=detail)

    def detail(self, stats: Array) -> Mapping[str, Json]:
        cut, unquoted, failed, refused, asked = _tail(stats)
        return {
            "judge": self.judge_name,
            "claims": int(stats[:, 4].sum()),
            "not_looked_up": cut,
            "contradicted_without_quotation": unquoted,
            "asked": asked,
            "failed": failed,
            "refused": refused,
        }

    def notes(self, stats: Array) -> Sequence[str]:
        cut, _, failed, refused, asked = _tail(stats)
        notes = [*self._warnings, *missing_note(failed, refused, asked)]
        without = int(np.isnan(stats[:, 0]).sum())
        if without:
            notes.append(f"{without} with an answer that makes no claim, which has no shares")
        if cut:
            notes.append(f"{int((stats[:, -5] > 0).sum())} with more than {self._most} claims: {cut} were not looked up")
        return notes

    def _far(self, record: Record, replies: Sequence[Response | None]) -> tuple[Outcome | None, Sequence[Request]]:
        given, source = self._checked(record), self._text(record)
        return ([], ()) if source is None or not given else held(self._talk(given, source), replies)

    def _talk(self, given: Sequence[str], source: str) -> Talk[Outcome]:
        """First the claims of every answer, then what the source says of each."""
        listed = yield from self._lists([self._split(answer) for answer in given])
        key = nonce_of(NAME, source, *given)
        claims = [(at, claim) for at, found in enumerate(listed) for claim in found.claims or ()]
        replies = yield from verdicts([self._check(claim, source, key) for _, claim in claims])
        found: list[list[Finding]] = [[] for _ in given]
        for (at, claim), (verdict,) in zip(claims, replies, strict=True):
            found[at].append(finding(claim, verdict, source))
        return list(zip(listed, found, strict=True))

    def _lists(self, asks: Sequence[Ask]) -> Talk[list[Listed]]:
        """The claims of each answer; a reply without a list is asked for again."""
        found: dict[int, Listed] = {}
        unread = list(range(len(asks)))
        for attempt in range(RETRIES + 1):
            replies = yield [asks[at].again(0, attempt) for at in unread]
            found |= {at: self._listed(reply) for at, reply in zip(unread, replies, strict=True)}
            pairs = zip(unread, replies, strict=True)
            unread = [at for at, reply in pairs if reply is not None and found[at].state == "error" and _readable(reply)]
        return [found[at] for at in range(len(asks))]

    def _listed(self, response: Response | None) -> Listed:
        if response is None or not _readable(response) or response.text is None:
            failed = response_verdict(response, _NO_SCALE)
            return Listed(None, state=failed.state, reason=failed.reason)
        if response.finish == "length":
            return Listed(None, state="error", reason="the judge's list of claims was cut off: raise max_tokens")
        claims = read_claims(response.text)
        if claims is not None:
            return Listed(claims[: self._most], len(claims))
        failed = response_verdict(response, _NO_SCALE)
        reason = failed.reason if failed.state == "refusal" else "the judge gave no list of claims"
        return Listed(None, state=failed.state, reason=reason)

    def _split(self, answer: str) -> Ask:
        shown = tagged("the text", answer, nonce_of(NAME, answer))
        return self.ask((Message("system", _SPLIT), Message("user", f"{shown}\n\n{_LIST}")))

    def _check(self, claim: str, source: str, key: str) -> Ask:
        shown = f"{tagged('the source text', source, key)}\n\n{tagged('the claim', claim, key)}"
        return replace(self.ask((Message("system", _CHECK), Message("user", f"{shown}\n\n{_QUOTING}"))), slot=_CHECKING)

    def _checked(self, record: Record) -> list[str]:
        return [answer for answer in answers(record) or () if answer.strip()]

    def _text(self, record: Record) -> str | None:
        return asked_of(record) if self._source is None else source_text(record.sample, self._source)


def _readable(response: Response) -> bool:
    """Whether a reply came to all that was asked. Calls that failed were retried before, and what did not fit never will."""
    return response.error is None and not response.truncated


def _tail(stats: Array) -> list[int]:
    """Claims that were not looked up, contradicted ones without a quotation, failed, refused, and all questions."""
    found: list[int] = stats[:, -5:].sum(axis=0).astype(int).tolist()
    return found


def _shares(findings: Sequence[Finding]) -> list[float] | None:
    """The share of each standing among the claims that have one."""
    known = [item.standing for item in findings if item.standing is not None]
    return [known.count(standing) / len(known) for standing in STANDINGS] if known else None


def _told(item: Finding) -> dict[str, Json]:
    """What the report shows of a claim."""
    told: dict[str, Json] = {"claim": item.claim, "standing": item.standing or item.state, "quote": item.quote}
    if item.span is not None:
        told["span"] = list(item.span)
    return {**told, "reason": item.reason} if item.reason else told
