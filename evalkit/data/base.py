"""The Table contract: rows of a data split, by position, without all of them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol


class Table(Protocol):
    """One split of a dataset. Rows are plain dicts with the same keys each (a missing field is ``None``)."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str:
        """Hash of the content, for the run's manifest."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def __iter__(self) -> Iterator[dict[str, Any]]: ...
