"""How a run shows that it proceeds: a bar on a terminal, a line now and then in a log. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from evalkit.cli.output import say
from evalkit.report.numbers import count, counted, duration
from evalkit.types import Summary

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from evalkit.runner.run import Run
    from evalkit.runner.session import Progress

#: Seconds between two lines of a log.
PERIOD = 10.0

#: Answers before a rate is worth showing: the first ones wait for a model to warm up.
_ENOUGH = 10


@contextmanager
def shown() -> Iterator[Progress]:
    """The progress for this stderr; a bar is taken off the screen whatever happens."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    bar = _bar()
    with bar:
        yield OnTerminal(bar)


class Lines:
    """Plain lines, at most one every `PERIOD` seconds: for logs."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._requests = self._resumed = 0

    def started(self, run: Run, samples: int, requests: int, resumed: int) -> None:
        self._began = self._last = time.monotonic()
        self._requests, self._resumed = requests, resumed
        _announce(run, samples, requests, resumed)

    def answered(self, task: str, done: int, errors: int, running: tuple[str, float] | None) -> None:
        now = time.monotonic()
        if now - self._last < PERIOD:
            return
        self._last = now
        rate = done / (now - self._began)
        total = max(self._requests, self._resumed + done)
        parts = [
            f"{count(self._resumed + done)} of about {count(total)} requests ({(self._resumed + done) / max(1, total):.0%})"
        ]
        if done >= _ENOUGH:
            parts += [f"{rate:.1f}/s", f"about {duration((total - self._resumed - done) / rate)} left"]
        parts.append(counted(errors, "error"))
        if running is not None:
            parts.append(f"{task} {running[0]} {running[1]:.3f} so far")
        say("evalkit: " + ", ".join(parts))

    def phase(self, text: str) -> None:
        say(f"evalkit: {text} ({duration(time.monotonic() - self._began)} so far)")

    def working(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._last >= PERIOD:
            self._last = now
            say(f"evalkit: {what}, {count(done)} of {count(total)} texts ({duration(now - self._began)} so far)")

    def warning(self, text: str) -> None:
        say(f"evalkit: warning: {text}")

    def scored(self, task: str, summaries: Sequence[Summary]) -> None: ...


class OnTerminal:
    """A bar with rate, time left, errors and the running value."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._line: TaskID | None = None
        self._texts: TaskID | None = None
        self._resumed = 0

    def started(self, run: Run, samples: int, requests: int, resumed: int) -> None:
        _announce(run, samples, requests, resumed)
        self._resumed = resumed
        self._line = self._bar.add_task("asking", total=max(requests, resumed), completed=resumed, note="", resumed=resumed)

    def answered(self, task: str, done: int, errors: int, running: tuple[str, float] | None) -> None:
        if self._line is None:
            return
        notes = [f"{running[0]} {running[1]:.3f}"] if running is not None else []
        notes += [f"[red]{counted(errors, 'error')}[/red]"] if errors else []
        self._bar.update(self._line, completed=self._resumed + done, description=_plain(task), note="  ".join(notes))

    def phase(self, text: str) -> None:
        if self._line is None:
            say(f"evalkit: {text}")
        else:
            self._bar.update(self._line, description=_plain(text))

    def working(self, what: str, done: int, total: int) -> None:
        """A bar of its own, from the first batch to the last."""
        if self._texts is None and done < total:
            self._texts = self._bar.add_task(_plain(what), total=total, completed=done, note="", resumed=done)
        elif self._texts is not None and done < total:
            self._bar.update(self._texts, description=_plain(what), completed=done, total=total)
        elif self._texts is not None:
            self._bar.remove_task(self._texts)
            self._texts = None

    def warning(self, text: str) -> None:
        say(f"evalkit: warning: {text}")

    def scored(self, task: str, summaries: Sequence[Summary]) -> None:
        if self._line is not None:
            self._bar.update(self._line, description=_plain(f"scored {task}"), note="")


def _announce(run: Run, samples: int, requests: int, resumed: int) -> None:
    for warning in run.manifest.get("warnings", ()):
        say(f"evalkit: warning: {warning}")
    going_on = f", {count(resumed)} of them answered already" if resumed else ""
    say(f"evalkit: {counted(samples, 'sample')}, about {counted(requests, 'request')}{going_on}; run {run.path}")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Pace(ProgressColumn):
        """Rate and time left over the whole run: answers come in waves, so what the last seconds brought says little."""

        def render(self, task: Task) -> Text:
            done = task.completed - task.fields["resumed"]
            if task.elapsed is None or done < _ENOUGH:
                return Text("")
            rate = done / max(task.elapsed, 1e-3)
            left = (task.total or 0) - task.completed
            return Text(f"{rate:.1f}/s" + (f", {duration(left / rate)} left" if left > 0 else ""))

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        Pace(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True, expand=True)
