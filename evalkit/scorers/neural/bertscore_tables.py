"""What the bert-score package knows of models: best layers, default models, rescaling baselines.

Read from the installed package's files: importing it would bring in matplotlib and pandas, and take five seconds.
"""

from __future__ import annotations

import ast
import csv
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from evalkit.errors import ScorerError, nearest

#: The model of a language that has none of its own.
MULTILINGUAL = "bert-base-multilingual-cased"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Scores of unrelated sentences: x becomes (x - b) / (1 - b), for precision, recall and F1 apart."""

    precision: float
    recall: float
    f1: float
    digest: str
    """Hash of the file it was read from."""


def folder() -> Path:
    """Where the bert-score package lies. Raises ScorerError where it is not installed."""
    try:
        found = distribution("bert-score")
    except PackageNotFoundError as error:
        raise ScorerError("bertscore needs the package bert-score: pip install 'evalkit[metrics]'") from error
    return Path(str(found.locate_file("bert_score")))


@functools.cache
def layer_table() -> Mapping[str, int]:
    """Model name -> the layer that correlates best with human ratings of WMT16 (``model2layers`` of the package)."""
    for node in _assignments():
        if [getattr(target, "id", "") for target in node.targets] == ["model2layers"]:
            table: dict[str, int] = ast.literal_eval(node.value)
            return table
    raise ScorerError("this version of bert-score has no table model2layers; give num_layers")


@functools.cache
def _assignments() -> list[ast.Assign]:
    source = (folder() / "utils.py").read_text("utf-8")
    return [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]


def default_model(lang: str) -> str:
    """The package's model for a language: English, Chinese, Turkish and scientific English have one of their own."""
    own = {
        "en": "roberta-large",
        "zh": "bert-base-chinese",
        "tr": "dbmdz/bert-base-turkish-cased",
        "en-sci": "allenai/scibert_scivocab_uncased",
    }
    return own.get(lang.lower(), MULTILINGUAL)


def table_name(model: str) -> str | None:
    """The table's name for ``model``: its own, or the one name with the same last part (``FacebookAI/roberta-large``).

    The same holds for a directory (``/models/roberta-large``). ``None`` where the table has no such name, or several.
    """
    table = layer_table()
    if model in table:
        return model
    last = Path(model).name
    same = [name for name in table if name.rsplit("/", 1)[-1] == last]
    return same[0] if len(same) == 1 else None


def best_layer(model: str, config: Path | None = None) -> int:
    """The layer whose states the package uses for ``model``; ScorerError with the choice there is for an unknown one.

    ``config`` is the model's config.json, for that choice.
    """
    name = table_name(model)
    if name is not None:
        return layer_table()[name]
    layers = _layers_of(config)
    choice = f"num_layers=1 to {layers} (it has {layers} layers)" if layers else "num_layers"
    hint = nearest(Path(model).name, layer_table(), cutoff=0.8)
    raise ScorerError(f"bertscore: bert-score's table has no best layer for {model!r}{hint}; give {choice}")


def require_layer(name: str, layer: int, config: Path | None) -> None:
    """Raises ScorerError where the network ``name`` says in its config.json that it has fewer layers."""
    layers = _layers_of(config)
    if layers is not None and layer > layers:
        raise ScorerError(f"bertscore: num_layers is {layer}, and {name} has {layers} layers")


def _layers_of(config: Path | None) -> int | None:
    if config is None:
        return None
    try:
        found = json.loads(config.read_text("utf-8"))
    except ValueError:
        return None  # loading the model will say what is wrong with the file
    if not isinstance(found, dict):
        return None
    for key in ("num_hidden_layers", "n_layers", "n_layer", "num_layers", "encoder_layers"):
        if isinstance(found.get(key), int):
            return int(found[key])
    return None


def baseline(model: str, lang: str, layer: int, custom: str | None = None) -> Baseline:
    """The rescaling baseline of a model's layer in a language, from the package's file or a ``custom`` one.

    Raises ScorerError where there is no such file, or it has no row for the layer.
    """
    name = table_name(model) or model
    path = Path(custom).expanduser() if custom else folder() / "rescale_baseline" / lang / f"{name}.tsv"
    if not path.is_file():
        if custom:
            raise ScorerError(f"bertscore: the baseline file {custom} does not exist")
        known = sorted(p.parent.name for p in path.parent.parent.glob(f"*/{Path(name).name}.tsv"))
        there = f"; for this model it has {', '.join(known)}" if known else ""
        raise ScorerError(
            f"bertscore: bert-score has no rescaling baseline for {name} in language {lang!r}{there}; set lang, leave out "
            "rescale, or give a file with rescale=PATH (header LAYER,P,R,F)"
        )
    content = path.read_bytes()
    try:
        rows = {int(row["LAYER"]): row for row in csv.DictReader(content.decode("utf-8").splitlines())}
        found = [float(rows[layer][key]) for key in ("P", "R", "F")] if layer in rows else None
    except (KeyError, ValueError, TypeError) as error:
        raise ScorerError(f"{path}: a baseline file has the header LAYER,P,R,F and a row of numbers a layer") from error
    if found is None:
        raise ScorerError(f"{path}: no row for layer {layer}; it has {', '.join(map(str, sorted(rows)))}")
    precision, recall, f1 = found
    return Baseline(precision, recall, f1, hashlib.blake2b(content, digest_size=8).hexdigest())
