"""From what a user names, or hands over, to a Model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from evalkit.errors import ModelError
from evalkit.models.base import Model, ModelOptions
from evalkit.models.provider import Arg, Provider, refuse_flags
from evalkit.registry import Registry

#: Provider name -> factory ``(name, options) -> Model``; entry points in group ``evalkit.models`` add to it.
MODELS = Registry(
    "model",
    {
        "hf": "evalkit.models.hf:PROVIDER",
        "demo": "evalkit.models.demo:PROVIDER",
        "mock": "evalkit.models.mock:PROVIDER",
        "openai": "evalkit.models.remote.provider:OPENAI",
        "azure": "evalkit.models.remote.provider:AZURE",
        "vllm": "evalkit.models.remote.provider:VLLM",
        "sglang": "evalkit.models.remote.provider:SGLANG",
        "llamacpp": "evalkit.models.remote.provider:LLAMACPP",
        "ollama": "evalkit.models.remote.provider:OLLAMA",
        "openai-moderation": "evalkit.models.remote.moderation:PROVIDER",
        "openrouter": "evalkit.models.remote.provider:OPENROUTER",
    },
    ModelError,
)

#: A ``provider/name`` text, a Model, a loaded transformers model (alone, or in a pair with its tokenizer), or a callable.
ModelSpec = str | Model | Callable[..., Any] | tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class ModelListing:
    """One line of ``evalkit ls models``."""

    name: str
    summary: str
    args: tuple[Arg, ...] = ()


def load_model(spec: Any, options: ModelOptions | None = None) -> Model:
    """The model that ``spec`` (see `ModelSpec`) means.

    Raises ModelError for an unknown provider or name, an option the provider does not have, and whatever keeps the model
    from being loaded.
    """
    options = options or ModelOptions()
    if isinstance(spec, str):
        return _from_text(spec, options)
    if _is_module(spec) or (isinstance(spec, tuple) and len(spec) == 2 and _is_module(spec[0])):
        from evalkit.models.hf import from_torch

        module, tokenizer = spec if isinstance(spec, tuple) else (spec, None)
        loaded: Model = from_torch(module, tokenizer, options=options)
        return loaded
    if callable(getattr(spec, "run", None)) and callable(getattr(spec, "describe", None)):
        model: Model = spec
        refuse_flags(options, model.name)
        return model
    if callable(spec):
        from evalkit.models.callable import CallableModel

        refuse_flags(options, "a callable")
        return CallableModel(spec)
    raise ModelError(
        f"cannot use a {type(spec).__name__} as a model: "
        "give provider/name, a loaded transformers model, a Model or a callable"
    )


def models_listing() -> list[ModelListing]:
    """Every provider (and each of its named models), sorted, for ``evalkit ls models``. Imports no weights library."""
    rows: list[ModelListing] = []
    for name in MODELS.names():
        factory = MODELS.get(name)
        if not isinstance(factory, Provider):
            rows.append(ModelListing(f"{name}/…", (factory.__doc__ or "").strip().partition("\n")[0]))
        elif factory.names is None:
            rows.append(ModelListing(f"{name}/…", factory.summary, factory.args))
        else:
            rows.extend(ModelListing(f"{name}/{model}", line, factory.args) for model, line in factory.names.items())
    return rows


def _from_text(spec: str, options: ModelOptions) -> Model:
    provider, _, name = spec.partition("/")
    if spec.startswith((".", "/", "~")):
        raise ModelError(f"model {spec!r} is a path; to load it with transformers write hf/{spec}")
    if not name:
        example = f"{provider}/NAME" if provider in MODELS.names() else f"hf/{provider or 'gpt2'}"
        raise ModelError(f"model {spec!r} is not provider/name: write for example {example}")
    return cast(Model, MODELS.get(provider)(name, options))


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
