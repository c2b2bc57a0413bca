"""A document's lines to a sample, its requests and its responses, as evalkit itself would have made them."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from evalkit.errors import DataError, TaskError, TemplateError
from evalkit.importers.base import Answered
from evalkit.scorers.base import ScoringPlan
from evalkit.scorers.given import GIVEN
from evalkit.tasks import ids
from evalkit.tasks.fields import Fields, FieldSpec
from evalkit.tasks.generation import generation_params
from evalkit.tasks.schema import TaskConfig
from evalkit.tasks.targets import resolve_target
from evalkit.types import EMPTY, Failure, Json, Message, Prompt, Request, RequestKind, Response, Sample

_KIND: Mapping[str, RequestKind] = {
    "multiple_choice": "loglikelihood",
    "loglikelihood": "loglikelihood",
    "loglikelihood_rolling": "loglikelihood_rolling",
    "generate_until": "generate",
}


class Reader:
    """Makes records of one task. ``first`` is its first line: as in lm-eval, it decides what is asked in which way."""

    def __init__(self, config: TaskConfig, first: Mapping[str, Any], metrics: Sequence[str], seed: int) -> None:
        self._config = config
        self._seed = seed
        self._kind = _KIND[config.output_type]
        self._metrics = metrics
        doc = first["doc"]
        self._fields = Fields(
            text=_field(config.doc_to_text),
            target=_field(config.doc_to_target),
            choice=_field(config.doc_to_choice),
            columns=frozenset(doc),
            has_choices=config.doc_to_choice is not None,
        )
        self.multiple_inputs = self._several_inputs(first)
        self.multiple_targets = self._several_targets(doc)
        self.plan = ScoringPlan(
            config.output_type, multiple_inputs=self.multiple_inputs, multiple_targets=self.multiple_targets
        )
        columns = list(doc)
        named = config.slices if isinstance(config.slices, dict) else {name: name for name in config.slices}
        self._slices = {n: ids.column_value(config.task, f"slice {n!r}", f, columns) for n, f in named.items()}
        self._cluster = None if config.cluster is None else ids.column_value(config.task, "cluster", config.cluster, columns)

    def record(self, name: str, lines: Mapping[str, Mapping[str, Any]]) -> Answered:
        """One document; raises DataError for answers that are none."""
        line = next(iter(lines.values()))
        where = f"task {self._config.task}, document {line['doc_id']}"
        asked = [_arguments(item, where) for item in _listed(line["arguments"])]
        sample = self._sample(name, line, asked)
        answers = line["resps"]
        if len(answers) != len(asked):
            raise DataError(f"{where}: {len(asked)} requests and {len(answers)} answers")
        requests: list[Request] = []
        responses: list[Response] = []
        for slot, ((prompt, rest), given) in enumerate(zip(asked, answers, strict=True)):
            for repeat, answer in enumerate(_repeats(given)):
                request = self._request(sample, prompt, rest, slot, repeat)
                extra: Mapping[str, Json] = EMPTY if requests else {GIVEN: _given(lines, self._metrics)}
                requests.append(request)
                responses.append(_response(request, answer, extra, where))
        order = sorted(range(len(requests)), key=lambda i: (requests[i].repeat, requests[i].slot))
        return sample, tuple(requests[i] for i in order), tuple(responses[i] for i in order)

    def params(self, first: Mapping[str, Any]) -> Mapping[str, Json] | None:
        """The generation settings that the first document was asked with."""
        if self._kind != "generate":
            return None
        _, rest = _arguments(_listed(first["arguments"])[0], f"task {self._config.task}")
        return self._settings(rest)

    def _settings(self, rest: Any) -> dict[str, Json]:
        kwargs = rest if isinstance(rest, Mapping) else {}
        params = generation_params(self._config.task, kwargs, self._config.fewshot_delimiter)
        return {**params, "seed": params.get("seed", self._seed)} if params["do_sample"] else params

    def _request(self, sample: Sample, prompt: Prompt, rest: Any, slot: int, repeat: int) -> Request:
        task = self._config.task
        if self._kind == "generate":
            return Request("generate", prompt, "", self._settings(rest), slot, repeat, task, sample.id)
        return Request(self._kind, prompt, "" if rest is None else str(rest), EMPTY, slot, repeat, task, sample.id)

    def _sample(self, name: str, line: Mapping[str, Any], asked: Sequence[tuple[Prompt, Any]]) -> Sample:
        doc = line["doc"]
        choices = self._choices(doc, asked)
        slices = {key: value(doc) for key, value in self._slices.items()}
        cluster = None if self._cluster is None else self._cluster(doc)
        return Sample(
            self._config.task,
            name,
            line["doc_id"],
            doc,
            self._target(line, choices, asked),
            None if choices is None else tuple(choices),
            {key: str(value) for key, value in slices.items() if value is not None},
            None if cluster is None else str(cluster),
        )

    def _choices(self, doc: Mapping[str, Any], asked: Sequence[tuple[Prompt, Any]]) -> list[str] | None:
        if self._fields.has_choices:
            with suppress(TemplateError, TaskError):
                return self._fields.doc_to_choice(doc)
        if self._config.output_type != "multiple_choice" or self.multiple_inputs:
            return None
        delimiter = self._config.target_delimiter
        distinct = dict.fromkeys(str(rest) for prompt, rest in asked if prompt or len(asked) == 1)
        return [text.removeprefix(delimiter) for text in distinct]

    def _target(self, line: Mapping[str, Any], choices: Sequence[str] | None, asked: Sequence[tuple[Prompt, Any]]) -> Any:
        """By the definition, as evalkit resolves it; where that was a function, what lm-eval logged."""
        output_type = self._config.output_type
        if output_type == "loglikelihood":
            return str(asked[0][1])
        if output_type == "loglikelihood_rolling":
            return asked[0][0]
        with suppress(TemplateError, TaskError):
            found = resolve_target(output_type, self._fields, line["doc"], choices, self.plan)
            if found is not None:
                return found
        return _logged(str(line.get("target", "")), choices, output_type == "multiple_choice")

    def _several_inputs(self, first: Mapping[str, Any]) -> bool:
        if self._config.output_type != "multiple_choice":
            return False
        if self._config.doc_to_text is not None and self._fields.has_choices:
            with suppress(TemplateError, TaskError):
                return isinstance(self._fields.doc_to_text(first["doc"]), int)
        asked = [_arguments(item, self._config.task) for item in _listed(first["arguments"])]
        return len({str(rest) for _, rest in asked}) == 1 < len({prompt for prompt, _ in asked})

    def _several_targets(self, doc: Mapping[str, Any]) -> bool:
        with suppress(TemplateError, TaskError):
            return isinstance(self._fields.doc_to_target(doc), list)
        return False


def _field(value: Any) -> FieldSpec:
    """A field of the definition; no functions are left in it."""
    found: FieldSpec = value
    return found


def _listed(arguments: Any) -> list[Any]:
    """The arguments of each request; lm-eval before 0.4.3 wrote a list."""
    return list(arguments.values()) if isinstance(arguments, Mapping) else list(arguments)


def _arguments(item: Any, where: str) -> tuple[Prompt, Any]:
    """Prompt, and continuation or settings, of one request."""
    parts = list(item.values()) if isinstance(item, Mapping) else list(item)
    if not parts or len(parts) > 2:
        raise DataError(f"{where}: a request of {len(parts)} parts: images and sound cannot be imported")
    return _prompt(parts[0], where), parts[1] if len(parts) > 1 else None


def _prompt(value: Any, where: str) -> Prompt:
    """Text, or the messages that lm-eval hands to a chat server as JSON (in a list of one)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        with suppress(ValueError, KeyError, TypeError):
            return tuple(Message(str(turn["role"]), str(turn["content"])) for turn in json.loads(value[0]))
        return value[0]
    raise DataError(f"{where}: a prompt that is neither text nor messages")


def _repeats(given: Any) -> list[Any]:
    """The answers to one request, one a repeat."""
    return list(given) if isinstance(given, list) else [given]


def _response(request: Request, answer: Any, extra: Mapping[str, Json], where: str) -> Response:
    if request.kind == "generate":
        return Response("", text=str(answer), extra=extra)
    pair = answer if isinstance(answer, list) else [answer, "False"]
    try:
        logprob = float(pair[0])
    except (TypeError, ValueError, IndexError):
        raise DataError(f"{where}: {str(answer)[:40]!r} is no log-likelihood") from None
    if not math.isfinite(logprob):
        return Response("", error=Failure("non-finite", f"the model gave a log-probability of {pair[0]}"))
    greedy = None if request.kind == "loglikelihood_rolling" else str(pair[-1]) == "True"
    return Response("", logprob=logprob, is_greedy=greedy, extra=extra)


def _given(lines: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> dict[str, dict[str, Json]]:
    """lm-eval's own values of this document, by filter; texts are left out, what they are made of is in the run."""
    return {
        filter_: {
            name: float(line[name]) if isinstance(line[name], bool) else line[name]
            for name in metrics
            if _numbers(line.get(name))
        }
        for filter_, line in lines.items()
    }


def _numbers(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_numbers, value))
    return isinstance(value, int | float) and math.isfinite(value)


def _logged(text: str, choices: Sequence[str] | None, choose: bool) -> Any:
    """The target as lm-eval wrote it, which is always text."""
    found: Any = text
    if text[:1] in "[(" or choose:
        with suppress(SyntaxError, ValueError):
            found = ast.literal_eval(text)
    if choose:
        several = found if isinstance(found, list | tuple) else [found]
        several = [list(choices).index(item) if choices and item in choices else item for item in several]
        return tuple(several) if isinstance(found, list | tuple) else several[0]
    return tuple(map(str, found)) if isinstance(found, list | tuple) and found else text
