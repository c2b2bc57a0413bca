"""The command line against an API that is replaced: what is asked of it, and what becomes of its answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

import fakerun

from evalkit.cli.app import main


@dataclass
class FakeApi:
    run_made: fakerun.FakeRun
    error: BaseException | None = None
    options: Any = None
    progress: Any = None
    rescored: tuple[Any, ...] = ()
    plans: list[Any] = field(default_factory=list)

    def run(self, *, options, progress):
        self.options, self.progress = options, progress
        if self.error is not None:
            raise self.error
        return self.run_made

    def plan(self, *, options):
        self.options = options
        return self.plans

    def open_run(self, name="latest", *, output_dir="runs"):
        return self.run_made

    def rescore(self, name, scorers, **more):
        self.rescored = (name, *scorers)
        return self.run_made


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    import os

    for name in [n for n in os.environ if n.startswith("EVALKIT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def api(monkeypatch, tmp_path):
    import evalkit.api

    fake = FakeApi(fakerun.fake_run(tmp_path))
    for name in ("run", "plan", "open_run", "rescore"):
        monkeypatch.setattr(evalkit.api, name, getattr(fake, name))
    return fake


@pytest.fixture
def evalkit(capsys, monkeypatch):
    """Run the command line; gives exit code, stdout and stderr."""

    def call(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["evalkit", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=stop.value.code, out=out, err=err)

    return call
