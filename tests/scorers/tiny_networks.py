"""Tiny checkpoints in the real formats (BLEURT, COMET, BART, a masked LM), and numbers that the original packages gave.

A script beside the checkout builds them, once in a process, from exact integer hashes: the same bytes everywhere.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

_GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "goldens"
_NUMBERS = _GOLDENS / "golden_neural_tiny.json"
SCRIPT = _GOLDENS / "tools" / "tiny_checkpoints.py"

#: Mark of the tests that need them.
needs_tiny_networks = pytest.mark.skipif(
    not (_NUMBERS.is_file() and SCRIPT.is_file()), reason="the script of the tiny checkpoints or their numbers are absent"
)


@cache
def _holder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tiny-networks-")  # removed when the process ends


@cache
def tiny_networks() -> Path:
    """The folder of the checkpoints: ``bleurt_base``, ``bleurt20``, ``bart``, ``mlm``, ``xlmr``, ``comet_*``."""
    pytest.importorskip("sentencepiece", reason="the script of the tiny checkpoints trains a sentencepiece model")
    folder = Path(_holder().name)
    with warnings.catch_warnings(), mock.patch.object(sys, "argv", [str(SCRIPT), str(folder)]):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_path(str(SCRIPT), run_name="__main__")
    return folder


@cache
def tiny_numbers() -> dict[str, Any]:
    """The expected numbers by family: ``bleurt``, ``comet``, ``bartscore``, ``pll``."""
    found: dict[str, Any] = json.loads(_NUMBERS.read_text("utf-8"))
    return found
