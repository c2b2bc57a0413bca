"""``evaluate:NAME``: any metric of Hugging Face's evaluate library, or a local script in its form, over a task's answers.

The script runs once for a task, over all answers, in memory and with a fixed seed. What it returns is sorted by shape: a
list with one number a sample becomes a metric with an interval, a single number one without (there is nothing to
resample), anything else a fact in the metric's details.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.errors import CodeRefused, ScorerError
from evalkit.hub import out_of_reach
from evalkit.scorers.aggregations import Aggregation, Mean
from evalkit.scorers.base import Array, ScoringPlan
from evalkit.scorers.common import serves
from evalkit.scorers.evaluate_inputs import Inputs
from evalkit.scorers.items import ItemScorer, NoItem
from evalkit.types import Json, Record

_SHOWN = 300  # characters of a foreign error

#: In the details: the metrics in the order of their columns, and how each was computed.
COLUMNS = "metrics"
EACH, ONCE = "a number for each sample", "one number for all samples: no interval, no slices"


class Whole(Aggregation):
    """A value that a script computed over all rows at once: items are (value, number of rows).

    It is what it is for exactly these rows, each counted once; for a part or a resample of them it is undefined.
    """

    width = 2
    resampled = False

    def encode(self, item: Any) -> tuple[float, ...]:
        value, rows = item
        return float(value), float(rows)

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        if weights.ndim == 1 and len(stats) and (weights == 1).all() and len(stats) == stats[0, 1]:
            return self.only(np.asarray(stats[0, 0]))
        return self.only(np.full(weights.shape[:-1], np.nan))


class EvaluateScorer(ItemScorer):
    """The metrics of one evaluate module, called ``evaluate:NAME/key``.

    ``metric`` is a name of the hub or a path to a script (``dir/`` with ``dir/dir.py``, or the file). ``options`` are the
    script's own arguments; one that is called like an input of the script (``sources``) names the data's column for it.
    """

    live = False

    def __init__(
        self,
        metric: str,
        config: str | None,
        options: Mapping[str, Any],
        *,
        revision: str | None = None,
        seed: int = 0,
        higher_is_better: bool | None = None,
        label: str | None = None,
    ) -> None:
        self._script = _script(metric)
        self._source = str(self._script) if self._script else metric
        self._config, self._options, self._revision, self._seed = config, dict(options), revision, seed
        self._better = higher_is_better
        self._loaded: Any = None
        self._table: dict[str, Mapping[str, Any] | str] = {}
        self._further: dict[str, Json] = {}
        short = self._script.stem if self._script else metric
        name = label or ":".join(["evaluate", short, *([config] if config else [])])
        super().__init__(name, self._found, {}, parameters=self._pinned())

    def _pinned(self) -> dict[str, Json]:
        pinned: dict[str, Json] = {"metric": self._script.stem if self._script else self._source, "seed": self._seed}
        if self._script:
            pinned["script"] = hashlib.blake2b(self._script.read_bytes(), digest_size=8).hexdigest()
        for key, value in (("config", self._config), ("revision", self._revision)):
            if value is not None:
                pinned[key] = value
        with suppress(PackageNotFoundError):  # `module` says so when it is needed
            pinned["evaluate"] = version("evaluate")
        return {**pinned, **{key: str(value) for key, value in self._options.items()}}

    @property
    def module(self) -> Any:
        """The evaluate module, loaded on first use; ScorerError in one line where that is impossible."""
        if self._loaded is None:
            self._loaded = _load(self._source, self._config, self._revision, self._seed)
        return self._loaded

    @property
    def inputs(self) -> Inputs:
        return Inputs(self.name, self.module.features, self._options)

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Columns of the data that the script's further inputs are taken from. Loads the script."""
        return tuple(self.inputs.columns.values())

    def prepare(self, records: Iterable[Record]) -> None:
        """Run the script over all complete records and learn its metrics."""
        self._table, self._further = {}, {}
        rows = self.inputs.rows(record for record in records if record.complete)
        self._table |= rows.left_out
        if not rows.owners:
            return
        options = {key: value for key, value in self._options.items() if key not in rows.columns}
        try:
            with _seeded(self._seed):
                result = self.module.compute(**rows.columns, **options)
        except Exception as error:  # a foreign script: its failure is this metric's, not the run's
            reason = f"{self.name} failed: {_line(error)}"
            self._table |= dict.fromkeys(rows.owners, reason)
            return
        self._sort(result, rows.owners)

    def _sort(self, result: Any, owners: Sequence[str]) -> None:
        """Spread a result over the samples that ``owners`` names, one a row."""
        samples = list(dict.fromkeys(owners))
        items: dict[str, dict[str, Any]] = {sample: {} for sample in samples}
        parts = {name: part.aggregation for name, part in self._parts.items()}  # rows of another filter rely on them
        for key, value in _leaves(result if isinstance(result, Mapping) else {"value": result}):
            metric = f"{self.name}/{key}"
            numbers = _numbers(value, len(owners))
            if numbers is not None:
                kind: type[Aggregation] = Mean
                for sample, mean in _by_sample(owners, numbers).items():
                    items[sample][metric] = mean
            elif type(value) is not bool and isinstance(value, Real):
                kind = Whole
                for sample in samples:
                    items[sample][metric] = (float(value), len(samples))
            else:
                self._further[key] = _plain(value)
                continue
            if not isinstance(parts.setdefault(metric, kind(metric, self._better)), kind):
                for found in items.values():  # per sample for one filter and not for another: a list as long by chance
                    del found[metric]
        self._lay_out(parts)
        self._table |= items

    def _shape(self, metric: str) -> str:
        return ONCE if isinstance(self._parts[metric].aggregation, Whole) else EACH

    def recall(self, detail: Mapping[str, Json]) -> None:
        """Know the metrics of stored scores again, from the `detail` that was stored with them: the script is not run."""
        shapes: Mapping[str, str] = detail.get(COLUMNS, {})
        self._lay_out({name: (Whole if shape == ONCE else Mean)(name, self._better) for name, shape in shapes.items()})

    def notes(self, stats: Array) -> Sequence[str]:
        whole = [name.removeprefix(f"{self.name}/") for name in self._parts if self._shape(name) == ONCE]
        more = f" and {len(whole) - 3} more" if len(whole) > 3 else ""
        return [f"one number for all samples, so no interval: {', '.join(whole[:3])}{more}"] if whole else []

    def _found(self, record: Record) -> Mapping[str, Any]:
        found = self._table.get(record.sample.id, f"{self.name} was not computed for this sample")
        if isinstance(found, str):
            raise NoItem(found)
        return found

    def detail(self, stats: Array) -> Mapping[str, Json]:
        found: dict[str, Json] = {COLUMNS: {name: self._shape(name) for name in self._parts}}
        if self._further:
            found["further results"] = self._further
        if self._loaded is not None and getattr(self._loaded, "_hash", None):
            found["script hash"] = str(self._loaded._hash)
        return found


def _script(metric: str) -> Path | None:
    """The local script that ``metric`` means; ``None`` for a name of the hub. ScorerError for a path without one."""
    path = Path(metric).expanduser()
    script = path if path.suffix == ".py" else path / f"{path.name}.py"
    if script.is_file():
        return script.resolve()
    if path.is_absolute() or metric.startswith((".", "~")) or path.suffix == ".py" or metric.count("/") > 1:
        raise ScorerError(f"scorer evaluate: no metric script at {script}")
    return None


def _load(source: str, config: str | None, revision: str | None, seed: int) -> Any:
    try:
        import evaluate
    except ImportError as error:
        raise ScorerError(
            f"scorer 'evaluate:{source}' needs the package evaluate: pip install 'evalkit[metrics]'"
        ) from error
    try:
        with _without_retries(evaluate.config, Path(source).is_file()):
            return evaluate.load(source, config_name=config, revision=revision, keep_in_memory=True, seed=seed)
    except ImportError as error:
        raise ScorerError(f"scorer 'evaluate:{source}': its script needs a package: {_line(error)}") from error
    except (OSError, ConnectionError) as error:  # FileNotFoundError is what evaluate makes of being offline
        if Path(source).is_file():
            raise ScorerError(f"scorer 'evaluate:{source}' needs a file: {_line(error)}") from error
        folder = source if "/" in source else f"evaluate-metric/{source}"
        raise ScorerError(
            f"scorer 'evaluate:{source}': the hub has no such metric, or cannot be reached; download the folder "
            f"https://huggingface.co/spaces/{folder} and name its path: evaluate:/path/to/{source.rsplit('/', 1)[-1]}"
        ) from error
    except Exception as error:  # whatever a foreign script may raise
        raise ScorerError(f"scorer 'evaluate:{source}' cannot be loaded: {_line(error)}") from error


@contextmanager
def _without_retries(config: Any, local: bool) -> Iterator[None]:
    """Where the hub is out of reach, have evaluate look in its own cache only: it would try for half a minute first."""
    before = config.HF_EVALUATE_OFFLINE
    config.HF_EVALUATE_OFFLINE = before or (not local and out_of_reach() is not None)
    try:
        yield
    finally:
        config.HF_EVALUATE_OFFLINE = before


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's generator for the block (evaluate seeds numpy's), and put it back."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _leaves(result: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in result.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value.item() if isinstance(value, np.generic) else value


def _numbers(value: Any, length: int) -> list[float] | None:
    """``value`` as one number a row, if it is that; ``None`` for an item means no value."""
    if isinstance(value, str | bytes) or not hasattr(value, "__len__") or not hasattr(value, "__iter__"):
        return None
    items = list(value)
    if len(items) != length or not all(item is None or isinstance(item, Real) for item in items):
        return None
    return [math.nan if item is None else float(item) for item in items]


def _by_sample(owners: Sequence[str], numbers: Sequence[float]) -> dict[str, float]:
    """The mean of each sample's rows."""
    found: dict[str, list[float]] = {}
    for owner, number in zip(owners, numbers, strict=True):
        found.setdefault(owner, []).append(number)
    return {owner: sum(own) / len(own) for owner, own in found.items()}


def _plain(value: Any) -> Json:
    """A result that is no metric, as a fact for the reader."""
    if isinstance(value, str | bool | int) or value is None:
        return value
    return str(value)[:_SHOWN]


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_SHOWN]


@serves("generate_until")
def evaluate(
    metric: str,
    config: str | None = None,
    revision: str | None = None,
    seed: int = 0,
    higher_is_better: bool | None = None,
    label: str | None = None,
    plan: ScoringPlan | None = None,
    **options: Any,
) -> EvaluateScorer:
    """A metric of Hugging Face's evaluate library by name, or a local script by path; it is code and needs --allow-code."""
    if plan is None or not plan.allow_code:
        raise CodeRefused(f"scorer 'evaluate:{metric}' runs a metric's script, which is code; allow it with --allow-code")
    return EvaluateScorer(
        str(metric), config, options, revision=revision, seed=seed, higher_is_better=higher_is_better, label=label
    )
