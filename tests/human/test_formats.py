"""Other tools' files: blind, whole, safe, and back again to the same ratings."""

from __future__ import annotations

import csv
import html
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
import yaml
from rated_study import TRUE, answered, study

from evalkit.errors import UsageError
from evalkit.human.base import Study
from evalkit.human.export import write_folder
from evalkit.human.formats import FORMATS
from evalkit.human.formats.mturk import escaped
from evalkit.human.given import tidy
from evalkit.human.import_ratings import import_ratings
from evalkit.human.key import write_study
from evalkit.human.layout import row_digest, whole_texts
from evalkit.human.study_report import study_report

HOSTILE = '=HYPERLINK("x")\n<img src=x onerror=alert(1)> {{7*7}} ${item_id} Ärzte 🤖 & "co"'


def hostile(form: str = "pointwise") -> Study:
    """The study, with one system's texts hostile to every tool."""
    made = study(form)

    def bad(output):
        return (
            replace(output, text=f"{HOSTILE} {output.item}") if output is not None and output.system == "plain" else output
        )

    rows = tuple(replace(row, first=bad(row.first), second=bad(row.second)) for row in made.rows)
    made = replace(made, rows=rows, warnings=("coarse words",))
    return replace(made, rows=tuple(replace(row, digest=row_digest(made, row)) for row in rows))


@pytest.fixture(params=["pointwise", "pairwise"])
def made(request) -> Study:
    return hostile(request.param)


def written(made: Study, tool: str, folder: Path) -> dict[str, str]:
    folder.mkdir()
    return {name: (folder / name).read_text("utf-8") for name in FORMATS[tool](made, folder)}


@pytest.mark.parametrize("tool", FORMATS)
def test_no_file_tells_a_system_or_why_a_row_is_there(made, tool, tmp_path):
    files = written(made, tool, tmp_path / "out")
    assert files["README.txt"].startswith(f"Study {made.id}")
    for name, content in files.items():
        assert not any(f'"{system}"' in content or f" {system} " in content for system in ("tuned", "same as tuned")), name
        assert "repeat" not in content and '"check"' not in content, name
        for row in made.rows:
            if name.startswith("annotator") and name.endswith(("json", "jsonl", "csv")):
                assert (row.id in content) == name.startswith(row.annotator)
    assert set(TRUE) == set(made.systems)


def points(made: Study) -> list[list[str]]:
    return [list(criterion.scale.points) for criterion in made.rubric.criteria]


def test_label_studio_is_given_texts_as_text_and_one_choice_a_criterion(made, tmp_path):
    files = written(made, "label-studio", tmp_path / "out")
    view = xml.fromstring(files["config.xml"])
    shown = [text.get("value") for text in view.iter("Text")]
    tasks = json.loads(files["annotator_01.json"])
    mine = [row for row in made.rows if row.annotator == "annotator_01"]
    assert [task["data"]["item_id"] for task in tasks] == [row.id for row in mine]
    for task, row in zip(tasks, mine, strict=True):
        assert {name: task["data"][name[1:]] for name in shown} == {f"${k}": v for k, v in whole_texts(made, row).items()}
    controls = list(view.iter("Choices"))
    assert [control.get("name") for control in controls] == list(made.rubric.names)
    assert [[c.get("value") for c in control] for control in controls] == [[*p, "N/A"] for p in points(made)]
    names = {text.get("name") for text in view.iter("Text")}
    assert all(control.get("toName") in names and control.get("required") == "true" for control in controls)
    assert "coarse words" in files["config.xml"]


def exported(made: Study, who: str, user) -> list[dict]:
    """What Label Studio would export of one annotator's project: what `answered` says, as its controls say it."""
    told = {row.id: {} for row in made.rows if row.annotator == who}
    for one in answered(made):
        if one.row in told:
            scale = made.rubric.criterion(one.criterion).scale.points
            told[one.row][one.criterion] = next(label for label, value in scale.items() if value == one.value)
    return [
        {
            "id": at,
            "data": {"item_id": row, "study_id": made.id, "output": "..."},
            "predictions": [{"result": [{"from_name": "fluency", "value": {"choices": ["1"]}}]}],
            "annotations": [
                {
                    "completed_by": user,
                    "was_cancelled": False,
                    "lead_time": 12.34,
                    "result": [
                        {"from_name": name, "to_name": "output", "type": "choices", "value": {"choices": [label]}}
                        for name, label in said.items()
                    ],
                }
            ],
        }
        for at, (row, said) in enumerate(told.items())
    ]


def put(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_label_studios_export_comes_back_to_the_same_ratings(made, tmp_path):
    write_study(made, tmp_path)
    users = {"annotator_01": 10, "annotator_02": {"id": 11, "email": "b@example.org"}, "annotator_03": {"id": 12}}
    files = [put(tmp_path / f"{who}.json", exported(made, who, user)) for who, user in users.items()]
    done = import_ratings(tmp_path, files)
    assert not done.errors, [finding.line() for finding in done.errors]
    names = {"annotator_01": "user 10", "annotator_02": "b@example.org", "annotator_03": "user 12"}
    expected = [replace(rating, annotator=names[rating.annotator]) for rating in tidy(made, answered(made))]
    assert sorted(map(repr, done.ratings)) == sorted(map(repr, expected))
    assert {given.seconds for given in done.given} == {12.3}
    found = study_report(tmp_path)
    assert [row.annotator for row in found.annotators] == list(names.values())
    assert [row.passed for row in found.annotators] == [2, 2, 0]
    assert not any("nothing came back" in note for note in found.notes)


def test_cancelled_annotations_are_counted_and_further_annotators_stay_apart(tmp_path):
    made = study()
    write_study(made, tmp_path)
    tasks = exported(made, "annotator_01", 10)
    first = tasks[0]["annotations"][0]
    tasks[0]["annotations"] = [
        {**first, "was_cancelled": True, "completed_by": 11},
        first,
        {**first, "completed_by": 12, "result": [
            {"from_name": "fluency", "type": "rating", "value": {"rating": 5}},
            {"from_name": "relevance", "type": "choices", "value": {"choices": ["N/A"]}},
            {"from_name": "comment", "type": "textarea", "value": {"text": ["odd", "text"]}},
            {"from_name": "mood", "type": "choices", "value": {"choices": ["good"]}},
        ]},
    ]  # fmt: skip
    done = import_ratings(tmp_path, [put(tmp_path / "export.json", tasks)], allow_missing=True)
    assert not done.errors
    assert any("user 11 cancelled 1 task" in finding.message for finding in done.findings)
    other = {given.criterion: given for given in done.given if given.annotator == "user 12"}
    assert other["fluency"].value == 5 and other["relevance"].value is None and other["fluency"].comment == "odd, text"
    assert "user 11" not in done.annotators
    assert "good" in (tmp_path / "ratings.json").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        ('[{"id": 1, "fluency": "4", "annotator": 1}]', "not as JSON-MIN"),
        ('{"tasks": []}', "no Label Studio export"),
    ],
)
def test_what_is_no_export_is_said(content, message, tmp_path):
    write_study(study(), tmp_path)
    (tmp_path / "export.json").write_text(content)
    done = import_ratings(tmp_path, [tmp_path / "export.json"])
    assert any(message in finding.message for finding in done.errors)
    assert not (tmp_path / "ratings_long.csv").exists()


def test_two_choices_where_one_is_asked_for_are_an_error(tmp_path):
    made = study()
    write_study(made, tmp_path)
    tasks = exported(made, "annotator_01", 10)
    tasks[3]["annotations"][0]["result"][0]["value"]["choices"] = ["4", "5"]
    done = import_ratings(tmp_path, [put(tmp_path / "export.json", tasks)], allow_missing=True)
    (error,) = done.errors
    assert (error.row, error.column, error.value) == (4, "fluency", "4, 5")


def test_argillas_records_fields_and_questions_fit(made, tmp_path):
    files = written(made, "argilla", tmp_path / "out")
    told = json.loads(files["settings.json"])
    fields = {field["name"] for field in told["fields"]}
    assert all(name == name.lower() for name in fields) and not any(field["use_markdown"] for field in told["fields"])
    records = [json.loads(line) for line in files["annotator_02.jsonl"].splitlines()]
    assert all(set(record) <= {"id", "study_id", *fields} and all(record.values()) for record in records)
    required = {field["name"] for field in told["fields"] if field["required"]}
    assert all(required <= set(record) for record in records)
    kinds = {question["name"]: question for question in told["questions"]}
    if made.form == "pointwise":
        assert kinds["fluency"]["type"] == "rating" and kinds["fluency"]["values"] == [1, 2, 3, 4, 5]
    else:
        assert kinds["preference"]["type"] == "label" and kinds["preference"]["labels"] == ["A", "tie", "B"]
    compile(files["load.py"], "load.py", "exec")


def test_potatos_configuration_names_its_files_and_shows_texts_as_text(made, tmp_path):
    files = written(made, "potato", tmp_path / "out")
    config = yaml.safe_load(files["annotator_03.yaml"])
    records = [json.loads(line) for line in files[config["data_files"][0]].splitlines()]
    assert [record[config["item_properties"]["id_key"]] for record in records] == [
        row.id for row in made.rows if row.annotator == "annotator_03"
    ]
    assert all(field["type"] == "text" and field["key"] in records[0] for field in config["instance_display"]["fields"])
    schemes = {scheme["name"]: scheme for scheme in config["annotation_schemes"]}
    assert [schemes[name]["labels"] for name in made.rubric.names] == [[*p, "N/A"] for p in points(made)]


def test_mechanical_turks_cells_are_plain_ascii_html_that_shows_the_text(made, tmp_path):
    files = written(made, "mturk", tmp_path / "out")
    rows = list(csv.DictReader(files["annotator_01.csv"].splitlines()))
    mine = [row for row in made.rows if row.annotator == "annotator_01"]
    assert [row["item_id"] for row in rows] == [row.id for row in mine]
    for cells, row in zip(rows, mine, strict=True):
        for name, text in whole_texts(made, row).items():
            assert cells[name].isascii() and "<" not in cells[name] and cells[name][:1] not in tuple("=+-@")
            assert html.unescape(cells[name]) == text
    assert all(f"${{{name}}}" in files["form.html"] for name in whole_texts(made, mine[0]))
    assert files["form.html"].isascii() and "<script" not in files["form.html"]
    for name, scale in zip(made.rubric.names, points(made), strict=True):
        assert all(f'name="{name}" value="{point}" required' in files["form.html"] for point in [*scale, "N/A"])


def test_what_mechanical_turk_cannot_take_is_escaped():
    assert escaped("-1 $x\n🤖") == "&#45;1 &#36;x&#10;&#129302;"


def test_mechanical_turks_results_come_back_with_map(tmp_path):
    made = study()
    write_study(made, tmp_path)
    given = answered(made)
    rows: dict[str, dict[str, str]] = {}
    for one in given:
        ids = {"Input.item_id": one.row, "Input.study_id": made.id, "Input.output": "&#61;x"}
        row = rows.setdefault(one.row, {"WorkerId": f"W{one.annotator[-1]}", **ids, "WorkTimeInSeconds": "31"})
        row[f"Answer.{one.criterion}"] = f"{one.value:g}"
        row["Answer.comment"] = ""
    with (tmp_path / "Batch.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(next(iter(rows.values()))))
        writer.writeheader()
        writer.writerows(rows.values())
    mapping = {name: f"Input.{name}" for name in ("item_id", "study_id")}
    mapping |= {name: f"Answer.{name}" for name in ("fluency", "relevance", "comment")}
    mapping |= {"annotator": "WorkerId", "seconds": "WorkTimeInSeconds"}
    done = import_ratings(tmp_path, [tmp_path / "Batch.csv"], mapping=mapping)
    assert not done.errors, [finding.line() for finding in done.errors]
    expected = [replace(rating, annotator=f"W{rating.annotator[-1]}") for rating in tidy(made, given)]
    assert sorted(map(repr, done.ratings)) == sorted(map(repr, expected))


@pytest.mark.parametrize("tool", FORMATS)
def test_a_study_is_exported_for_a_tool_instead_of_sheets(tool, tmp_path):
    files = write_folder(study(), tmp_path / "study", format=tool)
    assert {path.name for path in (tmp_path / "study").iterdir()} >= {"key.json", "guidelines.md", tool}
    assert not [name for name in files if name.startswith("annotator")]
    assert all((tmp_path / "study" / name).is_file() for name in files)
    note = (tmp_path / "study" / "README.txt").read_text()
    assert f"To annotator 2: {tool}/annotator_02." in note and f"{tool}/README.txt" in note


def test_an_unknown_format_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"--format 'labelstudio'.*label-studio"):
        write_folder(study(), tmp_path / "study", format="labelstudio")  # type: ignore[arg-type]
