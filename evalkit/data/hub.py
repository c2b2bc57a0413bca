"""The Hugging Face side: datasets by name, and tables to and from ``datasets``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evalkit.data.base import Table
from evalkit.data.tables import HubTable
from evalkit.errors import DataError

_OFFLINE = ("ConnectionError", "OfflineModeIsEnabled", "ConnectTimeout", "ConnectError", "LocalEntryNotFoundError")


def library() -> Any:
    """The ``datasets`` package, or DataError saying how to get it."""
    try:
        import datasets
    except ImportError as error:
        raise DataError("Hugging Face datasets need the `datasets` package: pip install 'evalkit[data]'") from error
    return datasets


def load_hub(path: str, name: str | None, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The splits of ``datasets.load_dataset(path, name, **kwargs)``, memory-mapped from its cache.

    Raises DataError (one line) when the dataset is unknown, gated, without such a configuration, or out of reach.
    """
    datasets = library()
    loaded = _guarded(path, name, lambda: datasets.load_dataset(path, name, **kwargs))
    return loaded if isinstance(loaded, Mapping) else {str(getattr(loaded, "split", None) or "train"): loaded}


def load_saved(folder: Path) -> Mapping[str, Any]:
    """What ``save_to_disk`` of a Dataset or DatasetDict wrote."""
    datasets = library()
    loaded = _guarded(str(folder), None, lambda: datasets.load_from_disk(str(folder)))
    return loaded if isinstance(loaded, Mapping) else {str(getattr(loaded, "split", None) or "train"): loaded}


def _guarded(path: str, name: str | None, load: Callable[[], Any]) -> Any:
    shown = f"{path!r} ({name})" if name else repr(path)
    try:
        return load()
    except Exception as error:  # loaders and the hub's client raise anything; the cause stays attached
        chain: list[BaseException] = [error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
            chain.append(cause)
        names = {parent.__name__ for link in chain for parent in type(link).__mro__}
        way = "point the task at a local copy with --data TASK=PATH"
        if names.intersection(_OFFLINE):
            raise DataError(
                f"cannot reach the dataset {shown} on the Hugging Face Hub and it is not cached; {way}"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot load the dataset {shown}: {reason}; check its name, or {way}") from error


def from_hf(dataset: Any) -> Table:
    """A table over a ``datasets.Dataset``. A streaming one has no length and is refused."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "column_names"):
        raise DataError(f"expected a datasets.Dataset with a known length, got {type(dataset).__name__}")
    return HubTable(dataset)


def to_hf(table: Table) -> Any:
    """The table as a ``datasets.Dataset``, for task functions that expect one (``process_docs``)."""
    if isinstance(table, HubTable):
        return table.dataset
    datasets = library()
    rows = list(table)
    try:
        return datasets.Dataset.from_list(rows) if rows else datasets.Dataset.from_dict({c: [] for c in table.columns})
    except Exception as error:  # pyarrow and datasets each have errors of their own for a column of mixed types
        raise DataError(f"the data cannot be turned into a datasets.Dataset: {str(error).splitlines()[0]}") from error
