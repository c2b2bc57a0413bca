"""The check before a run: does the server answer us, and which kinds of request can it answer?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalkit.errors import ModelError, nearest
from evalkit.models.remote.base import Call, Endpoint, Reply, TransportError
from evalkit.models.remote.retry import Verdict, broken, said, verdict
from evalkit.types import Request, RequestKind

#: Seconds for one of the probe's calls, seconds between two attempts, and for how long a server may be loading its model.
PROBE_S = 60.0
PAUSE_S = 1.0
LOADING_S = 120.0
#: Attempts at a server that cannot be reached at all, and seconds after which there is no further one.
CONNECTS = 3
UNREACHED_S = 10.0
#: Model names that a message lists at most.
_LISTED = 8

_ASKED = Request("generate", "Say OK.", params={"max_gen_toks": 16, "until": [], "do_sample": False, "temperature": 0.0})
_SCORED = Request("loglikelihood", "The capital of France is the city of", " Paris")
_LOGLIKELIHOODS: tuple[RequestKind, ...] = ("loglikelihood", "loglikelihood_rolling")


class Getting(Protocol):
    """A transport that can GET, too."""

    async def send(self, call: Call, timeout: float) -> Reply: ...

    async def get(self, path: str, timeout: float) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What a server can do. ``why_not``: for each kind it cannot answer, the reason in one line."""

    kinds: frozenset[RequestKind]
    why_not: Mapping[RequestKind, str] = field(default_factory=dict)
    max_length: int | None = None


async def probe(transport: Getting, endpoints: Mapping[RequestKind, Endpoint], model: str, where: str) -> Found:
    """Ask one tiny question of each endpoint, all at once.

    Raises ModelError where the server cannot be reached, refuses the key or does not know the model. Another error (a 400,
    a 500) is no reason to give up: the request that counts may fare better.
    """
    listing = asyncio.ensure_future(_listing(transport))
    scorer = endpoints.get("loglikelihood")
    scoring = asyncio.ensure_future(_scores(transport, scorer)) if scorer is not None else None
    try:
        asker = endpoints.get("generate")
        no_asker: str | None = None
        if asker is not None:
            call = asker.call(_ASKED)
            bad = await settled(transport, call)
            if bad is not None and bad.status == 404 and await _scores_all_the_same(scoring, listing, model):
                no_asker = f"{call.path} is not there ({bad.message}); -M api=completions takes the API that is"
            elif bad is not None and bad.action in ("refused", "stop"):
                raise ModelError(await _told(bad, listing, model, where))
            elif bad is not None and bad.kind in ("connection", "timeout"):
                raise ModelError(f"{where} does not answer: {bad.message}; is the server running, and base_url right?")
        kinds: set[RequestKind] = {"generate"} if asker is not None and no_asker is None else set()
        why_not: dict[RequestKind, str] = {} if no_asker is None else {"generate": no_asker}
        reason = "this API cannot score a prompt" if scoring is None else await scoring
        if reason is None:
            kinds |= {kind for kind in _LOGLIKELIHOODS if kind in endpoints}
        else:
            why_not |= dict.fromkeys(_LOGLIKELIHOODS, reason)
        return Found(frozenset(kinds), why_not, _window(await _soon(listing), model))
    finally:
        for task in filter(None, (listing, scoring)):
            task.cancel()


async def _scores_all_the_same(
    scoring: asyncio.Future[str | None] | None, listing: asyncio.Future[list[Mapping[str, Any]]], model: str
) -> bool:
    """Whether a server without the API for generations knows the model: a base model's may have completions only."""
    names = [item.get("id") for item in await _soon(listing)]
    return (not names or model in names) and scoring is not None and await scoring is None


async def settled(transport: Getting, call: Call) -> Verdict | None:
    """The call's verdict, ``None`` for an answer. A server that is loading its model is waited for."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    attempt = 0
    while True:
        attempt += 1
        try:
            reply = await transport.send(call, PROBE_S)
        except TransportError as error:
            found = broken(error)
            if error.kind == "timeout" or attempt >= CONNECTS or loop.time() - begun > UNREACHED_S:
                return found
        else:
            if 200 <= reply.status < 300:
                return None
            found = verdict(reply, 0.0)
            if found.action != "retry" or reply.status not in (429, 502, 503) or loop.time() - begun > LOADING_S:
                return found
        await asyncio.sleep(min(found.after or PAUSE_S, 10.0))


async def still_answers(transport: Getting, endpoints: Mapping[RequestKind, Endpoint]) -> Verdict | None:
    """In mid-run, after a request was turned away: why the server turns away another one, too; ``None`` if it does not."""
    endpoint = endpoints.get("generate")
    asked = _ASKED if endpoint is not None else _SCORED
    found = await settled(transport, (endpoint or endpoints["loglikelihood"]).call(asked))
    return found if found is not None and found.action in ("refused", "stop") else None


async def _scores(transport: Getting, endpoint: Endpoint) -> str | None:
    """Why log-likelihoods cannot be had; ``None`` where they can."""
    try:
        call = endpoint.call(_SCORED)
        reply = await transport.send(call, PROBE_S)
    except TransportError as error:
        return str(error)
    except ModelError as error:
        return str(error)
    if not 200 <= reply.status < 300:
        return f"{call.path} does not score prompts (HTTP {reply.status}: {said(reply)[0]})"
    try:
        body = json.loads(reply.body)
    except ValueError:
        return f"{call.path} answers with something that is not JSON"
    ignored = _ignores_echo(body, call)
    if ignored:
        return ignored
    response = endpoint.response(_SCORED, body)
    return None if response.error is None else response.error.message


def _ignores_echo(body: Mapping[str, Any], call: Call) -> str | None:
    """Servers that do not know ``echo`` continue the prompt and give probabilities of what they made up."""
    if not call.body.get("echo"):
        return None
    try:
        choice = body["choices"][0]
        text, logprobs = choice["text"], choice.get("logprobs")
    except (KeyError, IndexError, TypeError):
        return f"{call.path} answers in a form of its own"
    if not isinstance(text, str) or not text.lstrip().startswith(_SCORED.prompt if isinstance(_SCORED.prompt, str) else ""):
        prompt = call.body.get("prompt")
        if not isinstance(prompt, list):  # token ids: what comes back is text all the same, but may be cut otherwise
            return f"the server ignores echo ({call.path} does not give the prompt back), so prompts cannot be scored"
    if not logprobs:
        return f"the server gives no log-probabilities of the prompt ({call.path} with echo and logprobs)"
    return None


async def _told(bad: Verdict, listing: asyncio.Future[list[Mapping[str, Any]]], model: str, where: str) -> str:
    """One line on why the server turns us away."""
    if bad.kind == "auth":
        return f"{where} refuses the key ({bad.message}); check the variable that holds it and what the key is allowed to do"
    if bad.kind == "quota":
        return f"{where} will not answer for want of quota ({bad.message})"
    names = [str(item.get("id")) for item in await _soon(listing)]
    if names and model not in names:
        near = nearest(model, names)
        more = ", ..." if len(names) > _LISTED else ""
        return f"{where} has no model {model!r}{near or '; it has ' + ', '.join(names[:_LISTED]) + more} ({bad.message})"
    return f"{where} knows neither this address nor model {model!r} ({bad.message}); check base_url, api and the name"


async def _listing(transport: Getting) -> list[Mapping[str, Any]]:
    """The server's models; empty where it lists none."""
    try:
        reply = await transport.get("/models", PROBE_S)
        data = json.loads(reply.body)["data"] if reply.status == 200 else []
        return [item for item in data if isinstance(item, dict) and "id" in item]
    except (TransportError, ModelError, ValueError, KeyError, TypeError):
        return []  # a list is a help, no more


async def _soon(listing: asyncio.Future[list[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """The list, if it comes within a second of everything else."""
    await asyncio.wait({listing}, timeout=1.0)
    return listing.result() if listing.done() and not listing.cancelled() else []


def _window(models: list[Mapping[str, Any]], model: str) -> int | None:
    """The model's window in tokens, where the list says it (vLLM, SGLang, OpenRouter, llama.cpp)."""
    for item in models:
        if item.get("id") == model:
            meta = item.get("meta")
            names = ("max_model_len", "context_length", "context_window")
            found = [item.get(name) for name in names] + [meta.get("n_ctx") if isinstance(meta, dict) else None]
            return next((n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0), None)
    return None
