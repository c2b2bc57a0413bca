"""Names to tasks: which folder wins, what a name may be, groups and their overrides."""

import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

from evalkit.errors import TaskError
from evalkit.tasks import load
from evalkit.tasks.load import TaskLibrary

DATA = "dataset_path: json\n"


@pytest.fixture(autouse=True)
def no_builtins(tmp_path, monkeypatch):
    """Only the folders of the test: the tasks that ship with evalkit are there in `test_built_in_tasks_are_found`."""
    monkeypatch.setattr(load, "builtin_dir", lambda kind: tmp_path / "no-builtins")


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "tasks"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def task(root: Path, name: str, more: str = "") -> Path:
    return write(root / f"{name}.yaml", f"task: {name}\n{DATA}{more}")


def library(*roots: Path) -> TaskLibrary:
    return TaskLibrary(roots, cache=False)


def names(selection) -> list[str]:
    return [config.task for config in selection.tasks]


def test_built_in_tasks_are_found(monkeypatch):
    monkeypatch.undo()
    entries = {entry.name: entry for entry in TaskLibrary(cache=False).listing()}
    assert entries["quickstart"].kind == "group"
    assert TaskLibrary(cache=False).warnings == []


def test_names_patterns_tags_and_groups_in_order_of_first_mention(root):
    for name in ("m_b", "m_a", "other"):
        task(root, name, "tag: even\n" if name != "m_b" else "")
    write(root / "g.yaml", "group: g\ntask: [other, m_b]\n")
    lib = library(root)
    assert names(lib.resolve(["other", "m_*", "other"])) == ["other", "m_a", "m_b"]
    assert names(lib.resolve(["even"])) == ["m_a", "other"]
    selection = lib.resolve(["g", "m_a"])
    assert names(selection) == ["other", "m_b", "m_a"]
    assert [(group.group, group.children, group.leaves) for group in selection.groups] == [
        ("g", ["other", "m_b"], ["other", "m_b"])
    ]
    assert [entry.name for entry in lib.listing()] == ["even", "g", "m_a", "m_b", "other"]


def test_files_and_folders_by_path(root, tmp_path):
    path = task(root, "a")
    task(root / "sub", "b", "tag: t\n")
    write(root / "suite.yaml", "group: suite\ntask: [a, t]\n")
    lib = library()
    assert names(lib.resolve([str(path)])) == ["a"]
    assert names(lib.resolve([str(root / "suite.yaml")])) == ["a", "b"]
    selection = lib.resolve([str(root)])
    assert (names(selection), [group.group for group in selection.groups]) == (["a", "b"], ["suite"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskError, match=r"no tasks in folder .*empty"):
        lib.resolve([str(tmp_path / "empty")])
    with pytest.raises(TaskError, match=r"no task file or folder ./nothing\.yaml"):
        lib.resolve(["./nothing.yaml"])


def test_a_later_folder_wins_over_an_earlier_and_over_packages(tmp_path, monkeypatch):
    for folder in ("one", "two", "package"):
        for name in {"one": "ab", "two": "b", "package": "abc"}[folder]:
            task(tmp_path / folder, name, f"description: {folder}\n")
    module = types.ModuleType("a_package")
    module.__file__ = str(tmp_path / "package" / "__init__.py")
    monkeypatch.setitem(sys.modules, "a_package", module)
    points = metadata.EntryPoints([metadata.EntryPoint("x", "a_package", "evalkit.tasks")])
    monkeypatch.setattr(metadata, "entry_points", lambda group: points.select(group=group))
    tasks = library(tmp_path / "one", tmp_path / "two").resolve(["a", "b", "c"]).tasks
    assert {config.task: config.description for config in tasks} == {"a": "one", "b": "two", "c": "package"}


def test_an_unknown_name_comes_with_the_nearest(root):
    task(root, "winogrande")
    lib = library(root)
    with pytest.raises(TaskError, match=r"unknown task 'winogrand' \(did you mean winogrande\?\)"):
        lib.resolve(["winogrand"])
    with pytest.raises(TaskError, match=r"no task, group or tag matches 'x_\*'"):
        lib.resolve(["x_*"])


def test_a_broken_file_is_an_error_only_for_who_asks_for_it(root):
    task(root, "good")
    write(root / "file.yaml", "task: bad\nx: [1\n")
    lib = library(root)
    assert names(lib.resolve(["good"])) == ["good"]
    assert len(lib.warnings) == 1
    with pytest.raises(TaskError, match=r"file\.yaml:3: YAML error"):
        lib.resolve(["bad"])


def test_python_task_classes_are_refused_by_name_and_left_out_of_patterns(root):
    task(root, "q_yaml")
    write(root / "c.yaml", "task: q_class\nclass: !function task.C\n")
    write(root / "g.yaml", "group: g\ntask: [q_yaml, q_class]\n")
    lib = library(root)
    for name in ("q_class", "g"):
        with pytest.raises(TaskError, match="'q_class' is a Python task class; evalkit runs YAML tasks"):
            lib.resolve([name])
    selection = lib.resolve(["q_*"])
    assert names(selection) == ["q_yaml"]
    assert "left out" in selection.warnings[0]


def test_further_keys_of_a_group_go_to_its_members_whose_own_entry_wins(root):
    task(root, "a", "num_fewshot: 1\n")
    task(root, "b", "tag: t\n")
    task(root, "c")
    write(root / "inner.yaml", "group: inner\nnum_fewshot: 7\nrepeats: 7\ntask: [c]\n")
    write(
        root / "g.yaml",
        """
group: g
group_alias: The Group
num_fewshot: 5
metadata: {version: 2}
aggregate_metric_list: {metric: acc, filter_list: none}
task:
  - a
  - task: t
    num_fewshot: 0
    task_alias: Bee
  - inner
""",
    )
    selection = library(root).resolve(["g"])
    tasks = {config.task: config for config in selection.tasks}
    assert {name: config.num_fewshot for name, config in tasks.items()} == {"a": 5, "b": 0, "c": 5}
    assert tasks["c"].repeats == 7  # what the outer group does not say, the inner one still does
    assert tasks["b"].task_alias == "Bee"
    outer, inner = selection.groups
    assert (outer.group, outer.group_alias, outer.metadata) == ("g", "The Group", {"version": 2})
    assert (outer.children, outer.leaves) == (["a", "b", "inner"], ["a", "b", "c"])
    (metric,) = outer.aggregate_metric_list
    assert (metric.metric, metric.aggregation, metric.weight_by_size, metric.filter_list) == ("acc", "mean", True, ["none"])
    assert (inner.group, inner.leaves) == ("inner", ["c"])


def test_inline_groups_and_tasks_are_named_after_the_group_that_holds_them(root):
    task(root, "a")
    write(root / "_template", "output_type: multiple_choice\ndataset_path: csv\n")
    write(
        root / "g.yaml",
        """
group: g
task:
  - group: part
    group_alias: Part
    task:
      - task: a
        task_alias: first
      - task: new
        include: _template
        repeats: 2
""",
    )
    selection = library(root).resolve(["g"])
    assert names(selection) == ["a", "g::part::new"]
    assert [(group.group, group.children) for group in selection.groups] == [
        ("g", ["g::part"]),
        ("g::part", ["a", "g::part::new"]),
    ]
    new = selection.tasks[1]
    assert (new.dataset_path, new.output_type, new.repeats, new.source) == ("csv", "multiple_choice", 2, root / "g.yaml")


def test_one_task_twice_collapses_unless_its_settings_differ(root):
    task(root, "a")
    write(root / "same.yaml", "group: same\ntask: [{task: a, task_alias: another name}, a]\n")
    write(root / "other.yaml", "group: other\ntask: [{task: a, num_fewshot: 3}]\n")
    lib = library(root)
    assert names(lib.resolve(["a", "same"])) == ["a"]
    with pytest.raises(TaskError, match="task 'a' is asked for twice with different num_fewshot"):
        lib.resolve(["a", "other"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [nobody]", r"g\.yaml:2: group 'g': unknown task 'nobody'"),
        ("task:\n  - a\n  - {num_fewshot: 1}", r"g\.yaml:4: a member of group 'g' needs `task` or `group`"),
        ("task:\n  - task: a\n    num_fewshto: 1", r"g\.yaml:4: unknown key 'num_fewshto' \(did you mean num_fewshot"),
        ("task: [a]\nrepeats: x", r"g\.yaml:3: repeats: expected a whole number"),
        ("task: [a, g]", r"g\.yaml:2: group goes round in a circle: g -> g"),
        ("task: []", r"g\.yaml:2: group 'g' has no tasks"),
        ("task: [a]\naggregate_metric_list: [{metrc: acc}]", r"g\.yaml:3: .*(missing key 'metric'|unknown key)"),
    ],
)
def test_a_mistake_in_a_group_is_placed_where_it_stands(root, text, message):
    task(root, "a")
    write(root / "g.yaml", f"group: g\n{text}\n")
    with pytest.raises(TaskError, match=message):
        library(root).resolve(["g"])


def test_group_in_a_task_file_is_read_as_the_tag_it_was_before_0_4_5(root):
    task(root, "a", "group: old\n")
    lib = library(root)
    assert names(lib.resolve(["old"])) == ["a"]
    assert "`group` in a task file is called `tag`" in lib.resolve(["a"]).warnings[0]


def test_a_weight_that_is_no_truth_value_counts_as_true_with_a_warning(root):
    task(root, "a")
    write(root / "g.yaml", "group: g\ntask: [a]\naggregate_metric_list: [{metric: acc, weight_by_size: truez}]\n")
    selection = library(root).resolve(["g"])
    assert selection.groups[0].aggregate_metric_list[0].weight_by_size is True
    assert "g.yaml:3: weight_by_size: 'truez' is no truth value" in selection.warnings[0]
