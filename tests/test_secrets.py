"""No secret is ever written: a canary key is planted, and every byte that a run leaves behind is searched for it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from evalkit import secrets

CANARY = 'sk-canary/7Yq"9+zZ'
SPELLINGS = (CANARY, json.dumps(CANARY)[1:-1], quote(CANARY, safe=""), base64.b64encode(CANARY.encode()).decode())
TASK = """
task: echoed
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{q}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 16}
metric_list: [{metric: exact_match}]
"""


class _Telltale(BaseHTTPRequestHandler):
    """An API that repeats the caller's key everywhere: in answers, in error bodies and in headers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply(404, {"error": {"message": f"nothing here for {self.headers['Authorization']}"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        key = self.headers["Authorization"]
        if "number 3" in body:
            self._reply(
                400, {"error": {"message": f"bad: Authorization: {key}, url http://u:{CANARY}@h/?api_key=zyxwvutsr"}}
            )
            return
        message = {"role": "assistant", "content": f"you are {key}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        self._reply(200, {"id": key, "object": "chat.completion", "model": key, "choices": [choice], "usage": usage})

    def _reply(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
            self.send_header(name, text)
        self.send_header("X-Authorization", self.headers["Authorization"] or "")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Telltale) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{http.server_address[1]}"
        http.shutdown()


@pytest.fixture
def task(tmp_path: Path) -> Path:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"q": f"number {i}"}) + "\n" for i in range(12)))
    path = tmp_path / "echoed.yaml"
    path.write_text(TASK % data)
    return path


def evalkit(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    known = {name: value for name, value in os.environ.items() if "KEY" not in name and "TOKEN" not in name}
    places = {"EVALKIT_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "tmp"), "OPENAI_LOG": "debug"}
    (folder / "tmp").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "evalkit", *arguments]
    return subprocess.run(command, env={**known, **places, **variables}, cwd=folder, capture_output=True, timeout=120)


def written(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, compressed ones inflated."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.name, gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def require_clean(folder: Path, done: subprocess.CompletedProcess[bytes]) -> None:
    for name, content in [("stdout", done.stdout), ("stderr", done.stderr), *written(folder)]:
        for spelling in SPELLINGS:
            assert spelling.encode() not in content, f"{name} holds the key"


@pytest.mark.parametrize("way", ["environment", "option", "headers", "url"])
def test_a_key_that_the_server_repeats_is_written_nowhere(server: str, task: Path, tmp_path: Path, way: str) -> None:
    variables = {"OPENAI_API_KEY": CANARY if way == "environment" else "sk-another-0123"}
    options = {
        "environment": [],
        "option": ["-M", f"api_key={CANARY}"],
        "headers": ["-M", "extra_headers=" + json.dumps({"Authorization": f"Bearer {CANARY}"})],
        "url": [],
    }[way]
    login = f"user:{quote(CANARY, safe='')}@" if way == "url" else ""
    address = f"base_url=http://{login}{server}/v1"
    asked = ("run", "--model", "openai/m", "-M", address, *options, "--tasks", str(task), "--cache", "--max-error-rate", "1")
    done = evalkit(tmp_path, *asked, EVALKIT_DEBUG="1", **variables)
    require_clean(tmp_path, done)
    if way in ("environment", "option"):
        assert done.returncode == 0, done.stderr.decode()
        journal = b"".join(content for name, content in written(tmp_path) if name.startswith("00000"))
        assert b"you are Bearer ***" in journal
        assert b"zyxwvutsr" not in journal
        again = evalkit(tmp_path, *asked, "--new", **variables)
        require_clean(tmp_path, again)
        assert b"11 answers from the cache" in again.stderr


def test_neither_a_traceback_nor_an_error_tells_a_key(tmp_path: Path) -> None:
    for arguments in (
        ("run", "-M", f"api_key={CANARY}", "--model", "mock/echo", "--tasks", "no-such-task"),
        ("run", "-M", f"api_key={CANARY}", "--model", "mock/echo", "--tasks", "quickstart"),
        ("run", "--model", f"mock/{CANARY}", "--tasks", "quickstart"),
    ):
        done = evalkit(tmp_path, *arguments, EVALKIT_DEBUG="1", OPENAI_API_KEY=CANARY)
        assert done.returncode == 2
        require_clean(tmp_path, done)


def test_an_internal_error_leaves_no_key_in_its_traceback(monkeypatch, capsys, tmp_path) -> None:
    from evalkit.cli import app

    def fail(*args: object, **options: object) -> int:
        raise RuntimeError(f"with {CANARY} at http://me:pass-word@host/?token=12345678")

    monkeypatch.setattr(app, "app", fail)
    monkeypatch.setenv("SOME_API_KEY", CANARY)
    monkeypatch.setenv("EVALKIT_DEBUG", "1")
    with pytest.raises(SystemExit) as stop:
        app.main(["run"])
    shown = "".join(capsys.readouterr())
    assert stop.value.code == 70
    assert "Traceback" in shown
    assert CANARY not in shown
    assert "with *** at http://***@host/?token=***" in shown


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abcdefghijkl", "Authorization: ***"),
        ("{'authorization': 'Bearer abcdefghijkl', 'a': 1}", "{'authorization': '***', 'a': 1}"),
        ("x-api-key=abcdefgh next", "x-api-key=*** next"),
        ("see https://u:p@host/path?sig=abc&x=1", "see https://***@host/path?sig=***&x=1"),
        ("a bearer of news and 3 tokens", "a bearer of news and 3 tokens"),
    ],
)
def test_what_looks_like_a_secret_is_blank_in_messages(text: str, clean: str) -> None:
    assert secrets.scrub_message(text) == clean


def test_numbers_paths_and_placeholders_are_no_secrets(monkeypatch) -> None:
    monkeypatch.setattr(secrets, "_values", ())
    monkeypatch.setenv("EVALKIT_MAX_TOKENS_TOTAL", "123456789")
    monkeypatch.setenv("MAX_TOKENS", "12345678")
    monkeypatch.setenv("HF_TOKEN_PATH", "/home/me/token")
    monkeypatch.setenv("VLLM_API_KEY", "not-needed")
    monkeypatch.setenv("SHORT_KEY", "EMPTY")
    secrets.protect_environment()
    for text in ("123456789", "12345678", "/home/me/token", "not-needed", "EMPTY"):
        assert secrets.scrub(text) == text


def test_text_without_a_secret_is_handed_back_as_it_is(monkeypatch) -> None:
    monkeypatch.setattr(secrets, "_values", ())
    secrets.protect([CANARY])
    text = "an answer"
    assert secrets.scrub(text) is text
    assert secrets.scrub(f"key {CANARY}.") == "key ***."


def test_special_tokens_of_a_model_are_no_secrets() -> None:
    assert list(secrets.secret_values(["pad_token=<|endoftext|>"])) == []
    assert "abc-123" in list(secrets.secret_values(["hf/x,hf_token=abc-123,dtype=auto"]))
