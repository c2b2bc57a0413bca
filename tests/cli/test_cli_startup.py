"""Help comes at once: by what is imported, not by the clock."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "torch", "transformers", "pandas", "numpy", "scipy", "openai", "evaluate", "bert_score", "sacrebleu", "jinja2", "yaml",
    "rich", "datasets", "pydantic",
}  # fmt: skip


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_imports_nothing_heavy(arguments):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "evalkit", *arguments], capture_output=True, text=True, check=True
    )
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "import time:" in line}
    assert "typer" in imported
    assert not imported & HEAVY


def test_help_names_every_command(evalkit):
    done = evalkit("--help")
    assert done.code == 0
    for command in ("run", "compare", "ls", "validate", "show", "rescore", "report"):
        assert f"\n  {command} " in done.out


def test_every_option_has_a_twin_in_the_environment():
    import typer.main

    from evalkit.cli.app import app

    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        for option in (p for p in command.params if p.param_type_name == "option" and p.name != "help"):
            long = next(o for o in option.opts if o.startswith("--"))
            twin = "EVALKIT_" + long[2:].replace("-", "_").upper()
            if long == "--cache":  # EVALKIT_CACHE names the folder of everything that is cached
                twin = "EVALKIT_RESPONSE_CACHE"
            if long in ("--json", "--csv", "--markdown") and option.metavar == "FILE":  # the first two are flags elsewhere
                twin += "_FILE"
            assert option.envvar == twin, f"{name} {long}"
