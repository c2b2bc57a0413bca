"""Asking the models of a run: the one under test, then those that scorers ask about its answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evalkit.cache import ResponseCache, default_folder
from evalkit.errors import EvalkitError
from evalkit.models.base import Model
from evalkit.models.callable import CallableModel
from evalkit.runner.answers import Answers
from evalkit.runner.budget import Account
from evalkit.runner.execute import Execution, Observer, execute
from evalkit.runner.judging import Rounds, standing
from evalkit.runner.live import LiveScores
from evalkit.runner.options import RunOptions
from evalkit.runner.prepare import ReadyTask
from evalkit.runner.records import Scored
from evalkit.runner.store import RunStore
from evalkit.runner.trial import trial_record
from evalkit.types import Record, Request, Response


class Telling(Protocol):
    """The part of `session.Progress` that is needed here."""

    def answered(self, task: str, done: int, errors: int, running: tuple[str, float] | None) -> None: ...

    def phase(self, text: str) -> None: ...

    def warning(self, text: str) -> None: ...


@dataclass(slots=True)
class Asker:
    """Asks models on behalf of one execution of a run: its journal, account and cache, and what ends it early."""

    store: RunStore
    progress: Telling
    stop: threading.Event
    account: Account
    cache: ResponseCache | None = None
    retry_errors: bool = False
    meanwhile: Callable[[], bool] | None = None
    told: set[str] = field(default_factory=set)

    def ask(self, model: Model, requests: Iterable[Request], observer: Observer | None = None) -> Execution:
        """One model, every request that has no answer."""
        answers = None
        if self.cache is not None and isinstance(model, CallableModel):
            # its code tells an edited function, but not another value of what it refers to
            self.progress.warning(
                f"answers of {model.name} are not cached: nothing tells when a Python callable has changed"
            )
        elif self.cache is not None:
            answers = Answers(self.cache, model.name)
        return execute(
            model,
            requests,
            self.store.journal,
            stop=self.stop,
            observer=observer,
            retry_errors=self.retry_errors,
            account=self.account,
            answers=answers,
            meanwhile=self.meanwhile,
        )

    def ask_scorers(
        self,
        tasks: Sequence[Scored],
        models: Mapping[str, Model],
        fingerprints: Mapping[str, str],
        observer: Observer | None = None,
    ) -> Execution:
        """What the scorers of ``tasks`` ask the ``models`` (by role), until they ask nothing more.

        Other roles' requests are left alone. Ends early where it is stopped, a budget is spent or an endpoint is gone:
        whoever goes on finds all answers in the journal.
        """
        counts, rounds = Execution(), Rounds(self.store, tasks, fingerprints)
        going_on = True
        while going_on:
            for role in [role for role in rounds.roles if role in models]:
                if self.stop.is_set() or counts.budget or counts.systemic:
                    return counts
                counts += self.ask(models[role], self._told(f"asking the {role}", rounds.requests(role)), observer)
            if self.stop.is_set() or counts.budget or counts.systemic:
                return counts
            going_on = rounds.next()
        return counts

    def _told(self, text: str, requests: Iterator[Request]) -> Iterator[Request]:
        """``requests``, with a word when the first one is made: only then is it known that there are any."""
        for number, request in enumerate(requests):
            if number == 0:
                self.progress.phase(text)
            yield request


class Watch:
    """Counts answers and keeps the running values; the observer of `execute`."""

    def __init__(self, progress: Telling, live: LiveScores | None = None) -> None:
        self._progress = progress
        self._live = live
        self._done = 0
        self._errors = 0

    def answered(self, task: str, response: Response) -> None:
        self._done += 1
        self._errors += response.error is not None
        running = None
        if self._live is not None:
            self._live.answered(task, response)
            running = self._live.value(task)
        self._progress.answered(task, self._done, self._errors, running)


def first_round(scored: Scored, records: Sequence[Record], samples: int) -> Counter[str]:
    """About how many requests the scorers of a task make of each role before they have seen any answer.

    ``records`` is one of the task for each filter: the others are taken to be like it. Scorers that ask must be bound. What
    cannot be tried out on it counts for nothing.
    """
    found: Counter[str] = Counter()
    for scorer in scored.scorers if records else ():
        if scorer.roles:
            roles = dict.fromkeys(scorer.roles, "")
            try:
                found.update(q.role for q in standing(scorer, scored.name, roles))
                for record in records:
                    asked = Counter(q.role for q in scorer.requests(record))
                    found.update({role: n * samples for role, n in asked.items()})
            except EvalkitError:  # an estimate; whatever is wrong is told when the scorer is asked in earnest
                continue
    return found


def scorers_requests(ready: ReadyTask) -> Counter[str]:
    """About how many requests a task's scorers will make of each role at first: as many for every sample as for the first.

    What they ask again once they have seen the answers is not among them.
    """
    sample = next(iter(ready.task.samples()), None) if any(scorer.roles for scorer in ready.scorers) else None
    if sample is None:
        return Counter()
    try:
        made_up = [trial_record(filter_, sample, ready.task.repeats) for filter_ in ready.filters]
    except EvalkitError:  # of an answer that nobody gave
        return Counter()
    return first_round(ready, made_up, len(ready.task))


@contextmanager
def response_cache(options: RunOptions, progress: Telling) -> Iterator[ResponseCache | None]:
    """The response cache, where one is wanted."""
    if not options.cache:
        yield None
        return
    cache = ResponseCache(default_folder() if options.cache is True else Path(options.cache), progress.warning)
    try:
        yield cache
    finally:
        cache.close()


def tell_of_unknown_prices(account: Account, models: Mapping[str, Model], progress: Telling) -> None:
    """Warn of models whose cost cannot be counted, and of a limit of cost that nothing counts against."""
    for role, model in models.items():
        if account.quotes[role].price is None and not account.quotes[role].local:
            of = "" if role == "model" else f"{role}:"
            progress.warning(
                f"the price of {model.name} is not known, so no cost is shown; --price {of}in=...,out=... gives it"
            )
    if account.budget.max_cost is not None and not any(quote.price for quote in account.quotes.values()):
        progress.warning(
            "--max-cost has no effect: nothing that this run asks has a bill; --price in=...,out=... gives it one"
        )


def keep_account(store: RunStore, account: Account, models: Mapping[str, Model]) -> None:
    """What was spent so far goes to the manifest, for readers and for the next execution of this run.

    What is known of models that this execution has nothing to do with stays as it was.
    """
    prices = {role: {"model": models[role].name, **quote.public()} for role, quote in account.quotes.items()}
    others = [row for row in store.manifest.get("usage", ()) if row["role"] not in models]
    own = [row for row in account.public({role: model.name for role, model in models.items()}) if row["role"] in models]
    store.update(
        usage=[*others, *own],
        prices={**store.manifest.get("prices", {}), **prices},
        spent=account.stored(store.journal.position()),
    )
