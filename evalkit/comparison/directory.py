"""The scores of a run's directory as columns, read once from front to back."""

from __future__ import annotations

import gzip
import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.comparison.base import Labels, Measured, RunScores, TaskScores
from evalkit.comparison.columns import LabelColumn, LabelColumns, ScoreColumns, total
from evalkit.comparison.manifest import without_texts
from evalkit.comparison.rebuild import Rebuilt
from evalkit.errors import NotComparable, StoreError
from evalkit.jsonlines import encoder
from evalkit.runner.journal import Journal
from evalkit.runner.samples import encode
from evalkit.runner.score import score_path
from evalkit.runner.store import RunStore
from evalkit.runner.stored import StoredTask, read_tasks
from evalkit.runner.usage import CACHED
from evalkit.scorers.base import Array, Scorer
from evalkit.types import Request, Sample, content_hash

_canonical = encoder(sort_keys=True)

#: Decimals of dollars that are kept.
_DOLLARS = 12
#: Characters that a cluster's label may have.
_LABEL = 40


def read_run(path: Path, *, source: str | None = None, name: str | None = None) -> RunScores:
    """The scores of the run in directory ``path``; texts are read past, not kept.

    Raises StoreError where the run is damaged, NotComparable where it ended before it was scored.
    """
    store = RunStore.open(path)
    manifest = store.manifest
    chat = bool(manifest["config"].get("apply_chat_template"))
    found: dict[tuple[str, str], TaskScores] = {}
    for task in read_tasks(store, manifest):
        asked = _read_samples(store, task.name, chat)
        entry = manifest["tasks"][task.name]
        rebuilt = Rebuilt(entry, allow_code=bool(manifest["config"].get("allow_code")))
        for filter_ in task.filters:
            found[task.name, filter_.name] = TaskScores(
                task=task.name,
                filter=filter_.name,
                version=str(entry["version"]),
                definition=str(entry["hash"]),
                data=str(entry["data_hash"]),
                n_shot=int(entry["num_fewshot"]),
                size=int(entry["size"]),
                ids=asked.ids,
                digests=asked.digests,
                clusters=asked.clusters if entry["definition"].get("cluster") else None,
                slices=asked.slices,
                latency_s=asked.latency_s,
                output_tokens=asked.output_tokens,
                cost_usd=asked.cost_usd,
                measured=tuple(_measured(store, task, filter_.name, s, asked.ids, rebuilt) for s in task.scorers),
            )
    return RunScores(name or str(manifest["name"]), source or str(path), path, without_texts(manifest), found)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a task's samples are and what their answers took, whatever the filter; arrays (n,)."""

    ids: tuple[str, ...]
    digests: npt.NDArray[np.uint32]
    clusters: Labels
    slices: Mapping[str, Labels]
    latency_s: Array
    output_tokens: Array
    cost_usd: Array


def _read_samples(store: RunStore, task: str, chat: bool) -> _Asked:
    ids: list[str] = []
    digests = array("L" if array("L").itemsize == 4 else "I")
    clusters, slices = LabelColumn(), LabelColumns()
    took = array("d")
    for sample in store.samples(task).contents():
        ids.append(sample["id"])
        digests.append(digest(sample, chat=chat))
        clusters.add(_short(sample.get("cluster")))
        slices.add(sample.get("slices", {}))
        took.extend(_took(sample["requests"], store.journal))
    if len(set(ids)) < len(ids):
        raise StoreError(f"{store.path}: samples of {task} share an id, so that no other run's can be told to be the same")
    latency_s, output_tokens, cost_usd = np.array(took, dtype=np.float64).reshape(-1, 3).T.copy()
    found = np.array(digests, dtype=np.uint32)
    return _Asked(tuple(ids), found, clusters.labels(), slices.labels(), latency_s, output_tokens, cost_usd)


def digest(sample: Mapping[str, Any], *, chat: bool) -> int:
    """32 bits of what a sample (as its log holds it) asked and wanted.

    A chat template makes texts of messages in a way that is the model's own. So with ``chat`` the sample's fields stand for
    its prompts; what else goes into those is compared apart (`match`).
    """
    asked = [request[1:] for request in sample["requests"]]
    if chat:
        asked = [[kind, continuation, *rest] for kind, _, continuation, *rest in asked]
    content = [
        sample["doc"] if chat else sample["prompts"],
        sample["params"],
        asked,
        sample["target"],
        sample.get("choices"),
    ]
    text = _canonical(content).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


def digest_of(sample: Sample, requests: tuple[Request, ...], *, chat: bool) -> int:
    """The `digest` of a sample that is not written down yet."""
    return digest(json.loads(encode(sample, requests)), chat=chat)


def _short(cluster: str | None) -> str | None:
    """A cluster's label, hashed where it is a text: a passage can be its own name."""
    return cluster if cluster is None or len(cluster) <= _LABEL else content_hash(cluster, 8)


def _took(requests: list[list[Any]], journal: Journal) -> tuple[float, float, float]:
    """Seconds, generated tokens and dollars of a sample's requests."""
    seconds: list[float | None] = []
    tokens: list[float | None] = []
    dollars: list[float | None] = []
    for key, kind, *_ in requests:
        response = journal.get(key)
        known = response is not None and response.error is None
        fresh = response is not None and known and not response.extra.get(CACHED)
        seconds.append(response.latency_s if response is not None and fresh else None)
        tokens.append(response.tokens if response is not None and known and kind == "generate" else None)
        dollars.append(response.cost_usd if response is not None and fresh else None)
    # no clock is better than four digits, and a score file holds what is kept here exactly
    return float(f"{total(seconds):.4g}"), total(tokens), round(total(dollars), _DOLLARS)


def _measured(
    store: RunStore, task: StoredTask, filter_: str, scorer: Scorer, ids: tuple[str, ...], rebuilt: Rebuilt
) -> Measured:
    columns = ScoreColumns()
    for line in _score_lines(store, task.name, filter_, scorer):
        try:
            columns.add(line)
        except (KeyError, TypeError, ValueError) as error:
            path = score_path(store.path, task.name, filter_, scorer)
            raise StoreError(f"{path} is damaged ({error!r}); evalkit rescore {store.path} makes it anew") from error
    units = tuple(columns.units)
    if scorer.unit == "sample":
        if units != ids:
            raise StoreError(f"scores of {scorer.name} for {task.name} are not of its samples; evalkit rescore {store.path}")
        units = ids  # one tuple for all of them
    live = rebuilt.live(scorer)
    return Measured(live, scorer.signature(), units, columns.stats(), columns.values(), columns.status())


def _score_lines(store: RunStore, task: str, filter_: str, scorer: Scorer) -> Iterator[Mapping[str, Any]]:
    path = score_path(store.path, task, filter_, scorer)
    try:
        with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass") as file:
            yield from map(json.loads, file)
    except FileNotFoundError:
        if store.manifest["status"] != "complete":
            raise NotComparable(
                f"run {store.path.name} is {store.manifest['status']} and not scored; finish it first: "
                f"evalkit run --resume {store.path} with its own options"
            ) from None
        raise StoreError(
            f"run {store.path.name} has no scores of {scorer.name} for {task}; evalkit rescore {store.path} makes them"
        ) from None
    except (OSError, EOFError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({error}); evalkit rescore {store.path} makes it anew") from error
