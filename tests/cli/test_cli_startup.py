"""Help comes at once, and a run does not wait for what it does not need: by what is imported, not by the clock."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiny_llama

HEAVY = {
    "torch", "transformers", "pandas", "numpy", "scipy", "openai", "evaluate", "bert_score", "sacrebleu", "jinja2", "yaml",
    "rich", "datasets", "pydantic",
}  # fmt: skip


#: What a run of any model can do without; and what one does without that loads no weights.
UNUSED = {"pandas", "datasets", "sklearn", "matplotlib", "openai", "evaluate", "sacrebleu"}
OTHERS = {"evalkit.comparison", "evalkit.gating", "evalkit.importers", "evalkit.classifiers"}
OTHERS |= {f"evalkit.api.{name}" for name in ("comparing", "gating", "importing", "judging", "scoring", "sweeping")}
INFERENCE = {"torch", "transformers", "tokenizers", "huggingface_hub", "accelerate", "scipy", "evalkit.models.hf"}


def imported(*command: str) -> set[str]:
    """The modules that a Python process imports, and the packages that they are in."""
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    names = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "import time:" in line}
    return names | {name.rsplit(".", count)[0] for name in names for count in range(1, name.count(".") + 1)}


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_imports_nothing_heavy(arguments):
    found = imported("-m", "evalkit", *arguments)
    assert "typer" in found
    assert not found & HEAVY


@pytest.mark.parametrize("statement", ["import evalkit", "from evalkit import api", "import evalkit.api as api; dir(api)"])
def test_the_package_imports_nothing_of_its_own_but_the_list_of_names(statement):
    found = imported("-c", statement)
    assert {name for name in found if name.startswith("evalkit")} == {"evalkit", "evalkit.api"}
    assert not found & HEAVY


@pytest.mark.parametrize("model", ["mock/echo", "hf"])
def test_a_run_imports_what_it_needs_only(model, tmp_path):
    if model == "hf":
        model = f"hf/{tiny_llama.checkpoint(tmp_path / 'tiny')}"
    command = ("run", "--model", model, "--tasks", "arithmetic", "--limit", "1", "--output-dir", str(tmp_path / "runs"))
    found = imported("-m", "evalkit", *command)
    assert "evalkit.runner.execute" in found
    assert not found & (UNUSED | OTHERS)
    if model == "mock/echo":
        assert not found & INFERENCE


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
