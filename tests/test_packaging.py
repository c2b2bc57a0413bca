"""A wheel, built in-process, holds everything and runs outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hatchling.builders.wheel import WheelBuilder

    target = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(target), versions=["standard"])
    site = target / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def evalkit(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "EVALKIT_CACHE": str(cwd / "cache")}
    command = [sys.executable, "-m", "evalkit", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_folders_of_definitions(unpacked: Path) -> None:
    data = unpacked / "evalkit" / "_data"
    assert {"tasks", "judges", "reports", "gates"} <= {p.name for p in data.iterdir()}
    assert (data / "tasks" / "quickstart.yaml").is_file()
    assert (unpacked / "evalkit" / "py.typed").is_file()


def test_it_runs_outside_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    where = "import evalkit, evalkit.resources as r; print(evalkit.__file__); print(r.builtin_dir('tasks'))"
    done = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(unpacked)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(line.startswith(str(unpacked)) for line in done.stdout.split()), done.stdout

    listed = evalkit(unpacked, "ls", "tasks", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "arithmetic" in listed.stdout


def test_an_evaluation_runs_from_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    done = evalkit(unpacked, "run", "--model", "mock/echo", "--tasks", "arithmetic", "--limit", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").glob("2*")
    assert (run / "report.html").is_file()
