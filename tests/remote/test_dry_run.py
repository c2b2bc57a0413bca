"""What a run on a remote model would ask can be counted without a key and without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

import evalkit
from evalkit.errors import ModelError

TASKS = ["knowledge", "arithmetic"]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_openai_s_chat_models_are_counted_in_letter_form_and_need_no_key() -> None:
    choice, text = evalkit.plan(TASKS, "openai/gpt-4.1-mini", limit=5)
    assert (choice.form, choice.unsure, choice.requests, dict(choice.kinds)) == ("letter", False, 5, {"generate": 5})
    assert choice.cost_usd_at_most and choice.cost_usd_at_most > 0
    assert (text.form, text.unsure) == (None, False)


def test_a_server_that_was_not_asked_yet_leaves_the_form_open() -> None:
    way = {"base_url": "http://localhost:1/v1"}
    choice, text = evalkit.plan(TASKS, "openai/some-model", model_args=way, limit=5)
    assert (choice.form, choice.unsure, dict(choice.kinds)) == (None, True, {"loglikelihood": 20})
    assert not text.unsure
    (sure,) = evalkit.plan("knowledge", "openai/some-model", model_args=way, form="letter", limit=5)
    assert (sure.form, sure.unsure) == ("letter", False)


def test_a_model_with_completions_is_counted_by_log_likelihoods() -> None:
    (choice,) = evalkit.plan("knowledge", "openai/davinci-002", model_args={"api": "completions"}, limit=5)
    assert (choice.form, choice.unsure) == (None, True)


def test_azure_needs_no_key_either() -> None:
    way = {"azure_endpoint": "https://res.openai.azure.com", "api_version": "2025-04-01-preview"}
    (choice,) = evalkit.plan("knowledge", "azure/mine", model_args=way, limit=5)
    assert choice.form == "letter"


def test_a_run_needs_the_key(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="set OPENAI_API_KEY"):
        evalkit.run("arithmetic", "openai/gpt-4.1-mini", limit=2, output_dir=tmp_path)
    with pytest.raises(ModelError, match="set OPENAI_API_KEY"):
        evalkit.run("arithmetic", "openai/gpt-4.1-mini", limit=2, output_dir=tmp_path, model_args={"probe": "false"})
