"""Merged YAML to checked configurations: every mistake becomes one line with file, line, key and what was expected."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evalkit.errors import TaskError, nearest
from evalkit.tasks.schema import GROUP_KEYS, LATER_KEYS, STRUCTURE_KEYS, TASK_KEYS, FunctionRef, GroupConfig, TaskConfig
from evalkit.tasks.yamlfile import KeyPath, TaskFile

_Model = TypeVar("_Model", bound=BaseModel)

_EXPECTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "mapping": "a mapping",
}


def task_config(file: TaskFile, tags: Iterable[str], warnings: list[str]) -> TaskConfig:
    """The task that ``file`` describes. Appends to ``warnings`` what is tolerated but has no effect.

    Raises TaskError for unknown keys, wrong types and missing keys.
    """
    data = {key: value for key, value in file.data.items() if key not in STRUCTURE_KEYS}
    if "group" in file.data:
        warnings.append(f"{file.where('group')}: `group` in a task file is called `tag` since lm-eval 0.4.5; read as a tag")
    for key in sorted(LATER_KEYS & data.keys()):
        if data.pop(key) not in (None, False):
            warnings.append(f"{file.where(key)}: {key!r} is a key of lm-eval 0.5; it is not used")
    if unknown := [key for key in data if key not in TASK_KEYS]:
        raise TaskError(f"{file.where(unknown[0])}: unknown key {unknown[0]!r}{nearest(unknown[0], _file_keys())}")
    # `key: null` means "not given" throughout lm-eval's folder.
    data = {key: value for key, value in data.items() if value is not None}
    _tolerate_later(data, file, warnings)
    _warn_of_truth_values(data, file, warnings)
    metadata = data.get("metadata", {})
    data["metadata"] = metadata if isinstance(metadata, dict) else {"_metadata": metadata}
    return _validated(TaskConfig, {**data, "source": file.path, "tags": list(tags)}, file)


def group_config(name: str, data: Mapping[str, Any], file: TaskFile, prefix: KeyPath, warnings: list[str]) -> GroupConfig:
    """The group ``name`` from its mapping, which stands at ``prefix`` in ``file``; members are filled in later."""
    aggregates = data.get("aggregate_metric_list") or []
    aggregates = [dict(item) if isinstance(item, dict) else item for item in _listed(aggregates)]
    for number, item in enumerate(aggregates):
        if not isinstance(item, dict):
            continue
        if isinstance(item.get("metric"), FunctionRef):  # a task reports such a metric under the function's name
            item["metric"] = item["metric"].name
        weight = item.get("weight_by_size")
        if isinstance(weight, str):  # lm-eval takes any text for true
            place = file.where(*prefix, "aggregate_metric_list", number, "weight_by_size")
            warnings.append(f"{place}: weight_by_size: {weight!r} is no truth value; taken for true as in lm-eval")
            item["weight_by_size"] = True
    fields = {
        "group": name,
        "group_alias": data.get("group_alias"),
        "aggregate_metric_list": aggregates,
        "metadata": data.get("metadata") or {},
        "source": file.path,
    }
    return _validated(GroupConfig, fields, file, prefix)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _file_keys() -> list[str]:
    return sorted({*TASK_KEYS, *STRUCTURE_KEYS, *GROUP_KEYS})


def _tolerate_later(data: dict[str, Any], file: TaskFile, warnings: list[str]) -> None:
    """Bring 0.5's spelling of metrics and filters to 0.4's; name what has no counterpart."""

    def flat(item: Any, *place: str | int) -> Any:
        if not isinstance(item, dict):
            return item
        if isinstance(item.get("kwargs"), dict):
            item = {**{key: value for key, value in item.items() if key != "kwargs"}, **item["kwargs"]}
        for key in ("reduction", "metric_list"):
            if item.get(key) is not None:
                warnings.append(f"{file.where(*place, key)}: {key!r} here is a key of lm-eval 0.5; it is not used")
                item = {k: v for k, v in item.items() if k != key}
        return item

    if isinstance(data.get("metric_list"), list):
        data["metric_list"] = [flat(item, "metric_list", number) for number, item in enumerate(data["metric_list"])]
    if isinstance(data.get("filter_list"), list):
        pipelines = [flat(item, "filter_list", number) for number, item in enumerate(data["filter_list"])]
        for number, pipeline in enumerate(pipelines):
            if isinstance(pipeline, dict) and isinstance(pipeline.get("filter"), list):
                steps = [flat(step, "filter_list", number, "filter", i) for i, step in enumerate(pipeline["filter"])]
                pipelines[number] = {**pipeline, "filter": steps}
        data["filter_list"] = pipelines


def _warn_of_truth_values(data: Mapping[str, Any], file: TaskFile, warnings: list[str]) -> None:
    """YAML reads an unquoted ``no`` or ``yes`` as a truth value, which nobody means in a list of choices."""
    choices = data.get("doc_to_choice")
    values = choices.values() if isinstance(choices, dict) else choices if isinstance(choices, list) else ()
    if any(isinstance(value, bool) for value in values):
        warnings.append(
            f"{file.where('doc_to_choice')}: YAML reads unquoted yes, no, true and false as truth values: quote them"
        )


def _validated(model: type[_Model], data: Mapping[str, Any], file: TaskFile, prefix: KeyPath = ()) -> _Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise TaskError(_message(error, model, data, file, prefix)) from error


def _message(error: ValidationError, model: type[BaseModel], data: Any, file: TaskFile, prefix: KeyPath) -> str:
    """One line for the first wrong place (a union reports one error for each of its types)."""
    problems = error.errors(include_url=False)
    places = [_place(problem["loc"], data) for problem in problems]
    place = places[0]
    here = [problem for problem, other in zip(problems, places, strict=True) if other == place]
    first = here[0]
    value = _value_at(data, place)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    where = file.where(*prefix, *place)
    more = len({*places}) - 1
    rest = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key {key!r}{nearest(str(place[-1]), _known_keys(model, place))}{rest}"
    if first["type"] == "missing":
        missing = str(first["loc"][-1])
        around = f" in {key}" if key else ""
        return f"{where}: missing key {missing!r}{around}{rest}"
    expected = list(dict.fromkeys(_expected(problem) for problem in here))
    hint = ": YAML reads unquoted yes/no as true/false, quote it" if isinstance(value, bool) and "text" in expected else ""
    return f"{where}: {key}: expected {' or '.join(expected)}, found {_found(value)}{hint}{rest}"


def _expected(problem: Any) -> str:
    kind: str = problem["type"]
    context = problem.get("ctx") or {}
    if kind == "literal_error":
        return "one of " + str(context["expected"]).replace(" or ", ", ").replace("'", "")
    if context.get("class_name") == FunctionRef.__name__:
        return "a !function"
    if kind.endswith(("_type", "_parsing")) and (word := _EXPECTED.get(kind.split("_")[0])):
        return word
    return str(problem["msg"]).removeprefix("Input should be ")


def _found(value: Any) -> str:
    text = repr(value) if not isinstance(value, FunctionRef) else str(value)
    names = {
        list: "a list",
        dict: "a mapping",
        str: "the text",
        bool: "the truth value",
        int: "the number",
        float: "the number",
    }
    return f"{names.get(type(value), 'the value')} {text if len(text) <= 60 else text[:57] + '...'}"


def _place(location: tuple[str | int, ...], data: Any) -> KeyPath:
    """The part of pydantic's location that exists in the file: it also names the tried types of a union."""
    place: list[str | int] = []
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):  # what is no mapping or list has no parts
            break
        place.append(part)
    return tuple(place)


def _value_at(data: Any, place: KeyPath) -> Any:
    for part in place:
        data = data[part]
    return data


def _known_keys(model: type[BaseModel], place: KeyPath) -> list[str]:
    """The keys that are valid where ``place`` stands, found along the models' annotations."""
    for part in place[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is not None:
            model = next(_models_in(field.annotation), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not FunctionRef:
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models_in(part)
