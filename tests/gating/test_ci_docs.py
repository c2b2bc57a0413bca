"""docs/ci.md can be copied: its YAML parses, its commands exist, its comment step finds its comment again."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import gate_results
import pytest
import yaml

from evalkit.gating import markdown
from evalkit.gating.base import CheckResult, GateResult, Side

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "ci.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def github_steps() -> dict[str, str]:
    workflow = yaml.safe_load(blocks("yaml")[0])
    return {step.get("name", step.get("uses", "")): step.get("run", "") for step in workflow["jobs"]["gate"]["steps"]}


def test_the_workflows_are_yaml_and_have_what_they_need():
    github, gitlab = map(yaml.safe_load, blocks("yaml"))
    assert github["permissions"]["pull-requests"] == "write" and "pull_request" in github[True]
    assert gitlab["gate"]["artifacts"]["reports"]["junit"] == "gate.xml"
    assert gitlab["gate"]["allow_failure"]["exit_codes"] == [3]


def test_every_option_that_is_written_exists():
    import typer.main

    from evalkit.cli.app import app

    commands = typer.main.get_command(app).commands
    known = {option for p in commands["gate"].params for option in p.opts}
    shown = [line.removeprefix("$ ") for text in blocks("console") for line in text.splitlines()]
    scripts = [github_steps()["Gate"], *yaml.safe_load(blocks("yaml")[1])["gate"]["script"]]
    for command in [*shown, *scripts]:
        words = shlex.split(command.replace("\\\n", " "), comments=True)
        if words[:2] == ["evalkit", "gate"]:
            assert {word for word in words if word.startswith("--")} <= known, command
    for option in re.findall(r"`(--[a-z-]+)", TEXT):
        assert option in known | {"--limit", "--evalkit-candidate", "--evalkit-baseline", "--to", "--force"}, option


def test_the_tests_in_it_are_python():
    (code,) = blocks("python")
    assert [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)] == [
        "test_nothing_is_broken",
        "test_release",
    ]


def test_the_documented_document_is_the_one_that_is_written():
    table = TEXT[TEXT.index("## The JSON document") :]
    for kind in (GateResult, CheckResult, Side):
        for field in fields(kind):
            assert f"`{field.name}`" in table, f"{kind.__name__}.{field.name}"


@pytest.mark.skipif(shutil.which("jq") is None, reason="the workflow's runner has jq, this machine has not")
@pytest.mark.parametrize("there", [False, True])
def test_the_comment_is_made_once_and_then_brought_up_to_date(there, tmp_path):
    made = gate_results.result(gate_results.check("<!-- evalkit-gate:release -->"), gate="release")
    other = gate_results.result(gate_results.check("<!-- evalkit-gate:release -->"), gate="other")
    comments = [
        {"id": 1, "user": {"type": "User"}, "body": markdown.render(made)},
        {"id": 2, "user": {"type": "Bot"}, "body": markdown.render(other)},
        *([{"id": 3, "user": {"type": "Bot"}, "body": markdown.render(made).replace("\n", "\r\n")}] if there else []),
    ]
    (tmp_path / "comments.json").write_text(json.dumps(comments))
    (tmp_path / "gate.md").write_text(markdown.render(made))
    gh = tmp_path / "gh"
    gh.write_text('#!/bin/sh\ncase "$*" in *paginate*) cat comments.json;; *) echo "$@" >> calls;; esac\n')
    gh.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "GITHUB_REPOSITORY": "our/repo",
        "NUMBER": "7",
        "MARKER": markdown.marker("release"),
    }
    subprocess.run(["bash", "-e", "-c", github_steps()["Comment"]], cwd=tmp_path, env=environment, check=True)
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.endswith("-F body=@gate.md")
    assert ("-X PATCH repos/our/repo/issues/comments/3" if there else "-X POST repos/our/repo/issues/7/comments") in call


def test_the_marker_in_the_workflow_is_the_one_that_is_written():
    assert f'MARKER: "{markdown.marker("release")}"' in TEXT
