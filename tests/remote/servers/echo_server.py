"""A completions server over real weights that answers as vLLM does: ``python echo_server.py FOLDER [MAX_LENGTH]``.

``/v1/completions`` with ``echo``, ``logprobs`` and ``prompt_logprobs`` over texts or token ids, greedy; ``/v1/models`` with
``max_model_len``; ``/tokenize``. Prints its base URL once the model is loaded, then serves until it is killed. The shapes
follow vLLM's `serving_completion`: the first token has no log-probability, `top_logprobs` hold the token itself and then
the likeliest ones, a token that is part of a character reads as the replacement character.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAME = "smollm2"


class TooLong(ValueError):
    """The prompt does not fit."""


class Scorer:
    """The model, one request at a time."""

    def __init__(self, folder: Path, max_length: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.torch, self.max_length = torch, max_length
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model = model.eval()
        self.lock = threading.Lock()

    def ids(self, prompt: str | list[int]) -> list[int]:
        return prompt if isinstance(prompt, list) else self.tokenizer(prompt)["input_ids"]

    def logprobs(self, ids: list[int], past: Any = None) -> tuple[Any, Any]:
        """Row i: natural log-probabilities of the token after ``ids[: i + 1]``, behind ``past``; and what is past then."""
        with self.lock, self.torch.inference_mode():
            out = self.model(self.torch.tensor([ids]), past_key_values=past, use_cache=True)
        rows = self.torch.log_softmax(out.logits[0].double(), -1)  # in float32 a large vocabulary costs 7e-6 a token
        return rows, out.past_key_values

    def choice(self, body: dict[str, Any], prompt: str | list[int]) -> dict[str, Any]:
        """One choice of the reply, without its index, and beside it how many tokens went in and came out."""
        ids = self.ids(prompt)
        room = body.get("max_tokens", 16)
        if len(ids) + room > self.max_length:
            raise TooLong(
                f"This model's maximum context length is {self.max_length} tokens. However, you requested "
                f"{room} output tokens and your prompt contains {len(ids)} input tokens."
            )
        whole, (rows, past) = list(ids), self.logprobs(ids)
        while len(whole) - len(ids) < room and whole[-1] != self.tokenizer.eos_token_id:
            if len(whole) > len(ids):
                row, past = self.logprobs(whole[-1:], past)
                rows = self.torch.cat((rows, row))
            whole.append(int(rows[-1].argmax()))
        start = 0 if body.get("echo") else len(ids)
        top = body.get("logprobs")
        kept = body.get("prompt_logprobs")
        return {
            "text": self.tokenizer.decode(whole[start:], skip_special_tokens=True),
            "logprobs": None if top is None else self.old_shape(whole, rows, start, top),
            "finish_reason": "stop" if room and whole[-1] == self.tokenizer.eos_token_id else "length",
            "stop_reason": None,
            "prompt_logprobs": None if kept is None else self.by_id(ids, rows, kept),
            "counts": (len(ids), len(whole) - len(ids)),
        }

    def ranked(self, row: Any, token: int, top: int) -> dict[int, float]:
        """The token itself first, then the ``top`` likeliest ones, as vLLM orders them."""
        values, places = row.topk(top) if top else ([], [])
        found = {token: float(row[token])}
        for value, place in zip(values, places, strict=True):
            found.setdefault(int(place), float(value))
        return found

    def old_shape(self, whole: list[int], rows: Any, start: int, top: int) -> dict[str, Any]:
        tokens = [self.tokenizer.decode([token]) for token in whole[start:]]
        values: list[float | None] = []
        tops: list[dict[str, float] | None] = []
        for at in range(start, len(whole)):
            if at == 0:
                values.append(None)
                tops.append(None)
                continue
            found = self.ranked(rows[at - 1], whole[at], top)
            values.append(max(found[whole[at]], -9999.0))
            tops.append({self.tokenizer.decode([token]): max(value, -9999.0) for token, value in found.items()})
        offsets = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}

    def by_id(self, ids: list[int], rows: Any, top: int) -> list[dict[str, Any] | None]:
        """vLLM's own ``prompt_logprobs``: token id -> log-probability, rank, text."""
        found: list[dict[str, Any] | None] = [None]
        for at in range(1, len(ids)):
            row = rows[at - 1]
            found.append(
                {
                    str(token): {
                        "logprob": value,
                        "rank": int((row > value).sum()) + 1,
                        "decoded_token": self.tokenizer.decode([token]),
                    }
                    for token, value in self.ranked(row, ids[at], top).items()
                }
            )
        return found

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        prompts = body["prompt"]
        if isinstance(prompts, str) or isinstance(prompts[0], int):
            prompts = [prompts]
        choices = [{"index": index, **self.choice(body, prompt)} for index, prompt in enumerate(prompts)]
        counts = [choice.pop("counts") for choice in choices]
        read, written = sum(count[0] for count in counts), sum(count[1] for count in counts)
        return {
            "id": "cmpl-echo",
            "object": "text_completion",
            "created": 1_700_000_000,
            "model": NAME,
            "choices": choices,
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open; errors in vLLM's shape."""

    protocol_version = "HTTP/1.1"
    scorer: Scorer

    def do_GET(self) -> None:
        if not self.path.endswith("/models"):
            return self.send(404, {"object": "error", "message": "Not Found", "type": "NotFoundError", "code": 404})
        entry = {"id": NAME, "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": self.scorer.max_length}
        return self.send(200, {"object": "list", "data": [entry]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/tokenize"):
            ids = self.scorer.ids(body["prompt"])
            return self.send(200, {"count": len(ids), "max_model_len": self.scorer.max_length, "tokens": ids})
        if not self.path.endswith("/v1/completions"):
            return self.send(404, {"object": "error", "message": "Not Found", "type": "NotFoundError", "code": 404})
        try:
            return self.send(200, self.scorer.completion(body))
        except TooLong as error:
            return self.send(400, {"error": {"message": str(error), "type": "BadRequestError", "code": 400}})

    def send(self, status: int, found: Any) -> None:
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    Handler.scorer = Scorer(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8192)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}/v1\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
