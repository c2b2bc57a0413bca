"""Tables over rows in memory, CSV files, Parquet files and Hugging Face datasets."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.data.files import read_bytes
from evalkit.errors import DataError
from evalkit.types import content_hash

if TYPE_CHECKING:
    import pandas as pd


class RowTable:
    """Rows that are in memory already."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = [dict(row) for row in rows]
        self.columns = tuple(dict.fromkeys(key for row in self._rows for key in row))

    @property
    def fingerprint(self) -> str:
        return content_hash(list(self))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[index]
        return {column: row.get(column) for column in self.columns}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))


class FrameTable:
    """The columns of a pandas frame; missing values are ``None``, numbers are Python's own."""

    def __init__(self, frame: pd.DataFrame, fingerprint: str) -> None:
        self.columns = tuple(str(column) for column in frame.columns)
        self.fingerprint = fingerprint
        self._length = len(frame)
        self._values = [frame.iloc[:, at].array for at in range(frame.shape[1])]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: _plain(values[index]) for name, values in zip(self.columns, self._values, strict=True)}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


class ArrowTable:
    """An Arrow table. Rows become dicts when they are asked for."""

    def __init__(self, table: Any, fingerprint: str) -> None:
        self._table = table
        self.columns = tuple(table.column_names)
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        at = range(len(self))[index]
        return dict(self._table.slice(at, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._table.to_batches(max_chunksize=1000):
            yield from batch.to_pylist()


class HubTable:
    """A split of a Hugging Face dataset, as ``datasets`` decodes it."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.columns = tuple(dataset.column_names)

    @property
    def fingerprint(self) -> str:
        """Hash of the rows, not of how they came about (``datasets``' own fingerprint depends on the cache)."""
        digest = hashlib.blake2b(digest_size=16)
        stored = self.dataset.with_format("arrow")
        for batch in stored.iter(batch_size=1000):
            digest.update(content_hash(batch.to_pylist()).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(self.dataset[index])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(row) for row in self.dataset)


def read_csv(paths: Sequence[Path], options: Mapping[str, Any]) -> FrameTable:
    """CSV files through ``pandas.read_csv`` with ``options``, as ``datasets`` reads them.

    So columns get one type each: whole numbers, floats, true/false, or text; ``NA``, ``None``, ``null``, ... and empty
    fields are missing. Unlike there, the type comes from the whole column, not from each 10,000 rows on their own.
    """
    import pandas as pd

    digest = hashlib.blake2b(repr(sorted(options.items())).encode(), digest_size=16)
    frames = []
    for path in paths:
        data = read_bytes(path)
        digest.update(data)
        try:
            frame = pd.read_csv(io.BytesIO(data), **{"low_memory": False, **options})
        except pd.errors.EmptyDataError as error:
            raise DataError(f"{path}: the file is empty") from error
        except (pd.errors.ParserError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not a valid CSV file: {_line(error)}") from error
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: wrong options for a CSV file in dataset_kwargs: {_line(error)}") from error
        if not isinstance(frame.index, pd.RangeIndex) and options.get("index_col") is None:
            raise DataError(f"{path}: its rows have more fields than its header names")
        frames.append(frame)
    return FrameTable(frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True), digest.hexdigest())


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.removeprefix("Error tokenizing data. C error: ")


def read_parquet(paths: Sequence[Path]) -> ArrowTable:
    """Parquet files as one table; needs pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(f"{paths[0]}: Parquet files need pyarrow: pip install 'evalkit[data]'") from error

    digest = hashlib.blake2b(digest_size=16)
    tables = []
    for path in paths:
        data = read_bytes(path)
        digest.update(data)
        try:
            tables.append(pq.read_table(pa.BufferReader(data)))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a valid Parquet file: {_line(error)}") from error
    try:
        table = tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        raise DataError(f"{paths[0]} and its other parts have different columns: {_line(error)}") from error
    return ArrowTable(table, digest.hexdigest())
