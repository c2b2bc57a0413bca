"""What sharing the beginnings of prompts saves a local judge: G-Eval over four criteria, and a verdict written for each.

    python benchmarks/judge.py [--items 20] [--model demo/smollm2] [--busy]

The shipped summarisation rubric over evalkit's own short texts and summaries. Three ways to four scores an item: the
probabilities of the labels with shared beginnings (``--engine auto``), the same computed prompt by prompt (``plain``), and
one written verdict for each criterion (``score_mode: argmax``, 48 tokens at most), one call after the other as a judge
behind a simple loop would. Printed are seconds, processor seconds, and the prompt tokens that each way puts through the
model; the last are exact and do not depend on the machine. Never a test.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, starmap
from pathlib import Path
from typing import Any

from speed import machine

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tasks" / "generation" / "summarisation.jsonl"
WRITTEN = 48


@dataclass
class Way:
    """One way to the scores, and what it took."""

    name: str
    seconds: float
    cpu: float
    tokens: int


class All:
    """All requests at once, as a run hands them over."""

    def __init__(self, requests: Sequence[Any]) -> None:
        self._left = list(requests)

    def take(self, limit: int) -> Sequence[Any]:
        taken, self._left = self._left[:limit], self._left[limit:]
        return taken


def records(count: int) -> list[Any]:
    """Texts with their reference summaries as the outputs to be judged."""
    from evalkit.types import Record, Request, Response, Sample

    found = []
    for line in DATA.read_text("utf-8").splitlines()[:count]:
        row = json.loads(line)
        summary = next(str(row[key]) for key in ("summary", "target", "reference") if key in row)
        sample = Sample("judged", row["id"], len(found), {"source": row["text"]})
        found.append(Record(sample, (Request("generate", "Summarise."),), (Response("k", text=summary),), "none", summary))
    return found


def requests(model: Any, items: Iterable[Any], mode: str) -> list[Any]:
    """What the judge is asked about all items, in their order."""
    from evalkit.runner.roles import role_info
    from evalkit.scorers.judge.pointwise import Judge
    from evalkit.types import keyed

    judge = Judge("summarisation", score_mode=mode, style="score_only", max_tokens=WRITTEN, canaries=False)
    bound: Any = judge.bind({"judge": role_info("judge", model)}, None)
    return [
        keyed(replace(asked, task="judged", sample_id=item.sample.id), model.fingerprint)
        for item in items
        for asked in bound.requests(item)
    ]


def load(name: str, engine: str) -> Any:
    from evalkit.models.base import ModelOptions
    from evalkit.models.registry import load_model

    return load_model(name, ModelOptions({"engine": engine}))


def timed(name: str, model: Any, waves: Sequence[Sequence[Any]], tokens: int) -> Way:
    """The waves one after the other; the first request is answered once before, so that loading is in no number."""
    failed: list[Any] = []

    def hear(response: Any) -> None:
        if response.error is not None:
            failed.append(response.error)

    model.run(All(waves[0][:1]), hear, threading.Event())
    started, used = time.perf_counter(), time.process_time()
    for wave in waves:
        model.run(All(wave), hear, threading.Event())
    way = Way(name, time.perf_counter() - started, time.process_time() - used, tokens)
    if failed:
        raise SystemExit(f"{name}: {failed[0].message}")
    print(f"{way.name}: {way.seconds:.1f} s, {way.cpu:.1f} of the processor, {way.tokens:,} tokens", file=sys.stderr)
    return way


def prompts(model: Any, asked: Iterable[Any]) -> list[tuple[str, ...]]:
    """The tokens that go through the model for each request: all but the last one scored."""
    found = []
    for request in asked:
        split = model.split(request)
        found.append((*split.context, *split.continuation[:-1]))
    return found


def shared(rows: Iterable[tuple[str, ...]]) -> int:
    """Tokens of a trie: every beginning once."""
    ordered = sorted(set(rows))
    return sum(map(len, ordered)) - sum(starmap(common, pairwise(ordered)))


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many first tokens two prompts share."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--model", default="demo/smollm2")
    parser.add_argument(
        "--busy", action="store_true", help="run although the machine is busy: only the tokens are exact then"
    )
    arguments = parser.parse_args()
    if not arguments.busy and (share := machine.busy_share(3.0)) > machine.BUSY:
        print(f"the machine is busy ({share:.0%} of its cores in use): wait, or add --busy", file=sys.stderr)
        return 2
    items = records(arguments.items)
    model = load(arguments.model, "auto")
    asked = requests(model, items, "logprobs")
    rows = prompts(model, asked)
    ways = [timed("label probabilities, shared", model, [asked], shared(rows))]
    model = load(arguments.model, "plain")
    ways.append(timed("label probabilities, plain", model, [asked], sum(map(len, set(rows)))))
    written = requests(model, items, "argmax")
    ways.append(
        timed("written verdicts, one by one", model, [[one] for one in written], sum(map(len, prompts(model, written))))
    )
    best = ways[0]
    print(f"{arguments.model}, {len(items)} items x 4 criteria, {len(asked)} labels, {machine.CORES} cores\n")
    print("| way | seconds | processor seconds | prompt tokens | time, shared = 1 | processor | tokens |")
    print("|---|---|---|---|---|---|---|")
    for way in ways:
        print(
            f"| {way.name} | {way.seconds:.1f} | {way.cpu:.1f} | {way.tokens:,} | {way.seconds / best.seconds:.1f} "
            f"| {way.cpu / best.cpu:.1f} | {way.tokens / best.tokens:.1f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
