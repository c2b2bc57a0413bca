"""A server with /v1/files, /v1/batches, /v1/chat/completions and /v1/moderations, in a thread of the test's own process.

Batches end as `plan` says; what was run, and how often, is counted, so that a test can prove that nothing was paid twice.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlparse

import mock_answers

Body = dict[str, Any]


class BatchServer:
    """``polls`` looks at a batch see it in progress before it has ended; ``token_limit`` is how many requests may be
    enqueued at once. Attributes that tests set: ``status`` (of the next batches), ``spoil`` (custom id -> status or error
    of that line, once), ``leave_out`` (custom ids in no file), ``fail`` (list of (method, path regex, status): the next such
    request fails so; status 0 closes the connection *after* it was carried out).
    """

    def __init__(self, polls: int = 1, token_limit: int | None = None) -> None:
        self.polls, self.token_limit = polls, token_limit
        self.lock = threading.RLock()
        self.files: dict[str, tuple[str, bytes]] = {}
        self.batches: dict[str, Body] = {}
        self.looked: Counter[str] = Counter()
        self.ran: Counter[str] = Counter()
        """How often each custom id was run: what is paid for."""
        self.calls: list[str] = []
        self.models: set[str] = set()
        self.status = "completed"
        self.spoil: dict[str, Any] = {}
        self.leave_out: set[str] = set()
        self.fail: list[tuple[str, str, int]] = []
        self.metadata = True
        self.at_once = False
        self.answer: Callable[[Body], Body] = lambda body: mock_answers.chat(body, "chatcmpl-b", {})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=lambda: self._server.serve_forever(0.01), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def handle(self, method: str, path: str, query: dict[str, list[str]], body: bytes, kind: str) -> tuple[int, Any]:
        with self.lock:
            self.calls.append(f"{method} {path}")
            if method == "POST" and path == "/files":
                return 200, self._upload(body, kind)
            if path == "/files":
                return 200, _page([self._file(i) for i in reversed(self.files)], query)
            if found := re.fullmatch(r"/files/([\w-]+)(/content)?", path):
                return self._one_file(method, *found.groups())
            if path == "/batches":
                if method == "POST":
                    return self._create(json.loads(body))
                return 200, _page([self.batches[i] for i in reversed(self.batches)], query)
            if found := re.fullmatch(r"/batches/([\w-]+)", path):
                batch = self.batches.get(found[1])
                return (200, self._look(batch)) if batch else (404, {"error": {"message": "no such batch"}})
            if path == "/chat/completions":
                return 200, self.answer(json.loads(body))
            if path == "/moderations":
                return 200, mock_answers.moderation(json.loads(body), "modr-1", {})
            return 404, {"error": {"message": f"no {path}"}}

    def _upload(self, body: bytes, kind: str) -> Body:
        message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        (part,) = [p for p in message.get_payload() if p.get_param("name", header="content-disposition") == "file"]
        identity = f"file-{len(self.files) + 1}"
        self.files[identity] = (str(part.get_filename()), part.get_payload(decode=True))
        return self._file(identity)

    def _file(self, identity: str) -> Body:
        name, content = self.files[identity]
        return {
            "id": identity, "object": "file", "bytes": len(content), "created_at": 1, "filename": name, "purpose": "batch",
            "status": "processed",
        }  # fmt: skip

    def _one_file(self, method: str, identity: str, content: str | None) -> tuple[int, Any]:
        if identity not in self.files:
            return 404, {"error": {"message": "no such file"}}
        if method == "DELETE":
            del self.files[identity]
            return 200, {"id": identity, "object": "file", "deleted": True}
        return 200, self.files[identity][1] if content else self._file(identity)

    def _create(self, asked: Body) -> tuple[int, Body]:
        size = self.files[asked["input_file_id"]][1].count(b"\n")
        if self.at_once and self.token_limit is not None and size > self.token_limit:
            return 400, {"error": {"code": "token_limit_exceeded", "message": "too many enqueued tokens"}}
        identity = f"batch_{len(self.batches) + 1}"
        batch = {
            "id": identity, "object": "batch", "endpoint": asked["endpoint"], "input_file_id": asked["input_file_id"],
            "completion_window": asked["completion_window"], "status": "validating", "created_at": int(time.time()),
            "metadata": asked.get("metadata") if self.metadata else None, "errors": None, "output_file_id": None,
            "error_file_id": None, "request_counts": {"total": 0, "completed": 0, "failed": 0}, "end": self.status,
        }  # fmt: skip
        self.batches[identity] = batch
        return 200, batch

    def _look(self, batch: Body) -> Body:
        """A look at a batch; after so many it has ended."""
        self.looked[batch["id"]] += 1
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "in_progress"
            if self.looked[batch["id"]] > self.polls:
                self._end(batch)
        return batch

    def _end(self, batch: Body) -> None:
        if batch["input_file_id"] not in self.files:
            batch.update(status="failed", errors=_errors("file_not_found", "the input file is gone"))
            return
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]][1].splitlines()]
        if self.token_limit is not None and len(lines) > self.token_limit:
            text = "Enqueued token limit reached for mock. Please try again once some in_progress batches are done."
            batch.update(status="failed", errors=_errors("token_limit_exceeded", text))
            return
        if batch["end"] == "failed":
            batch.update(status="failed", errors=_errors("mismatched_model", "the model cannot be used in batches"))
            return
        done, errors = [], []
        for number, line in enumerate(lines):
            assert line["url"] == batch["endpoint"] and line["method"] == "POST"
            self.models.add(line["body"]["model"])
            if batch["end"] in ("expired", "cancelled") and number >= len(lines) // 2:
                code = f"batch_{batch['end']}"
                errors.append({"custom_id": line["custom_id"], "response": None, "error": {"code": code, "message": code}})
            elif line["custom_id"] not in self.leave_out:
                self._run(line, done, errors)
        batch["status"] = batch["end"]
        for name, found in (("output_file_id", done), ("error_file_id", errors)):
            if found:
                batch[name] = f"{batch['id'].replace('_', '-')}-{name[:3]}"
                text = "\n".join(json.dumps(line, ensure_ascii=False) for line in reversed(found))
                self.files[batch[name]] = (f"{name}.jsonl", text.encode())
        batch["request_counts"] = {"total": len(lines), "completed": len(done), "failed": len(errors)}

    def _run(self, line: Body, done: list[Body], errors: list[Body]) -> None:
        spoilt = self.spoil.pop(line["custom_id"], None)
        answer = {"custom_id": line["custom_id"], "id": "batch_req_1", "error": None, "response": None}
        if isinstance(spoilt, dict):
            done.append({**answer, **spoilt})
        elif spoilt is not None:
            body = {"error": {"message": f"status {spoilt}", "type": "x", "code": None}}
            errors.append({**answer, "response": {"status_code": spoilt, "request_id": "r", "body": body}})
        else:
            self.ran[line["custom_id"]] += 1
            done.append({**answer, "response": {"status_code": 200, "request_id": "r", "body": self.answer(line["body"])}})


def _errors(code: str, message: str) -> Body:
    return {"object": "list", "data": [{"code": code, "message": message, "line": None, "param": None}]}


def _page(items: list[Body], query: dict[str, list[str]]) -> Body:
    after = query.get("after", [None])[0]
    start = next((i + 1 for i, item in enumerate(items) if item["id"] == after), 0)
    page = items[start : start + int(query.get("limit", ["20"])[0])]
    ids = [item["id"] for item in page]
    return {
        "object": "list", "data": page, "has_more": start + len(page) < len(items),
        "first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None,
    }  # fmt: skip


def _handler(server: BatchServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body in one packet

        def log_message(self, *_: object) -> None:
            pass

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            url = urlparse(self.path)
            path = url.path.removeprefix("/v1").removeprefix("/openai")
            with server.lock:
                rule = next((r for r in server.fail if r[0] == self.command and re.fullmatch(r[1], path)), None)
                if rule:
                    server.fail.remove(rule)
            if rule and rule[2]:
                status, answer = (
                    rule[2],
                    {"error": {"message": f"made to fail; your key is {self.headers['authorization']}"}},
                )
            else:
                kind = self.headers.get("content-type", "")
                status, answer = server.handle(self.command, path, parse_qs(url.query), body, kind)
            if rule and not rule[2]:
                self.close_connection = True
                self.connection.close()
                return
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/octet-stream" if isinstance(answer, bytes) else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = serve

    return Handler
