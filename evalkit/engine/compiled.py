"""A module's forward pass through torch.compile, for as long as it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from evalkit.errors import ModelError


class Compiled:
    """The layers of ``module`` below its output layer, compiled for any batch and length; the module itself is unchanged.

    The output layer stays as it is, for it is given another set of positions each time. Raises ModelError where torch
    cannot compile for ``device``.
    """

    def __init__(self, module: Any, device: Any) -> None:
        import torch

        _require_compiler(torch, device)
        body = getattr(module, "base_model", module)
        self._body = body
        self._call = torch.compile(body._call_impl, dynamic=True)

    @contextmanager
    def used(self) -> Iterator[None]:
        """While it lasts, calls of the module run compiled."""
        before = self._body._compiled_call_impl
        self._body._compiled_call_impl = self._call
        try:
            yield
        finally:
            self._body._compiled_call_impl = before


def _require_compiler(torch: Any, device: Any) -> None:
    """Compile something small: torch says only then that it lacks a C++ compiler (CPU) or Triton (GPU)."""
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(4, device=device))
    except Exception as error:  # what is missing shows in many ways
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        needs = "a C++ compiler (g++)" if device.type == "cpu" else "Triton and a C compiler"
        raise ModelError(f"-M compile=true: torch cannot compile here, it needs {needs}: {why[:200]}") from error
