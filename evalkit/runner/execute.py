"""Ask a model every request that has no answer yet, and journal what comes back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from evalkit.errors import Incomplete
from evalkit.models.base import ConnectingModel, KeepingModel, Model
from evalkit.runner.answers import Answers
from evalkit.runner.budget import Account, Budget, Foreseen
from evalkit.runner.journal import Journal
from evalkit.runner.usage import CACHED
from evalkit.types import Failure, Request, Response

#: So many failures in a row, with no answer between them, are the endpoint's or the device's fault, not the samples'.
SYSTEMIC_FAILURES = 100


class Observer(Protocol):
    """Who wants to know how a run proceeds (`evalkit.api.Progress` is one)."""

    def answered(self, task: str, response: Response) -> None: ...


@dataclass(slots=True)
class Execution:
    """How one pass over the requests went. ``resumed`` counts requests whose answer was there before, equal ones each."""

    asked: int = 0
    answered: int = 0
    failed: int = 0
    resumed: int = 0
    retryable: int = 0
    """Failures that asking again could mend."""
    unanswered: int = 0
    stopped: bool = False
    systemic: str | None = None
    from_cache: int = 0
    """Answers out of the response cache, among ``answered``."""
    budget: str | None = None
    """Which budget was spent with something left to ask."""
    seconds: float = 0.0

    def __iadd__(self, other: Execution) -> Execution:
        for name in ("asked", "answered", "failed", "resumed", "retryable", "unanswered", "from_cache", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.stopped |= other.stopped
        self.systemic = self.systemic or other.systemic
        self.budget = self.budget or other.budget
        return self


class Pending:
    """The source of an adapter: requests without an answer, each distinct one once.

    Those that the cache can answer are handed to ``sink`` instead; once the budget is spent there are no others. With
    ``foresight`` (a model that commits itself to all it takes before an answer is back) no more are given at a time than the
    budget is expected to cover: the next `Model.run` gets more, unless the source is ``exhausted``.
    """

    def __init__(
        self,
        requests: Iterable[Request],
        journal: Journal,
        *,
        retry_errors: bool,
        counts: Execution,
        account: Account,
        answers: Answers | None,
        stop: threading.Event,
        foresight: bool = False,
    ) -> None:
        self._requests = iter(requests)
        self._ahead: Request | None = None
        self._foresight = foresight and account.budget != Budget()
        self._foreseen: dict[str, Foreseen] = {}
        self._committed = Foreseen()
        self.exhausted = False
        self._journal = journal
        self._retry = retry_errors
        self._counts = counts
        self._account = account
        self._answers = answers
        self._stop = stop
        self._begin = journal.position()
        self.in_flight: dict[str, Request] = {}
        self.sink: Callable[[Response], None] = lambda response: None

    def take(self, limit: int) -> Sequence[Request]:
        taken: list[Request] = []
        while len(taken) < limit and not self._counts.budget and not self._stop.is_set():
            request, self._ahead = self._ahead or next(self._requests, None), None
            if request is None:
                self.exhausted = True
                break
            key = request.key
            if key in self.in_flight:
                continue
            if self._journal.known(key):
                if self._journal.written(key, since=self._begin):
                    continue  # equal to one that this pass asked already
                if settled(self._journal, key, retry_errors=self._retry):
                    self._counts.resumed += 1
                    continue
            known = self._answers.get(request) if self._answers is not None else None
            if known is None and (reached := self._account.reached()):
                self._counts.budget = reached
                break
            if known is None and self._foresight and not self._covered(request):
                self._ahead = request
                break
            self.in_flight[key] = request
            if known is not None:
                self.sink(known)
                continue
            taken.append(request)
        self._counts.asked += len(taken)
        return taken

    @property
    def holds_back(self) -> bool:
        """Whether there is more to give, now that everything that was given is answered."""
        return self._ahead is not None and not self.in_flight and not self._counts.budget

    def settle(self, key: str) -> Request | None:
        """The request that is answered now, if anybody asked it."""
        committed = self._foreseen.pop(key, None)
        if committed is not None:
            self._commit(-committed.tokens, -committed.cost_usd)
        return self.in_flight.pop(key, None)

    def _covered(self, request: Request) -> bool:
        """Whether the budget covers one more; where nothing is on its way that could show it, the run ends here."""
        more = self._account.foreseen(request)
        tokens, cost = self._committed
        if not self._account.room(Foreseen(tokens + more.tokens, cost + more.cost_usd)):
            if not self.in_flight:
                self._counts.budget = self._account.short()
            return False
        self._foreseen[request.key] = more
        self._commit(*more)
        return True

    def _commit(self, tokens: float, cost_usd: float) -> None:
        self._committed = Foreseen(self._committed.tokens + tokens, self._committed.cost_usd + cost_usd)


def settled(journal: Journal, key: str, *, retry_errors: bool) -> bool:
    """Whether what the journal has of ``key`` leaves nothing to ask: an answer, or a failure that is final."""
    if key in journal:
        return True
    failed = journal.failed(key)
    return failed is not None and failed.error is not None and not failed.error.retryable and not retry_errors


def final_from_now(journal: Journal, *, retry_errors: bool) -> Callable[[str], bool]:
    """Tells of a key, while one pass over the requests lasts that begins now, whether no other response will come for it."""
    begin = journal.position()

    def final(key: str) -> bool:
        return journal.written(key, begin) or settled(journal, key, retry_errors=retry_errors)

    return final


def execute(
    model: Model,
    requests: Iterable[Request],
    journal: Journal,
    *,
    stop: threading.Event,
    observer: Observer | None = None,
    retry_errors: bool = False,
    account: Account | None = None,
    answers: Answers | None = None,
    meanwhile: Callable[[], bool] | None = None,
) -> Execution:
    """Run ``model`` over the requests that have no answer. Each response is journalled before anyone sees it.

    ``account`` counts what is spent and says when to end: what is in flight then is still waited for. ``answers`` are those
    of other runs. ``meanwhile`` is work for idle moments, as `models.base.BusySink` has it.

    Raises:
        StoreError: the journal cannot be written (a full disk); what was answered before stays.
    """
    account = account or Account()
    counts = Execution()
    source = Pending(
        requests,
        journal,
        retry_errors=retry_errors,
        counts=counts,
        account=account,
        answers=answers,
        stop=stop,
        foresight=isinstance(model, KeepingModel),
    )
    sink = source.sink = _Sink(source, journal, counts, account, answers, observer, stop, meanwhile)
    sink.drains = isinstance(model, ConnectingModel)
    begun = time.monotonic()
    try:
        model.run(source, sink, stop)
        while source.holds_back and not stop.is_set():
            model.run(source, sink, stop)
    except Incomplete as error:  # a server that is gone, a key that was revoked: what was answered is kept and scored
        counts.systemic = str(error)
    finally:
        journal.commit()
    if sink.spent:
        stop.clear()  # it was the budget that ended this, and the rest of the run may need no more of it
        if not source.in_flight:
            source.take(1)  # tells whether there is anything left to ask
    if counts.budget or (sink.spent and source.in_flight):
        counts.budget = account.reached() or counts.budget  # with what was on its way
    counts.unanswered = len(source.in_flight)
    counts.stopped = stop.is_set()
    counts.seconds = time.monotonic() - begun
    return counts


class _Sink:
    """Journals each response, then tells everyone about it."""

    def __init__(
        self,
        source: Pending,
        journal: Journal,
        counts: Execution,
        account: Account,
        answers: Answers | None,
        observer: Observer | None,
        stop: threading.Event,
        meanwhile: Callable[[], bool] | None,
    ) -> None:
        self._source, self._journal, self._counts, self._account = source, journal, counts, account
        self._answers, self._observer, self._stop = answers, observer, stop
        if meanwhile is not None:
            self.meanwhile = meanwhile
        self._failed_in_a_row = 0
        self.spent = False
        #: A hosted model has taken no more than is on its way: what is paid for is waited for, however long that takes. A
        #: local one takes requests by the thousand and must be told.
        self.drains = False

    def __call__(self, response: Response) -> None:
        request = self._source.settle(response.key)
        if request is None:
            return  # an adapter that answers twice, or what nobody asked: the first answer stands
        response = self._account.priced(request, response)
        response = self._journal.append(response, task=request.task, role=request.role)
        self._account.add(request, response)
        if response.error is None:
            self._counts.answered += 1
            self._failed_in_a_row = 0
            if response.extra.get(CACHED):
                self._counts.from_cache += 1
            elif self._answers is not None:
                self._answers.put(request, response)
        else:
            self._failure(response.error)
        if not self.drains and self._source.in_flight and self._account.reached() and not self._stop.is_set():
            self.spent = True
            self._stop.set()
        if self._observer is not None:
            self._observer.answered(request.task, response)

    def _failure(self, error: Failure) -> None:
        self._counts.failed += 1
        self._counts.retryable += error.retryable
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= SYSTEMIC_FAILURES and error.retryable:
            self._counts.systemic = error.message
            self._stop.set()


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """First Ctrl-C (or SIGTERM): finish what is in flight and stop. Second: stop now. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
