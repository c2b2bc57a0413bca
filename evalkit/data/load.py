"""From what a task file says about its data to tables, one a split, each read when it is first asked for.

Where data comes from, in this order:

1. ``--data TASK=PATH`` (``override``). A *folder* gives each split by file name: ``test.jsonl``, ``test.csv.gz``,
   ``test-00000-of-00002.parquet``, ``data/test.json``, ``test/any.jsonl``, ``mytask_test.tsv``; ``val``, ``valid`` and
   ``dev`` also mean ``validation``, and so on; a subfolder called like the task's ``dataset_name`` goes first; a folder
   with one data file is that file; what ``save_to_disk`` wrote works too; files called as ``data_files`` of the task names
   them go before all that. A *file* is the evaluated split, and only
   that: a task that takes its few-shot examples from another split needs the folder.
2. ``dataset_path`` ``json``, ``jsonl``, ``csv``, ``tsv``, ``parquet`` or ``text`` with ``dataset_kwargs.data_files``
   (a file, list or glob: split ``train``; or split -> such), relative to the task file's folder first, then to the
   current one.
3. ``dataset_path`` naming a local file or a folder with data files, read as in 1.
4. Anything else through ``datasets.load_dataset(path, name, **kwargs)``.

Local files are read without ``datasets`` but give its rows: missing fields are ``None``, columns of mixed numbers are
floats, CSV columns are typed. One difference on purpose: text that looks like a date stays text. Reader options other
than ``field`` (JSON) and those of ``pandas.read_csv`` (CSV) go to ``datasets`` with the file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evalkit.data.base import Table
from evalkit.data.files import data_files, find, kind_of, known_kind, split_of
from evalkit.data.hub import from_hf, load_hub, load_saved, to_hf
from evalkit.data.lines import read_json, read_text
from evalkit.data.tables import RowTable, read_csv, read_parquet
from evalkit.errors import DataError, nearest

__all__ = ["Splits", "from_hf", "from_rows", "load_splits", "to_hf"]

_LOCAL = ("json", "jsonl", "csv", "tsv", "parquet", "text")
#: Options that choose how `datasets` works, not what it reads.
_IGNORED = frozenset({"trust_remote_code", "cache_dir", "keep_in_memory", "num_proc", "download_mode", "verification_mode"})

Find = Callable[[str], Table | None]


class Splits(Mapping[str, Table]):
    """Tables by split, each read when first asked for. A split that is not there is a DataError with what is."""

    def __init__(self, where: str, names: Callable[[], Iterable[str]], load: Find) -> None:
        self._where = where
        self._names = names
        self._load = load
        self._tables: dict[str, Table] = {}

    def __getitem__(self, split: str) -> Table:
        if split not in self._tables:
            table = self._load(split)
            if table is None:
                known = list(self._names())
                hint = nearest(split, known) or (f"; it has {', '.join(known)}" if known else "")
                raise DataError(f"{self._where}: no split {split!r}{hint}")
            if not len(table):
                raise DataError(f"{self._where}: split {split!r} has no rows")
            self._tables[split] = table
        return self._tables[split]

    def __contains__(self, split: object) -> bool:
        return split in self._tables or split in set(self._names())

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(list(self._names()))


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Table:
    """A table over rows in memory; keys that a row lacks are ``None``."""
    return RowTable(rows)


def load_splits(
    path: str | None,
    name: str | None,
    kwargs: Mapping[str, Any],
    *,
    base: Path | None,
    override: Path | None = None,
    eval_split: str | None = None,
) -> Splits:
    """The splits that a task's ``dataset_path``, ``dataset_name`` and ``dataset_kwargs`` name; see the module's docstring.

    ``base`` is the task file's folder; ``override`` the user's local copy. ``eval_split`` tells which split a single
    overriding file stands for; without it the file stands for every split. Files are read,
    and Hub datasets loaded, on first access. Raises DataError.
    """
    options = {key: value for key, value in kwargs.items() if key not in _IGNORED and value is not None}
    bases = [Path.cwd()] if base is None else [base, Path.cwd()]
    if override is not None:
        return _from_local(override.expanduser(), path, name, options, eval_split)
    if path is None:
        raise DataError("the task names no dataset_path; give its data with --data TASK=PATH")
    if path in _LOCAL:
        return _from_files(path, options, bases)
    local = _local_path(path, bases)
    if local is not None and "data_files" in options:
        return _from_files(None, options, [local])
    if local is not None:
        return _from_local(local, path, name, options, None)
    return _lazy_hub(path, name, {k: v for k, v in kwargs.items() if k != "trust_remote_code"})


def _reader_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is left for the file reader."""
    return {key: value for key, value in options.items() if key not in ("data_files", "data_dir", "split", "revision")}


def _local_path(path: str, bases: list[Path]) -> Path | None:
    """A file or folder of that name; a folder without data files only where the path is spelled as one."""
    explicit = path.startswith((".", "/", "~"))
    for base in bases:
        place = base / Path(path).expanduser()
        if place.is_file() or (place.is_dir() and (explicit or data_files(place) or _is_saved(place))):
            return place
    if explicit:
        raise DataError(f"no data file or folder {bases[0] / Path(path).expanduser()}")
    return None


def _from_files(kind: str | None, options: Mapping[str, Any], bases: list[Path]) -> Splits:
    """``data_files`` (or ``data_dir``) of one of the file formats."""
    rest = _reader_options(options)
    if "data_dir" in options:
        bases = [base / Path(str(options["data_dir"])).expanduser() for base in bases]
    files = options.get("data_files")
    if files is None:
        folder = next((base for base in bases if base.is_dir()), None)
        if "data_dir" not in options or folder is None:
            raise DataError("dataset_kwargs names no data_files (a file, a list, or a mapping from split to either)")
        return _from_local(folder, kind, None, rest, None)
    by_split = files if isinstance(files, Mapping) else {"train": files}
    wanted = {str(split): [part] if isinstance(part, str) else list(part) for split, part in by_split.items()}
    if any("://" in part for parts in wanted.values() for part in parts):
        return _lazy_hub(kind or "json", None, options)

    def load(split: str) -> Table | None:
        if split not in wanted:
            return None
        return read([path for part in wanted[split] for path in find(part, bases)], kind, rest)

    return Splits("data_files", lambda: wanted, load)


def _from_local(place: Path, kind: str | None, name: str | None, options: Mapping[str, Any], only: str | None) -> Splits:
    """A file or folder given by path. ``only``: the one split that a single file stands for."""
    if not place.exists():
        find(str(place), [Path.cwd()])
    rest = _reader_options(options)
    if place.is_dir() and name and (place / name).is_dir():
        place = place / name
    if place.is_dir() and _is_saved(place):
        return _from_datasets(str(place), lambda: load_saved(place))
    own = _named(place, options.get("data_files")) if place.is_dir() and kind in _LOCAL else {}
    if own:
        return Splits(str(place), lambda: own, lambda split: read(own[split], kind, rest) if split in own else None)
    files = data_files(place) if place.is_dir() else {}
    if place.is_dir() and not files:
        raise DataError(f"{place}: no data files in this folder (expected files like test.jsonl or test.csv.gz)")
    single = place if place.is_file() else _single(files, only)

    def load(split: str) -> Table | None:
        if single is not None:
            if only is not None and split != only:
                raise DataError(
                    f"{single} stands for split {only!r} alone but split {split!r} is needed too (few-shot examples?): "
                    f"give a folder with files {only}.* and {split}.*, or set --num-fewshot 0"
                )
            return _read_by_suffix([single], kind, rest)
        paths = split_of(files, split)
        return None if paths is None else _read_by_suffix(paths, kind, rest)

    names = [only or "train"] if single is not None else list(files)
    return Splits(str(place), lambda: names, load)


def _named(folder: Path, files: Any) -> dict[str, list[Path]]:
    """The files of a task's ``data_files`` (paths or addresses) that this folder has by name, for splits it has whole."""
    by_split = files if isinstance(files, Mapping) else {"train": files} if files else {}
    wanted = {
        str(split): [folder / str(part).rsplit("/", 1)[-1] for part in ([parts] if isinstance(parts, str) else parts)]
        for split, parts in by_split.items()
    }
    return {split: paths for split, paths in wanted.items() if all(path.is_file() for path in paths)}


def _single(files: Mapping[str, list[Path]], only: str | None) -> Path | None:
    """The only data file of a folder, unless it is called like some other split."""
    paths = [path for group in files.values() for path in group]
    stem = next(iter(files))
    named = any(split_of({stem: paths}, split) for split in ("train", "validation", "test") if split != only)
    return paths[0] if len(paths) == 1 and not named else None


def _read_by_suffix(paths: list[Path], kind: str | None, options: Mapping[str, Any]) -> Table:
    """Files as their suffix says; the task's reader options count only if they were written for that format."""
    found = kind_of(paths[0]) or (kind if kind in _LOCAL else known_kind(paths[0]))
    return read(paths, found, options if found == kind else {})


def read(paths: list[Path], kind: str | None, options: Mapping[str, Any]) -> Table:
    """Files of one format (told by the first file's suffix when ``kind`` is ``None``) as one table."""
    kind = kind or known_kind(paths[0])
    keys = set(options)
    if kind in ("json", "jsonl") and keys <= {"field"}:
        return read_json(paths, field=options.get("field"), lines=kind == "jsonl" and not keys)
    if kind in ("csv", "tsv"):
        csv = {"sep": "\t" if kind == "tsv" else ",", **options}
        for ours, pandas_name in (("delimiter", "sep"), ("column_names", "names")):
            if ours in csv:
                csv[pandas_name] = csv.pop(ours)
        if set(csv) <= _csv_options():
            return read_csv(paths, csv)
    if kind == "parquet" and not keys:
        return read_parquet(paths)
    if kind == "text" and not keys:
        return read_text(paths)
    files = {"data_files": [str(path.resolve()) for path in paths]}
    separator = {"sep": "\t"} if kind == "tsv" else {}
    loaded = load_hub({"jsonl": "json", "tsv": "csv"}.get(kind, kind), None, {**separator, **options, **files})
    return from_hf(loaded["train"])


def _csv_options() -> frozenset[str]:
    import pandas as pd

    return frozenset(inspect.signature(pd.read_csv).parameters) - {"chunksize", "iterator", "filepath_or_buffer"}


def _is_saved(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def _lazy_hub(path: str, name: str | None, kwargs: Mapping[str, Any]) -> Splits:
    shown = f"dataset {path!r}" + (f" ({name})" if name else "")
    return _from_datasets(shown, lambda: load_hub(path, name, kwargs))


def _from_datasets(where: str, load: Callable[[], Mapping[str, Any]]) -> Splits:
    """Splits of a ``datasets.DatasetDict`` that is loaded on first access."""
    loaded: list[Mapping[str, Any]] = []

    def all_splits() -> Mapping[str, Any]:
        if not loaded:
            loaded.append(load())
        return loaded[0]

    return Splits(where, all_splits, lambda split: from_hf(all_splits()[split]) if split in all_splits() else None)
