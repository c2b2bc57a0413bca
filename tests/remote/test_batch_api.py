"""The batch API: half price, nothing submitted twice whatever dies when, every request in exactly one state."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mock_answers
import openai
import pytest
from batch_server import BatchServer

from evalkit.errors import Incomplete, ModelError, StoreError
from evalkit.models.remote.batch import BatchLimits, BatchRunner
from evalkit.models.remote.chat import ChatEndpoint
from evalkit.models.remote.files import BatchService
from evalkit.secrets import protect
from evalkit.types import Request, Response, keyed

ASKED: Any = {"generate": ChatEndpoint("mock")}
KEY = "sk-canary-batch-77"
FAST = BatchLimits(poll=0.005, first=0.001, patience=5.0, settle=0.0)


class Killed(BaseException):
    """The process is gone."""


class Requests:
    """A source as the run has it: what the journal has answered is not asked again."""

    def __init__(self, count: int, journal: dict[str, Response] | None = None, start: int = 0) -> None:
        params = {"until": [], "max_gen_toks": 8, "do_sample": False}
        made = [Request("generate", f"how much is {i}?\u2028", params=params) for i in range(start, start + count)]
        self.requests = [keyed(q, "model") for q in made]
        known = journal if journal is not None else {}
        self._left = iter([q for q in self.requests if q.key not in known or retryable(known[q.key])])

    def take(self, limit: int) -> Sequence[Request]:
        return [q for _, q in zip(range(limit), self._left, strict=False)]


def retryable(response: Response) -> bool:
    return response.error is not None and response.error.retryable


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process needs no fsync, and thousands of them take half a minute."""
    monkeypatch.setattr("os.fsync", lambda opened: None)


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer() as running:
        yield running


class Bench:
    """A run's durable side (journal, ledger folder) and what it takes to start it again."""

    def __init__(self, server: BatchServer, folder: Path, count: int = 7) -> None:
        self.server, self.folder, self.count = server, folder, count
        self.journal: dict[str, Response] = {}
        self.sunk: Counter[str] = Counter()
        self.told: list[str] = []
        self.stop = threading.Event()
        self.service: Any = BatchService(openai.OpenAI(api_key=KEY, base_url=server.url, max_retries=0))

    def sink(self, response: Response) -> None:
        self.sunk[response.key] += 1
        self.journal[response.key] = response

    def run(self, service: Any = None, sink: Callable[[Response], None] | None = None, **limits: Any) -> None:
        given = BatchLimits(**{**{name: getattr(FAST, name) for name in FAST.__slots__}, **limits})
        runner = BatchRunner(
            service or self.service,
            ASKED,
            self.folder / "batches",
            limits=given,
            tell=self.told.append,
        )
        runner.run(Requests(self.count, self.journal), sink or self.sink, self.stop)

    def left(self) -> list[Path]:
        return sorted((self.folder / "batches").glob("*.json"))

    def check_complete(self) -> None:
        """Every request answered rightly, paid for once, nothing left over."""
        requests = Requests(self.count).requests
        assert set(self.journal) == {q.key for q in requests}
        for request in requests:
            response = self.journal[request.key]
            assert response.text == mock_answers.answer(str(request.prompt)), response
            assert response.extra["batch"] is True
        assert set(self.server.ran.values()) == {1} and len(self.server.ran) == self.count
        assert self.left() == []


@pytest.fixture
def bench(server: BatchServer, tmp_path: Path) -> Bench:
    return Bench(server, tmp_path)


def test_answers_come_through_files_under_the_limits(bench: Bench) -> None:
    bench.run(requests=3)
    bench.check_complete()
    sizes = [len(content.splitlines()) for name, content in bench.server.files.values() if name.startswith("evalkit-")]
    assert sizes == [3, 3, 1]
    assert all(batch["endpoint"] == "/v1/chat/completions" for batch in bench.server.batches.values())
    assert bench.told[0].startswith("submitted 3 requests as batch_1")


def test_a_file_holds_no_more_bytes_than_allowed(bench: Bench) -> None:
    bench.run(size=500)
    bench.check_complete()
    files = [content for name, content in bench.server.files.values() if name.startswith("evalkit-")]
    assert len(files) > 1 and all(len(content) <= 500 for content in files)


class Dying:
    """The service of a process that is killed at its ``n``-th step; a step is the moment before or after a call."""

    def __init__(self, service: BatchService, n: int) -> None:
        self._service, self._n = service, n
        self.steps = 0

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self._n:
            raise Killed

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._service, name)
        if name not in ("upload", "find_file", "delete_file", "create", "find", "get", "lines"):
            return value

        def call(*args: Any) -> Any:
            self._step()
            found = value(*args)
            if name == "lines":
                return self._lines(found)
            self._step()
            return found

        return call

    def _lines(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            yield line
            self._step()


def killed_at(bench: Bench, n: int) -> bool:
    """Run a process that dies at step ``n``; whether it did. What it would do while dying reaches nobody."""
    dead = False

    def sink(response: Response) -> None:
        if not dead:
            bench.sink(response)

    dying = Dying(bench.service, n)
    step = dying._step

    def watched() -> None:
        nonlocal dead
        try:
            step()
        except Killed:
            dead = True
            raise

    dying._step = watched  # type: ignore[method-assign]
    try:
        bench.run(dying, sink, requests=4)
    except Killed:
        return True
    return False


def test_killed_at_any_step_the_rest_is_merged_and_nothing_is_submitted_twice(tmp_path: Path) -> None:
    for n in range(1, 200):
        with BatchServer() as server:
            bench = Bench(server, tmp_path / str(n))
            died = killed_at(bench, n)
            bench.run(requests=4)
            bench.check_complete()
            assert max(bench.sunk.values()) == 1
            if not died:
                assert n > 20
                return
    pytest.fail("the run never got to its end")


@pytest.mark.parametrize("metadata", [True, False])
def test_killed_twice_at_any_steps(tmp_path: Path, metadata: bool) -> None:
    """Also on servers that keep no metadata."""
    for n in range(1, 40, 3):
        with BatchServer() as server:
            server.metadata = metadata
            bench = Bench(server, tmp_path / str(n))
            killed_at(bench, n)
            killed_at(bench, n // 2 + 1)
            bench.run(requests=4)
            bench.check_complete()


@pytest.mark.parametrize("step", ["begin", "uploaded", "started", "forget"])
def test_killed_while_a_submission_is_written_down(bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    from evalkit.models.remote.batch_ledger import Ledger

    def die(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, step, die)
        with pytest.raises(Killed):
            bench.run()
    bench.run()
    bench.check_complete()


def test_a_lost_answer_to_the_creation_is_looked_up_before_it_is_sent_again(bench: Bench) -> None:
    bench.server.fail = [("POST", "/batches", 0)]
    bench.run()
    bench.check_complete()
    assert len(bench.server.batches) == 1


def test_a_busy_provider_is_asked_again(bench: Bench) -> None:
    bench.server.fail = [
        ("POST", "/files", 500),
        ("POST", "/batches", 429),
        ("GET", r"/batches/\w+", 503),
        ("GET", r"/batches/\w+", 0),
        ("GET", r"/files/.*/content", 502),
    ]
    bench.run()
    bench.check_complete()
    assert not bench.server.fail


def test_a_provider_out_of_reach_leaves_a_run_that_can_go_on(bench: Bench) -> None:
    bench.server.fail = [("GET", r"/batches/\w+", 503)] * 10_000
    with pytest.raises(Incomplete, match="the same command fetches it"):
        bench.run(patience=0.05)
    assert not bench.journal and len(bench.left()) == 1
    bench.server.fail = []
    bench.run()
    bench.check_complete()


def test_ctrl_c_leaves_the_batch_running_and_says_so(bench: Bench) -> None:
    bench.server.polls = 1_000_000
    timer = threading.Timer(0.2, bench.stop.set)
    timer.start()
    bench.run()
    assert "batch_1 goes on" in bench.told[-1] and "same command" in bench.told[-1]
    assert not any("cancel" in call for call in bench.server.calls)
    bench.server.polls = 0
    bench.stop.clear()
    bench.run()
    bench.check_complete()
    assert any("batch_1 was submitted before" in line for line in bench.told)


def test_a_budget_that_is_spent_in_mid_batch_drops_no_answer_that_is_ready(bench: Bench) -> None:
    def sink(response: Response) -> None:
        bench.sink(response)
        bench.stop.set()

    bench.run(sink=sink)
    bench.check_complete()


def test_one_batch_at_a_time_so_that_a_budget_can_end_it(bench: Bench) -> None:
    most = 0

    def sink(response: Response) -> None:
        nonlocal most
        bench.sink(response)
        most = max(most, sum(not bench.server.looked[b] > bench.server.polls for b in bench.server.batches))
        if len(bench.journal) == 4:
            bench.stop.set()

    bench.run(sink=sink, requests=2, parallel=1)
    assert most == 0 and len(bench.journal) == 4 and len(bench.server.ran) == 4 and not bench.left()
    bench.stop.clear()
    bench.run(requests=2, parallel=1)
    bench.check_complete()
    assert len(bench.server.batches) == 4


def test_stopped_before_anything_is_submitted(bench: Bench) -> None:
    bench.stop.set()
    bench.run()
    assert not bench.journal and not bench.server.batches and not bench.left()


@pytest.mark.parametrize(("status", "kind"), [("expired", "batch-expired"), ("cancelled", "batch-cancelled")])
def test_what_a_batch_did_not_get_to_is_asked_again_by_the_next_run(bench: Bench, status: str, kind: str) -> None:
    bench.server.status = status
    bench.run()
    errors = [r.error for r in bench.journal.values() if r.error]
    assert len(errors) == 4 and {(e.kind, e.retryable) for e in errors} == {(kind, True)}
    assert bench.left() == []
    bench.server.status = "completed"
    bench.run()
    bench.check_complete()
    assert len(bench.server.batches) == 2


def test_lines_that_failed_are_failures_of_the_same_classes_as_single_calls(bench: Bench) -> None:
    keys = [q.key for q in Requests(7).requests]
    bench.server.spoil = {
        keys[0]: 400,
        keys[1]: 429,
        keys[2]: 500,
        keys[3]: {"response": {"status_code": 0, "request_id": "", "body": ""}},
        keys[4]: {"response": {"status_code": 200, "request_id": "", "body": {"error": {"message": "x", "code": 500}}}},
        keys[5]: {"response": {"status_code": 200, "request_id": "", "body": {"choices": []}}},
    }
    bench.server.leave_out = {keys[6]}
    bench.run()
    found = {key: (r.error.kind, r.error.retryable) for key, r in bench.journal.items() if r.error}
    assert found[keys[0]] == ("bad-request", False)
    assert found[keys[1]] == ("rate-limit", True)
    assert found[keys[2]] == ("server", True)
    assert found[keys[3]] == ("batch-missing", True)
    assert found[keys[4]] == ("server", True)
    assert found[keys[5]][0] == "bad-reply"
    assert found[keys[6]] == ("batch-missing", True)
    assert set(bench.sunk.values()) == {1} and not bench.left()
    bench.server.leave_out = set()
    bench.run()
    assert [key for key, r in bench.journal.items() if r.error] == [keys[0]]  # a 400 is final


def test_a_line_of_an_unforeseen_shape_costs_one_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read = ChatEndpoint.response
    odd = Requests(7).requests[3].key

    def response(self: ChatEndpoint, request: Request, body: Any) -> Response:
        return read(self, request, body) if request.key != odd else body["nothing"]["here"]

    monkeypatch.setattr(ChatEndpoint, "response", response)
    bench.run()
    assert [(key, r.error.kind) for key, r in bench.journal.items() if r.error] == [(odd, "bad-reply")]


def test_answers_go_first_so_that_no_storm_of_failures_hides_them(bench: Bench) -> None:
    order: list[bool] = []

    def sink(response: Response) -> None:
        order.append(response.error is None)
        bench.sink(response)

    bench.server.spoil = dict.fromkeys([q.key for q in Requests(7).requests][2:5], 500)
    bench.run(sink=sink, requests=2)
    assert order == [True] * 4 + [False] * 3


def test_a_batch_that_the_provider_refuses_is_one_line(bench: Bench) -> None:
    bench.server.status = "failed"
    with pytest.raises(ModelError, match=r"refused batch_1: the model cannot be used in batches \(mismatched_model\)"):
        bench.run()
    assert bench.left() == [] and not bench.server.ran


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("parallel", [None, 1])
def test_a_full_queue_is_waited_for_in_smaller_files(bench: Bench, at_once: bool, parallel: int | None) -> None:
    """Some providers tell when the batch is started, others when they have looked at its file."""
    bench.server.token_limit, bench.server.at_once = 2, at_once
    bench.run(requests=5, parallel=parallel)
    bench.check_complete()


def test_a_queue_that_others_fill_is_waited_for(bench: Bench) -> None:
    bench.server.token_limit, bench.server.at_once = 0, True
    threading.Timer(0.3, lambda: setattr(bench.server, "token_limit", 1)).start()
    bench.run()
    bench.check_complete()


def test_a_request_that_never_fits_the_queue_is_a_failure(bench: Bench) -> None:
    bench.server.token_limit = 0
    bench.run(patience=0.05)
    assert {(r.error.kind, r.error.retryable) for r in bench.journal.values() if r.error} == {("batch-limit", True)}
    assert len(bench.journal) == 7 and not bench.left()


def test_a_batch_that_the_key_cannot_see_is_not_paid_for_again(bench: Bench) -> None:
    bench.server.polls = 1_000_000
    threading.Timer(0.1, bench.stop.set).start()
    bench.run()
    bench.stop.clear()
    bench.server.batches.clear()
    with pytest.raises(ModelError, match="use the key of the account"):
        bench.run()
    assert len(bench.left()) == 1 and not bench.server.batches


def test_a_server_without_batches_says_so_in_one_line(bench: Bench) -> None:
    bench.server.fail = [("POST", "/files", 404)]
    with pytest.raises(ModelError, match="has no batch API"):
        bench.run()
    assert not bench.left()


def test_the_key_is_in_no_message_and_no_file(bench: Bench, tmp_path: Path) -> None:
    protect([KEY])
    bench.server.fail = [("POST", "/files", 401)]
    with pytest.raises(ModelError, match="401") as error:
        bench.run()
    assert KEY not in str(error.value) and "***" in str(error.value)
    bench.run()
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_two_processes_do_not_share_a_ledger(bench: Bench) -> None:
    from evalkit.models.remote.batch_ledger import Ledger

    with Ledger(bench.folder / "batches").held(), pytest.raises(StoreError, match="another process"):
        bench.run()
    assert not bench.server.calls


def test_a_ledger_that_cannot_be_read_is_not_guessed_at(bench: Bench) -> None:
    (bench.folder / "batches").mkdir(parents=True)
    (bench.folder / "batches" / "x.json").write_text('{"token": ')
    with pytest.raises(StoreError, match="may be paid for again"):
        bench.run()
    assert not bench.server.calls


def test_a_request_that_the_endpoint_cannot_ask_is_its_own_failure(bench: Bench) -> None:
    class One:
        requests = [keyed(Request("loglikelihood", "a", continuation="b"), "model")]

        def take(self, limit: int) -> Sequence[Request]:
            taken, self.requests = self.requests, []
            return taken

    runner = BatchRunner(bench.service, ASKED, bench.folder, limits=FAST, tell=bench.told.append)
    runner.run(One(), bench.sink, bench.stop)
    (response,) = bench.journal.values()
    assert response.error is not None and response.error.kind == "unsupported" and not bench.server.calls


def test_lines_are_json_of_one_line_each(server: BatchServer, bench: Bench) -> None:
    bench.run()
    (content,) = [content for name, content in server.files.values() if name.startswith("evalkit-")]
    for line in content.split(b"\n")[:-1]:
        assert set(json.loads(line)) == {"custom_id", "method", "url", "body"}
