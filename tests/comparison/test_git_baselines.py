"""Baselines out of a git commit: read without a checkout, refused in one line."""

from __future__ import annotations

import subprocess

import pytest
from comparison_runs import make_scores, write_task

from evalkit.comparison.compare import compare_scores
from evalkit.comparison.load import load_scores
from evalkit.comparison.scorefile import promote
from evalkit.errors import NotFound, StoreError


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_scores(tmp_path_factory.mktemp("runs"), write_task(tmp_path_factory.mktemp("task")), "base", [1])


@pytest.fixture(scope="module")
def repository(tmp_path_factory, run):
    """A branch ``main`` with a baseline, which a later commit of another branch removes."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-b", "main")
    promote(run, folder / "baselines" / "release v1.jsonl.gz")
    (folder / "pointer.jsonl.gz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    # what a diff driver would make of the file is not what is in it
    (folder / ".gitattributes").write_text("*.gz diff=text\n")
    git(folder, "config", "diff.text.textconv", "echo")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "a baseline")
    git(folder, "tag", "v1.0")
    git(folder, "checkout", "-b", "feature")
    git(folder, "rm", "baselines/release v1.jsonl.gz")
    git(folder, "commit", "-m", "gone")
    return folder


@pytest.fixture(autouse=True)
def inside(repository, monkeypatch):
    (repository / "deep").mkdir(exist_ok=True)
    monkeypatch.chdir(repository / "deep")


@pytest.mark.parametrize("ref", ["main", "v1.0", "HEAD~1"])
def test_a_baseline_is_read_from_a_commit(run, ref):
    source = f"git:{ref}:baselines/release v1.jsonl.gz"
    found = load_scores(source)
    assert (found.name, found.source, found.path) == ("base", source, None)
    assert all(c.test.value == 0 for c in compare_scores(found, run))


@pytest.mark.parametrize(
    "source, error, said",
    [
        ("git:mian:baselines/release v1.jsonl.gz", StoreError, "no commit, branch or tag 'mian' (did you mean main?)"),
        ("git:feature:baselines/release v1.jsonl.gz", NotFound, "feature has no file 'baselines/release v1.jsonl.gz'"),
        ("git:main:baselines/release v2.jsonl.gz", NotFound, "(did you mean baselines/release v1.jsonl.gz"),
        ("git:main", StoreError, "written git:REF:PATH"),
        ("git:main:", StoreError, "written git:REF:PATH"),
        ("git:--output=x:y", StoreError, "is no name of a commit"),
        ("git::y", StoreError, "is no name of a commit"),
        ("git:main:pointer.jsonl.gz", StoreError, "is kept in Git LFS"),
        ("git:main:.gitattributes", StoreError, "is no score file of evalkit"),
        ("git:main:baselines", NotFound, "main has no file 'baselines'"),
        ("git:$(touch x):y", StoreError, "no commit, branch or tag '$(touch x)'"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(repository, source, error, said):
    with pytest.raises(error) as caught:
        load_scores(source)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not (repository / "deep" / "x").exists()


def test_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(StoreError, match="is in no git repository"):
        load_scores("git:main:x.jsonl.gz")


def test_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StoreError, match="needs git"):
        load_scores("git:main:x.jsonl.gz")
