"""A series of checkpoints on this machine: which there are, and how far along in training each one is.

What is known of a checkpoint comes from its folder alone, without loading it: the step from its name or the trainer's state,
tokens and floating-point operations from that state, parameters from the headers of its weights.
"""

from __future__ import annotations

import glob
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evalkit.errors import ConfigError
from evalkit.models.registry import MODELS
from evalkit.types import Json, content_hash

#: Floating-point operations a parameter and token that training takes: two forward, four backward (Kaplan et al. 2020).
FLOPS_PER_TOKEN = 6

ComputeSource = Literal["total_flos", "6ND"]

_NUMBER = r"(\d+(?:\.\d+)?)([A-Za-z]*)"
#: ``step-1000``, ``checkpoint-500``, ``global_step1000``, ``iter_0001000``, ``ckpt10k``.
_STEP = re.compile(rf"(?:step|checkpoint|ckpt|iter(?:ation)?)s?[-_=]?{_NUMBER}", re.IGNORECASE)
#: ``step1000-tokens4B``
_TOKENS = re.compile(rf"(?:tokens|tok)[-_=]?{_NUMBER}", re.IGNORECASE)
_PLAIN = re.compile(_NUMBER)
_UNITS = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
#: Files of a checkpoint whose change makes it another one.
_CONTENT = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf", "*.json", "*.model", "*.jinja", "*.txt")
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint: ``model`` is what ``--model`` would be, ``name`` what tells it from the others of its series.

    Of an adapter (LoRA, ...) that is its base model, and ``args`` holds the ``-M peft=`` that goes with it.
    ``flops`` and ``tokens`` are of training up to here, as the trainer counted. ``stamp`` changes when a file of it does.
    """

    name: str
    model: str
    path: Path
    step: int | None = None
    tokens: float | None = None
    flops: float | None = None
    parameters: int | None = None
    stamp: str = ""
    args: Mapping[str, str] = field(default_factory=dict)

    @property
    def order(self) -> tuple[Any, ...]:
        """By step; those without one by parameters, after them by name, numbers in it as numbers."""
        parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", self.name) if p]
        known = (self.step is None, self.step or 0, self.parameters is None, self.parameters or 0)
        return (*known, parts)


def compute(flops: float | None, parameters: int | None, tokens: float | None) -> tuple[float, ComputeSource] | None:
    """Training compute in floating-point operations, and where it comes from: as counted, else 6 x parameters x tokens."""
    if flops is not None:
        return flops, "total_flos"
    if parameters and tokens:
        return float(FLOPS_PER_TOKEN * parameters * tokens), "6ND"
    return None


def find_checkpoints(pattern: str) -> list[Checkpoint]:
    """The folders and GGUF files that ``pattern`` (``[provider/]glob``, the provider ``hf`` by default) fits, in order.

    Raises ConfigError where it fits none, and for a provider whose models are no folders.
    """
    provider, where = split_pattern(pattern)
    if (names := getattr(MODELS.get(provider), "names", None)) is not None:
        raise ConfigError(f"--model-glob {pattern!r}: {provider}/ has models by name ({', '.join(names)}), not by folder")
    paths = [Path(found) for found in sorted(glob.glob(str(Path(where).expanduser()), recursive=True))]  # noqa: PTH207
    fitting = [path for path in paths if path.is_dir() or path.suffix.lower() == ".gguf"]
    if not fitting:
        others = f": it fits {len(paths)} files, and checkpoints are folders or .gguf files" if paths else ""
        raise ConfigError(f"--model-glob {pattern!r} fits no checkpoint{others}; quote it, so that the shell leaves it be")
    root = _fixed_part(Path(where).expanduser())
    return sorted((_read(provider, path, root) for path in fitting), key=lambda found: found.order)


def split_pattern(pattern: str) -> tuple[str, str]:
    """``provider/glob`` in its two parts; ``./`` before it says that a folder of a provider's name is meant."""
    first, slash, rest = pattern.partition("/")
    if not pattern.strip():
        raise ConfigError("--model-glob is empty; write for example --model-glob 'checkpoints/step-*'")
    if slash and rest and first in MODELS.names():
        return first, rest
    return "hf", pattern


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before the first one with a wildcard; its parent where it has none."""
    fixed = Path(pattern.anchor)
    for part in pattern.parts[len(fixed.parts) :]:
        if glob.has_magic(part):
            return fixed
        fixed /= part
    return fixed.parent


def _read(provider: str, path: Path, root: Path) -> Checkpoint:
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    state = _trainer_state(path)
    step = step_of(name, state)
    # a trainer that does not count writes 0: that is a count only before the first step
    flops, seen = (
        0.0 if step == 0 and key in state else _positive(state.get(key)) for key in ("total_flos", "num_input_tokens_seen")
    )
    model = str(path) if path.is_absolute() or str(path).startswith(".") or path.is_file() else f"./{path}"
    base = _base_of_adapter(path) if provider == "hf" else None
    return Checkpoint(
        name=name,
        model=f"{provider}/{base or model}",
        path=path,
        step=step,
        tokens=tokens_of(name) if seen is None else seen,
        flops=flops,
        parameters=None if base else count_parameters(path),
        stamp=_stamp(path),
        args={"peft": model} if base else {},
    )


def step_of(name: str, state: Mapping[str, Json] | None = None) -> int | None:
    """The training step: named as such in ``name``, else the trainer's ``global_step``, else the last number there is.

    Of ``a/b`` the last part with a number counts. Numbers with letters behind them (``135m``) are sizes, not steps.
    """
    parts = [part.removesuffix(".gguf") for part in reversed(name.split("/"))]
    for part in parts:
        named = [value for match in _STEP.finditer(part) if (value := _value(match)) is not None]
        if named:
            return int(named[-1])
    counted = (state or {}).get("global_step")
    if isinstance(counted, int) and counted >= 0:
        return counted
    for part in parts:
        plain = [int(match[1]) for match in _PLAIN.finditer(part) if not match[2] and match[1].isdigit()]
        if plain:
            return plain[-1]
    return None


def tokens_of(name: str) -> float | None:
    """The tokens that ``name`` says a checkpoint has seen (``step1000-tokens4B``)."""
    found = [value for match in _TOKENS.finditer(name) if (value := _value(match))]
    return found[-1] if found else None


def _value(match: re.Match[str]) -> float | None:
    unit = _UNITS.get(match[2].lower())
    return None if unit is None else float(match[1]) * unit


def _positive(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _trainer_state(path: Path) -> Mapping[str, Json]:
    """What transformers' Trainer wrote beside the weights; empty where it did not, or not legibly."""
    return _json(path / "trainer_state.json")


def _base_of_adapter(path: Path) -> str | None:
    """The model that an adapter was trained on; ``None`` for a whole model."""
    if (path / "config.json").is_file():
        return None
    base = _json(path / "adapter_config.json").get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None


def _json(file: Path) -> Mapping[str, Json]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp(path: Path) -> str:
    """A hash over names, sizes and times of the files that make the checkpoint."""
    files = {path} if path.is_file() else {file for kind in _CONTENT for file in path.glob(kind)}
    facts = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in sorted(files)]
    return content_hash([list(fact) for fact in facts], 8)


def count_parameters(path: Path) -> int | None:
    """Parameters of a checkpoint by the headers of its safetensors or GGUF files; ``None`` where they do not tell.

    A run knows better: transformers tells buffers that are stored beside parameters from them.
    """
    try:
        if path.is_file():
            return _gguf_parameters(path)
        files = sorted(path.glob("*.safetensors"))
        if files:
            return sum(_safetensors_parameters(file) for file in files)
        packed = sorted(path.glob("*.gguf"))
        return _gguf_parameters(packed[0]) if len(packed) == 1 else None
    except (OSError, ValueError, struct.error, TypeError, KeyError, AttributeError):
        return None  # damaged: whoever loads it will say so


def _safetensors_parameters(file: Path) -> int:
    """Elements of all tensors: 8 bytes of length, then so many bytes of JSON with every tensor's shape."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > _LONGEST_HEADER:
            raise ValueError(f"{file} is no safetensors file")
        header = json.loads(opened.read(length))
    return sum(_elements(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _gguf_parameters(file: Path) -> int | None:
    try:
        from gguf import GGUFReader
    except ImportError:
        return None
    return sum(int(tensor.n_elements) for tensor in GGUFReader(file).tensors)


def _elements(shape: list[int]) -> int:
    total = 1
    for side in shape:
        total *= int(side)
    return total
