"""Evaluate language models: right numbers, with error bars, fast, and nothing ever lost.

>>> import evalkit
>>> run = evalkit.run(tasks="quickstart", model="demo/smollm2")  # doctest: +SKIP
>>> run.summary()  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalkit import api

if TYPE_CHECKING:
    from evalkit.api import *  # noqa: F403 (the names, and where they live, are listed there once)

__all__: list[str] = []
__all__ += api.__all__  # in these words type checkers follow it


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Public names load on first use: `import evalkit` and `evalkit --help` stay quick.
        if name in __all__:
            return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
