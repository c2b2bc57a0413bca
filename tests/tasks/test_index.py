"""The index of task folders: names, order, broken files and the cache."""

import json
import os
from pathlib import Path

import pytest

from evalkit.errors import TaskError
from evalkit.tasks import index


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "tasks"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_tasks_groups_tags_and_classes_are_found_by_name(root):
    write(root / "v1.0" / "a.yaml", "task: a\ntask_alias: A\ntag: [x, y]\nsummary: First\nability: reading\n")
    write(root / "b.yaml", "task: b\ntag: x\nprocess_docs: !function nowhere.f\n")
    write(root / "c.yaml", "task: c\nclass: !function task.C\n")
    write(root / "g.yaml", "group: g\ngroup_alias: G\ntask: [a, {task: b, repeats: 2}, {group: h, task: [c]}]\n")
    entries = index.build(root).entries
    assert {name: entry.kind for name, entry in entries.items()} == {
        "a": "task", "b": "task", "c": "class", "g": "group", "x": "tag", "y": "tag",
    }  # fmt: skip
    a = entries["a"]
    assert (a.path, a.alias, a.tags, a.summary, a.ability) == (
        root / "v1.0" / "a.yaml", "A", ("x", "y"), "First", "reading",
    )  # fmt: skip
    assert entries["g"].children == ("a", "b", "h")
    assert entries["x"].children == ("a", "b")


def test_names_and_tags_may_come_from_an_include(root):
    write(root / "_base_yaml", "tag: shared\ntask: from_base\n")
    write(root / "a.yaml", "include: _base_yaml\ntask: a\n")
    write(root / "sub" / "b.yaml", "include: ../_base_yaml\n")
    entries = index.build(root).entries
    assert sorted(entries) == ["a", "from_base", "shared"]
    assert entries["shared"].children == ("a", "from_base")


def test_only_yaml_files_outside_caches_count(root):
    write(root / "a.yaml", "task: a\n")
    for other in ("b.yml", "_c_yaml", "__pycache__/d.yaml", ".ipynb_checkpoints/e.yaml"):
        write(root / other, "task: other\n")
    assert list(index.build(root).entries) == ["a"]


def test_the_first_file_by_path_keeps_a_name_and_the_other_is_reported(root):
    write(root / "b.yaml", "task: same\nsummary: second\n")
    write(root / "a.yaml", "task: same\nsummary: first\n")
    found = index.build(root)
    assert found.entries["same"].summary == "first"
    assert found.warnings == [f"{root / 'b.yaml'}: 'same' is already defined in {root / 'a.yaml'}; this file is not used"]


def test_a_tag_never_takes_the_name_of_a_task(root):
    write(root / "a.yaml", "task: a\ntag: b\n")
    write(root / "b.yaml", "task: b\n")
    assert index.build(root).entries["b"].kind == "task"


def test_broken_files_do_not_break_the_listing(root):
    write(root / "a.yaml", "task: a\n")
    write(root / "bad.yaml", "task: bad\nx: [1\n")
    write(root / "lost.yaml", "task: lost\ninclude: gone\n")
    write(root / "round.yaml", "task: round\ninclude: round.yaml\n")
    write(root / "notes.yaml", "title: not a task\n")
    for _ in range(2):  # read, then from the cache
        found = index.build(root)
        assert list(found.entries) == ["a"]
        assert sorted(path.name for path in found.broken) == ["bad.yaml", "lost.yaml", "round.yaml"]
        assert any("bad.yaml:3: YAML error" in warning for warning in found.warnings)
        assert any("lost.yaml" in warning and "included file not found" in warning for warning in found.warnings)
        assert any("notes.yaml: neither `task` nor `group`" in warning for warning in found.warnings)


def test_a_template_with_a_yaml_ending_is_no_mistake(root):
    write(root / "_base.yaml", "repeats: 2\n")
    write(root / "a.yaml", "task: a\ninclude: _base.yaml\n")
    assert index.build(root).warnings == []


def test_the_cache_follows_changes_of_files_and_of_their_includes(root, cache):
    base = write(root / "_base", "tag: old\n")
    path = write(root / "a.yaml", "include: _base\ntask: a\n")
    assert sorted(index.build(root).entries) == ["a", "old"]
    assert len(list(cache.glob("tasks/*.json"))) == 1
    write(base, "tag: newer\n")
    assert sorted(index.build(root).entries) == ["a", "newer"]
    write(path, "include: _base\ntask: c\n")
    os.utime(path, ns=(1, 1))
    assert sorted(index.build(root).entries) == ["c", "newer"]
    path.unlink()
    assert index.build(root).entries == {}


def test_an_unchanged_file_is_not_read_again(root, monkeypatch):
    write(root / "a.yaml", "task: a\n")
    index.build(root)
    monkeypatch.setattr(index, "_header", lambda path: pytest.fail(f"{path} was read"))
    assert list(index.build(root).entries) == ["a"]


@pytest.mark.parametrize(
    "spoilt", ["", "{", "[]", '{"format": 1}', '{"format": 99, "files": {}}', '{"format": 1, "files": []}']
)
def test_a_spoilt_cache_is_made_anew(root, cache, spoilt):
    write(root / "a.yaml", "task: a\n")
    index.build(root)
    (file,) = cache.glob("tasks/*.json")
    file.write_text(spoilt)
    assert list(index.build(root).entries) == ["a"]
    assert json.loads(file.read_text())["files"]


def test_entries_of_a_foreign_shape_in_the_cache_are_read_again(root, cache):
    path = write(root / "a.yaml", "task: a\n")
    index.build(root)
    (file,) = cache.glob("tasks/*.json")
    stored = json.loads(file.read_text())
    stored["files"][str(path)] = [1]
    file.write_text(json.dumps(stored))
    assert list(index.build(root).entries) == ["a"]


def test_a_cache_that_cannot_be_written_is_no_error(root, cache):
    write(root / "a.yaml", "task: a\n")
    cache.write_text("a file where the folder should be")
    assert list(index.build(root).entries) == ["a"]


def test_without_cache_nothing_is_written(root, cache):
    write(root / "a.yaml", "task: a\n")
    assert list(index.build(root, cache=False).entries) == ["a"]
    assert not cache.exists()


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    assert index.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("EVALKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert index.cache_dir() == tmp_path / "xdg" / "evalkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert index.cache_dir() == Path.home() / ".cache" / "evalkit"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(TaskError, match=r"task folder not found: .*nowhere"):
        index.build(tmp_path / "nowhere")
