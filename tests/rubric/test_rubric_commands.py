"""Rubrics on the command line and in their schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import yaml
from typer.testing import CliRunner

from evalkit.cli.app import app
from evalkit.errors import RubricError
from evalkit.rubric.load import shipped

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str):
    return CliRunner().invoke(app, list(words))


def test_rubrics_are_listed_with_their_criteria():
    rows = json.loads(run("ls", "rubrics", "--json").stdout)
    assert {row["name"] for row in rows} == set(shipped())
    summarisation = next(row for row in rows if row["name"] == "summarisation")
    assert summarisation["criteria"] == "fluency, coherence, relevance, factuality" and len(summarisation["hash"]) == 16


def test_a_rubric_file_is_checked_and_shown_as_a_judge_reads_it(tmp_path):
    result = run("validate", str(shipped()["summarisation"]))
    assert result.exit_code == 0 and ": ok" in result.stdout and "(source)" in result.stdout
    document = json.loads(run("validate", str(shipped()["preference"]), "--json").stdout)
    assert "(other output)" in document["rubrics"][0]["prompts"]["preference"][1]["content"]
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        "rubric: wrong\ntask: Rate.\ncriteria:\n  - name: q\n    definition: Good\n    skale: {low: 1, high: 5}\n"
    )
    error = run("validate", str(wrong)).exception
    assert isinstance(error, RubricError) and "wrong.yaml:6: unknown key 'skale' (did you mean scale?)" in str(error)


def test_a_task_file_is_no_rubric(tmp_path):
    (tmp_path / "t.yaml").write_text("task: t\ndataset_path: json\noutput_type: nonsense\n")
    assert "t.yaml:3: output_type" in str(run("validate", str(tmp_path / "t.yaml")).exception)


def test_every_shipped_rubric_fits_the_published_schema():
    check = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / "rubric.schema.json").read_text()))
    for name, path in shipped().items():
        data = json.loads(json.dumps(yaml.safe_load(path.read_text("utf-8"))))  # keys of levels as text, as JSON has them
        assert not list(check.iter_errors(data)), name
