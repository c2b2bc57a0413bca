"""What the mock API answers: fixed by the content of the request, in OpenAI's shapes. Standard library only."""

from __future__ import annotations

import re
import zlib
from typing import Any

Body = dict[str, Any]
_PIECE = re.compile(r"\s*\S+|\s+$")
LETTERS = "ABCD"


def answer(prompt: str, seed: object = None, index: int = 0) -> str:
    """What the mock says to a prompt (the last message of a chat): a digit that depends on it alone, and on the seed."""
    key = prompt if seed is None and not index else f"{prompt}#{seed}#{index}"
    return str(zlib.crc32(key.encode()) % 10)


def last_text(body: Body) -> str:
    """The text that the answer hangs on: the last message, the prompt or the input."""
    messages = body.get("messages") or body.get("input")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        content = messages[-1].get("content")
        if isinstance(content, list):
            return "".join(part.get("text", "") for part in content)
        return str(content)
    if isinstance(messages, str):
        return messages
    prompt = body.get("prompt", messages)
    return prompt if isinstance(prompt, str) else str(prompt)


def pieces(text: str) -> list[str]:
    """The mock's tokens: words with the space before them; they add up to the text."""
    return _PIECE.findall(text)


def logprob(before: str, token: str) -> float:
    """What the mock thinks of a token after a text: from 0 to -9.99, fixed by both."""
    return -(zlib.crc32(f"{before}|{token}".encode()) % 1000) / 100


def usage(prompt: int, answered: int, reasoning: int = 0) -> Body:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answered,
        "total_tokens": prompt + answered,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def chat(body: Body, identity: str, extra: Body) -> Body:
    """A chat completion; ``extra`` may hold ``text``, ``message`` (merged into every message), ``finish``, ``usage``."""
    text = last_text(body)
    choices = []
    for index in range(extra.get("n", body.get("n") or 1)):
        said = extra.get("text", answer(text, body.get("seed"), index))
        message = {"role": "assistant", "content": said, "refusal": None, **extra.get("message", {})}
        choice = {"index": index, "message": message, "logprobs": None, "finish_reason": extra.get("finish", "stop")}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [_chat_token(text, said, body.get("top_logprobs") or 0)], "refusal": None}
        choices.append(choice)
    return {
        "id": identity,
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body.get("model", "mock"),
        "choices": choices,
        "usage": extra.get("usage", usage(len(text) // 4 + 1, 2 * len(choices))),
    }


def _chat_token(text: str, said: str, top: int) -> Body:
    """The first token with the ``top`` likeliest ones, letters among them."""
    known = {token: logprob(text, token) for token in (said, *LETTERS)}
    ranked = sorted(known.items(), key=lambda item: -item[1])[:top]
    rows = [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in ranked]
    return {"token": said, "logprob": known[said], "bytes": list(said.encode()), "top_logprobs": rows}


def completion(body: Body, identity: str, extra: Body) -> Body:
    """A text completion of one prompt or several (texts or token ids), with ``echo`` and ``logprobs``."""
    prompts = body.get("prompt", "")
    if isinstance(prompts, str) or (prompts and isinstance(prompts[0], int)):
        prompts = [prompts]
    choices, counted = [], 0
    for prompt in prompts:
        tokens = pieces(prompt) if isinstance(prompt, str) else [f" {number}" for number in prompt]
        counted += len(tokens)
        for index in range(extra.get("n", body.get("n") or 1)):
            text = extra.get("text", answer("".join(tokens), body.get("seed"), index))
            said = [text] if body.get("max_tokens", 16) else []
            shown = [*tokens, *said] if body.get("echo") else said
            choice = {"index": len(choices), "text": "".join(shown), "finish_reason": extra.get("finish", "stop")}
            wanted = body.get("logprobs")
            before = [] if body.get("echo") else tokens
            choice["logprobs"] = None if wanted is None else _logprobs(before, shown, int(wanted))
            choices.append(choice)
    return {
        "id": identity,
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": body.get("model", "mock"),
        "choices": choices,
        "usage": extra.get("usage", usage(counted, len(choices))),
    }


def greedy(before: str, token: str) -> bool:
    """Whether the mock would have said this token itself."""
    return zlib.crc32(f"{before}|{token}".encode()) % 3 == 0


def _logprobs(before: list[str], shown: list[str], wanted: int) -> Body:
    """The old shape: four lists of one length; what has nothing before it has no log-probability."""
    text, values, tops, offsets = "".join(before), [], [], []
    start = len(text)
    for token in shown:
        offsets.append(len(text) - start)
        if text:
            value = logprob(text, token)
            values.append(value)
            best = {token: value} if greedy(text, token) else {" other": value / 2, token: value}
            tops.append(best if wanted else None)
        else:
            values.append(None)
            tops.append(None)
        text += token
    return {"tokens": shown, "token_logprobs": values, "top_logprobs": tops if wanted else None, "text_offset": offsets}


def response(body: Body, identity: str, extra: Body) -> Body:
    """The responses endpoint."""
    text = last_text(body)
    said = extra.get("text", answer(text))
    message = {
        "type": "message",
        "id": f"msg_{identity}",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": said, "annotations": []}],
        **extra.get("message", {}),
    }
    counted = {
        "input_tokens": len(text) // 4 + 1,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    counted["total_tokens"] = counted["input_tokens"] + 2
    return {
        "id": identity,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": body.get("model", "mock"),
        "output": [*extra.get("output", []), message],
        "usage": extra.get("usage", counted),
        **extra.get("response", {}),
    }


def moderation(body: Body, identity: str, extra: Body) -> Body:
    """A verdict a text: flagged where it holds the word ``awful``."""
    texts = body.get("input", "")
    results = []
    for text in [texts] if isinstance(texts, str) else texts:
        bad = "awful" in (text if isinstance(text, str) else str(text))
        score = 0.9 if bad else zlib.crc32(str(text).encode()) % 100 / 1000
        names = ("harassment", "hate", "violence")
        results.append(
            {
                "flagged": bad,
                "categories": {name: bad for name in names},
                "category_scores": {name: score / (1 + i) for i, name in enumerate(names)},
            }
        )
    return {"id": identity, "model": body.get("model", "omni-moderation-latest"), "results": results}


#: By the end of a path, so that Azure's longer ones are served as well. The order matters: chat before completions.
ENDPOINTS = {
    "/chat/completions": chat,
    "/completions": completion,
    "/responses": response,
    "/moderations": moderation,
}


def models(names: list[str]) -> Body:
    return {"object": "list", "data": [{"id": n, "object": "model", "created": 1, "owned_by": "mock"} for n in names]}
