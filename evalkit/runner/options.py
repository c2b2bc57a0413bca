"""What a run is asked to do: the same names in Python, in a run file and (with dashes) on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evalkit import secrets
from evalkit.models.base import ModelOptions
from evalkit.prices import parse_roles
from evalkit.secrets import redact_text
from evalkit.tasks.base import PromptOptions
from evalkit.types import Json

#: Options of a model that the run has settings of its own for.
_MODEL_FLAGS = (
    "device", "engine", "attn_implementation", "threads",
    "max_connections", "max_retries", "timeout", "rpm", "tpm", "batch_api",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Everything `evalkit.run` takes.

    Attributes:
        tasks: names, tags, groups, globs, paths of YAML files or folders.
        model: ``provider/name``, a callable, a loaded torch module or a Model.
        tokenizer: for a torch module that does not carry its own.
        data: task name -> local copy of its data.
        samples: task name -> ids or positions to evaluate.
        roles: role -> model for scorers that ask one (``{"judge": "hf/..."}``).
        engine: how a local model computes: ``auto``, ``prefix`` or ``plain``; as ``-M engine=``.
        attn_implementation: attention of a local model: ``eager``, ``sdpa``, ...; as ``-M attn_implementation=``.
        threads: of torch, while a local model answers; as ``-M threads=``.
        max_connections: requests in flight to a remote model at most; as ``-M max_connections=``.
        max_retries: of a request to a remote model; as ``-M max_retries=``.
        timeout: seconds for a request to a remote model, its retries included; as ``-M timeout=``.
        rpm: requests a minute to a remote model at most; as ``-M rpm=``.
        tpm: tokens a minute; as ``-M tpm=``.
        batch_api: ask a remote model through its batch API; as ``-M batch_api=true``.
        form: how multiple-choice tasks are asked: ``loglikelihood``, ``letter`` (a letter is written), ``letter-logprobs``
            (its probability as the first token); ``auto``: the task's own, else log-likelihood where the model can, else
            letter.
        max_error_rate: share of samples with errors above which the run counts as incomplete.
        retry_errors: ask again what failed for good, too.
        max_cost: US dollars that the whole run may spend, all its executions and models together.
        max_tokens_total: prompt and output tokens that it may spend.
        price: what the models cost: ``"in=2.5,out=10,cached=1.25"`` (per million tokens), or such by role.
        prices: a file of prices, looked at before the user's own and the shipped one.
        cache: take answers from other runs and keep them for others; ``True`` for the usual folder, or a folder.
    """

    tasks: Sequence[str]
    model: Any
    model_args: Mapping[str, str] = field(default_factory=dict)
    tokenizer: Any = None
    task_dirs: Sequence[str | Path] = ()
    data: Mapping[str, str | Path] = field(default_factory=dict)
    num_fewshot: int | None = None
    limit: int | float | None = None
    samples: Mapping[str, Sequence[str | int]] | None = None
    seed: int = 1234
    batch_size: int | None = None
    device: str | None = None
    engine: str | None = None
    attn_implementation: str | None = None
    threads: int | None = None
    max_connections: int | None = None
    max_retries: int | None = None
    timeout: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    batch_api: bool | None = None
    apply_chat_template: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    compat: Literal["lm-eval"] | None = None
    form: Literal["auto", "loglikelihood", "letter", "letter-logprobs"] = "auto"
    allow_code: bool = False
    trust_remote_code: bool = False
    roles: Mapping[str, Any] = field(default_factory=dict)
    scorers: Sequence[str | Mapping[str, Any]] = ()
    output_dir: str | Path = "runs"
    name: str | None = None
    resume: str | None = None
    new: bool = False
    max_error_rate: float = 0.05
    retry_errors: bool = False
    max_cost: float | None = None
    max_tokens_total: int | None = None
    price: Any = None
    prices: str | Path | None = None
    cache: bool | str | Path = False
    command: Sequence[str] = ()

    def __post_init__(self) -> None:
        """From here on, no secret among the options or in the environment reaches a file or a screen."""
        secrets.protect_environment()
        texts = [f"{name}={value}" for name, value in self.model_args.items()]
        secrets.protect(secrets.secret_values([*texts, *(model for model in self.roles.values() if isinstance(model, str))]))

    def prompt(self, task: str) -> PromptOptions:
        """The part that a task needs."""
        chosen = None if self.samples is None else self.samples.get(task)
        return PromptOptions(
            num_fewshot=self.num_fewshot,
            seed=self.seed,
            apply_chat_template=self.apply_chat_template,
            system_instruction=self.system_instruction,
            fewshot_as_multiturn=self.fewshot_as_multiturn,
            compat=self.compat,
            generation=dict(self.gen_kwargs) or None,
            limit=self.limit,
            sample_ids=None if chosen is None else tuple(str(s) for s in chosen),
            data=Path(self.data[task]) if task in self.data else None,
            allow_code=self.allow_code,
        )

    def model_options(self) -> ModelOptions:
        """The part that the candidate's adapter needs."""
        flags = {name: str(value) for name in _MODEL_FLAGS if (value := getattr(self, name)) is not None}
        return ModelOptions(dict(self.model_args), self.batch_size, self.device, self.trust_remote_code, flags)

    def content(self) -> dict[str, Json]:
        """The options that can change a number (not batch size, device, engine or folders), for the configuration hash."""
        names = (
            "num_fewshot", "limit", "samples", "seed", "apply_chat_template", "system_instruction",
            "fewshot_as_multiturn", "gen_kwargs", "compat", "scorers",
        )  # fmt: skip
        return {name: _plain(getattr(self, name)) for name in names}

    def public(self) -> dict[str, Json]:
        """All options as JSON with secrets blanked, for the manifest."""
        shown = {f: _plain(getattr(self, f)) for f in self.__dataclass_fields__ if f not in ("tokenizer", "command")}
        shown["model_args"] = redact(self.model_args)
        if self.price:
            prices = parse_roles(self.price).items()
            shown["price"] = {role: price.model_dump(exclude_none=True) for role, price in prices}
        shown["roles"] = {role: _clean(model) for role, model in shown["roles"].items()}
        return shown


def redact(args: Mapping[str, Any]) -> dict[str, Json]:
    """The mapping with every value blanked whose name smells of a secret."""
    return {k: secrets.BLANK if secrets.is_secret(k) else _clean(_plain(v)) for k, v in args.items()}


def _clean(value: Json) -> Json:
    return redact_text(secrets.scrub_urls(value)) if isinstance(value, str) else value


def _plain(value: Any) -> Json:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    named: Callable[..., Any] | Any = getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"<{named}>"
