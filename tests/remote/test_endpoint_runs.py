"""Whole runs through an endpoint: letters from a chat model, their probabilities, tool calls, several repeats in a call."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from evalkit import api
from evalkit.errors import ModelError, ScorerError
from evalkit.models.remote import adapter
from evalkit.runner.options import RunOptions


@pytest.fixture(autouse=True)
def asked_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier test found out about the server does not hold here."""
    monkeypatch.setattr(adapter, "_PROBED", {})


CHOICES = """
task: letters
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_choice: [one, two, three, four]
doc_to_target: "{{a}}"
"""
CALLS = """
task: calls
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
doc_to_text: q
generation_kwargs: {tools: [{name: f, parameters: {type: dict, properties: {a: {type: integer}}}}], until: []}
scorers: [{name: tool_calls, column: truth}]
"""
SAMPLED = """
task: sampled
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
doc_to_text: q
doc_to_target: a
repeats: 4
generation_kwargs: {do_sample: true, temperature: 1.0, until: []}
filter_list: [{name: all, filter: [{function: take_first_k, k: 4}]}]
"""


def options(folder: Path, text: str, **changes: Any) -> RunOptions:
    rows = [{"q": f"question {i}", "a": i % 4, "truth": [{"f": {"a": [1]}}]} for i in range(8)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.yaml").write_text(text)
    chosen = {"tasks": (str(folder / "task.yaml"),), "model": "openai/mock", "output_dir": folder / "runs", **changes}
    return RunOptions(**chosen)


def lines(run: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.open(run.path / "samples.jsonl.gz", "rt")]


def test_a_chat_only_server_is_asked_for_letters(mock: Any, tmp_path: Path) -> None:
    chat_only = {"fault": "status", "status": 404, "path": "/v1/completions", "message": "chat only"}
    mock.configure(rules=[chat_only], reply={"text": "<think>Is it A?</think>\n\nThe answer is **B**."})
    run = api.run(options=options(tmp_path, CHOICES))
    found = {s.metric: (s.value, s.filter) for s in run.summary()}
    assert found == {"acc": (0.25, "letter"), "unparsed": (0.0, "letter")}
    assert any("does not score given texts" in warning for warning in run.manifest["warnings"])
    first = lines(run)[0]
    assert first["filtered_resps"] == ["B"] and first["resps"] == [["The answer is **B**."]]
    assert first["resps_beside"] == [{"reasoning": "Is it A?"}]
    with pytest.raises(ModelError, match="can only do generate"):
        api.run(options=options(tmp_path, CHOICES, form="loglikelihood"), store=False)


def test_a_further_scorer_needs_to_fit_the_form_that_is_asked(mock: Any, tmp_path: Path) -> None:
    chat_only = {"fault": "status", "status": 404, "path": "/v1/completions", "message": "chat only"}
    mock.configure(rules=[chat_only], reply={"text": "B"})
    run = api.run(options=options(tmp_path, CHOICES, scorers=("exact_match",)))
    assert {s.metric for s in run.summary()} == {"acc", "unparsed", "exact_match"}
    with pytest.raises(ScorerError, match=r"exact_match.*there are only multiple_choice"):
        api.run(options=options(tmp_path, CHOICES, scorers=("exact_match",), form="loglikelihood"))


def test_letters_by_their_probability(mock: Any, tmp_path: Path) -> None:
    run = api.run(options=options(tmp_path, CHOICES, form="letter-logprobs"))
    found = {s.metric: s for s in run.summary()}
    assert {s.filter for s in found.values()} == {"letter-logprobs"}
    expected = []
    for line in lines(run):
        (beside,) = line["resps_beside"]
        letters = {k: v for k, v in beside["top_logprobs"].items() if k in "ABCD"}
        expected.append(float("ABCD".index(max(letters, key=letters.__getitem__)) == line["doc"]["a"]))
        assert line["scores"]["letter_logprobs"]["detail"]["letters"] == pytest.approx(
            {k: math.exp(v) for k, v in letters.items()}, abs=1e-6
        )
    assert found["acc"].n == 8 and found["acc"].value == sum(expected) / 8


def test_one_run_never_mixes_the_forms(mock: Any, tmp_path: Path) -> None:
    by_likelihood = api.run(options=options(tmp_path, CHOICES))
    by_letter = api.run(options=options(tmp_path, CHOICES, form="letter"))
    assert {s.filter for s in by_likelihood.summary()} == {"none"}
    assert {s.filter for s in by_letter.summary()} == {"letter"}
    assert by_likelihood.manifest["config_hash"] != by_letter.manifest["config_hash"]


def test_tool_calls_are_scored_as_data(mock: Any, tmp_path: Path) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    mock.configure(reply={"text": None, "message": {"content": None, "tool_calls": calls}, "finish": "tool_calls"})
    run = api.run(options=options(tmp_path, CALLS))
    (summary,) = run.summary()
    assert (summary.metric, summary.value, summary.n) == ("tool_calls", 1.0, 8)
    assert lines(run)[0]["resps_beside"] == [{"tool_calls": [{"name": "f", "arguments": {"a": 1}, "id": "c"}]}]


def test_repeats_share_calls_and_each_is_an_answer(mock: Any, tmp_path: Path) -> None:
    run = api.run(options=options(tmp_path, SAMPLED, model_args={"n": "4", "probe": "false"}))
    assert {len(line["resps"][0]) for line in lines(run)} == {4}
    assert len(mock.seen("question")) == 8


def test_log_likelihoods_in_a_template_that_only_the_server_knows_are_refused(mock: Any, tmp_path: Path) -> None:
    chosen = options(tmp_path, CHOICES, apply_chat_template=True, form="loglikelihood")
    with pytest.raises(ModelError, match="--apply-chat-template"):
        api.run(options=chosen, store=False)
    run = api.run(options=options(tmp_path, CHOICES, apply_chat_template=True), store=False)
    assert {s.filter for s in run.summary()} == {"letter"}
