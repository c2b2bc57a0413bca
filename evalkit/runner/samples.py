"""The samples of a run: each with its prompts and request keys, written once, so that a run explains itself.

Prompts are stored once a sample (the choices of a question share theirs).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit.runner.log import Log
from evalkit.types import Message, Prompt, Request, Sample, content_hash


class SampleLog:
    """Samples of one task in the order of planning, by position. About 8 bytes of memory a sample."""

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self._log = Log(folder, write=write)
        self._where = array("Q", (entry.where for entry in self._log.entries()))

    def __len__(self) -> int:
        return len(self._where)

    def append(self, sample: Sample, requests: tuple[Request, ...]) -> None:
        self._where.append(self._log.append(content_hash(sample.id), encode(sample, requests)))

    def __getitem__(self, position: int) -> tuple[Sample, tuple[Request, ...]]:
        return decode(self._log.read(self._where[position]))

    def __iter__(self) -> Iterator[tuple[Sample, tuple[Request, ...]]]:
        for position in range(len(self)):
            yield self[position]

    def close(self) -> None:
        self._log.close()

    def release(self) -> None:
        self._log.release()


def encode(sample: Sample, requests: tuple[Request, ...]) -> str:
    """A sample and its requests as JSON on one line."""
    prompts: list[Any] = []
    params: list[Any] = []
    rows = []
    for q in requests:
        prompt = q.prompt if isinstance(q.prompt, str) else [[m.role, m.content] for m in q.prompt]
        setting = dict(q.params)
        rows.append([q.key, q.kind, _place(prompts, prompt), q.continuation, _place(params, setting), q.slot, q.repeat])
    value: dict[str, Any] = {"task": sample.task, "id": sample.id, "index": sample.index, "doc": dict(sample.doc)}
    value["target"] = sample.target
    if sample.choices is not None:
        value["choices"] = sample.choices
    if sample.slices:
        value["slices"] = dict(sample.slices)
    if sample.cluster is not None:
        value["cluster"] = sample.cluster
    value |= {"prompts": prompts, "params": params, "requests": rows}
    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))


def decode(line: bytes) -> tuple[Sample, tuple[Request, ...]]:
    """What `encode` wrote. Tuples inside targets come back as tuples."""
    value = json.loads(line)
    target = value["target"]
    choices = value.get("choices")
    sample = Sample(
        task=value["task"],
        id=value["id"],
        index=value["index"],
        doc=value["doc"],
        target=tuple(target) if isinstance(target, list) else target,
        choices=None if choices is None else tuple(choices),
        slices=value.get("slices", {}),
        cluster=value.get("cluster"),
    )
    prompts = [_prompt(p) for p in value["prompts"]]
    requests = tuple(
        Request(
            kind=kind,
            prompt=prompts[prompt],
            continuation=continuation,
            params=value["params"][params],
            slot=slot,
            repeat=repeat,
            task=sample.task,
            sample_id=sample.id,
            key=key,
        )
        for key, kind, prompt, continuation, params, slot, repeat in value["requests"]
    )
    return sample, requests


def _place(seen: list[Any], value: Any) -> int:
    """Position of ``value`` among the few distinct ones of a sample, added when new."""
    if value not in seen:
        seen.append(value)
    return seen.index(value)


def _prompt(stored: Any) -> Prompt:
    return stored if isinstance(stored, str) else tuple(Message(role, content) for role, content in stored)
