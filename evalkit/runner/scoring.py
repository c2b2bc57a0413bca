"""Scoring a run: after it has asked, and of a hosted model also while all its connections wait for replies.

The thread that asks does it then, piece by piece, where the event loop has nothing else to do. (A thread of its own would
hold up replies for longer than a piece takes: the interpreter changes threads every 5 ms.) Order, chunks and code are those
of scoring afterwards, so the files are the same; what does not lend itself to it is scored afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from itertools import takewhile
from typing import Self

from evalkit.runner.records import Pace, Pieces, Watch
from evalkit.runner.run import Run
from evalkit.runner.score import Facts, Rows, Scored, alone, in_pieces, score_task
from evalkit.runner.store import RunStore
from evalkit.runner.values import MetricNames, names_to_come
from evalkit.scorers.base import BaseScorer, Scorer
from evalkit.scorers.labelled import Labelled

#: Who wants to see a run's records while they are scored; what it makes of them counts once the block has ended.
Watching = Callable[[Run, MetricNames], AbstractContextManager[Watch]]

#: Records a piece: together less than a millisecond for most tasks.
_PIECE = 2

#: Seconds after which no further piece is begun in the same moment.
_SLICE = 0.0003

#: Seconds of a piece for which no reply should have to wait: after one that took longer, the rest is left for afterwards.
_STALL = 0.2


class Scoring:
    """The tasks of a run on their way to statistics: `rows` of each, in their order, inside ``with scoring.whole``.

    What ``watching`` (where every record can be scored by itself) makes of the records counts when that block ends well.
    As a context it drops what was begun and not ended, without a trace.

    Args:
        final: tells of a request key whether nothing else will come back for it; `ahead` scores nothing without it.
    """

    def __init__(
        self,
        store: RunStore,
        tasks: Sequence[Scored],
        fingerprints: Mapping[str, str],
        watching: Watching | None = None,
        final: Callable[[str], bool] | None = None,
    ) -> None:
        self.whole = ExitStack()
        self._store, self._tasks, self._fingerprints = store, tasks, fingerprints
        self._watching = watching if all(map(alone, tasks)) else None
        self._watch: Watch | None = None
        self._begun = False
        self._found: dict[str, tuple[list[Rows], Facts]] = {}
        self._ahead: list[Scored] = []
        if final is not None:  # who watches sees the tasks in their order
            self._ahead = [*(takewhile if self._watching else filter)(_one_by_one, tasks)]
            self._pace = Pace(_PIECE, final)
        self._going_on = bool(self._ahead)
        self._possible: Callable[[], bool] = _at_once

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._drop()

    @property
    def can_begin(self) -> bool:
        """Whether there is anything that lends itself to being scored before everything is answered."""
        return self._going_on

    def ahead(self) -> bool:
        """Score a piece of what is answered; whether more of it is there already."""
        begun, took = time.perf_counter(), 0.0
        while self._going_on and took < _SLICE:
            try:
                if not self._possible():
                    return False
                self._begin()
                self._possible = next(self._work)
            except StopIteration:
                self._going_on = False
            except Exception:
                self._drop()  # and afterwards once more: what is wrong is told when everything is answered
            took = time.perf_counter() - begun
        self._going_on &= took < _STALL
        return self._going_on

    def rows(self, task: Scored) -> tuple[list[Rows], Facts]:
        """What `score_task` returns, of as many records as there are now."""
        self._going_on = False
        if not self._begun:
            self._ahead = []
            self._begin()
        if all(task is not other for other in self._ahead):
            return score_task(self._store, task, self._fingerprints, self._watch)
        while task.name not in self._found:
            next(self._work, None)  # its last piece ends the work
        return self._found.pop(task.name)

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        if self._watching is not None:
            names = names_to_come(self._tasks)
            self._watch = self.whole.enter_context(self._watching(Run(self._store), names))
        self._work = self.whole.enter_context(closing(self._pieces()))

    def _pieces(self) -> Pieces[None]:
        for task in self._ahead:
            work = in_pieces(self._store, task, self._fingerprints, self._watch, self._pace)
            self._found[task.name] = yield from work

    def _drop(self) -> None:
        try:
            with self.whole:
                raise _Dropped
        except (_Dropped, OSError):  # a full disk may not even take the ends of files that are to be removed
            self._begun = self._going_on = False
            self._watch = None
            self._found.clear()


class _Dropped(Exception):
    """What was begun does not count."""


def _at_once() -> bool:
    return True


def _one_by_one(task: Scored) -> bool:
    return all(map(_by_itself, task.scorers))


def _by_itself(scorer: Scorer) -> bool:
    """Whether a record's score is cheap and depends on that record alone, whatever is scored together with it.

    So it is where nothing is written beside `BaseScorer.score_one` that sees several records.
    """
    if isinstance(scorer, Labelled):
        return _by_itself(scorer.inner)
    if not isinstance(scorer, BaseScorer) or scorer.unit != "sample" or scorer.roles or not scorer.live:
        return False
    return type(scorer).prepare is BaseScorer.prepare and type(scorer).score is BaseScorer.score
