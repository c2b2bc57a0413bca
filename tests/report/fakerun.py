"""A run made by hand, for the tests of what is derived from a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.types import Failure, Message, Record, Request, Response, Sample, Score, Summary

HOSTILE = "</script><img src=x onerror=alert(1)>{{ 7*7 }}"


@dataclass(frozen=True)
class FakeView:
    task: str
    filter: str
    record: Record
    scores: dict[str, Score]


@dataclass
class FakeRun:
    path: Path | None
    views: list[FakeView]
    summaries: list[Summary]
    manifest: dict[str, Any]
    name: str = "smollm2"
    status: str = "complete"
    reads: list[str | None] = field(default_factory=list)

    def summary(self) -> list[Summary]:
        return self.summaries

    def records(self, task: str | None = None) -> Iterator[FakeView]:
        self.reads.append(task)
        return (view for view in self.views if task in (None, view.task))


def choice_view(task: str, number: int, *, picked: int = 0, gold: int = 0, error: bool = False) -> FakeView:
    choices = ("copper", "iron", "tin", "lead")
    sample = Sample(
        task=task, id=f"{task}-{number}", index=number,
        doc={"question": f"Which metal is number {number}?", "choices": choices},
        target=gold, choices=choices, slices={"subject": "physics" if number % 2 else "chemistry"},
    )  # fmt: skip
    context = f"Question: Which metal is number {number}?\nAnswer:"
    requests = tuple(Request("loglikelihood", context, f" {c}", slot=i, key=f"k{i}") for i, c in enumerate(choices))
    responses = tuple(Response(f"k{i}", logprob=-1.0 if i == picked else -3.0 - i, is_greedy=i == picked) for i in range(4))
    if error:
        responses = (Response("k0", error=Failure("timeout", "no answer in 60 s", retryable=True)), *responses[1:])
    right = float(picked == gold)
    scores = {} if error else {"acc": Score((right,), right, chance=0.25), "acc_norm": Score((right,), right, chance=0.25)}
    answer = None if error else [(r.logprob, r.is_greedy) for r in responses]
    return FakeView(task, "none", Record(sample, requests, responses, answer=answer), scores)


def text_view(
    task: str, number: int, text: str, target: str, *, chat: bool = False, filter_: str = "strict-match"
) -> FakeView:
    prompt = (
        (Message("system", "Be brief."), Message("user", f"What is {number} + 1?"))
        if chat
        else f"Q: What is {number} + 1?\nA:"
    )
    sample = Sample(task=task, id=f"{task}-{number}", index=number, doc={"q": number, "weight": float("nan")}, target=target)
    request = Request("generate", prompt, params={"until": ["\n"], "max_gen_toks": 16}, key=f"g{number}")
    response = Response(f"g{number}", text=text, tokens=3, finish="stop")
    found = text.strip() or None
    score = (
        Score.unscored("no number in the answer")
        if found is None
        else Score((float(found == target),), float(found == target))
    )
    return FakeView(
        task, filter_, Record(sample, (request,), (response,), filter=filter_, answer=found), {"exact_match": score}
    )


def summaries() -> list[Summary]:
    return [
        Summary("science", "acc", 0.62, 100, stderr=0.0325, ci=(0.55, 0.69), ci_method="wilson", scorer="acc"),
        Summary(
            "metals", "acc", 0.75, 60, stderr=0.0563, ci=(0.63, 0.84), ci_method="wilson", scorer="acc", chance=0.25,
            errors=1, signature="acc|version:1", detail={"confusion": [[3, 1], [0, 4]]},
        ),
        Summary("metals", "acc_norm", 0.75, 60, stderr=0.0563, ci=(0.63, 0.84), scorer="acc_norm", chance=0.25, errors=1),
        Summary("metals", "acc", 0.8, 30, ci=(0.63, 0.9), scorer="acc", chance=0.25, slice="subject=chemistry"),
        Summary("metals", "acc", 0.7, 30, ci=(0.52, 0.83), scorer="acc", chance=0.25, slice="subject=physics"),
        Summary("planets", "acc", 0.27, 40, ci=(0.16, 0.42), scorer="acc", chance=0.25, notes=("at-chance",)),
        Summary(
            "sums", "exact_match", 0.5, 4, filter="strict-match", stderr=None, ci=(0.15, 0.85), scorer="exact_match",
            n_shot=5, unscored=1, cut=0.25, truncated=1,
        ),
        Summary("prose", "word_perplexity", 31.4159, 10, higher_is_better=False, scorer="word_perplexity"),
    ]  # fmt: skip


def manifest() -> dict[str, Any]:
    def task(name: str, kind: str, samples: int, **definition: Any) -> dict[str, Any]:
        return {
            "alias": name, "version": "1.0", "output_type": kind, "num_fewshot": 0, "samples": samples, "size": samples * 2,
            "hash": "cd34", "data_hash": "ab12", "config": definition, "definition": definition,
        }  # fmt: skip

    return {
        "id": "20261122T044839Z_smollm2_1f0c93ab",
        "created": "2026-11-22T04:48:39+00:00",
        "config_hash": "1f0c93ab",
        "config": {
            "model": "demo/smollm2", "tasks": ["science", "sums", "prose"],
            "model_args": {"dtype": "float32", "api_key": "***"},
            "limit": 100, "seed": 1234, "batch_size": None, "apply_chat_template": False, "gen_kwargs": {"temperature": 0},
        },
        "model": {"name": "demo/smollm2", "dtype": "float32", "parameters": 134515008},
        "fingerprints": {"model": "9f" * 16},
        "environment": {"python": "3.11.2", "platform": "Linux x86_64", "packages": {"evalkit": "0.1.0", "torch": "2.13.0"}},
        "warnings": [],
        "tasks": {
            "metals": task("metals", "multiple_choice", 61, dataset_path="json", summary="Which metal?", licence="CC0"),
            "planets": task("planets", "multiple_choice", 40),
            "sums": task("Sums (5-shot)", "generate_until", 5),
            "prose": task("prose", "loglikelihood_rolling", 10),
        },
        "groups": [{"group": "science", "group_alias": "Science", "children": ["metals", "planets"], "metadata": {}}],
        "counts": {"asked": 419, "answers": 418, "failures": 1},
        "timing": {"seconds": 83.2, "request_seconds": 80.1},
    }  # fmt: skip


def fake_run(path: Path | None, hostile: str = HOSTILE) -> FakeRun:
    views = [choice_view("metals", i, picked=int(i % 4 > 0), error=i == 7) for i in range(61)]
    views += [choice_view("planets", i, picked=i % 4) for i in range(40)]
    views += [
        text_view("sums", 1, "2", "2"),
        text_view("sums", 2, "=HYPERLINK(1)", "3"),
        text_view("sums", 3, "-4", "4", chat=True),
    ]
    views += [text_view("sums", 4, hostile, "5"), text_view("sums", 5, "", "6")]
    return FakeRun(path, views, summaries(), manifest())
