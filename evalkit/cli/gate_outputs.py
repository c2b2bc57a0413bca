"""Where a gate's result goes: the terminal, files, and what GitHub Actions reads."""

from __future__ import annotations

import os
import secrets as chance
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evalkit.cli.output import print_table, say
from evalkit.errors import ConfigError, EvalkitError
from evalkit.gating import annotations as github
from evalkit.gating import as_json, junit, markdown, terminal
from evalkit.gating.base import GateResult
from evalkit.secrets import scrub

#: Bytes that a step's summary may have; GitHub shows nothing of a larger one.
_SUMMARY = 1 << 20
#: Characters of a page that stands in a summary: bars take three bytes a character.
_PAGE = 250_000


@dataclass(frozen=True, slots=True)
class Outputs:
    """What was asked for, checked. ``-`` is stdout, where then no table is printed."""

    gate: str
    json: str | None = None
    markdown: str | None = None
    junit: str | None = None
    github: bool = False
    report_url: str | None = None

    def __post_init__(self) -> None:
        files = {"--json": self.json, "--markdown": self.markdown, "--junit": self.junit}
        to_stdout = [flag for flag, to in files.items() if to == "-"]
        if self.github:
            to_stdout.append("--github")
        if len(to_stdout) > 1:
            raise ConfigError(f"{' and '.join(to_stdout)} cannot both write to stdout; name a file")
        for flag, to in files.items():  # told before a candidate is run for hours
            if to is not None and Path(to).is_dir():
                raise ConfigError(f"{flag}: {to} is a folder; name a file in it")

    def show(self, result: GateResult) -> None:
        """Every form of the verdict."""
        report = self.report_url or (None if self.github else self._beside(result.candidate.report))
        self._files(
            lambda: as_json.render(as_json.document(result)),
            lambda: markdown.render(result, report_url=report),
            lambda: junit.render(result),
        )
        if "-" not in (self.json, self.markdown, self.junit):
            self._print(result)
        if result.verdict == "INCONCLUSIVE" and not result.exit_code and result.inconclusive != "pass":
            say("evalkit: warning: this gate is INCONCLUSIVE and all the same leaves with exit code 0")
        if self.github:
            print("\n".join(github.render(result)), flush=True)
            _summarise(lambda most: markdown.render(result, report_url=self.report_url, longest=most))

    def refused(self, error: EvalkitError) -> None:
        """What stands in the place of a verdict, so that no older one is taken for it."""
        self._files(
            lambda: as_json.render(as_json.refused(self.gate, error)),
            lambda: markdown.refused(self.gate, error),
            lambda: junit.refused(self.gate, error),
        )
        if self.github:
            print("\n".join(github.refused(self.gate, error)), flush=True)
            _summarise(lambda most: markdown.refused(self.gate, error))

    def _beside(self, report: str | None) -> str | None:
        """The report as a link from where the page stands. In a pull request's comment such a link leads nowhere."""
        folder = Path(self.markdown).parent if self.markdown not in (None, "-") else Path()
        return None if report is None else os.path.relpath(report, folder)

    def _files(self, *makers: Callable[[], str]) -> None:
        for to, make in zip((self.json, self.markdown, self.junit), makers, strict=True):
            if to is not None:
                write(Path(to), make())

    def _print(self, result: GateResult) -> None:
        """The table, then why. Names cannot give GitHub's runner commands while it is told not to listen."""
        word = chance.token_hex(16)
        if self.github:
            print(f"::stop-commands::{word}")
        if result.checks:
            print_table(terminal.HEADERS, terminal.table(result), right=terminal.RIGHT, spare=terminal.SPARE)
            print()
        for line in terminal.lines(result):
            print(scrub(line))
        if self.github:
            print(f"::{word}::", flush=True)


def write(to: Path, text: str) -> None:
    """``text`` to a file, whose folder is made, or to stdout (``-``); without any known secret."""
    if str(to) == "-":
        print(text, end="")
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(scrub(text), encoding="utf-8", errors="backslashreplace")


def _summarise(make: Callable[[int], str]) -> None:
    """Append the page to the step's summary, as large as there is room for."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    path = Path(name)
    room = _SUMMARY - (path.stat().st_size if path.is_file() else 0)
    for longest in (_PAGE, markdown.LONGEST):
        page = scrub(make(longest)).encode("utf-8", "backslashreplace") + b"\n"
        if len(page) <= room:
            with path.open("ab") as file:
                file.write(page)
            return
    say("evalkit: warning: the step's summary has no room left for this gate's page")
