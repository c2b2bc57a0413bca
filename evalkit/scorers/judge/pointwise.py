"""The judge that rates each answer by itself: G-Eval over the criteria of a rubric, by one model or a panel."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.errors import ScorerError
from evalkit.rubric.load import load_criteria
from evalkit.rubric.schema import Criterion, Style
from evalkit.scorers.base import Array, BaseScorer, MetricInfo, RoleInfo, Scorer
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, one_of, references, serves, source_text, whole
from evalkit.scorers.judge.asking import Ask, Mode, acceptable, answer_form, combined, parse_mode, resolved, way
from evalkit.scorers.judge.base import Texts, Verdict, Via
from evalkit.scorers.judge.canaries import DRAWS, canaries, canary_texts, threshold, worthless
from evalkit.scorers.judge.panel import COMBINE, Combine, combine, disagreement
from evalkit.scorers.judge.prompt import judge_prompt
from evalkit.types import Json, Record, Request, Response, Score

_STYLES = ("score_only", "rate_explain", "analyze_rate")
#: The last columns of the statistics: probability on no label, then counts of verdicts (of draws, where there are several).
_OUTSIDE, _FAILED, _REFUSED, _ASKED, _AGAIN = range(-5, 0)


@serves("generate_until")
class Judge(BaseScorer):
    """A model's rating of each answer, by the criteria of a rubric.

    Args:
        rubric: a rubric, ``rubric/criterion``, a criterion of a shipped rubric, or a YAML file.
        model: the judge, as ``--model`` has it; ``--role`` overrides it.
        models: several judges, a panel; ``combine`` (mean, median, majority) makes one score of theirs.
        score_mode: ``logprobs`` (G-Eval's probability-weighted score), ``sample:N`` (mean of N replies) or ``argmax``.
        style: ``score_only``, ``rate_explain`` or ``analyze_rate``; the rubric's own by default.
        source, input, reference: columns of the data that hold what the rubric shows. By default the source is in
            ``source``, the input is the prompt that the model under test was given, the reference the task's target.
        structured: ask for replies as JSON by a schema (servers that have ``response_format``; not with ``logprobs``).
        canaries: judge worthless outputs, too, and report what they were given.

    Each criterion is a metric on its own scale. A verdict that is none is missing, never 0; it is asked for again twice.
    """

    name = "judge"
    live = False

    def __init__(
        self,
        rubric: str,
        model: str | None = None,
        models: Sequence[str] = (),
        role: str = "judge",
        score_mode: str = "logprobs",
        style: str | None = None,
        combine: str = "mean",
        source: str | None = None,
        input: str | None = None,
        reference: str | None = None,
        max_tokens: int = 512,
        structured: bool = False,
        canaries: bool = True,
    ) -> None:
        self._rubric, self._criteria = load_criteria(rubric)
        if self._rubric.form != "pointwise":
            raise ScorerError(f"rubric {self._rubric.rubric} compares two outputs: use the scorer judge_pairwise")
        if model is not None and models:
            raise ScorerError("scorer 'judge': give model or models, not both")
        named = [model] if model is not None else [models] if isinstance(models, str) else list(models)
        self.roles = tuple(f"{role}_{i}" for i in range(1, len(named) + 1)) if len(named) > 1 else (str(role),)
        self.default_models: Mapping[str, str] = dict(zip(self.roles, named, strict=False))
        self._mode = parse_mode(score_mode, structured)
        self._style: Style = one_of("style", style or self._rubric.style, _STYLES)  # type: ignore[assignment]
        self._combine: Combine = one_of("combine", combine, COMBINE)  # type: ignore[assignment]
        self._max_tokens = whole("max_tokens", max_tokens)
        self._canaries = canaries
        self._shown = {part for criterion in self._criteria for part in self._rubric.shows(criterion)}
        self._source = source or "source"
        self._input, self._reference = input, reference
        wanted = [self._source] if "source" in self._shown else []
        wanted += [input] if input and "input" in self._shown else []
        wanted += [reference] if reference and "reference" in self._shown else []
        self.columns = tuple(dict.fromkeys(wanted))
        self.metrics = tuple(self._metrics())
        self._judges: Mapping[str, RoleInfo] = {}
        self._vias: Mapping[tuple[str, str], Via] = {}
        self._warnings: tuple[str, ...] = ()
        self._heard: list[dict[str, Json]] = []

    def _metrics(self) -> Iterator[MetricInfo]:
        """The criteria; then what each judge of a panel said."""
        for column, criterion in enumerate(self._criteria):
            yield _metric(criterion, criterion.name, column)
        if len(self.roles) > 1:
            for at, role in enumerate(self.roles):
                for column, criterion in enumerate(self._criteria):
                    yield _metric(criterion, f"{criterion.name}@{role}", (at + 1) * len(self._criteria) + column, False)

    def parameters(self) -> Mapping[str, Json]:
        judges = {role: f"{info.name}@{info.fingerprint[:12]}" for role, info in self._judges.items()}
        columns = {"source": self._source, "input": self._input, "reference": self._reference}
        pinned: dict[str, Json] = {
            "rubric": f"{self._rubric.rubric}@{self._rubric.hash}",
            "criteria": ",".join(criterion.name for criterion in self._criteria),
            "mode": str(self._mode),
            "via": ",".join(dict.fromkeys(self._vias.values())) or None,
            "style": self._style if self._mode.kind != "logprobs" else None,
            "judge": ",".join(judges.get(role, role) for role in self.roles),
            "combine": self._combine if len(self.roles) > 1 else None,
            "max_tokens": self._max_tokens if self._mode.kind != "logprobs" else None,
            **{part: column for part, column in columns.items() if part in self._shown},
        }
        return {name: value for name, value in pinned.items() if value is not None}

    def bind(self, roles: Mapping[str, RoleInfo], candidate: RoleInfo | None) -> Scorer:
        """This scorer for these judges. Raises ScorerError where one cannot be asked in this mode."""
        bound = copy(self)
        bound._judges = {role: roles[role] for role in self.roles}
        bound._vias = {
            (role, criterion.name): way(self._mode, roles[role], criterion.scale.points, self._rubric.rubric)
            for role in self.roles
            for criterion in self._criteria
        }
        bound._warnings = related_warnings(bound._judges.values(), candidate)
        bound._heard = []
        return bound

    def requests(self, record: Record) -> Sequence[Request]:
        return [request for ask in self._asks(record) for request in ask.requests()]

    def more(self, record: Record) -> Sequence[Request]:
        return resolved(self._asks(record), record.judged.get(self.name, ()))[1]

    def acceptable(self, request: Request, response: Response) -> bool:
        about = self._criteria[request.slot if request.kind == "generate" else 0]
        return acceptable(request, response, about.scale.points)

    def standing(self) -> Sequence[Request]:
        return [request for _, _, ask in self._canary_asks() for request in ask.requests()]

    def hear(self, answers: Sequence[Response | None]) -> None:
        asked = list(self._canary_asks())
        verdicts, _ = resolved([ask for _, _, ask in asked], answers, retries=0)
        self._heard = [
            {
                "canary": name,
                "criterion": criterion.name,
                "judge": ask.role,
                "value": verdict.value,
                "floor": criterion.scale.floor,
                "state": verdict.state,
                "worthless": worthless(name, self._rubric, criterion),
                "earned": verdict.value is not None and verdict.value > threshold(criterion.scale),
            }
            for (name, criterion, ask), found in zip(asked, verdicts, strict=True)
            if found
            for verdict in [combined(found)]
        ]

    def score_one(self, record: Record) -> Score:
        given = answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        missing = self._missing(record)
        if missing:
            return Score.unscored(missing)
        asks, replies = self._asks(record), record.judged.get(self.name, ())
        verdicts, pending = resolved(asks, replies)
        if pending:
            return Score.unscored("the judge has not answered")
        again = len(replies) - sum(len(list(ask.requests())) for ask in asks)
        found = iter([combined(draws) for draws in verdicts])
        table = [[[next(found) for _ in self._criteria] for _ in self.roles] for _ in given]  # answer x judge x criterion
        return self._scored(table, [draw for draws in verdicts for draw in draws], again)

    def _scored(self, table: Sequence[Sequence[Sequence[Verdict]]], draws: Sequence[Verdict], again: int) -> Score:
        together = [_mean(self._together(answer, c) for answer in table) for c in range(len(self._criteria))]
        by_judge = [
            _mean(answer[j][c].value for answer in table) for j in range(len(self.roles)) for c in range(len(self._criteria))
        ]
        detail = {
            "verdicts": [self._told(role, judge) for answer in table for role, judge in zip(self.roles, answer, strict=True)]
        }
        if all(map(math.isnan, together)):
            reason = next((draw.reason for draw in draws if draw.reason), None) or "the judge gave no verdict"
            return Score.unscored(reason, **detail)
        outside = _mean(draw.outside for draw in draws if draw.state == "score")
        counts = (sum(draw.state == state for draw in draws) for state in ("error", "refusal"))
        tail = (outside, *map(float, counts), float(len(draws)), float(again))
        stats = (*together, *(by_judge if len(self.roles) > 1 else ()), *tail)
        first = together[0]  # a sample's value is that of the first metric; the others are read from the statistics
        return Score(stats, None if math.isnan(first) else first, detail=detail)

    def _together(self, answer: Sequence[Sequence[Verdict]], column: int) -> float:
        """What the judges say of one answer by one criterion."""
        values = [math.nan if judge[column].value is None else float(judge[column].value or 0.0) for judge in answer]
        return combine(values, self._combine, _values(self._criteria[column]))

    def _told(self, role: str, verdicts: Sequence[Verdict]) -> dict[str, Json]:
        """What the report shows of one judge on one answer."""
        told: dict[str, Json] = {"judge": self._judges[role].name if role in self._judges else role}
        for criterion, verdict in zip(self._criteria, verdicts, strict=True):
            entry: dict[str, Json] = {"value": verdict.value}
            if verdict.state != "score" or verdict.reason:
                entry |= {"state": verdict.state, "reason": verdict.reason}
            if verdict.probabilities and self._mode.kind != "argmax":
                entry["shares"] = {label: round(share, 6) for label, share in verdict.probabilities.items()}
            if verdict.reply and self._mode.kind != "logprobs":
                entry["reply"] = verdict.reply
            told[criterion.name] = entry
        return told

    def detail(self, stats: Array) -> Mapping[str, Json]:
        failed, refused, asked, again = stats[:, _FAILED:].sum(axis=0)
        found: dict[str, Json] = {
            "judges": {role: info.name for role, info in self._judges.items()},
            "rubric": self._rubric.rubric,
            "score_mode": str(self._mode),
            "verdicts": int(asked),
            "failed": int(failed),
            "refused": int(refused),
            "asked_again": int(again),
        }
        outside = stats[:, _OUTSIDE][~np.isnan(stats[:, _OUTSIDE])]
        if len(outside):
            found["outside"] = {"mean": float(outside.mean()), "worst": float(outside.max())}
        if len(self.roles) > 1:
            width = len(self._criteria)
            found["panel"] = {
                criterion.name: disagreement(
                    np.column_stack([stats[:, (j + 1) * width + c] for j in range(len(self.roles))]),
                    self.roles,
                    self._combine,
                    _values(criterion),
                )
                for c, criterion in enumerate(self._criteria)
            }
        if self._heard:
            found["canaries"] = self._heard
        return found

    def notes(self, stats: Array) -> Sequence[str]:
        notes = list(self._warnings)
        failed, refused, asked, _ = (int(total) for total in stats[:, _FAILED:].sum(axis=0))
        if failed or refused:
            parts = [f"{failed} unreadable" if failed else "", f"{refused} refused" if refused else ""]
            notes.append(
                f"{failed + refused} of {asked} verdicts missing on scored samples ({', '.join(p for p in parts if p)})"
            )
        outside = stats[:, _OUTSIDE][~np.isnan(stats[:, _OUTSIDE])]
        if len(outside) and outside.mean() > 0.1:
            notes.append(f"{outside.mean():.0%} of the judge's probability is on no label")
        counted = [canary for canary in self._heard if canary["worthless"]]
        fell = [canary for canary in counted if canary["earned"]]
        if fell:
            worst = max(fell, key=lambda canary: float(canary["value"]) - float(canary["floor"]))
            notes.append(
                f"{len(fell)} of {len(counted)} canaries earned more than the floor ({worst['canary']!r}: "
                f"{worst['value']:.2f} for {worst['criterion']}, whose floor is {worst['floor']:g})"
            )
        return notes

    def _asks(self, record: Record) -> list[Ask]:
        """In the order answer, judge, criterion."""
        if answers(record) is None or self._missing(record):
            return []
        return [
            self._ask(role, criterion, self._texts(record, answer))
            for answer in answers(record) or ()
            for role in self.roles
            for criterion in self._criteria
        ]

    def _ask(self, role: str, criterion: Criterion, texts: Texts) -> Ask:
        if role not in self._judges:
            raise ScorerError("the judge is not bound to a model; a run does that when its models are loaded")
        form = answer_form(self._mode)
        messages = judge_prompt(self._rubric, criterion, texts, style=self._style, answer=form, criteria=self._criteria)
        via = self._vias[role, criterion.name]
        chat = self._judges[role].chat
        slot = self._criteria.index(criterion)
        return Ask(messages, criterion.scale.points, role, chat, self._mode, via, self._max_tokens, slot)

    def _canary_asks(self) -> Iterator[tuple[str, Criterion, Ask]]:
        mode = Mode(self._mode.kind, min(self._mode.draws, DRAWS))
        if self._canaries:
            for role in self.roles:
                for criterion in self._criteria:
                    for name, output in canaries(self._rubric, criterion).items():
                        yield name, criterion, replace(self._ask(role, criterion, canary_texts(output)), mode=mode)

    def _texts(self, record: Record, output: str) -> Texts:
        sample = record.sample
        asked = asked_of(record) if self._input is None else source_text(sample, self._input)
        if self._reference is not None:
            reference = source_text(sample, self._reference)
        else:
            reference = next(iter(references(sample)), None)
        return Texts(output, input=asked, source=source_text(sample, self._source), reference=reference)

    def _missing(self, record: Record) -> str | None:
        """Why a record lacks what the rubric shows."""
        return lacking(self._texts(record, ""), self._shown, self._source)


def _metric(criterion: Criterion, name: str, column: int, headline: bool = True) -> MetricInfo:
    scale = criterion.scale
    return MetricInfo(
        name, low=scale.floor, high=scale.ceiling, ideal=scale.ceiling, mean=True, column=column, headline=headline
    )


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _values(criterion: Criterion) -> tuple[float, ...]:
    return tuple(criterion.scale.points.values())


def lacking(texts: Texts, shown: Collection[str], source: str) -> str | None:
    """Why an item cannot be judged: it lacks one of the parts that are ``shown``; ``source`` is the source's column."""
    if "source" in shown and not (texts.source or "").strip():
        return f"the sample has no source (column {source!r})"
    if "reference" in shown and not (texts.reference or "").strip():
        return NO_REFERENCE
    if "input" in shown and not (texts.input or "").strip():
        return "the sample has no request (name the column that holds it: input)"
    return None


def asked_of(record: Record) -> str | None:
    """What the model under test was asked: its prompt, of a chat the last turn of the user."""
    prompt: Any = record.requests[0].prompt if record.requests else None
    if prompt is None or isinstance(prompt, str):
        return prompt
    return next((message.content for message in reversed(prompt) if message.role == "user"), None)


def related_warnings(judges: Iterable[RoleInfo], candidate: RoleInfo | None) -> tuple[str, ...]:
    """A line for every judge that is the model under test, or of its family."""
    return tuple(_familiar(judge, candidate) for judge in judges if _related(judge, candidate))


def _related(judge: RoleInfo, candidate: RoleInfo | None) -> bool:
    return candidate is not None and (
        judge.fingerprint == candidate.fingerprint or (judge.family is not None and judge.family == candidate.family)
    )


def _familiar(judge: RoleInfo, candidate: RoleInfo | None) -> str:
    if candidate is not None and judge.fingerprint == candidate.fingerprint:
        return f"the judge {judge.name} is the model under test"
    return f"the judge {judge.name} is of the model's own family ({judge.family}), which judges tend to favour"
