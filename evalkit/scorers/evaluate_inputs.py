"""A task's answers in the form that an evaluate module's features ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from evalkit.errors import ScorerError
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, references
from evalkit.types import Record

#: What modules call the texts under test: metrics ``predictions``, measurements ``data``.
ANSWERS = ("predictions", "data")
REFERENCES = "references"

#: Kinds of single values, by how datasets' names of their types begin.
_DTYPES: Mapping[str, tuple[str, ...]] = {
    "string": ("string", "large_string"),
    "int": ("int", "uint"),
    "float": ("float", "double"),
    "bool": ("bool",),
}
_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Misfit(ValueError):
    """A record that cannot be put into the form; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Form:
    """One input's form: the kind of a single value (a key of ``_DTYPES``), and whether a row holds a list of them."""

    dtype: str
    several: bool

    def fill(self, name: str, value: Any) -> Any:
        """``value`` in this form. Raises Misfit."""
        if not self.several:
            return self._one(name, value)
        return [self._one(name, item) for item in (value if isinstance(value, list | tuple) else [value])]

    def _one(self, name: str, value: Any) -> Any:
        if value is None:
            raise Misfit(f"{name} is missing")
        try:
            if self.dtype == "string":
                return str(value)
            if self.dtype == "bool":
                return value if isinstance(value, bool) else _BOOLS[str(value).strip().lower()]
            return int(value) if self.dtype == "int" else float(value)
        except (TypeError, ValueError, KeyError):
            raise Misfit(f"{name}: {str(value)[:40]!r} is no {self.dtype}") from None


@dataclass(slots=True)
class InputRows:
    """``columns`` by input name, all of one length; ``owners`` says which sample a row belongs to.

    ``left_out`` maps the samples without a row to the reason.
    """

    columns: dict[str, list[Any]]
    owners: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


class Inputs:
    """What a module reads. ``features`` are its own (one form, or several it accepts); ``named`` may name columns.

    ``columns`` maps the inputs beside answers and references to columns of the data.
    """

    def __init__(self, scorer: str, features: Any, named: Mapping[str, Any]) -> None:
        self._scorer = scorer
        choices = list(features) if isinstance(features, list | tuple) else [features]
        forms = [found for found in map(_forms, choices) if found is not None]
        if not forms:
            raise ScorerError(f"scorer {scorer!r} reads inputs that answers and references cannot be: {_shown(choices[0])}")
        # lists of references hold single ones too
        self._forms = next((found for found in forms if REFERENCES in found and found[REFERENCES].several), forms[0])
        self.columns = {name: str(named.get(name, name)) for name in self._forms if name not in (*ANSWERS, REFERENCES)}

    def rows(self, records: Iterable[Record]) -> InputRows:
        """The rows of complete records: one an answer, or one a sample where the module takes a list of answers."""
        rows = InputRows({name: [] for name in self._forms})
        for record in records:
            try:
                made = list(self._made(record))
            except Misfit as reason:
                rows.left_out[record.sample.id] = str(reason)
                continue
            for row in made:
                rows.owners.append(record.sample.id)
                for name, value in row.items():
                    rows.columns[name].append(value)
        return rows

    def _made(self, record: Record) -> Iterator[dict[str, Any]]:
        given = answers(record)
        if given is None:
            raise Misfit(no_answer(record))
        shared: dict[str, Any] = {}
        asked = None
        for name, form in self._forms.items():
            if name in ANSWERS:
                asked = name
            elif name == REFERENCES:
                shared[name] = self._references(record, form)
            else:
                shared[name] = form.fill(name, record.sample.doc.get(self.columns[name]))
        if asked is None:
            yield shared
            return
        form = self._forms[asked]
        for answer in [given] if form.several else given:
            yield {asked: form.fill(asked, answer), **shared}

    def _references(self, record: Record, form: Form) -> Any:
        target = record.sample.target
        # a label's index stays a number where the module compares numbers
        golds = (target,) if isinstance(target, int) and form.dtype != "string" else references(record.sample)
        if not golds:
            raise Misfit(NO_REFERENCE)
        if not form.several and len(golds) > 1:
            raise Misfit(f"{self._scorer} compares with one reference, and the sample has {len(golds)}")
        return form.fill(REFERENCES, list(golds) if form.several else golds[0])


def _forms(features: Any) -> dict[str, Form] | None:
    """The forms of all inputs; ``None`` where one of them is nested deeper than a list of single values."""
    found = {}
    for name, feature in features.items():
        inner = feature
        several = False
        if isinstance(feature, list):
            several, inner = True, feature[0]
        elif hasattr(feature, "feature"):  # datasets' Sequence and List
            several, inner = True, feature.feature
        dtype = getattr(inner, "dtype", None)
        if not isinstance(dtype, str) or hasattr(inner, "feature"):
            return None
        kind = next((kind for kind, names in _DTYPES.items() if dtype.startswith(names)), None)
        if kind is None:
            return None
        found[name] = Form(kind, several)
    return found


def _shown(features: Any) -> str:
    return " ".join(str(features).split())[:200]
