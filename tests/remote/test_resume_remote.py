"""The command line against a mock API: kill it, interrupt it, refuse it; nothing that was answered is ever asked again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_kit import MARK, Riddles, question

from evalkit.runner.log import Log

COUNT = 120
CONNECTIONS = 8


@pytest.fixture
def many(tmp_path, mock):
    return Riddles(tmp_path, mock, COUNT)


def start(riddles: Riddles, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evalkit", "run", "--model", "openai/mock", "--tasks", "riddles.yaml"]
    command += ["-M", f"max_connections={CONNECTIONS}", *more]
    environment = {**os.environ, "EVALKIT_CACHE": str(riddles.folder / "cache"), "NO_COLOR": "1"}
    return subprocess.Popen(
        command, cwd=riddles.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(riddles: Riddles, *more: str) -> tuple[int, str]:
    """The exit code, and what it told."""
    process = start(riddles, *more)
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def error_lines(told: str) -> int:
    """Lines besides those that say what is being done."""
    return sum(not line.startswith("evalkit: loading") for line in told.strip().splitlines())


def journalled(riddles: Riddles) -> int:
    """Answers on disk, read as a stranger would."""
    count = 0
    for journal in riddles.folder.glob("runs/2*/journal"):
        log = Log(journal)
        count += sum(entry.ok for entry in log.entries())
        log.release()
    return count


def summary(riddles: Riddles) -> dict:
    (path,) = riddles.folder.glob("runs/2*/summary.json")
    (found,) = json.loads(path.read_text())["summaries"]
    return found


def served(riddles: Riddles) -> int:
    return len(riddles.mock.seen(MARK))


def test_kills_lose_nothing_that_was_answered(many):
    many.mock.configure(latency=0.03)
    chance = random.Random(3)
    for _ in range(4):
        before, kept = served(many), journalled(many)
        process = start(many)
        target = before + chance.randrange(4, 22)
        deadline = time.monotonic() + 60
        while served(many) < target and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(0.1)  # what was on its way reaches the server's log
        fresh = [row for row in many.mock.seen(MARK)[before:] if row["outcome"] == "200"]
        assert fresh, "each start got somewhere"
        lost = len(fresh) - (journalled(many) - kept)
        assert 0 <= lost <= CONNECTIONS, "no more was lost than the replies that were on their way"
    code, told = finish(many)
    assert code == 0, told
    assert len(list(many.folder.glob("runs/2*"))) == 1, "every start went on with the same run"
    again = len(many.mock.asked_again(MARK))
    assert again <= 4 * CONNECTIONS, "asked again is only what no journal had"
    assert len(set(many.asked())) == COUNT
    found = summary(many)
    assert (found["n"], found["errors"], found["value"]) == (COUNT, 0, 0.5)


def test_ctrl_c_takes_in_what_is_on_its_way(many):
    many.mock.configure(latency=0.05)
    process = start(many)
    deadline = time.monotonic() + 60
    while served(many) < 20 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert journalled(many) == served(many), "what was on its way is in the journal"
    code, told = finish(many)
    assert code == 0, told
    assert not many.mock.asked_again(MARK)


def test_a_run_that_failures_left_incomplete_ends_with_5_and_says_how_to_go_on(many):
    many.mock.configure(rules=[{"fault": "status", "status": 500, "match": question(17)}])
    code, told = finish(many, "-M", "max_retries=1")
    assert code == 5 and "Resume with" in told, told
    found = summary(many)
    assert (found["n"], found["errors"]) == (COUNT - 1, 1)
    many.mock.configure()
    code, told = finish(many, "-M", "max_retries=1")
    assert code == 0, told
    assert many.asked()[question(17)] == 3 and sum(many.asked().values()) == COUNT + 2
    assert not many.mock.asked_again(MARK)


def test_the_budget_of_patience_is_no_part_of_the_run(many):
    """Limits and waits may change between two starts of one run; what is asked may not."""
    many.mock.configure(rules=[{"fault": "status", "status": 503, "match": question(1)}])
    assert finish(many, "-M", "max_retries=0")[0] == 5
    many.mock.configure()
    code, told = finish(many, "-M", "max_retries=5", "-M", "attempt_timeout=20", "-M", "rpm=100000")
    assert code == 0 and len(list(many.folder.glob("runs/2*"))) == 1, told
    assert not many.mock.asked_again(MARK)


@pytest.mark.parametrize(("status", "code"), [(400, 0), (401, 2), (403, 2), (404, 2)])
def test_exit_codes_of_refusals(status, code, many):
    match = question(3) if status == 400 else ""
    many.mock.configure(rules=[{"fault": "status", "status": status, "match": match, "echo_key": True}])
    got, told = finish(many)
    assert got == code, told
    assert "sk-mock-0123456789" not in told and "Traceback" not in told
    if code:
        assert error_lines(told) == 1, told
        assert not served(many)


def test_a_server_that_breaks_for_everyone_stops_the_run(many):
    """A hundred failures in a row are the server's fault: the run ends with 5 and the rest is not even asked."""
    many.count = 400
    many.task = Riddles(many.folder, many.mock, 400).task
    many.mock.configure(rules=[{"fault": "status", "status": 500, "match": MARK}])
    code, told = finish(many, "-M", "max_retries=0")
    assert code == 5, told
    assert "mock error 500" in told
    assert served(many) < 250
    many.mock.configure()
    code, told = finish(many, "-M", "max_retries=0")
    assert code == 0, told
    assert not many.mock.asked_again(MARK)


def test_a_server_that_is_not_there_is_told_in_one_line(many):
    many.mock.kill()
    code, told = finish(many)
    assert code == 2 and error_lines(told) == 1 and "does not answer" in told, told
    assert not Path(many.folder / "runs").exists() or not list(many.folder.glob("runs/2*"))
