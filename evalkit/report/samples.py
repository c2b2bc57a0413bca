"""``samples.jsonl.gz`` and ``samples.csv``: every record, written in one streaming pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evalkit.report import base, strict
from evalkit.report.base import ReportableRun, View
from evalkit.report.tables import csv_file
from evalkit.runner.files import gzipped
from evalkit.types import Json, Prompt, Record, Request, Response, Score

CSV_COLUMNS = (
    "task", "sample_id", "doc_id", "filter", "status", "prompt", "target", "answer", "response", "error", "finish",
)  # fmt: skip
_LINES, _ROWS = "samples.jsonl.gz", "samples.csv"


def export_samples(run: ReportableRun) -> list[Path]:
    """Write ``samples.jsonl.gz`` and ``samples.csv``; returns their paths. Memory stays flat."""
    with sample_files(base.folder(run), base.metric_names(run)) as add:
        for view in run.records():
            add(view)
    return sample_paths(run)


def sample_paths(run: ReportableRun) -> list[Path]:
    """Where the two files of a run stand."""
    here = base.folder(run)
    return [here / _LINES, here / _ROWS]


@contextmanager
def sample_files(here: Path, names: base.MetricNames) -> Iterator[Callable[[View], None]]:
    """Both files in the making, in folder ``here``: call what it gives with each record. They count when the block ends."""
    metrics = list(dict.fromkeys(metric for found in names.values() for metric in found))
    columns = [*CSV_COLUMNS, *(f"score:{name}" for name in metrics), "other_scores"]
    with gzipped(here / _LINES) as lines, csv_file(here / _ROWS, columns) as rows:

        def add(view: View) -> None:
            facts = _Facts(view, names)
            lines.write(strict.dumps(_line(view, facts)) + b"\n")
            rows.writerow(_row(view, facts, metrics))

        yield add


class _Facts:
    """What both files tell of a record, found once."""

    __slots__ = ("failure", "prompt", "status", "target", "values")

    def __init__(self, view: View, names: base.MetricNames) -> None:
        record = view.record
        self.failure = record.failure
        self.prompt = prompt_text(record.requests[0].prompt) if record.requests else ""
        self.status = base.status(view)
        self.target = target_text(record)
        self.values = base.values(view, names)


def line(view: View, names: base.MetricNames) -> dict[str, Json]:
    """A record in the shape of lm-eval's sample files, with evalkit's ids, status, scores and failures beside."""
    return _line(view, _Facts(view, names))


def _line(view: View, facts: _Facts) -> dict[str, Json]:
    record, sample = view.record, view.record.sample
    failure = facts.failure
    answers = _by_slot(record)
    extras = [beside(r) if r is not None and r.extra else {} for r in record.responses]
    return {
        "doc_id": sample.index,
        "doc": sample.doc,
        "target": facts.target,
        "arguments": {f"gen_args_{i}": _arguments(q) for i, q in enumerate(_slots(record))},
        "resps": answers,
        "filtered_resps": [record.answer] if _generated(record) else [found[0] if found else None for found in answers],
        **({"resps_beside": extras} if any(extras) else {}),
        "filter": view.filter,
        "metrics": list(facts.values),
        "doc_hash": _sha256(strict.indented(sample.doc)),
        "prompt_hash": _sha256(facts.prompt),
        "target_hash": _sha256(facts.target),
        **facts.values,
        "task": view.task,
        "sample_id": sample.id,
        "status": facts.status,
        "error": None if failure is None else {"kind": failure.kind, "message": failure.message, "status": failure.status},
        "slices": dict(sample.slices),
        "cluster": sample.cluster,
        "scores": {name: _score(score) for name, score in view.scores.items()},
    }


def prompt_text(prompt: Prompt) -> str:
    """A prompt as one text; the turns of a chat as ``[role]`` and content."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"[{m.role}]\n{m.content}" for m in prompt)


def target_text(record: Record) -> str:
    """The right answer in words: an index into the choices is looked up."""
    target, choices = record.sample.target, record.sample.choices

    def word(value: Any) -> str:
        if choices and isinstance(value, int) and not isinstance(value, bool) and -len(choices) <= value < len(choices):
            return choices[value]
        return str(value)

    if isinstance(target, tuple | list):
        return " | ".join(word(t) for t in target)
    return "" if target is None else word(target)


def answer_text(record: Record) -> str:
    """What the model answered: the filtered generation, or the likeliest choice."""
    if _generated(record):
        return record.answer if isinstance(record.answer, str) else strict.dumps(record.answer).decode()
    results = record.results
    if not results or not record.complete:
        return ""
    if record.sample.choices and len(results) >= len(record.sample.choices):
        best = max(range(len(record.sample.choices)), key=lambda i: results[i][0])
        return record.sample.choices[best]
    return f"{results[0][0]:.4f}"


def response_text(record: Record) -> str:
    """The first generation, unfiltered; calls of tools as JSON where there is no text."""
    first = next((r for r in record.responses if r is not None and r.text is not None), None)
    if first is None:
        return ""
    calls = first.extra.get("tool_calls")
    return first.text or (strict.dumps(calls).decode() if calls else "")


def beside(response: Response) -> dict[str, Json]:
    """What a model gave beside its answer: reasoning (never part of the answer), calls of tools, likeliest first tokens."""
    return {name: response.extra[name] for name in ("reasoning", "tool_calls", "top_logprobs") if name in response.extra}


def _generated(record: Record) -> bool:
    return record.answer is not None and any(q.kind == "generate" for q in record.requests)


def _row(view: View, facts: _Facts, metrics: list[str]) -> list[Any]:
    """The record's cells, in the order of the columns."""
    record, failure, values = view.record, facts.failure, facts.values
    others = {name: value for name, value in values.items() if name not in metrics}
    return [
        view.task,
        record.sample.id,
        record.sample.index,
        view.filter,
        facts.status,
        facts.prompt,
        facts.target,
        answer_text(record),
        response_text(record),
        None if failure is None else f"{failure.kind}: {failure.message}",
        next((r.finish for r in record.responses if r is not None and r.finish), None),
        *[values.get(name) for name in metrics],
        others or None,
    ]


def _slots(record: Record) -> list[Request]:
    """The sample's distinct requests; repeats ask the same again."""
    return [q for q in record.requests if q.repeat == 0]


def _arguments(request: Request) -> dict[str, Json]:
    prompt = request.prompt
    first: Json = prompt if isinstance(prompt, str) else [{"role": m.role, "content": m.content} for m in prompt]
    second = dict(request.params) if request.kind == "generate" else request.continuation
    return {"arg_0": first} if request.kind == "loglikelihood_rolling" else {"arg_0": first, "arg_1": second}


def _by_slot(record: Record) -> list[list[Json]]:
    """Answers as lm-eval nests them: request, then repeat."""
    out: dict[int, list[Json]] = {}
    for request, response in zip(record.requests, record.responses, strict=True):
        out.setdefault(request.slot, []).append(_answer(request, response))
    return list(out.values())


def _answer(request: Request, response: Response | None) -> Json:
    if response is None or response.error is not None:
        return None
    if request.kind == "generate":
        return response.text
    return [response.logprob] if request.kind == "loglikelihood_rolling" else [response.logprob, response.is_greedy]


def _score(score: Score) -> dict[str, Json]:
    out: dict[str, Json] = {"value": score.value}
    if score.stats is None:
        out["unscored"] = score.reason or "no reason given"
    if score.detail:
        out["detail"] = dict(score.detail)
    return out


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
