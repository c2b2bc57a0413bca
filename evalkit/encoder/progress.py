"""Who is told how far the encoders are, and what is wrong: set around a piece of work, for the code below it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from evalkit.encoder.base import Watcher

_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
_WARN: ContextVar[Callable[[str], None] | None] = ContextVar("warn", default=None)


@contextmanager
def watching(watcher: Watcher | None, warn: Callable[[str], None] | None) -> Iterator[None]:
    """See `evalkit.encoder.base.watched`."""
    before, spoke = _WATCHER.set(watcher), _WARN.set(warn)
    try:
        yield
    finally:
        _WATCHER.reset(before)
        _WARN.reset(spoke)


def report(what: str, done: int, total: int) -> None:
    """Tell the watcher, if there is one."""
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher(what, done, total)


def warn(text: str) -> None:
    """Tell one line of trouble: to whoever watches, else as a Python warning."""
    speak = _WARN.get()
    if speak is not None:
        speak(text)
    else:
        warnings.warn(text, RuntimeWarning, stacklevel=2)
