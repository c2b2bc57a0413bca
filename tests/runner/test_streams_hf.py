"""A local model's answers reach the journal pass by pass: a kill keeps the passes that finished, Ctrl-C ends within one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_survives_hf import ROWS, answers, checkpoint, folder_of

import evalkit

#: Three choices a sample, of which no two share an input; one wave holds them all.
REQUESTS = 3 * ROWS

#: evalkit, but for a pause before each forward pass, so that there is time for something to happen in mid-wave.
SLOW = """
import sys, time
from torch.nn.modules.module import register_module_forward_pre_hook

pause = float(sys.argv.pop(1))

def slowly(module, _):
    if type(module).__name__ == "LlamaForCausalLM":
        with open("passes.log", "a") as log:
            log.write("pass\\n")
        time.sleep(pause)

register_module_forward_pre_hook(slowly)
from evalkit.cli.app import main
main()
"""


def start(folder: Path, pause: float, engine: str) -> subprocess.Popen[str]:
    command = [sys.executable, "slow.py", str(pause), "run", "--model", f"hf/{folder / 'model'}", "--device", "cpu"]
    # One row a pass; more than that and the tiny wave would be over in a few of them.
    command += ["--tasks", "pick.yaml", "--engine", engine, "--batch-size", "1"]
    environment = {**os.environ, "EVALKIT_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def passes(folder: Path) -> int:
    log = folder / "passes.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.parametrize(
    ("how", "engine"),
    [(signal.SIGKILL, "plain"), (signal.SIGINT, "prefix"), pytest.param(signal.SIGINT, "plain", marks=pytest.mark.slow)],
)
def test_a_disturbed_wave_keeps_its_passes_and_resume_asks_for_the_rest(
    tmp_path: Path, how: signal.Signals, engine: str
) -> None:
    folder = folder_of(tmp_path / "w", checkpoint(tmp_path / "checkpoint"))
    (folder / "slow.py").write_text(SLOW)
    process = start(folder, 0.05 if engine == "plain" else 0.2, engine)
    deadline = time.monotonic() + 240
    while len(answers(folder)) < 20 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    seen = len(answers(folder))
    process.send_signal(how)
    begun = passes(folder)
    _, err = process.communicate(timeout=240)
    kept = answers(folder)
    assert 20 <= seen <= len(kept) < REQUESTS, "what was answered is kept, and the wave was not over"
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), err
    assert passes(folder) <= begun + 1, "it ended within about one pass"
    assert engine == "prefix" or passes(folder) - len(kept) <= 1, "every finished pass is in the journal"
    (manifest,) = folder.glob("runs/2*/run.json")
    assert json.loads(manifest.read_text())["status"] == ("interrupted" if how == signal.SIGINT else "running")

    process = start(folder, 0.0, engine)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    run = evalkit.open_run("latest", output_dir=folder / "runs")
    assert len(list(folder.glob("runs/2*"))) == 1
    given = answers(folder)
    assert len(given) == len(set(given)) == REQUESTS, "no answered request was asked again"
    assert run.manifest["counts"]["asked"] == REQUESTS - len(kept)
    assert run.manifest["model"]["engine"] == engine
