"""The providers of remote models: ``openai``, ``azure``, and servers that people run themselves at their usual addresses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from evalkit.models.base import ModelOptions
from evalkit.models.provider import Arg, Provider, flag, mapping, one_of, positive, whole
from evalkit.models.remote.adapter import Rates, RemoteModel
from evalkit.models.remote.attempts import Patience
from evalkit.models.remote.base import Endpoint
from evalkit.models.remote.batch_model import BATCH_ARGS, BatchModel, in_batches
from evalkit.models.remote.connection import Connection, azure_of, connection_of
from evalkit.models.remote.dialect import DIALECT_ARGS
from evalkit.types import Json, RequestKind

#: Requests on their way at most, unless a run says otherwise.
MAX_CONNECTIONS = 64
_PATIENT = Patience()


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError("expected seconds above 0")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError("expected a number above 0")
    return value


_WAY = (
    Arg(
        "api",
        "which API generations go through: chat, completions or responses; log-likelihoods go through completions",
        one_of("chat", "completions", "responses"),
        "chat",
    ),
    Arg("api_key", "the key itself; better name a variable, as others can read a command line"),
    Arg("extra_headers", "JSON object of headers for every call", mapping),
    Arg("extra_query", "JSON object of query parameters for every call", mapping),
)
_PACE = (
    Arg("max_connections", "requests on their way at most (64; --batch-size caps it, too)", positive),
    Arg("rpm", "requests a minute at most", _rate),
    Arg("tpm", "tokens a minute at most, prompts and answers", _rate),
    Arg("max_retries", "further attempts after 429, 5xx, time-outs and broken connections", whole, _PATIENT.max_retries),
    Arg("attempt_timeout", "seconds for one attempt", _seconds, _PATIENT.attempt_timeout),
    Arg("timeout", "seconds for a request with all its attempts", _seconds, _PATIENT.timeout),
    Arg("outage", "seconds without any reply after which a server counts as down", _seconds, _PATIENT.outage),
    Arg("n", "repeats of one prompt to ask for in one call, where the server knows how", positive, 1),
    Arg("probe", "ask the server at the start what it can do", flag, True),
)
_SERVER = (
    Arg("base_url", "where the API is, as http://localhost:8000/v1 (OPENAI_BASE_URL, else OpenAI's own)"),
    Arg("api_key_env", "name of the variable that holds the key", str, "OPENAI_API_KEY"),
    Arg("organization", "OpenAI organisation (OPENAI_ORG_ID)"),
    Arg("project", "OpenAI project (OPENAI_PROJECT_ID)"),
    Arg("client", "who makes the headers: lean, or the official package (its import takes half a second)",
        one_of("lean", "official"), "lean"),
)  # fmt: skip
_AZURE = (
    Arg("azure_endpoint", "the resource, https://NAME.openai.azure.com (AZURE_OPENAI_ENDPOINT)"),
    Arg("azure_deployment", "the deployment, where it is not called like the model"),
    Arg("api_version", "the API's version, as 2025-04-01-preview (OPENAI_API_VERSION)"),
    Arg("api_key_env", "name of the variable that holds the key", str, "AZURE_OPENAI_API_KEY"),
    Arg("entra", "sign in with the machine's or user's own identity (package azure-identity)", flag, False),
)


def _build(
    provider: str,
    connect: Callable[[Mapping[str, Any], str], Connection],
    name: str,
    args: Mapping[str, Any],
    options: ModelOptions,
) -> RemoteModel | BatchModel:
    full = f"{provider}/{name}"
    connection = connect(args, full)
    ceiling = args["max_connections"] or MAX_CONNECTIONS
    if options.batch_size is not None:
        ceiling = min(ceiling, options.batch_size) if args["max_connections"] else options.batch_size
    remote = RemoteModel(
        full,
        name,
        connection,
        _endpoints(name, args, connection),
        identity=_identity(args),
        rates=Rates(ceiling, args["rpm"], args["tpm"], args["n"]),
        patience=Patience(args["max_retries"], args["attempt_timeout"], args["timeout"], args["outage"]),
        probed=args["probe"],
    )
    return in_batches(remote, args)


def _endpoints(model: str, args: Mapping[str, Any], connection: Connection) -> dict[RequestKind, Endpoint]:
    """Generations by the API that was chosen, log-likelihoods always by completions: no other can score a prompt."""
    from evalkit.models.remote.endpoints import endpoint_of

    official = connection.is_openai
    scorer = endpoint_of(model, {**args, "endpoint": "completions"}, official=official)
    found: dict[RequestKind, Endpoint] = {kind: scorer for kind in scorer.kinds}
    if args["api"] != "completions":
        found["generate"] = endpoint_of(model, {**args, "endpoint": args["api"], "tokenizer": None}, official=official)
    if args["api"] == "responses":
        return {"generate": found["generate"]}
    return found


def _identity(args: Mapping[str, Any]) -> Json:
    """The options that can change an answer, as given."""
    return {arg.name: args[arg.name] for arg in DIALECT_ARGS if args[arg.name] != arg.default}


def _served(address: str, key_env: str) -> tuple[Arg, ...]:
    """The options of a server with a usual address and key variable."""
    own = {"base_url": (f"where the API is ({address})", address), "api_key_env": ("the key's variable, if any", key_env)}
    return tuple(Arg(a.name, own[a.name][0], a.parse, own[a.name][1]) if a.name in own else a for a in _SERVER)


def _provider(
    name: str, summary: str, own: tuple[Arg, ...], connect: Callable[..., Connection] = connection_of, **usual: Any
) -> Provider:
    """``usual`` are the values that options have unless they are given."""
    every = (*own, *_WAY, *_PACE, *DIALECT_ARGS)
    return Provider(
        name, summary, partial(_build, name, connect), tuple(replace(a, default=usual.get(a.name, a.default)) for a in every)
    )


#: Both take settings that OpenAI's API does not have, and continue a begun answer.
_VLLM_LIKE: dict[str, Any] = {"extensions": True, "prefill": True}

OPENAI = _provider(
    "openai", "any server with an OpenAI-compatible API (-M base_url=...), OpenAI's own by default", (*_SERVER, *BATCH_ARGS)
)
AZURE = _provider("azure", "a deployment on Azure OpenAI", (*_AZURE, *BATCH_ARGS), azure_of)
VLLM = _provider("vllm", "a vLLM server", _served("http://localhost:8000/v1", "VLLM_API_KEY"), **_VLLM_LIKE)
SGLANG = _provider("sglang", "an SGLang server", _served("http://localhost:30000/v1", "SGLANG_API_KEY"), **_VLLM_LIKE)
LLAMACPP = _provider("llamacpp", "llama.cpp's server", _served("http://localhost:8080/v1", "LLAMA_API_KEY"))
OLLAMA = _provider("ollama", "an Ollama server", _served("http://localhost:11434/v1", "OLLAMA_API_KEY"))
OPENROUTER = _provider("openrouter", "OpenRouter", _served("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"))
