"""How a task file is read: includes, functions, places of errors."""

from pathlib import Path

import pytest

from evalkit.errors import TaskError
from evalkit.tasks.schema import FunctionRef
from evalkit.tasks.yamlfile import YamlReader


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_local_keys_win_over_includes_and_a_later_include_over_an_earlier(tmp_path):
    write(tmp_path / "base" / "_a", "task: a\nrepeats: 1\ndescription: from a\nmetric_list: [{metric: acc}]\n")
    write(tmp_path / "base" / "_b", "repeats: 2\ndescription: from b\n")
    path = write(tmp_path / "t.yaml", "include: [base/_a, base/_b]\ntask: mine\nmetric_list: [{metric: f1}]\n")
    file = YamlReader().load(path)
    assert file.data == {"task": "mine", "repeats": 2, "description": "from b", "metric_list": [{"metric": "f1"}]}
    assert file.sources == (path, tmp_path / "base" / "_a", tmp_path / "base" / "_b")
    assert file.where("repeats") == f"{tmp_path / 'base' / '_b'}:1"
    assert file.where("metric_list", 0, "metric") == f"{path}:3"


def test_a_template_may_be_included_on_two_ways_but_not_by_itself(tmp_path):
    write(tmp_path / "_root", "repeats: 3\n")
    write(tmp_path / "_left", f"include: {tmp_path / '_root'}\n")
    write(tmp_path / "_right", "include: _root\n")
    diamond = write(tmp_path / "d.yaml", "include: [_left, _right]\ntask: d\n")
    assert YamlReader().load(diamond).data == {"task": "d", "repeats": 3}
    write(tmp_path / "x.yaml", "include: y.yaml\ntask: x\n")
    circle = write(tmp_path / "y.yaml", "task: y\ninclude: x.yaml\n")
    with pytest.raises(TaskError, match=r"x\.yaml:1: include goes round in a circle: .*y\.yaml -> .*x\.yaml -> .*y\.yaml"):
        YamlReader().load(circle)


def test_an_included_task_list_is_not_inherited(tmp_path):
    write(tmp_path / "_base", "task_list: [{task: other}]\nrepeats: 2\n")
    path = write(tmp_path / "t.yaml", "include: _base\ntask: t\n")
    assert YamlReader().load(path).data == {"task": "t", "repeats": 2}


def test_a_function_belongs_to_the_folder_of_the_file_that_names_it(tmp_path):
    write(tmp_path / "base" / "_b", "process_docs: !function utils.clean\n")
    path = write(tmp_path / "t.yaml", "include: base/_b\ntask: t\nfewshot_config:\n  samples: !function data.shots.make\n")
    data = YamlReader().load(path).data
    assert data["process_docs"] == FunctionRef(module="utils", name="clean", folder=tmp_path / "base")
    assert data["fewshot_config"]["samples"] == FunctionRef(module="data.shots", name="make", folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: t\ndoc_to_text: [1, 2\nrepeats: 1\n", r"t\.yaml:3: YAML error: .*expected ',' or '\]'"),
        ("task: t\nprocess_docs: !function clean\n", r"t\.yaml:2: YAML error: !function needs module\.name, got 'clean'"),
        ("task: t\nprocess_docs: !python/object:os.system x\n", r"t\.yaml:2: YAML error: could not determine a constructor"),
        ("- task\n", r"t\.yaml:1: expected a mapping of keys, found a sequence"),
        ("", r"t\.yaml:1: expected a mapping of keys, found nothing"),
        ("task: t\ninclude: [_gone]\n", r"t\.yaml:2: included file not found: .*_gone"),
        ("task: t\ninclude: 3\n", r"t\.yaml:2: include: expected a file name or a list of them, got 3"),
        ("1: 2\n", r"t\.yaml: top-level keys must be text, found 1"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place(tmp_path, text, message):
    path = write(tmp_path / "t.yaml", text)
    with pytest.raises(TaskError, match=message) as caught:
        YamlReader().load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TaskError, match=r"cannot read .*none\.yaml: No such file"):
        YamlReader().load(tmp_path / "none.yaml")
