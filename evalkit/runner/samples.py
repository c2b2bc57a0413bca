"""The samples of a run: each with its prompts and request keys, written once, so that a run explains itself.

Prompts are stored once a sample (the choices of a question share theirs).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit.errors import StoreError
from evalkit.jsonlines import encoder
from evalkit.runner.log import Log
from evalkit.secrets import scrub
from evalkit.types import EMPTY, Message, Request, Sample

_encode = encoder()
_decode = json.JSONDecoder().raw_decode


class SampleLog:
    """Samples of one task in the order of planning, by position. 8 bytes of memory a sample."""

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self._open(folder, write)

    def _open(self, folder: Path, write: bool) -> None:
        self._log = Log(folder, write=write, may_lack=True)  # of tasks that an unfinished run did not come to
        self._where = array("Q", (entry.where for entry in self._log.entries()))

    def __len__(self) -> int:
        return len(self._where)

    @property
    def damaged(self) -> int:
        """Lines that cannot be read. The others then stand at wrong positions and cannot be read either."""
        return self._log.damaged

    def clear(self) -> None:
        """Forget all samples: they can be planned again, as they were."""
        folder = self._log.folder
        self._log.release()
        shutil.rmtree(folder)
        self._open(folder, True)

    def append(self, sample: Sample, requests: tuple[Request, ...]) -> None:
        key = hashlib.blake2b(sample.id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        self._where.append(self._log.append(key, scrub(encode(sample, requests))))

    def __getitem__(self, position: int) -> tuple[Sample, tuple[Request, ...]]:
        """The sample at a position; raises StoreError where the log is damaged."""
        self._require_whole()
        return decode(self._log.read(self._where[position]))

    def contents(self) -> Iterator[dict[str, Any]]:
        """Every sample in order as `encode` laid it out, for who makes no objects of it; raises StoreError as above."""
        self._require_whole()
        for _, value in self._log.values():
            yield _decode(value.decode("utf-8", "surrogatepass"))[0]
        self._log.rest()

    def _require_whole(self) -> None:
        if self._log.damaged:
            raise StoreError(
                f"{self._log.folder} is damaged; run the same command with --resume to write it anew (no answer is lost)"
            )

    def rest(self) -> None:
        """Let go of open files until the next read: a run can have more tasks than a process may have files."""
        self._log.rest()

    def close(self) -> None:
        """End writing. Reading goes on working."""
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
    return _encode(value)


def decode(line: bytes) -> tuple[Sample, tuple[Request, ...]]:
    """What `encode` wrote. Tuples inside targets come back as tuples."""
    value = _decode(line.decode("utf-8", "surrogatepass"))[0]
    task, sample_id, target, choices = value["task"], value["id"], value["target"], value.get("choices")
    sample = Sample(
        task,
        sample_id,
        value["index"],
        value["doc"],
        tuple(target) if isinstance(target, list) else target,
        None if choices is None else tuple(choices),
        value.get("slices", EMPTY),
        value.get("cluster"),
    )
    prompts = [p if isinstance(p, str) else tuple(Message(role, text) for role, text in p) for p in value["prompts"]]
    settings = value["params"]
    requests = tuple(
        [
            Request(kind, prompts[prompt], continuation, settings[params], slot, repeat, task, sample_id, "model", key)
            for key, kind, prompt, continuation, params, slot, repeat in value["requests"]
        ]
    )
    return sample, requests


def _place(seen: list[Any], value: Any) -> int:
    """Position of ``value`` among the few distinct ones of a sample, added when new."""
    if value not in seen:
        seen.append(value)
    return seen.index(value)
