"""Scoring while a run still asks: the same files as scoring afterwards, and nothing half done, whatever happens between."""

from __future__ import annotations

import gzip
import json
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

import evalkit
from evalkit.errors import Incomplete
from evalkit.models.base import BusySink, Capabilities, Sink, Source
from evalkit.runner import records, scoring
from evalkit.scorers.text import Compared
from evalkit.types import Failure, Record, Request, Response, Score

ROWS = 150
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{name}: {{{{question}}}}"
doc_to_target: answer
generation_kwargs: {{until: ["\\n"], max_gen_toks: 8}}
"""
PLAIN = """
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
FILTERS = """
filter_list:
  - {name: first, filter: [{function: take_first}]}
  - {name: digit, filter: [{function: regex, regex_pattern: "(\\\\d)"}, {function: take_first}]}
"""
REPEATS = "repeats: 3\n"
DERIVED = ("samples.jsonl.gz", "samples.csv", "summary.json", "summary.csv")


class Hosted:
    """Answers in waves and out of order, and lets the run work while it "waits"; ``eager=False``: it does not."""

    name, fingerprint = "hosted", "hosted-1"
    capabilities = Capabilities(frozenset({"generate"}))

    def __init__(self, *, eager: bool = True, fails: float = 0.0, until: int | None = None, end: str = "stop") -> None:
        self._eager, self._fails, self._until, self._end = eager, fails, until, end
        self.asked = 0
        self.scored_ahead: set[str] = set()
        self.runs = Path()

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        chance = random.Random(7)
        while not stop.is_set() and (wave := list(source.take(16))):
            chance.shuffle(wave)
            for request in wave:
                sink(self._answer(request))
                self.asked += 1
                while self._eager and isinstance(sink, BusySink) and sink.meanwhile():
                    pass
                if self.asked == self._until:
                    if self._end == "stop":
                        stop.set()
                        return
                    raise Incomplete("the server is gone")
        self.scored_ahead = {path.name.lstrip(".").split(".")[0] for path in self.runs.glob("2*/scores/*")}

    def _answer(self, request: Request) -> Response:
        draw = random.Random(request.key).random()
        if draw < self._fails:
            return Response(request.key, error=Failure("mock", "not now", retryable=draw < self._fails / 2))
        return Response(request.key, text=f"{int(10 * draw)} it is", tokens=3, finish="stop")

    def describe(self) -> dict[str, str]:
        return {}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK", 32)
    monkeypatch.setattr(scoring, "_STALL", 60.0)  # a busy machine changes nothing here


def task(folder: Path, name: str = "riddles", more: str = PLAIN) -> str:
    folder.mkdir(exist_ok=True)
    data = folder / "data.jsonl"
    rows = ({"question": f"number {i}?", "answer": f"{i % 10} it is", "kind": "abc"[i % 3]} for i in range(ROWS))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / f"{name}.yaml").write_text(TASK.format(name=name, data=data) + more)
    return str(folder / f"{name}.yaml")


def go(tasks: Sequence[str], runs: Path, model: Hosted, **settings: object) -> evalkit.Run:
    model.runs = runs
    return evalkit.run(tasks=tasks, model=model, output_dir=runs, **settings)


def files(run: evalkit.Run) -> dict[str, bytes]:
    """Everything that scoring and exporting made, by name."""
    paths = [*(run.path / "scores").iterdir(), *(run.path / name for name in DERIVED)]
    return {path.name: path.read_bytes() for path in paths}


def leftovers(path: Path) -> list[str]:
    return [found.name for found in path.rglob(".*.tmp")]


@pytest.mark.parametrize(
    ("tasks", "ahead"),
    [
        ({"one": PLAIN}, "one"),
        ({"one": PLAIN + FILTERS}, "one"),
        ({"one": PLAIN + REPEATS}, "one"),
        ({"one": "scorers: [exact_match, token_f1, {name: contains, label: has}]\nslices: kind\n"}, "one"),
        ({"one": PLAIN, "two": PLAIN + FILTERS, "three": "scorers: [token_f1]\n"}, "one two three"),
        ({"one": PLAIN, "two": "scorers: [exact_match, rouge]\n", "three": PLAIN}, "one"),
        ({"one": "scorers: [precision_recall_f1]\n", "two": PLAIN}, ""),
        ({"one": "scorers: [bleu]\n"}, ""),
    ],
    ids=["plain", "filters", "repeats", "several", "tasks", "state-between", "state-first", "own-batches"],
)
@pytest.mark.parametrize("fails", [0.0, 0.1], ids=["well", "failures"])
def test_scored_ahead_or_afterwards_is_the_same(tmp_path: Path, tasks: dict[str, str], ahead: str, fails: float) -> None:
    paths = [task(tmp_path / "t", name, more) for name, more in tasks.items()]
    eager, calm = Hosted(fails=fails), Hosted(fails=fails, eager=False)
    run, reference = go(paths, tmp_path / "eager", eager), go(paths, tmp_path / "calm", calm)
    assert files(run) == files(reference)
    assert run.status == reference.status == ("incomplete" if fails else "complete")
    assert run.manifest["facts"] == reference.manifest["facts"]
    assert eager.scored_ahead == set(ahead.split()) and not calm.scored_ahead
    assert not leftovers(run.path)


def test_without_files_to_export_tasks_are_scored_ahead_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    in_pieces = scoring.in_pieces

    def told(store, task, *rest):
        begun.append(task.name)
        return in_pieces(store, task, *rest)

    monkeypatch.setattr(scoring, "in_pieces", told)
    tasks = {"one": PLAIN, "two": "scorers: [exact_match, rouge]\n", "three": PLAIN}
    paths = [task(tmp_path / "t", name, more) for name, more in tasks.items()]
    run = evalkit.run(tasks=paths, model=Hosted(), store=False)
    assert begun == ["one", "three"]
    assert run.summary() == evalkit.run(tasks=paths, model=Hosted(eager=False), store=False).summary()


def test_failures_that_a_second_execution_mends(tmp_path: Path) -> None:
    path = [task(tmp_path / "t")]
    reference = go(path, tmp_path / "calm", Hosted(eager=False))
    first = go(path, tmp_path / "runs", Hosted(fails=0.2))
    assert first.status == "incomplete"
    second = go(path, tmp_path / "runs", Hosted(), retry_errors=True)
    assert second.path == first.path and second.status == "complete"
    assert files(second) == files(reference)


@pytest.mark.parametrize("until", [5, 70, 2 * ROWS - 20])
def test_a_stop_leaves_nothing_half_done_and_the_rest_follows(tmp_path: Path, until: int) -> None:
    paths = [task(tmp_path / "t", "one", PLAIN + FILTERS), task(tmp_path / "t", "two")]
    reference = go(paths, tmp_path / "calm", Hosted(eager=False))
    stopped = go(paths, tmp_path / "runs", Hosted(until=until))
    assert stopped.status == "interrupted"
    assert not leftovers(stopped.path)
    assert not [name for name in DERIVED if (stopped.path / name).exists()]
    for found in (stopped.path / "scores").iterdir():  # only of a task that was wholly answered
        assert ".one." in f".{found.name}" and gzip.decompress(found.read_bytes()).count(b"\n") == ROWS
    model = Hosted()
    resumed = go(paths, tmp_path / "runs", model)
    assert resumed.path == stopped.path and model.asked == 2 * ROWS - until
    assert files(resumed) == files(reference)


def test_a_server_that_goes_away(tmp_path: Path) -> None:
    path = [task(tmp_path / "t")]
    run = go(path, tmp_path / "eager", Hosted(until=77, end="gone"))
    reference = go(path, tmp_path / "calm", Hosted(until=77, end="gone", eager=False))
    assert run.status == reference.status == "incomplete"
    assert files(run) == files(reference)
    assert not leftovers(run.path)


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What scoring one of the samples raises, one after the other; then it works."""
    errors: list[BaseException] = []
    right = Compared.score_one

    def score_one(self: Compared, record: Record) -> Score:
        if record.sample.index == 40 and errors:
            raise errors.pop()
        return right(self, record)

    monkeypatch.setattr(Compared, "score_one", score_one)
    return errors


def test_a_scorer_that_fails_is_told_when_everything_is_answered(tmp_path: Path, trouble: list[BaseException]) -> None:
    path = [task(tmp_path / "t")]
    trouble += [ValueError("not this one"), ValueError("not this one")]
    model = Hosted()
    with pytest.raises(ValueError, match="not this one"):
        go(path, tmp_path / "runs", model)
    assert model.asked == ROWS, "an error in scoring costs no answer"
    (found,) = (tmp_path / "runs").glob("2*")
    assert not leftovers(found) and not list((found / "scores").iterdir())
    trouble.append(ValueError("ahead only"))
    run = go(path, tmp_path / "once", Hosted())
    assert not trouble
    assert files(run) == files(go(path, tmp_path / "calm", Hosted(eager=False)))


def test_a_second_ctrl_c_while_scoring(tmp_path: Path, trouble: list[BaseException]) -> None:
    path = [task(tmp_path / "t")]
    trouble.append(KeyboardInterrupt())
    model = Hosted()
    with pytest.raises(KeyboardInterrupt):
        go(path, tmp_path / "runs", model)
    assert model.asked < ROWS
    (found,) = (tmp_path / "runs").glob("2*")
    assert not leftovers(found) and not list((found / "scores").iterdir())
    run = go(path, tmp_path / "runs", Hosted())
    assert run.path.name == found.name
    assert files(run) == files(go(path, tmp_path / "calm", Hosted(eager=False)))


def test_what_takes_long_is_left_for_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_STALL", 0.0)
    path = [task(tmp_path / "t")]
    run = go(path, tmp_path / "eager", Hosted())
    assert files(run) == files(go(path, tmp_path / "calm", Hosted(eager=False)))


def test_with_a_second_model_in_the_run_nothing_is_scored_ahead(tmp_path: Path) -> None:
    model = Hosted()
    run = go([task(tmp_path / "t")], tmp_path / "runs", model, roles={"judge": "mock/echo"})
    assert run.status == "complete" and not model.scored_ahead
