"""Putting an attention of our own in a transformers model's place, and telling where that would go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from evalkit.engine.head import UnsupportedError

_ROPES = frozenset({"dynamic", "longrope"})


class Attention:
    """While entered, ``module`` attends by ``function``, registered as ``name``; it then makes no masks of its own.

    Raises UnsupportedError for what a short self-check would not show: layers and positions that change with the length.
    """

    def __init__(self, module: Any, name: str, function: Callable[..., Any]) -> None:
        from transformers import AttentionInterface

        AttentionInterface.register(name, function)
        self._name = name
        self._config = text_config(module)
        self._configs = _configs(module)
        _refuse(self._config)

    @contextmanager
    def ours(self) -> Iterator[None]:
        before = [config._attn_implementation_internal for config in self._configs]
        for config in self._configs:
            config._attn_implementation_internal = self._name
        try:
            yield
        finally:
            for config, name in zip(self._configs, before, strict=True):
                config._attn_implementation_internal = name

    def agree(self, windows: Sequence[int | None]) -> None:
        """Raises UnsupportedError where a layer, or its sliding window, did not reach the attention function.

        ``windows``: what it was told, a layer each.
        """
        layers = getattr(self._config, "num_hidden_layers", None)
        if layers is not None and len(windows) < layers:
            raise UnsupportedError(f"only {len(windows)} of its {layers} layers attend in transformers' usual way")
        kinds = getattr(self._config, "layer_types", None)
        if kinds:
            slides = sum(kind == "sliding_attention" for kind in kinds)
        else:
            limit = getattr(self._config, "sliding_window", None)
            slides = 1 if limit and getattr(self._config, "use_sliding_window", True) else 0
        if sum(window is not None for window in windows) < slides:
            raise UnsupportedError("its sliding windows are not told to the attention function")


def text_config(module: Any) -> Any:
    """The configuration of the language model proper."""
    config = getattr(module, "config", None)
    return getattr(config, "text_config", None) or config


def _configs(module: Any) -> list[Any]:
    found = {id(part.config): part.config for part in module.modules() if hasattr(part, "config")}
    return [config for config in found.values() if hasattr(config, "_attn_implementation_internal")]


def _refuse(config: Any) -> None:
    if getattr(config, "attention_chunk_size", None):
        raise UnsupportedError("its attention is chunked")
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        raise UnsupportedError(f"it has layers of other kinds ({', '.join(sorted(kinds))})")
    ropes = [getattr(config, name, None) for name in ("rope_parameters", "rope_scaling")]
    named = [part for rope in ropes if isinstance(rope, dict) for part in (rope, *rope.values()) if isinstance(part, dict)]
    if any(rope.get("rope_type", rope.get("type")) in _ROPES for rope in named):
        raise UnsupportedError("its rotary positions change with the text's length")
