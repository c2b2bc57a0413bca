"""The judge that compares two answers: asked in both orders, so that what the order decides can be seen and taken out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from evalkit.errors import ScorerError
from evalkit.rubric.load import load_criteria
from evalkit.rubric.schema import Criterion, Style
from evalkit.scorers.base import Array, BaseScorer, MetricInfo, RoleInfo, Scorer
from evalkit.scorers.common import answers, no_answer, one_of, references, serves, source_text, whole
from evalkit.scorers.judge.asking import Ask, Mode, acceptable, answer_form, combined, parse_mode, resolved, way
from evalkit.scorers.judge.base import Texts, Verdict, Via
from evalkit.scorers.judge.canaries import DRAWS, REFERENCE, canary_texts, pair_canaries
from evalkit.scorers.judge.pointwise import asked_of, lacking, related_warnings
from evalkit.scorers.judge.prompt import pair_prompt
from evalkit.stats.length_control import controlled_win_rate, length_gap
from evalkit.types import Json, Record, Request, Response, Score, content_hash

_STYLES = ("score_only", "rate_explain", "analyze_rate")
#: What a canary may win of its two comparisons with a right answer before it is told: less than one tie.
_CANARY_WINS = 0.2
#: Columns of the statistics.
_WIN, _FLIP, _FIRST, _DECIDED, _LENGTH, _OTHER = range(6)
#: How many there are.
STATS = 6


@serves("generate_until")
class JudgePairwise(BaseScorer):
    """How often a model prefers each answer to another one of the data.

    Args:
        against: the column of the data with the other answer.
        rubric: a pairwise rubric, by name or file.
        model: the judge, as ``--model`` has it; ``--role`` overrides it.
        orders: ``both`` (every pair is shown twice, with sides swapped) or ``random`` (once, the side fixed by the sample).
        swap: what two orders that disagree count as: ``tie`` (half a win, as MT-bench; a win in one order and a tie in the
            other is a tie, too) or ``average`` of the two verdicts (as AlpacaEval).
        score_mode, style, source, input, reference, max_tokens, structured, canaries: as of the scorer ``judge``.

    ``win_rate`` counts a tie as half; ``win_rate_lc`` is it at equal length; ``flip_rate`` is the share of pairs whose
    winner changes with the order, ``first_slot`` the share of decided verdicts for the text that stood first. A pair that
    lacks the verdict of one order has none: the other order alone would bring back the bias that both take out.
    """

    name = "judge_pairwise"
    live = False
    metrics: tuple[MetricInfo, ...] = (
        MetricInfo("win_rate", low=0.0, high=1.0, ideal=1.0, mean=True, column=_WIN),
        MetricInfo("win_rate_lc", low=0.0, high=1.0, ideal=1.0),
        MetricInfo("flip_rate", False, low=0.0, high=1.0, ideal=0.0, mean=True, proportion=True, column=_FLIP),
        MetricInfo("first_slot", None, low=0.0, high=1.0, ideal=0.5),
    )

    def __init__(
        self,
        against: str,
        rubric: str = "preference",
        model: str | None = None,
        role: str = "judge",
        orders: str = "both",
        swap: str = "tie",
        score_mode: str = "argmax",
        style: str | None = None,
        source: str | None = None,
        input: str | None = None,
        reference: str | None = None,
        max_tokens: int = 768,
        structured: bool = False,
        canaries: bool = True,
    ) -> None:
        self._rubric, criteria = load_criteria(rubric)
        if self._rubric.form != "pairwise":
            raise ScorerError(f"rubric {self._rubric.rubric} rates one output at a time: use the scorer judge")
        if len(criteria) != 1:
            names = ", ".join(f"{self._rubric.rubric}/{criterion.name}" for criterion in criteria)
            raise ScorerError(f"scorer 'judge_pairwise' asks about one criterion: name one of {names}")
        self._criterion: Criterion = criteria[0]
        self._against = str(against)
        self.roles = (str(role),)
        self.default_models: Mapping[str, str] = {} if model is None else {str(role): model}
        self._orders = one_of("orders", orders, ("both", "random"))
        self._swap = one_of("swap", swap, ("tie", "average"))
        self._mode = parse_mode(score_mode, structured)
        self._style: Style = one_of("style", style or self._rubric.style, _STYLES)  # type: ignore[assignment]
        self._max_tokens = whole("max_tokens", max_tokens)
        self._canaries = canaries
        self._shown = set(self._rubric.shows(self._criterion))
        self._source, self._input, self._reference = source or "source", input, reference
        named = {"source": self._source, "input": input, "reference": reference}
        self.columns = (self._against, *(column for part, column in named.items() if column and part in self._shown))
        if self._orders == "random":
            self.metrics = tuple(metric for metric in self.metrics if metric.name != "flip_rate")
        self._judge: RoleInfo | None = None
        self._via: Via | None = None
        self._warnings: tuple[str, ...] = ()
        self._heard: list[dict[str, Json]] = []

    def parameters(self) -> Mapping[str, Json]:
        judge = self._judge
        pinned: dict[str, Json] = {
            "against": self._against,
            "rubric": f"{self._rubric.rubric}@{self._rubric.hash}",
            "criterion": self._criterion.name,
            "judge": f"{judge.name}@{judge.fingerprint[:12]}" if judge else self.roles[0],
            "mode": str(self._mode),
            "via": self._via,
            "orders": self._orders,
            "swap": self._swap if self._orders == "both" else None,
            "style": self._style if self._mode.kind != "logprobs" else None,
            "max_tokens": self._max_tokens if self._mode.kind != "logprobs" else None,
            "source": self._source if "source" in self._shown else None,
            "input": self._input if "input" in self._shown else None,
            "reference": self._reference if "reference" in self._shown else None,
        }
        return {name: value for name, value in pinned.items() if value is not None}

    def bind(self, roles: Mapping[str, RoleInfo], candidate: RoleInfo | None) -> Scorer:
        bound = copy(self)
        bound._judge = roles[self.roles[0]]
        bound._via = way(self._mode, bound._judge, self._criterion.scale.points, self._rubric.rubric)
        bound._warnings = related_warnings([bound._judge], candidate)
        bound._heard = []
        return bound

    def requests(self, record: Record) -> Sequence[Request]:
        return [request for ask, _ in self._asks(record) for request in ask.requests()]

    def more(self, record: Record) -> Sequence[Request]:
        return resolved([ask for ask, _ in self._asks(record)], record.judged.get(self.name, ()))[1]

    def acceptable(self, request: Request, response: Response) -> bool:
        return acceptable(request, response, self._criterion.scale.points)

    def standing(self) -> Sequence[Request]:
        return [request for _, _, ask in self._canary_asks() for request in ask.requests()]

    def hear(self, answers: Sequence[Response | None]) -> None:
        """Each canary's share of the two orders in which it beat a plain and right answer."""
        asked = list(self._canary_asks())
        verdicts, _ = resolved([ask for _, _, ask in asked], answers, retries=0)
        wins: dict[str, list[float | None]] = {}
        for (name, swapped, _), draws in zip(asked, verdicts, strict=True):
            value = combined(draws).value if draws else None
            wins.setdefault(name, []).append(None if value is None else 1 - value if swapped else value)
        self._heard = []
        for name, found in wins.items():
            known = [value for value in found if value is not None]
            value = math.fsum(known) / len(known) if len(known) == len(found) else None
            earned = value is not None and value > _CANARY_WINS
            self._heard.append({"canary": name, "criterion": self._criterion.name, "value": value, "earned": earned})

    def score_one(self, record: Record) -> Score:
        given = answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        other, missing = source_text(record.sample, self._against), self._missing(record)
        if other is None or missing is not None:
            return Score.unscored(missing or f"the sample has no answer to compare with (column {self._against!r})")
        asks = self._asks(record)
        verdicts, pending = resolved([ask for ask, _ in asks], record.judged.get(self.name, ()))
        if pending:
            return Score.unscored("the judge has not answered")
        shown = [(combined(found), swapped) for found, (_, swapped) in zip(verdicts, asks, strict=True)]
        return self._scored(shown, given, other)

    def _scored(self, shown: Sequence[tuple[Verdict, bool]], given: Sequence[str], other: str) -> Score:
        told = [
            {"first": "other" if swapped else "answer", "label": v.label, "value": v.value}
            | ({"reason": v.reason} if v.reason else {})
            | ({"reply": v.reply} if v.reply and self._mode.kind != "logprobs" else {})
            for v, swapped in shown
        ]
        per_answer = len(shown) // len(given)
        wins, flips = [], []
        for at in range(len(given)):
            found = shown[at * per_answer : (at + 1) * per_answer]
            values = [1 - v.value if swapped else v.value for v, swapped in found if v.value is not None]
            if len(values) < per_answer:
                continue
            agreement = math.prod(value - 0.5 for value in values) if len(values) == 2 else 1.0
            wins.append(0.5 if agreement <= 0 and self._swap == "tie" else math.fsum(values) / len(values))
            flips.append(float(agreement < 0))
        if not wins:
            reason = next((v.reason for v, _ in shown if v.reason), None) or "the judge gave no verdict"
            return Score.unscored(reason, verdicts=told)
        decided = [v.value for v, _ in shown if v.value is not None and v.value != 0.5]
        first = sum(value > 0.5 for value in decided)
        length = math.fsum(len(text) for text in given) / len(given)
        win = math.fsum(wins) / len(wins)
        flip = math.fsum(flips) / len(flips)
        return Score(
            (win, flip, float(first), float(len(decided)), length, float(len(other))), win, detail={"verdicts": told}
        )

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        gap = length_gap(stats[:, _LENGTH], stats[:, _OTHER])
        with np.errstate(invalid="ignore", divide="ignore"):
            total = weights.sum(axis=-1)
            return {
                "win_rate": weights @ stats[:, _WIN] / total,
                "win_rate_lc": controlled_win_rate(stats[:, _WIN], gap, weights),
                "flip_rate": weights @ stats[:, _FLIP] / total,
                "first_slot": weights @ stats[:, _FIRST] / (weights @ stats[:, _DECIDED]),
            }

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """The judge beside judges that look at nothing but length, or at nothing at all."""
        win, gap = stats[:, _WIN], stats[:, _LENGTH] - stats[:, _OTHER]
        longest = np.where(gap > 0, 1.0, np.where(gap < 0, 0.0, 0.5))
        decided = (win != 0.5) & (gap != 0)
        return {
            "judge": self._judge.name if self._judge else None,
            "rubric": self._rubric.rubric,
            "win_rate_of_trivial_judges": {
                "longest": float(longest.mean()),
                "shortest": float(1 - longest.mean()),
                "random": 0.5,
                "constant": 0.5,
            },
            "agrees_with_longest": float(((win > 0.5) == (longest > 0.5))[decided].mean()) if decided.any() else None,
            "ties": float((win == 0.5).mean()),
            **({"canaries": self._heard} if self._heard else {}),
        }

    def notes(self, stats: Array) -> Sequence[str]:
        notes = list(self._warnings)
        plain = float(stats[:, _WIN].mean())
        equal = float(self.aggregate(stats, np.ones(len(stats)))["win_rate_lc"])
        if abs(plain - equal) > 0.1:
            notes.append(f"length moves the win rate by {abs(plain - equal) * 100:.0f} points ({equal:.3f} at equal length)")
        fell = [canary for canary in self._heard if canary["earned"]]
        if fell:
            worst = max(fell, key=lambda canary: float(canary["value"]))
            notes.append(
                f"{len(fell)} of {len(self._heard)} canaries won or tied against a right answer ({worst['canary']!r}: "
                f"{worst['value']:.2f})"
            )
        return notes

    def _asks(self, record: Record) -> list[tuple[Ask, bool]]:
        """For every answer one question an order, and whether the other answer stands first."""
        other = source_text(record.sample, self._against)
        given = answers(record)
        if given is None or other is None or self._missing(record):
            return []
        context = self._context(record)
        return [(self._ask(context, text, other, swapped), swapped) for text in given for swapped in self._sides(record)]

    def _canary_asks(self) -> Iterator[tuple[str, bool, Ask]]:
        if self._canaries:
            for name, output in pair_canaries(self._criterion).items():
                for swapped in (False, True):
                    ask = self._ask(canary_texts(output), output, REFERENCE, swapped)
                    yield name, swapped, replace(ask, mode=Mode(self._mode.kind, min(self._mode.draws, DRAWS)))

    def _sides(self, record: Record) -> tuple[bool, ...]:
        if self._orders == "both":
            return (False, True)
        return (int(content_hash([record.sample.task, record.sample.id], 4), 16) % 2 == 1,)

    def _missing(self, record: Record) -> str | None:
        return lacking(self._context(record), self._shown, self._source)

    def _context(self, record: Record) -> Texts:
        """All that a judge may see beside the two answers."""
        sample = record.sample
        return Texts(
            "",
            input=asked_of(record) if self._input is None else source_text(sample, self._input),
            source=source_text(sample, self._source),
            reference=source_text(sample, self._reference) if self._reference else next(iter(references(sample)), None),
        )

    def _ask(self, context: Texts, text: str, other: str, swapped: bool) -> Ask:
        if self._judge is None or self._via is None:
            raise ScorerError("the judge is not bound to a model; a run does that when its models are loaded")
        first, second = (other, text) if swapped else (text, other)
        texts = replace(context, output=first, other=second)
        messages = pair_prompt(self._rubric, self._criterion, texts, style=self._style, answer=answer_form(self._mode))
        points = self._criterion.scale.points
        return Ask(messages, points, self.roles[0], self._judge.chat, self._mode, self._via, self._max_tokens)
