"""Where a run took place: versions and machine, for the manifest."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

from evalkit.types import Json

_PACKAGES = (
    "evalkit", "torch", "transformers", "tokenizers", "accelerate", "peft", "safetensors", "gguf", "datasets", "pyarrow",
    "numpy", "pandas", "jinja2", "pydantic", "sacrebleu", "rouge-score", "bert-score", "evaluate", "openai",
)  # fmt: skip


def environment() -> dict[str, Json]:
    """Python, platform, cores and the versions of the packages a number can depend on."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": {name: found for name in _PACKAGES if (found := installed(name))},
        "git": _git_commit(),
    }


def installed(package: str) -> str | None:
    """Version of an installed package, or ``None``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the working directory, where it is a git checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
