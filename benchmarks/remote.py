"""How close a remote model's evaluation comes to the ideal: evalkit and its peers against the same mock server.

    python benchmarks/remote.py [--samples 2000,20000] [--peers plain,lm-eval,inspect] [--lm-eval PYTHON] [--runs 3]

The mock API (tests/remote/servers) answers every chat completion after ``--latency`` seconds, on a core of its own; the
programs run on the others, in turn, each as a whole command that starts cold and writes its results to disk: evalkit with
its durable journal, report and tables, lm-eval with ``--log_samples``, inspect with its default log, and the openai client
alone (`asyncio.gather` under a semaphore, one JSON file at the end). The ideal is requests / connections x latency; the
request phase runs from the first request's arrival to the last reply. CPU is user and system time of the program and its
children. Peers run at the first of the sizes only, and are installed into build/ where they are not given. Never a test.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from speed import machine

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "remote" / "servers"))

from mock_answers import answer  # noqa: E402
from mock_handle import MockServer  # noqa: E402

KEY = "sk-benchmark-0123456789"
MARK = "Question"
LM_EVAL, INSPECT = "lm-eval[api]==0.4.13", "inspect-ai==0.3.285"
TASK = """
task: remote_bench
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
generation_kwargs: {{until: ["\\n\\n"], max_gen_toks: 16, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""
PLAIN = """
import asyncio, json, os, sys
from pathlib import Path
from openai import AsyncOpenAI

async def main():
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    client, gate = AsyncOpenAI(), asyncio.Semaphore(int(sys.argv[1]))

    async def ask(row):
        async with gate:
            reply = await client.chat.completions.create(
                model="mock", messages=[{"role": "user", "content": row["question"]}],
                max_completion_tokens=16, temperature=0,
            )
        text = reply.choices[0].message.content
        return {"id": row["id"], "text": text, "right": text == row["answer"]}

    done = await asyncio.gather(*(ask(row) for row in rows))
    Path("plain.json").write_text(json.dumps(done))
    print("accuracy", sum(row["right"] for row in done) / len(done))

asyncio.run(main())
"""
INSPECT_TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.scorer import match
from inspect_ai.solver import generate

@task
def remote_bench():
    rows = json_dataset("rows.jsonl", FieldSpec(input="question", target="answer"))
    return Task(dataset=rows, solver=generate(), scorer=match(location="exact"))
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One run: seconds, CPU milliseconds a request, MB. ``others`` is CPU seconds that neither side used."""

    wall: float
    phase: float
    cpu_ms: float
    peak: float
    others: float
    in_flight: int


def rows_file(folder: Path, count: int) -> None:
    """Questions that the mock answers with a digit; half of the targets are that digit."""
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            question = f"{MARK} {number}: " + " ".join(f"word{number * i % 97}" for i in range(1, 40)) + "\nAnswer:"
            right = answer(question)
            row = {"id": str(number), "question": question, "answer": right if number % 2 else f"not {right}"}
            file.write(json.dumps(row) + "\n")
    (folder / "remote_bench.yaml").write_text(TASK.format(data=folder / "rows.jsonl"), encoding="utf-8")
    (folder / "plain.py").write_text(PLAIN, encoding="utf-8")
    (folder / "inspect_task.py").write_text(INSPECT_TASK, encoding="utf-8")


def installed(given: str | None, home: Path, *packages: str) -> str:
    """The Python that has the peer: ``given``, or that of ``home``, made on first use."""
    if given:
        return given
    python, stamp = home / "bin" / "python", home / ".installed"
    if not stamp.exists():
        print(f"installing {' '.join(packages)} into {home}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        stamp.touch()
    return str(python)


def commands(arguments: argparse.Namespace, server: MockServer) -> dict[str, list[str]]:
    """The whole command of each program."""
    many = str(arguments.connections)
    found = {
        "evalkit": [
            *(sys.executable, "-m", "evalkit", "run", "--model", "openai/mock", "--tasks", "remote_bench.yaml", "--new"),
            *("-M", f"base_url={server.url}", "-M", f"max_connections={many}"),
        ]
    }
    if "plain" in arguments.peers:
        found["plain openai client"] = [sys.executable, "plain.py", many]
    if "lm-eval" in arguments.peers:
        python = installed(arguments.lm_eval, ROOT / "build" / "lm-eval-api", LM_EVAL)
        where = f"model=mock,base_url={server.url}/chat/completions,num_concurrent={many},tokenized_requests=False"
        found["lm-eval"] = [
            *(python, "-m", "lm_eval", "run", "--model", "local-chat-completions", "--model_args", where),
            *("--tasks", "remote_bench", "--include_path", ".", "--apply_chat_template"),
            *("--log_samples", "--output_path", "lm-eval"),
        ]
    if "inspect" in arguments.peers:
        python = installed(arguments.inspect, ROOT / "build" / "inspect-venv", INSPECT, "openai")
        found["inspect"] = [
            *(python, "-m", "inspect_ai", "eval", "inspect_task.py", "--model", "openai-api/mock/mock"),
            *("--max-connections", many, "--max-samples", many, "--display", "plain", "--max-tokens", "16"),
        ]
    return found


def environment(folder: Path, server: MockServer) -> dict[str, str]:
    # compiled modules are kept, as an installed program's are
    hidden = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().endswith("_PROXY") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {
        **hidden,
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": server.url,
        "MOCK_API_KEY": KEY,
        "MOCK_BASE_URL": server.url,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(folder / "hf"),
        "NO_COLOR": "1",
    }


def measure(command: list[str], folder: Path, count: int, server: MockServer, cores: str | None) -> Result:
    """Run the command once. Raises SystemExit where it fails or did not ask everything exactly once."""
    server.reset()
    before = server.stats()["cpu_s"]
    pinned = ["taskset", "-c", cores, *command] if cores else command
    ran = machine.watched(pinned, environment(folder, server), folder)
    stats = server.stats()
    if ran.code:
        raise SystemExit(f"{' '.join(command)} failed ({ran.code}):\n{ran.err[-2000:]}\n{ran.out[-1000:]}")
    if stats["marked"] != count:
        raise SystemExit(f"{command[:4]}: {count} samples, but {stats['marked']} requests: {stats}\n{ran.err[-2000:]}")
    others = ran.outside * ran.seconds * machine.CORES - (stats["cpu_s"] - before)
    cpu_ms = 1000 * ran.cpu / count
    return Result(ran.seconds, stats["span_s"], cpu_ms, ran.peak, max(others, 0.0), stats["max_in_flight"])


def bench(arguments: argparse.Namespace, count: int, peers: bool) -> dict[str, list[Result]]:
    """Every program ``--runs`` times, in turn, so that a machine that changes changes for all."""
    found: dict[str, list[Result]] = {}
    cores = None if machine.CORES < 2 else f"0-{machine.CORES - 2}"
    with tempfile.TemporaryDirectory() as name, MockServer(latency=arguments.latency, core=machine.CORES - 1) as server:
        folder = Path(name)
        server.configure(marker=f"{MARK} ")
        rows_file(folder, count)
        told = commands(arguments, server)
        for _ in range(arguments.runs):
            for label, command in told.items() if peers else [("evalkit", told["evalkit"])]:
                result = measure(command, folder, count, server, cores)
                print(f"  {count} {label}: {line(result, count, arguments)}", file=sys.stderr, flush=True)
                found.setdefault(label, []).append(result)
        check(folder, count)
    return found


def check(folder: Path, count: int) -> None:
    """The last run of evalkit is whole and right: half of the targets are what the mock says."""
    run = max(path for path in (folder / "runs").iterdir() if path.is_dir() and not path.is_symlink())
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))["summaries"][0]
    if (summary["value"], summary["n"]) != (0.5, count):
        raise SystemExit(f"evalkit's result is not right: {summary}")


def line(result: Result, count: int, arguments: argparse.Namespace) -> str:
    ideal = count / arguments.connections * arguments.latency
    return (
        f"{result.wall:.2f} s = {result.wall / ideal:.2f}x ideal, request phase {result.phase:.2f} s = "
        f"{result.phase / ideal:.2f}x, CPU {result.cpu_ms:.2f} ms a request, peak {result.peak:.0f} MB"
        + (f" (others used {result.others:.1f} CPU s)" if result.others > 0.04 * result.wall else "")
    )


def table(found: Mapping[str, list[Result]], count: int, arguments: argparse.Namespace) -> str:
    ideal = count / arguments.connections * arguments.latency
    rows = [
        f"\n{count} requests, {arguments.connections} connections, {1000 * arguments.latency:.0f} ms latency, ideal "
        f"{ideal:.2f} s; medians of {arguments.runs} (least to most)",
        "| program | whole command s | / ideal | request phase s | / ideal | CPU ms a request | peak MB | at once |",
        "|---|---|---|---|---|---|---|---|",
    ]

    def median(results: list[Result], of: Callable[[Result], float]) -> float:
        return statistics.median(map(of, results))

    for label, results in found.items():
        wall, phase = median(results, lambda r: r.wall), median(results, lambda r: r.phase)
        spread = f"{min(r.wall for r in results):.2f} to {max(r.wall for r in results):.2f}"
        rows.append(
            f"| {label} | {wall:.2f} ({spread}) | {wall / ideal:.2f}x | {phase:.2f} | {phase / ideal:.2f}x "
            f"| {median(results, lambda r: r.cpu_ms):.2f} | {median(results, lambda r: r.peak):.0f} "
            f"| {max(r.in_flight for r in results)} |"
        )
    return "\n".join(rows)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", default="2000,20000", help="sizes; peers run at the first one")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", default="plain,lm-eval", help="of plain, lm-eval, inspect; or none")
    parser.add_argument("--lm-eval", metavar="PYTHON", help="the Python that has lm-eval")
    parser.add_argument("--inspect", metavar="PYTHON", help="the Python that has inspect_ai and openai")
    parser.add_argument("--busy", action="store_true", help="measure on a busy machine, too")
    arguments = parser.parse_args()
    arguments.peers = set(arguments.peers.split(",")) - {"none"}
    if arguments.peers - {"plain", "lm-eval", "inspect"}:
        parser.error("--peers takes plain, lm-eval, inspect or none")
    return arguments


def main() -> None:
    arguments = parsed()
    share = machine.busy_share()
    if share > machine.BUSY and not arguments.busy:
        raise SystemExit(f"{share:.0%} of the cores are in use: wait until the machine is quiet, or give --busy")
    tables = []
    for turn, count in enumerate(int(size) for size in arguments.samples.split(",")):
        tables.append(table(bench(arguments, count, turn == 0), count, arguments))
    print("\n".join(tables))


if __name__ == "__main__":
    main()
