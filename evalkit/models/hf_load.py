"""Find and load a decoder-only checkpoint through transformers; whatever is wrong with it becomes one line."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.digest import folder_digest, module_digest, state_digest
from evalkit.errors import ModelError
from evalkit.hub import out_of_reach
from evalkit.models.base import ModelOptions
from evalkit.models.gguf import converted
from evalkit.quiet import quiet
from evalkit.types import Json, content_hash

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory. ``weights`` gives the hash that pins its weights; ``facts`` are for the run's manifest."""

    module: Any
    tokenizer: Any
    device: Any
    weights: Callable[[], str]
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a checkpoint is: a hub id or a folder, what to pass along with it, and the GGUF file it was made from."""

    name: str
    folder: Path | None
    kwargs: Mapping[str, Any]
    gguf: Path | None = None


def load_checkpoint(name: str, args: Mapping[str, Any], options: ModelOptions) -> Loaded:
    """Load ``name`` (a folder, a .gguf file or a hub id) as ``args`` (see `evalkit.models.hf.ARGS`) ask.

    Raises ModelError for a folder without config or weights, an unknown id, a repository that needs its own code, an
    encoder-decoder model, weights that do not match the configuration, and a device that is not there.
    """
    with _uncollected():
        return _load(name, args, options)


def _load(name: str, args: Mapping[str, Any], options: ModelOptions) -> Loaded:
    _require_packages()
    device = pick_device(args["device"] or options.device)
    with quiet(), _one_line(name, args["revision"]):
        place = _locate(name, args)
        kwargs = {**place.kwargs, "trust_remote_code": options.trust_remote_code}
        config = _config(place, kwargs)
        tokenizer = _tokenizer(place, args, kwargs)
        module = _module(place, args, kwargs, config, device)
        if args["peft"]:
            module = _with_adapter(module, tokenizer, args["peft"])
    module.eval()
    commit = getattr(config, "_commit_hash", None)
    facts = {
        "source": name if place.folder is None else str(place.folder if place.gguf is None else place.gguf),
        "revision": commit or args["revision"],
        "subfolder": args["subfolder"],
        "peft": args["peft"],
        "gguf": place.gguf.name if place.gguf else None,
    }
    device = device if args["device_map"] is None else module.device
    return Loaded(module, tokenizer, device, _weights_hash(place, args, module, commit), facts)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage while it lasts.

    To import torch and transformers makes a million objects that stay, and they would be searched over and over: that is a
    fifth of the time from the start of a process to its first forward pass.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            # All that is there becomes old at once; otherwise it would be searched as new objects first, twice.
            gc.freeze()
            gc.unfreeze()
        if collecting:
            gc.enable()


def load_tokenizer(name: str) -> Any:
    """The tokenizer of checkpoint ``name``. Raises ModelError."""
    from transformers import AutoTokenizer

    with quiet(), _one_line(name, None):
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)


def pick_device(name: str | None) -> Any:
    """The torch device called ``name``; without a name the first GPU, else the CPU. Raises ModelError if it is not there."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r} is not one: use cpu, cuda, cuda:1, ...") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    return device


def _require_packages() -> None:
    try:
        import torch
        import transformers  # noqa: F401 (both are needed below)
    except ImportError as error:
        raise ModelError(f"local models need {error.name}: pip install 'evalkit[hf]'") from error
    del torch


def _locate(name: str, args: Mapping[str, Any]) -> _Place:
    path, gguf = Path(name).expanduser(), args["gguf_file"]
    dtype = "float32" if args["dtype"] == "auto" else str(args["dtype"])
    if path.is_file() and path.suffix.lower() == ".gguf":
        return _Place(name, converted(path, dtype), {}, path)
    if path.is_dir():
        if gguf:
            if not (path / gguf).is_file():
                raise ModelError(f"{path} has no file {gguf}")
            return _Place(name, converted(path / gguf, dtype), {}, path / gguf)
        _check_folder(path / (args["subfolder"] or ""))
        return _Place(name, path, {"subfolder": args["subfolder"]} if args["subfolder"] else {})
    if path.exists() or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise ModelError(
            f"model folder {name} is not there" if not path.exists() else f"{name} is not a folder or .gguf file"
        )
    kwargs = {key: args[key] for key in ("revision", "subfolder") if args[key]}
    _require_hub_or_cache(name, gguf or "/".join(filter(None, (args["subfolder"], "config.json"))), args["revision"])
    if gguf:
        from transformers.utils import cached_file

        file = Path(str(cached_file(name, gguf, **kwargs)))
        return _Place(name, converted(file, dtype), {}, file)
    return _Place(name, None, kwargs)


def _require_hub_or_cache(name: str, file: str, revision: str | None) -> None:
    """An OSError where ``file`` is not in the cache and the hub is out of reach: asking on would take half a minute."""
    from huggingface_hub import constants, try_to_load_from_cache

    known = constants.HF_HUB_OFFLINE or try_to_load_from_cache(name, file, revision=revision) is not None
    if not known and (why := out_of_reach()):
        raise OSError(f"the hub is out of reach ({why})")


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(f"model folder {folder} is not there")
    if not (folder / "config.json").is_file():
        gguf = sorted(folder.glob("*.gguf"))
        hint = f": for its GGUF file pass -M gguf_file={gguf[0].name}" if gguf else ""
        adapter = " (it is an adapter: pass it as -M peft= beside its base model)" if list(folder.glob("adapter_*")) else ""
        raise ModelError(f"{folder} has no config.json{hint or adapter}")
    if not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        raise ModelError(f"{folder} has no weights (*.safetensors or *.bin)")


def _config(place: _Place, kwargs: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(place.folder or place.name, **kwargs)
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{place.name} is an encoder-decoder model ({config.model_type}); only decoder-only models can be run"
        )
    return config


def _tokenizer(place: _Place, args: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Any:
    from transformers import AutoTokenizer

    bos = {} if args["add_bos_token"] is None else {"add_bos_token": args["add_bos_token"]}
    if args["tokenizer"]:
        return AutoTokenizer.from_pretrained(args["tokenizer"], trust_remote_code=kwargs["trust_remote_code"], **bos)
    try:
        return AutoTokenizer.from_pretrained(place.folder or place.name, **kwargs, **bos)
    except (OSError, ValueError, TypeError) as error:
        if "trust_remote_code" in str(error):
            raise
        raise ModelError(f"{place.name} has no tokenizer that can be loaded ({_line(error)}): pass -M tokenizer=") from error


def _module(place: _Place, args: Mapping[str, Any], kwargs: Mapping[str, Any], config: Any, device: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    extra = {key: args[key] for key in ("device_map", "attn_implementation") if args[key] is not None}
    dtype = "auto" if args["dtype"] == "auto" else getattr(torch, args["dtype"])
    module, info = AutoModelForCausalLM.from_pretrained(
        place.folder or place.name, config=config, dtype=dtype, output_loading_info=True, **kwargs, **extra
    )
    lacking = sorted(info.get("missing_keys") or ())
    if lacking:  # transformers would fill them with noise and go on
        raise ModelError(
            f"the weights of {place.name} lack {len(lacking)} tensors of {type(module).__name__}, e.g. {lacking[0]}"
        )
    return module if args["device_map"] is not None else module.to(device)


def _with_adapter(module: Any, tokenizer: Any, adapter: str) -> Any:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ModelError("-M peft= needs the peft package: pip install 'evalkit[peft]'") from error
    folder = Path(adapter).expanduser()
    if folder.is_dir() and not (folder / "adapter_config.json").is_file():
        raise ModelError(f"-M peft={adapter}: the folder has no adapter_config.json")
    if len(tokenizer) > module.get_input_embeddings().num_embeddings:
        module.resize_token_embeddings(len(tokenizer))  # an adapter trained with added tokens
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for what it has deprecated
        return PeftModel.from_pretrained(module, str(folder) if folder.is_dir() else adapter)


def _weights_hash(place: _Place, args: Mapping[str, Any], module: Any, commit: str | None) -> Callable[[], str]:
    """The base weights by file content, or by commit where they came from the hub; an adapter by what was loaded."""

    def compute() -> str:
        if place.folder is not None:
            base = folder_digest(place.folder / (args["subfolder"] or "") if place.gguf is None else place.folder)
        elif commit:
            base = content_hash([place.name, commit, args["subfolder"]])
        else:
            return module_digest(module)
        if not args["peft"]:
            return base
        from peft import get_peft_model_state_dict

        settings = {
            f"{adapter}.{key}": sorted(value) if isinstance(value, set) else value
            for adapter, config in module.peft_config.items()
            for key, value in config.to_dict().items()
            if key != "base_model_name_or_path"
        }
        return content_hash([base, settings, state_digest(get_peft_model_state_dict(module))])

    return compute


@contextmanager
def _one_line(name: str, revision: str | None) -> Iterator[None]:
    """Turn what transformers and the hub client raise into a ModelError that says what to do."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # loading runs the libraries of many model families, which raise whatever they like
        text = str(error)
        if "trust_remote_code" in text or "contains custom code" in text:
            raise ModelError(
                f"{name} needs code from its own repository: pass --trust-remote-code if you trust it"
            ) from error
        what = f"{name}@{revision}" if revision else name
        if isinstance(error, OSError) and not Path(name).expanduser().exists():
            raise ModelError(
                f"cannot find {what}: neither a local folder, nor in the Hugging Face cache, nor to be had from the hub "
                f"(wrong id, no access, or no network): {_line(error)}"
            ) from error
        raise ModelError(f"cannot load {what}: {type(error).__name__}: {_line(error)}") from error


def _line(error: BaseException, limit: int = 200) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return first if len(first) <= limit else first[: limit - 1] + "…"
