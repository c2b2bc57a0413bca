"""docs/remote-models.md: every command parses, every option exists, every message is one that evalkit gives."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evalkit.cli.app import app
from evalkit.models.remote.provider import OPENAI

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "remote-models.md").read_text("utf-8")
COMMANDS = re.findall(r"^\$ evalkit (run .*)$", PAGE, re.MULTILINE)
KEYS = {
    "OPENAI_API_KEY": "sk-docs-000000000",
    "AZURE_OPENAI_API_KEY": "azure-docs-000000",
    "AZURE_OPENAI_ENDPOINT": "https://docs.openai.azure.com",
    "OPENAI_API_VERSION": "2025-04-01-preview",
    "OPENROUTER_API_KEY": "sk-or-docs-00000",
}


def test_the_page_has_a_command_for_each_server() -> None:
    assert len(COMMANDS) >= 10
    for provider in ("openai", "azure", "vllm", "llamacpp", "ollama", "sglang", "openrouter"):
        assert any(f"--model {provider}/" in command for command in COMMANDS), provider


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_can_be_planned(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, [*shlex.split(command), "--limit", "2", "--dry-run"])
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"


def test_every_option_of_the_page_exists_with_the_default_it_names() -> None:
    known = {arg.name: arg for arg in OPENAI.args}
    azure = {"azure_deployment", "entra"}
    for name in re.findall(r"-M (\w+)=", PAGE):
        assert name in known or name in azure, name
    for name in ("max_retries", "attempt_timeout", "timeout", "batch_poll", "batch_requests"):
        (named,) = re.findall(rf"`-M {name}=(\d+)`", PAGE)
        assert float(named) == known[name].default, name


def test_the_messages_of_the_page_are_those_of_the_code() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "evalkit").rglob("*.py"))
    section = PAGE.partition("## When it does not work")[2]
    for cell in re.findall(r"^\| (.*?) \|", section, re.MULTILINE)[2:]:
        for message in re.findall(r"`([^`]+)`", cell):
            for piece in re.split(r" ?\.\.\.(?:, )?|OPENAI_API_KEY|/chat/completions|'top_k'|\(did you mean", message):
                assert piece.strip(" ()") in code, (message, piece)


def test_the_readme_names_the_page() -> None:
    assert "docs/remote-models.md" in (ROOT / "README.md").read_text("utf-8")
