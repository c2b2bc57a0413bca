"""``samples.jsonl.gz`` and ``samples.csv``: every record, written in one streaming pass."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from evalkit.report import base, strict
from evalkit.report.base import ReportableRun, View
from evalkit.report.tables import csv_file
from evalkit.runner.files import atomic
from evalkit.types import Json, Prompt, Record, Request, Response, Score

CSV_COLUMNS = (
    "task", "sample_id", "doc_id", "filter", "status", "prompt", "target", "answer", "response", "error", "finish",
)  # fmt: skip
#: Of gzip: half the time of level 6 for a tenth more bytes.
_LEVEL = 4


def export_samples(run: ReportableRun, watch: Callable[[View], None] | None = None) -> list[Path]:
    """Write ``samples.jsonl.gz`` and ``samples.csv``; returns their paths. Memory stays flat.

    ``watch`` is shown every record on the way, so that who else needs them need not read them again.
    """
    here = base.folder(run)
    paths = [here / "samples.jsonl.gz", here / "samples.csv"]
    names = base.metric_names(run)
    metrics = list(dict.fromkeys(metric for found in names.values() for metric in found))
    with ExitStack() as stack:
        lines = stack.enter_context(_gzip(paths[0]))
        columns = [*CSV_COLUMNS, *(f"score:{name}" for name in metrics), "other_scores"]
        rows = stack.enter_context(csv_file(paths[1], columns))
        for view in run.records():
            lines.write(strict.dumps(line(view, names)) + b"\n")
            rows.writerow(_row(view, base.values(view, names), metrics))
            if watch is not None:
                watch(view)
    return paths


def line(view: View, names: base.MetricNames) -> dict[str, Json]:
    """A record in the shape of lm-eval's sample files, with evalkit's ids, status, scores and failures beside."""
    record, sample = view.record, view.record.sample
    target = target_text(record)
    first = record.requests[0].prompt if record.requests else ""
    failure = record.failure
    values = base.values(view, names)
    answers = _by_slot(record)
    extras = [beside(r) if r is not None else {} for r in record.responses]
    return {
        "doc_id": sample.index,
        "doc": sample.doc,
        "target": target,
        "arguments": {f"gen_args_{i}": _arguments(q) for i, q in enumerate(_slots(record))},
        "resps": answers,
        "filtered_resps": [record.answer] if _generated(record) else [found[0] if found else None for found in answers],
        **({"resps_beside": extras} if any(extras) else {}),
        "filter": view.filter,
        "metrics": list(values),
        "doc_hash": _sha256(strict.indented(sample.doc)),
        "prompt_hash": _sha256(prompt_text(first)),
        "target_hash": _sha256(target),
        **values,
        "task": view.task,
        "sample_id": sample.id,
        "status": base.status(view),
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


def _row(view: View, values: dict[str, float | None], metrics: list[str]) -> list[Any]:
    """The record's cells, in the order of the columns."""
    record = view.record
    failure = record.failure
    others = {name: value for name, value in values.items() if name not in metrics}
    return [
        view.task,
        record.sample.id,
        record.sample.index,
        view.filter,
        base.status(view),
        prompt_text(record.requests[0].prompt) if record.requests else "",
        target_text(record),
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


@contextmanager
def _gzip(path: Path) -> Iterator[IO[bytes]]:
    """A gzip file without a time in it, so that the same records give the same bytes."""
    with (
        atomic(path, derived=True) as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=_LEVEL, mtime=0) as packed,
        io.BufferedWriter(packed, 1 << 16) as file,
    ):
        yield file
