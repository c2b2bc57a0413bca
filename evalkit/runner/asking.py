"""Asking the models of a run: the one under test, then those that scorers ask about its answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evalkit.cache import ResponseCache
from evalkit.errors import EvalkitError
from evalkit.models.base import Model
from evalkit.models.callable import CallableModel
from evalkit.runner.answers import Answers
from evalkit.runner.budget import Account
from evalkit.runner.execute import Execution, Observer, execute
from evalkit.runner.judging import Rounds, standing
from evalkit.runner.records import Scored
from evalkit.runner.store import RunStore
from evalkit.runner.trial import trial_record
from evalkit.tasks.base import Task
from evalkit.types import Request


class Telling(Protocol):
    """The part of `session.Progress` that is needed here."""

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
                self.progress.phase(f"asking the {role}")
                counts += self.ask(models[role], rounds.requests(role), observer)
            if self.stop.is_set() or counts.budget or counts.systemic:
                return counts
            going_on = rounds.next()
        return counts


def first_round(task: Task, scored: Scored) -> Counter[str]:
    """About how many requests the scorers make of each role before they have seen any answer: by the first sample.

    Scorers that ask must be bound. What cannot be tried out with a made-up answer counts for nothing.
    """
    found: Counter[str] = Counter()
    sample = next(iter(task.samples()), None)
    for scorer in scored.scorers if sample is not None else ():
        if scorer.roles and sample is not None:
            roles = dict.fromkeys(scorer.roles, "")
            try:
                found.update(q.role for q in standing(scorer, task.name, roles))
                for filter_ in scored.filters:
                    asked = scorer.requests(trial_record(filter_, sample, task.repeats))
                    found.update({role: n * len(task) for role, n in Counter(q.role for q in asked).items()})
            except EvalkitError:  # an estimate; whatever is wrong is told when the scorer is asked in earnest
                continue
    return found
