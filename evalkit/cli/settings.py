"""Settings of a run from the command line, the environment and a run file: one schema, checked in one way."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from evalkit.errors import ConfigError, nearest
from evalkit.types import Json


def _names(value: Any) -> Any:
    """``a,b`` and ``[a, "b,c"]`` as one list."""
    items = value if isinstance(value, list | tuple) else [value]
    return [part.strip() for item in items for part in str(item).split(",") if part.strip()]


def _pairs(value: Any) -> Any:
    """``["k=v", "k=v,k2=v2"]`` as a mapping: a comma separates where ``name=`` follows it."""
    if isinstance(value, Mapping):
        return value
    pairs = {}
    for item in value if isinstance(value, list | tuple) else [value]:
        if str(item).lstrip().startswith("{"):
            pairs.update(_json(str(item)))
            continue
        for part in re.split(r",(?=[\w.-]+=)", str(item)):
            name, equals, text = part.partition("=")
            if not equals or not name:
                raise ValueError(f"expected key=value, got {part!r}")
            pairs[name.strip()] = text
    return pairs


def _pair(value: Any) -> Any:
    """As `_pairs`, but what follows the first ``=`` is one value: a path may hold commas."""
    if isinstance(value, Mapping):
        return value
    items = value if isinstance(value, list | tuple) else [value]
    if missing := [item for item in items if "=" not in str(item)]:
        raise ValueError(f"expected NAME=VALUE, got {missing[0]!r}")
    return dict(str(item).split("=", 1) for item in items)


def _typed(value: Any) -> Any:
    """Values as YAML reads them: numbers, booleans, lists."""
    import yaml

    pairs = _pairs(value)
    return {key: yaml.safe_load(item) if isinstance(item, str) else item for key, item in pairs.items()}


def _texts(value: Any) -> Any:
    """Values as the text that ``-M key=value`` would have."""
    return {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in _pairs(value).items()}


def _prices(value: Any) -> Any:
    from evalkit.prices import parse_roles

    return {role: price.model_dump(exclude_none=True) for role, price in parse_roles(value).items()}


def _limit(value: Any) -> Any:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf or (number >= 1 and number != int(number)):
        raise ValueError(f"expected a whole number of samples, or a share between 0 and 1, got {value}")
    return int(number) if number >= 1 else number


def _samples(value: Any) -> Any:
    """JSON, or the name of a file that holds it."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("{", "[")):
        return _json(value)
    try:
        return _json(Path(value).expanduser().read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"{value}: {why} (expected JSON or a JSON file)") from error


def _batch(value: Any) -> Any:
    if value in (None, "auto"):
        return None
    if not str(value).isdecimal() or int(value) < 1:
        raise ValueError(f"expected auto or a whole number of sequences from 1, got {value}")
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


def _list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Settings(BaseModel):
    """What a run file may hold: the names of `RunOptions`, all optional."""

    model_config = ConfigDict(extra="forbid")

    tasks: Annotated[list[str], BeforeValidator(_names)] = []
    model: str | None = None
    model_args: Annotated[dict[str, str], BeforeValidator(_texts)] = {}
    task_dirs: Annotated[list[str], BeforeValidator(_list)] = []
    data: Annotated[dict[str, str], BeforeValidator(_pair)] = {}
    num_fewshot: int | None = Field(default=None, ge=0)
    limit: Annotated[int | float | None, BeforeValidator(_limit)] = None
    samples: Annotated[dict[str, Annotated[list[str | int], Field(min_length=1)]] | None, BeforeValidator(_samples)] = None
    seed: int = 1234
    batch_size: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_batch)] = None
    device: str | None = None
    engine: Literal["auto", "prefix", "plain"] | None = None
    attn_implementation: str | None = None
    threads: int | None = Field(default=None, ge=1)
    max_connections: int | None = Field(default=None, ge=1)
    max_retries: int | None = Field(default=None, ge=0)
    timeout: float | None = Field(default=None, gt=0)
    rpm: int | None = Field(default=None, ge=1)
    tpm: int | None = Field(default=None, ge=1)
    batch_api: bool | None = None
    apply_chat_template: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    gen_kwargs: Annotated[dict[str, Any], BeforeValidator(_typed)] = {}
    compat: Literal["lm-eval"] | None = None
    form: Literal["auto", "loglikelihood", "letter", "letter-logprobs"] = "auto"
    allow_code: bool = False
    trust_remote_code: bool = False
    roles: Annotated[dict[str, str], BeforeValidator(_pair)] = {}
    scorers: Annotated[list[str | dict[str, Any]], BeforeValidator(_list)] = []
    output_dir: str = "runs"
    name: str | None = None
    max_error_rate: float = Field(default=0.05, ge=0, le=1)
    retry_errors: bool = False
    max_cost: float | None = Field(default=None, gt=0)
    max_tokens_total: int | None = Field(default=None, ge=1)
    price: Annotated[dict[str, dict[str, float]] | None, BeforeValidator(_prices)] = None
    prices: str | None = None
    cache: bool | str = False


#: Flags whose name is not the setting's own.
_FLAGS = {"model_args": "-M", "task_dirs": "--task-dir", "roles": "--role"}


#: pydantic's kinds of errors in our words.
_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "string_type": "a text",
    "too_short": "at least one",
}


def flag(setting: str) -> str:
    """The command-line flag of a setting."""
    return _FLAGS.get(setting, "--" + setting.replace("_", "-"))


def from_flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings given on the command line or in the environment, checked; what was not given is absent.

    Raises ConfigError naming the flag.
    """
    chosen = {key: value for key, value in given.items() if value is not None and value != []}
    try:
        return Settings.model_validate(chosen).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"][1:] if isinstance(part, str) and first["type"] in _EXPECTED)
        raise ConfigError(f"{flag(str(first['loc'][0]))}: {where}{reason(first)}") from error


def from_file(path: Path) -> dict[str, Any]:
    """Settings of a run file, checked. Relative paths in it start from its folder.

    Raises ConfigError naming file, line and key.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"run file {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: YAML error: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a run file holds settings (model: ..., tasks: [...]), this one holds none")
    if {"dataset_path", "output_type", "doc_to_text"} & data.keys():
        raise ConfigError(f"{path} is a task file, not a run file; evaluate it with --tasks {path}")
    try:
        settings = Settings.model_validate(data).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise ConfigError(_located(path, error.errors()[0])) from error
    return _anchored(settings, path.parent)


def merged(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    """``strong`` over ``weak``; mappings (model arguments, data, ...) are merged key by key."""
    out = dict(weak)
    for key, value in strong.items():
        before = out.get(key)
        out[key] = {**before, **value} if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return out


def reason(error: Mapping[str, Any]) -> str:
    """What a pydantic error says, in one plain line."""
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        return f"unknown key {name!r}{nearest(name, Settings.model_fields)}"
    if error["type"] in _EXPECTED:
        return f"expected {_EXPECTED[error['type']]}, got {_short(error['input'])}"
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{message}, got {_short(error['input'])}" if error["type"] != "value_error" else message


def _located(path: Path, error: Mapping[str, Any]) -> str:
    from evalkit.tasks.yamlfile import locate

    key = ".".join(str(part) for part in error["loc"])
    text = reason(error)
    return f"{locate(path, error['loc'])}: {text if error['type'] == 'extra_forbidden' else f'{key}: {text}'}"


def _anchored(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Relative paths in a run file mean paths beside it."""

    def path(text: str) -> str:
        return str(folder / Path(text).expanduser())

    if "task_dirs" in settings:
        settings["task_dirs"] = [path(item) for item in settings["task_dirs"]]
    if "data" in settings:
        settings["data"] = {task: path(item) for task, item in settings["data"].items()}
    for name in ("output_dir", "prices", "cache"):
        if isinstance(settings.get(name), str):
            settings[name] = path(settings[name])
    settings["tasks"] = [path(t) if t.endswith((".yaml", ".yml")) else t for t in settings.get("tasks", ())]
    return settings


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
