"""Where lm-eval's task folder is: the comparison needs its YAML files, which are not part of this project."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from parity_cases import LM_EVAL_VERSION

BUILD = Path(__file__).resolve().parents[2] / "build"


@cache
def find_zoo() -> Path:
    """``lm_eval/tasks``: named by EVALKIT_LM_EVAL_ZOO, made by make_goldens.py, or fetched once (without dependencies).

    Skips the calling test where there is none and the package index cannot be reached.
    """
    named = os.environ.get("EVALKIT_LM_EVAL_ZOO")
    made = sorted((BUILD / "parity" / "venv" / "lib").glob("python*/site-packages/lm_eval/tasks"))
    fetched = BUILD / f"lm-eval-{LM_EVAL_VERSION}" / "lm_eval" / "tasks"
    for candidate in [*([Path(named)] if named else []), *made, fetched]:
        if candidate.is_dir():
            return candidate.resolve()
    _fetch(fetched.parents[1])
    return fetched


def _fetch(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        folder = Path(work) / "zoo"
        options = [
            "--quiet",
            "--no-deps",
            "--no-compile",
            "--disable-pip-version-check",
            "--retries",
            "0",
            "--timeout",
            "20",
        ]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), f"lm-eval=={LM_EVAL_VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            pytest.skip(f"lm-eval's task folder is not here and cannot be fetched (set EVALKIT_LM_EVAL_ZOO): {reason}")
        try:
            folder.rename(target)
        except OSError:  # another worker was quicker
            if not target.is_dir():
                raise
