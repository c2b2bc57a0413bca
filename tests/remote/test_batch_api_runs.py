"""Whole runs through the batch API, as processes that are killed and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer

import evalkit
from evalkit.errors import ModelError

KEY = "sk-canary-batch-run-4711"
LIMIT = 12


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer(polls=1_000_000) as running:
        yield running


def command(folder: Path) -> list[str]:
    options = ["--model", "openai/mock", "-M", "batch_api=true", "-M", "batch_poll=1", "-M", "batch_requests=5"]
    tasks = ["--tasks", "arithmetic", "--limit", str(LIMIT), "--output-dir", str(folder)]
    return [sys.executable, "-m", "evalkit", "run", *options, *tasks]


def environment(server: BatchServer) -> dict[str, str]:
    return {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}


def start(server: BatchServer, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(folder), env=environment(server), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(server: BatchServer, batches: int) -> None:
    deadline = time.monotonic() + 60
    while sum(server.looked.values()) < batches or len(server.batches) < batches:
        assert time.monotonic() < deadline, server.calls
        time.sleep(0.02)


def finish(server: BatchServer, folder: Path) -> str:
    server.polls = 0
    done = subprocess.run(command(folder), env=environment(server), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def check(server: BatchServer, folder: Path) -> Any:
    run = evalkit.open_run("latest", output_dir=folder)
    assert run.status == "complete" and run.manifest["counts"]["answers"] == LIMIT
    assert len(server.ran) == LIMIT and set(server.ran.values()) == {1}
    assert len(server.batches) == 3
    assert all(view.record.responses[0].extra["batch"] for view in run.records() if view.record.responses[0])
    assert not any(KEY.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return run


def test_killed_while_waiting_the_same_command_fetches(server: BatchServer, tmp_path: Path) -> None:
    process = start(server, tmp_path)
    wait_for(server, 3)
    process.kill()
    process.communicate()
    told = finish(server, tmp_path)
    assert "batch_1 was submitted before" in told
    check(server, tmp_path)
    assert not list(tmp_path.rglob("kept/**/*.json"))
    assert len(list(tmp_path.glob("*/run.json"))) == 2  # the run, and `latest`


def test_a_budget_that_ends_the_questions_early_forgets_nothing_that_was_submitted(
    server: BatchServer, tmp_path: Path
) -> None:
    process = start(server, tmp_path)
    wait_for(server, 3)
    process.kill()
    process.communicate()
    server.polls = 0
    poor = [*command(tmp_path), "--max-tokens-total", "600"]
    done = subprocess.run(poor, env=environment(server), capture_output=True, text=True, timeout=120)
    assert done.returncode == 5 and "--max-tokens-total" in done.stderr, done.stderr
    answered = evalkit.open_run("latest", output_dir=tmp_path).manifest["counts"]["answers"]
    assert 0 < answered < LIMIT
    finish(server, tmp_path)
    check(server, tmp_path)


def test_interrupted_it_says_that_the_batch_goes_on(server: BatchServer, tmp_path: Path) -> None:
    process = start(server, tmp_path)
    wait_for(server, 3)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on at" in told and "run the same command again" in told
    finish(server, tmp_path)
    check(server, tmp_path)


def test_a_new_run_is_paid_anew(server: BatchServer, tmp_path: Path) -> None:
    server.polls = 0
    way = {"base_url": server.url, "api_key": KEY, "batch_api": "true", "batch_poll": "1"}
    for _ in range(2):
        evalkit.run(tasks="arithmetic", model="openai/mock", limit=3, model_args=way, output_dir=tmp_path, new=True)
    assert len(server.batches) == 2 and set(server.ran.values()) == {2}


def test_online_and_in_batches_the_run_is_the_same(server: BatchServer, tmp_path: Path) -> None:
    """An answer is the same whichever way it came, so that a run can be begun one way and finished the other."""
    server.polls = 0
    shared: dict[str, Any] = {"tasks": "arithmetic", "model": "openai/mock", "limit": 5}
    way = {"base_url": server.url, "api_key": KEY}
    online = evalkit.run(**shared, model_args=way, output_dir=tmp_path / "a")
    batched = evalkit.run(**shared, model_args={**way, "batch_api": "true", "batch_poll": "1"}, output_dir=tmp_path / "b")
    assert online.manifest["config_hash"] == batched.manifest["config_hash"]
    assert [(s.metric, s.value) for s in online.summary()] == [(s.metric, s.value) for s in batched.summary()]
    assert batched.manifest["model"]["batch_api"] is True


def test_azure_names_the_deployment_and_a_path_of_its_own(server: BatchServer, tmp_path: Path) -> None:
    """As its documentation has it: the resource's files and batches, ``/chat/completions``, and no metadata kept."""
    server.polls, server.metadata = 0, False
    way = {"azure_endpoint": server.url.removesuffix("/v1"), "api_version": "2025-04-01-preview", "api_key": KEY}
    batch = {"azure_deployment": "mine", "batch_api": "true", "batch_poll": "1", "probe": "false"}
    run = evalkit.run(tasks="arithmetic", model="azure/gpt-4o", limit=3, output_dir=tmp_path, model_args={**way, **batch})
    assert run.status == "complete"
    assert {batch["endpoint"] for batch in server.batches.values()} == {"/chat/completions"}
    assert server.models == {"mine"}


def test_a_listed_price_is_halved_and_a_given_one_is_not(server: BatchServer, tmp_path: Path) -> None:
    server.polls = 0
    table = tmp_path / "prices.yaml"
    table.write_text("prices: [{model: 'openai/*', input: 2, cached: 1, output: 8}]")
    way = {"base_url": server.url, "api_key": KEY, "batch_api": "true", "batch_poll": "1"}
    ask: dict[str, Any] = {
        "tasks": "arithmetic",
        "model": "openai/mock",
        "limit": 3,
        "model_args": way,
        "output_dir": tmp_path,
    }
    listed = evalkit.run(**ask, prices=str(table))
    given = evalkit.run(**ask, price=["in=2,out=8"], new=True)
    assert listed.manifest["prices"]["model"]["input"] == 1 and listed.manifest["prices"]["model"]["output"] == 4
    costs = [sum(row["cost_usd"] for row in run.manifest["usage"]) for run in (listed, given)]
    assert costs[0] > 0 and costs[1] == pytest.approx(2 * costs[0])
    assert evalkit.plan(**{k: v for k, v in ask.items() if k != "output_dir"}, prices=str(table))[0].cost_usd_at_most


def test_a_server_without_a_batch_api_is_refused_with_one_line(server: BatchServer, tmp_path: Path) -> None:
    server.fail = [("POST", "/files", 404)]
    with pytest.raises(ModelError, match="has no batch API"):
        evalkit.run(
            tasks="arithmetic", model="openai/mock", limit=3, output_dir=tmp_path,
            model_args={"base_url": server.url, "api_key": KEY, "batch_api": "true"},
        )  # fmt: skip
