"""Samples for the report: which to embed, and how (columns for the table, compressed chunks for the detail)."""

from __future__ import annotations

import base64
import gzip
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.report import base, strict
from evalkit.report.base import ReportableRun, View
from evalkit.report.judge_sample import verdict_text
from evalkit.report.samples import answer_text, beside, target_text
from evalkit.types import Json, Message, Prompt, Record, Response, Score, content_hash

#: Longer texts are cut in the report; the sample files have them whole.
TEXT_LIMIT = 20_000
_SNIPPET = 160
_CHUNK = 100


#: Rank (by hash, the best is kept), serial number, position in the data, and what the report shows.
_Kept = tuple[int, int, int, dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Packed:
    """Embedded samples: ``index`` for the table, ``chunks`` of details, both gzip and base64; ``shown`` of ``total``."""

    index: str
    chunks: tuple[str, ...]
    shown: int
    total: int


def pack(run: ReportableRun, limit: int = 2000) -> Packed:
    """What `Chooser` makes of all records of a run."""
    chooser = Chooser(run, limit, base.metric_names(run))
    for view in run.records():
        chooser.add(view)
    return chooser.packed()


class Chooser:
    """Keeps at most ``limit`` records of those it is shown, a fair share a task, and up to ``limit`` failures beside.

    The choice depends on task and sample id alone: reports of two runs show the same samples.
    """

    def __init__(self, run: ReportableRun, limit: int, names: base.MetricNames) -> None:
        self._run = run
        self._limit = limit
        self._shares = fair_shares(_sizes(run, names), limit)
        self._names = names
        self._kept: dict[str, list[_Kept]] = {}
        self._total = 0

    def add(self, view: View) -> None:
        """Show the chooser one record."""
        self._total += 1
        failed = view.record.failure is not None
        heap = self._kept.setdefault("" if failed else view.task, [])
        room = self._limit if failed else self._shares.get(view.task, self._limit)
        sample = view.record.sample
        rank = -int(content_hash([view.task, sample.id], 8), 16)
        if len(heap) < room:
            heapq.heappush(heap, (rank, self._total, sample.index, detail(view, self._names)))
        elif heap and rank > heap[0][0]:
            heapq.heapreplace(heap, (rank, self._total, sample.index, detail(view, self._names)))

    def packed(self) -> Packed:
        """What was kept, in the order of the run's tables and of the data."""
        order = {name: position for position, (name, _) in enumerate(base.outline(self._run))}
        entries = [entry for heap in self._kept.values() for entry in heap]
        entries.sort(key=lambda e: (order.get(e[3]["task"], 0), e[2], e[1]))
        rows = [entry[3] for entry in entries]
        tasks = list(dict.fromkeys(row["task"] for row in rows))
        index = {
            "tasks": tasks,
            "warnings": {task: text for task, text in base.content_warnings(self._run).items() if task in tasks},
            "chunk": _CHUNK,
            "task": [tasks.index(row["task"]) for row in rows],
            **{key: [row[key] for row in rows] for key in ("id", "filter", "status", "value")},
            **{key: [_snippet(row[key]) for row in rows] for key in ("question", "answer", "target")},
        }
        chunks = (rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK))
        return Packed(_compress(index), tuple(_compress(chunk) for chunk in chunks), len(rows), self._total)


def fair_shares(sizes: Mapping[str, int], limit: int) -> dict[str, int]:
    """Split ``limit`` evenly; what small tasks leave over goes to the larger ones."""
    shares: dict[str, int] = {}
    left = limit
    for position, (name, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        shares[name] = min(size, left // (len(sizes) - position))
        left -= shares[name]
    return shares


def _sizes(run: ReportableRun, names: base.MetricNames) -> dict[str, int]:
    """Records of each task: its samples, once a filter."""
    filters = dict.fromkeys((task, filter_) for task, filter_, _ in names)
    return {
        name: int(entry["samples"]) * sum(task == name for task, _ in filters)
        for name, entry in base.part(run, "tasks").items()
    }


def detail(view: View, names: base.MetricNames) -> dict[str, Json]:
    """One record as the report shows it."""
    record, sample = view.record, view.record.sample
    first = record.requests[0].prompt if record.requests else ""
    failure = record.failure
    scores = base.values(view, names)
    details = {name: {k: v for k, v in s.detail.items() if k not in scores} for name, s in view.scores.items()}
    return {
        "task": view.task,
        "id": sample.id,
        "filter": view.filter,
        "status": base.status(view),
        "value": next((s.value for s in view.scores.values()), None),
        "question": _question(first),
        "prompt": _prompt(first),
        "target": _cut(target_text(record)),
        "answer": _cut(answer_text(record)),
        "choices": list(_choices(record, first)),
        "outputs": [
            {"text": _cut(r.text), "finish": r.finish, "tokens": r.tokens, **_beside(r)}
            for r in record.responses
            if r is not None and r.text is not None
        ],
        "error": None if failure is None else f"{failure.kind}: {failure.message}",
        "scores": scores,
        "remarks": {name: _remark(s, details[name]) for name, s in view.scores.items() if s.stats is None or details[name]},
        "slices": dict(sample.slices),
        "doc": _cut(strict.indented(sample.doc)),
    }


def _remark(score: Score, found: Mapping[str, Json]) -> Json:
    """Why a score is missing, or what the scorer noted; of a judge its verdicts in words."""
    told = verdict_text(found)
    if score.stats is None:
        return "\n".join(filter(None, (score.reason, told)))
    return found if told is None else _cut(told)


def _choices(record: Record, first: Prompt) -> Iterator[dict[str, Json]]:
    """The scored continuations of a log-likelihood sample, with the right and the chosen one marked."""
    asked = [
        (q, r) for q, r in zip(record.requests, record.responses, strict=True) if q.kind != "generate" and q.repeat == 0
    ]
    values = [r.logprob if r is not None else None for _, r in asked]
    best = max((v for v in values if v is not None), default=None)
    target = record.sample.target
    gold = target if isinstance(target, Sequence) and not isinstance(target, str) else (target,)
    several = bool(record.sample.choices) and len(asked) > 1
    for position, ((request, response), value) in enumerate(zip(asked, values, strict=True)):
        yield {
            "text": _cut(request.continuation),
            "prompt": None if request.prompt == first else _prompt(request.prompt),
            "logprob": value,
            "greedy": None if response is None else response.is_greedy,
            "gold": several and position in gold,
            "picked": several and value is not None and value == best,
        }


def _beside(response: Response) -> dict[str, Json]:
    return {name: _cut(value) if isinstance(value, str) else value for name, value in beside(response).items()}


def _prompt(prompt: Prompt) -> Json:
    if isinstance(prompt, str):
        return _cut(prompt, keep_end=True)
    return [[m.role, _cut(m.content)] for m in prompt if isinstance(m, Message)]


def _cut(text: str | None, *, keep_end: bool = False) -> str:
    if text is None or len(text) <= TEXT_LIMIT:
        return text or ""
    gone = f"[… {len(text) - TEXT_LIMIT:,} characters left out, see samples.jsonl.gz …]"
    return f"{gone}\n{text[-TEXT_LIMIT:]}" if keep_end else f"{text[:TEXT_LIMIT]}\n{gone}"


def _question(prompt: Prompt) -> str:
    """What a prompt asks: its last paragraph, behind instructions and examples; of a chat the last turn."""
    text = prompt if isinstance(prompt, str) else prompt[-1].content if prompt else ""
    return text.strip().rpartition("\n\n")[2]


def _snippet(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SNIPPET else line[:_SNIPPET] + "…"


def _compress(value: Json) -> str:
    return base64.b64encode(gzip.compress(strict.dumps(value), 6, mtime=0)).decode("ascii")
