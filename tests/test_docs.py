"""What is published stays true: schemas, and the names in the README."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_published_schemas_are_current() -> None:
    spec = importlib.util.spec_from_file_location("make_schemas", ROOT / "docs" / "make_schemas.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    for name, schema in made.schemas().items():
        published = ROOT / "docs" / "schemas" / name
        assert published.read_text("utf-8") == made.text(schema), f"run `make schemas`: {name} is out of date"
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_built_in_task_file_fits_the_schema() -> None:
    from evalkit.tasks.schema import json_schema

    check = jsonschema.Draft202012Validator(json_schema())
    files = sorted((ROOT / "tasks").rglob("*.yaml"))
    assert len(files) > 100
    for path in files:
        errors = [error.message for error in check.iter_errors(yaml.safe_load(path.read_text("utf-8")))]
        assert not errors, f"{path}: {errors}"


def test_the_readmes_task_and_its_commands_exist() -> None:
    from evalkit.tasks.load import TaskLibrary
    from evalkit.tasks.schema import json_schema

    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert not list(jsonschema.Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(example)))
    known = {entry.name for entry in TaskLibrary().listing()}
    for command in re.findall(r"--tasks (\S+)", README):
        for name in command.split(","):
            assert name.endswith(".yaml") or name in known, name


def test_the_makefile_has_what_the_readme_names() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text("utf-8"))) <= targets


def test_the_readmes_table_of_metrics_is_what_evalkit_computes() -> None:
    from evalkit.scorers.ngram.corpus import corpus_scores
    from evalkit.scorers.ngram.rouge import rouge_scores

    (table,) = re.findall(r"^\| system \| reference \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    answers, references = [row[0] for row in rows], [[row[1]] for row in rows]
    plain, smoothed = (
        corpus_scores("bleu", answers, references, **options).sentences for options in ({"smooth_method": "none"}, {})
    )
    rouge = rouge_scores(answers, references, ("rouge1", "rouge2", "rougeL"))
    computed = [
        [f"{one:.0f}", f"{two:.0f}", *(f"{found[kind].fmeasure:.2f}" for kind in ("rouge1", "rouge2", "rougeL"))]
        for one, two, found in zip(plain, smoothed, rouge, strict=True)
    ]
    assert [row[2:] for row in rows] == computed
    assert [row[2] for row in rows] == ["47", "0", "54"]
