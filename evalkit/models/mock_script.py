"""The answers of ``mock/scripted``: a mapping from requests to what is said, from a file or from Python."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from evalkit.errors import ModelError
from evalkit.types import Failure, Json, Request, Response, content_hash

_FIELDS = frozenset({"text", "logprob", "is_greedy", "finish", "tokens", "error"})


class Script:
    """Answers by request.

    A key of ``answers`` is a request's key, its sample's id, its continuation, or any part of its prompt (tried in this
    order; the longest matching part wins). A value is a text, a log-probability, an object with some of the fields
    ``text, logprob, is_greedy, finish, tokens, error``, or a list of those, one for each repeat. What is not in the script
    gets ``default`` as its text, or fails with kind ``unscripted``.
    """

    def __init__(self, answers: Mapping[str, Json], default: str | None = None) -> None:
        self._exact = dict(answers)
        self._parts = sorted(self._exact, key=len, reverse=True)
        self._default = default
        self.digest = content_hash([self._exact, default])

    @classmethod
    def load(cls, path: str | None, default: str | None = None) -> Script:
        """Read a JSON object, or JSONL lines ``{"match": ..., ...answer fields}``. Raises ModelError, naming the line."""
        if not path:
            raise ModelError("mock/scripted needs its answers: -M file=answers.json (or .jsonl)")
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"mock/scripted cannot read {path}: {error}") from error
        if path.endswith(".jsonl"):
            return cls(dict(_lines(path, text)), default)
        try:
            answers = json.loads(text)
        except ValueError as error:
            raise ModelError(f"{path}: not JSON: {error}") from error
        if not isinstance(answers, dict):
            raise ModelError(f"{path}: expected an object that maps prompts (or parts of them) to answers")
        return cls(answers, default)

    def answer(self, request: Request) -> Response:
        """The scripted response to ``request``."""
        found = self._find(request)
        if isinstance(found, list):
            found = found[request.repeat % len(found)] if found else None
        if found is None:
            if self._default is None:
                return Response(request.key, error=Failure("unscripted", "the script has no answer for this request"))
            found = self._default
        if isinstance(found, str):
            return Response(request.key, text=found, tokens=found.count(" ") + 1, finish="stop")
        if isinstance(found, int | float):
            return Response(request.key, logprob=float(found), is_greedy=False, tokens=1)
        if "error" in found:
            why = found["error"] if isinstance(found["error"], dict) else {"kind": str(found["error"])}
            message = str(why.get("message", "scripted"))
            return Response(request.key, error=Failure(str(why["kind"]), message, retryable=bool(why.get("retryable"))))
        return Response(request.key, **{key: value for key, value in found.items() if key in _FIELDS})

    def _find(self, request: Request) -> Json:
        for key in (request.key, request.sample_id, request.continuation):
            if key and key in self._exact:
                return self._exact[key]
        messages = request.prompt
        prompt = messages if isinstance(messages, str) else "\n".join(message.content for message in messages)
        if prompt in self._exact:
            return self._exact[prompt]
        return next((self._exact[part] for part in self._parts if part and part in prompt), None)


def _lines(path: str, text: str) -> Iterator[tuple[str, Json]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ModelError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("match"), str):
            raise ModelError(f'{path}:{number}: expected {{"match": "part of the prompt", "text": "the answer"}}')
        fields = {key: value for key, value in row.items() if key != "match"}
        unknown = sorted(set(fields) - _FIELDS)
        if unknown:
            raise ModelError(f"{path}:{number}: unknown field {unknown[0]!r}; known: {', '.join(sorted(_FIELDS))}")
        yield row["match"], fields
