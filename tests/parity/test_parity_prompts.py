"""evalkit asks what lm-eval asks: tasks of its zoo over the same synthetic rows, prompt by prompt, number by number.

The goldens were made by lm-eval (make_goldens.py): a short hash of each sample's requests, and every metric and standard
error that lm-eval computes from made-up answers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import parity_cases as cases
import pytest
from parity_cases import CASES, SETTINGS, Case
from parity_zoo import find_zoo

import evalkit
import evalkit.data.load as tables
from evalkit.models.base import Capabilities, Sink, Source
from evalkit.tasks.base import PromptOptions
from evalkit.tasks.load import TaskLibrary
from evalkit.tasks.task import PreparedTask, build
from evalkit.types import Message, Request, Response, Summary

GOLDEN = json.loads((Path(__file__).parent / "goldens" / "prompts.json").read_text("utf-8"))


class Chat:
    """Renders chat messages as the recording model did."""

    def render_chat(self, messages: Sequence[Message], *, continue_final: bool) -> str:
        return cases.render_chat([(m.role, m.content) for m in messages], continue_final=continue_final)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zoo_tasks")
    for case in CASES.values():
        cases.write_task(path, find_zoo(), case)
    return path


@pytest.fixture(scope="module")
def library() -> TaskLibrary:
    return TaskLibrary(cache=False)


def options(setting: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    named = {"seed" if key == "fewshot_random_seed" else key: value for key, value in setting.items()}
    return {**named, "compat": "lm-eval", "allow_code": True, **more}


def built(library: TaskLibrary, folder: Path, task: str, setting: str) -> PreparedTask:
    config = library.resolve([str(folder / f"{task}.yaml")]).tasks[0]
    splits = tables.load_splits(config.dataset_path, config.dataset_name, config.dataset_kwargs, base=folder)
    return build(config, splits, PromptOptions(**options(SETTINGS[setting])), tables=tables)


def asked(request: Request) -> tuple[str, str, Any]:
    what = cases.generation_settings(request.params) if request.kind == "generate" else request.continuation
    assert isinstance(request.prompt, str)
    return request.kind, request.prompt, what


@pytest.mark.parametrize("task", list(CASES))
def test_requests_are_those_of_lm_eval(task: str, folder: Path, library: TaskLibrary) -> None:
    for name in CASES[task].settings:
        made = built(library, folder, task, name)
        found = []
        for sample in made.samples():
            requests = [request for request in made.requests(sample, Chat()) if request.repeat == 0]
            found.append(cases.fingerprint([asked(request) for request in requests]))
        expected = GOLDEN[task][name]["docs"].split()
        assert len(found) == len(expected), f"{task} [{name}]: number of samples"
        wrong = [i for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)) if ours != theirs]
        assert not wrong, f"{task} [{name}]: other requests than lm-eval's for samples {wrong}"


class MadeUp:
    """Answers as the model behind the goldens did: from the text alone."""

    def __init__(self, docs: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
        self._docs = docs

    name = "made-up"
    fingerprint = "made-up"
    capabilities = Capabilities(frozenset({"loglikelihood", "loglikelihood_rolling", "generate"}), chat=True)

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        while wave := source.take(512):
            for request in wave:
                sink(self.answer(request))

    def answer(self, request: Request) -> Response:
        prompt = str(request.prompt)
        if request.kind == "generate":
            return Response(
                request.key, text=cases.fake_answer(prompt, self._docs[request.task, request.sample_id], request.repeat)
            )
        if request.kind == "loglikelihood_rolling":
            return Response(request.key, logprob=cases.fake_rolling(prompt))
        logprob, greedy = cases.fake_loglikelihood(prompt, request.continuation)
        return Response(request.key, logprob=logprob, is_greedy=greedy)

    def render_chat(self, messages: Sequence[Message], *, continue_final: bool) -> str:
        return Chat().render_chat(messages, continue_final=continue_final)

    def describe(self) -> dict[str, Any]:
        return {}


#: Aggregations whose standard error lm-eval draws at random, here from 1,000 resamples (of corpus scores from too few).
BOOTSTRAPPED = {"perplexity": 0.15, "f1": 0.15, "mcc": 0.15, "bleu": None, "chrf": None, "ter": None}


@pytest.mark.parametrize("setting", list(SETTINGS))
def test_metrics_are_those_of_lm_eval(setting: str, folder: Path, library: TaskLibrary) -> None:
    chosen = [case for case in CASES.values() if setting in case.settings and case.scored]
    paths = [str(folder / f"{case.task}.yaml") for case in chosen]
    tasks = [built(library, folder, case.task, setting) for case in chosen]
    docs = {(task.name, sample.id): sample.doc for task in tasks for sample in task.samples()}
    run = evalkit.run(paths, MadeUp(docs), store=False, **options(SETTINGS[setting]))
    summaries = run.summary()
    wrong = [line for case in chosen for line in differences(case, GOLDEN[case.task][setting]["results"], summaries)]
    assert not wrong, "\n".join(wrong)


def differences(case: Case, expected: Mapping[str, Any], summaries: Sequence[Summary]) -> list[str]:
    """What is not as lm-eval has it: values to 4 decimals, standard errors too unless they are drawn at random."""
    ours = {(s.metric, s.filter): s for s in summaries if s.task == case.task and s.slice is None}
    found = []
    for key, value in expected.items():
        metric, _, pipeline = key.partition(",")
        summary = ours.get((metric.removesuffix("_stderr"), pipeline))
        if summary is None:
            found.append(f"{case.task} {key}: no such metric, there are {sorted(ours)}")
        elif not metric.endswith("_stderr"):
            if summary.value != pytest.approx(value, abs=5e-5, nan_ok=True):
                found.append(f"{case.task} {key}: {summary.value}, lm-eval has {value}")
        elif value != "N/A":
            tolerance = BOOTSTRAPPED.get(metric.removesuffix("_stderr"), 0.0)
            if tolerance is not None and summary.stderr != pytest.approx(value, abs=5e-5, rel=tolerance, nan_ok=True):
                found.append(f"{case.task} {key}: {summary.stderr}, lm-eval has {value}")
    return found
