"""From options to an endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.hf_load import load_tokenizer
from evalkit.models.remote.base import Endpoint
from evalkit.models.remote.chat import ChatEndpoint
from evalkit.models.remote.completions import CompletionsEndpoint
from evalkit.models.remote.dialect import dialect_of
from evalkit.models.remote.responses import ResponsesEndpoint
from evalkit.models.tokens import Tokens, resolve_max_length


def endpoint_of(model: str, args: Mapping[str, Any], *, official: bool) -> Endpoint:
    """The endpoint ``args["endpoint"]`` (chat, completions or responses) by the options of `DIALECT_ARGS`, parsed.

    ``official``: the server is OpenAI's or Azure's own.
    Raises ModelError for a tokenizer that cannot be loaded, and for one given to an endpoint that scores nothing.
    """
    dialect = dialect_of(model, args, official=official)
    name = args.get("endpoint", "chat")
    if name == "completions":
        tokenizer = args.get("tokenizer")
        return CompletionsEndpoint(
            model, dialect, None if tokenizer is None else tokens_of(tokenizer, args.get("max_length"))
        )
    if args.get("tokenizer") is not None:
        raise ModelError(f"-M tokenizer= is for log-likelihoods on the completions endpoint, not for {name}")
    return ResponsesEndpoint(model, dialect) if name == "responses" else ChatEndpoint(model, dialect)


def tokens_of(tokenizer: str, max_length: int | None = None) -> Tokens:
    """The tokenizer with the rules by which prompts to score are cut.

    ``max_length`` is the longest text to score, in tokens; without it the tokenizer's own less 2, which a server needs for
    the token that it generates. Raises ModelError where the tokenizer cannot be loaded.
    """
    try:
        loaded = load_tokenizer(tokenizer)
    except ImportError as error:
        raise ModelError("-M tokenizer= needs the package transformers: pip install 'evalkit[hf]'") from error
    return Tokens(loaded, max_length or resolve_max_length(None, loaded) - 2)
