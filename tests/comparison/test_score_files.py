"""Score files: a run's scores without its texts, the same when read back, small, and never trusted blindly."""

from __future__ import annotations

import base64
import gzip
import json
import random
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from comparison_runs import make_run, make_scores, rows, write_task

import evalkit
from evalkit.comparison.base import RunScores
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.load import load_scores
from evalkit.comparison.scorefile import promote, read_score_file
from evalkit.errors import NotComparable, NotFound, StoreError


def assert_equal(a: RunScores, b: RunScores) -> None:
    """All that a comparison reads is the same, to the last bit."""
    assert (a.name, a.manifest) == (b.name, b.manifest)
    assert list(a.tasks) == list(b.tasks)
    for key, one in a.tasks.items():
        other = b.tasks[key]
        for field in fields(one):
            x, y = getattr(one, field.name), getattr(other, field.name)
            if field.name == "slices":
                assert list(x) == list(y)
                assert all(np.array_equal(x[name], y[name]) for name in x)
            elif isinstance(x, np.ndarray):
                assert x.dtype == y.dtype or x.dtype.kind == "U"
                assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), field.name
            elif field.name != "measured":
                assert x == y, field.name
        for mine, theirs in zip(one.measured, other.measured, strict=True):
            assert (mine.signature, mine.units) == (theirs.signature, theirs.units)
            assert (mine.scorer.name, mine.scorer.unit) == (theirs.scorer.name, theirs.scorer.unit)
            assert mine.scorer.metrics == theirs.scorer.metrics
            assert type(mine.scorer) is type(theirs.scorer)
            for x, y in ((mine.stats, theirs.stats), (mine.values, theirs.values), (mine.status, theirs.status)):
                assert x.dtype == y.dtype
                assert np.array_equal(x, y, equal_nan=True)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("task"), cluster="passage", scorers=["exact_match", "token_f1"])


@pytest.fixture(scope="module")
def run(tmp_path_factory, task):
    return make_scores(tmp_path_factory.mktemp("runs"), task, "base", [1, 2, 30], [7])


@pytest.fixture
def file(tmp_path, run):
    promote(run, tmp_path / "base.jsonl.gz")
    return tmp_path / "base.jsonl.gz"


def lines(path: Path) -> list:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def rewritten(path: Path, content: list) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in content).encode()))
    return path


def test_a_score_file_reads_back_equal(run, file):
    found = load_scores(file)
    assert (found.source, found.path) == (str(file), None)
    assert_equal(run, found)
    assert found.tasks["sums", "none"].clusters is not None


def test_a_comparison_does_not_care_where_scores_come_from(tmp_path, task, run, file):
    cand = make_scores(tmp_path, task, "cand", [1, 31, 32])
    for direct, filed in zip(compare_scores(run, cand), compare_scores(load_scores(file), cand), strict=True):
        assert direct.test.interval() == filed.test.interval()
        assert replace(direct, test=None) == replace(filed, test=None)
        assert direct.test.value == filed.test.value
    assert all(c.test.value == 0 and not c.flips for c in compare_scores(run, load_scores(file)))


def test_corpus_metrics_and_filters_survive(tmp_path):
    golds = [f"the cat number {i} sat on the mat" for i in range(20)]
    done = evalkit.score([g.replace("mat", "rug") for g in golds], golds, scorers=["bleu", "chrf"], output_dir=tmp_path)
    direct = load_scores(done.run.path)
    promote(direct, tmp_path / "b.jsonl.gz")
    assert_equal(direct, load_scores(tmp_path / "b.jsonl.gz"))
    assert compare_scores(direct, load_scores(tmp_path / "b.jsonl.gz"))[0].baseline_value == done.run.value(
        "outputs", "bleu"
    )
    filters = [
        {"name": name, "filter": [{"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}]}
        for name, pattern in (("first", "(\\d)"), ("all", "(\\d+)"))
    ]
    two = make_scores(tmp_path, write_task(tmp_path / "t", filter_list=filters), "two")
    promote(two, tmp_path / "two.jsonl.gz")
    assert_equal(two, load_scores(tmp_path / "two.jsonl.gz"))


def test_equal_scores_give_equal_bytes(tmp_path, run, file):
    promote(run, tmp_path / "again.jsonl.gz")
    assert (tmp_path / "again.jsonl.gz").read_bytes() == file.read_bytes()
    promote(load_scores(file), tmp_path / "copy.jsonl.gz")
    assert (tmp_path / "copy.jsonl.gz").read_bytes() == file.read_bytes()


def test_no_text_of_a_sample_is_in_the_file(tmp_path):
    secret = "a text of the data that nobody may publish"
    data = [{**row, "question": f"{row['question']} {secret} question", "answer": f"{secret} answer"} for row in rows(10)]
    task = write_task(
        tmp_path / "t", data=data, description=f"{secret} described", cluster="{{answer}} " * 3,
        fewshot_config={"sampler": "first_n", "samples": [{"question": f"{secret} shot", "answer": secret}]},
    )  # fmt: skip
    path = make_run(tmp_path, task, "base", num_fewshot=1)
    promote(load_scores(path), tmp_path / "b.jsonl.gz")
    text = gzip.decompress((tmp_path / "b.jsonl.gz").read_bytes()).decode()
    assert secret not in text
    assert "doc_to_text" not in text


def test_a_thousand_samples_fit_in_kilobytes(tmp_path):
    """1,319 samples as GSM8K has: hashes for ids, seconds and tokens of every answer."""
    rng = random.Random(0)
    data = [{"question": f"What is {i} plus {i}?", "answer": str(2 * i)} for i in range(1319)]
    task = write_task(tmp_path / "t", "gsm8k", data=data, sample_id=None, slices={})
    run = make_scores(tmp_path, task, "base", rng.sample(range(1319), 400))
    assert len(run.tasks["gsm8k", "none"].ids[0]) == 12
    assert np.isfinite(run.tasks["gsm8k", "none"].latency_s).all()
    size = promote(run, tmp_path / "b.jsonl.gz")
    assert size == (tmp_path / "b.jsonl.gz").stat().st_size
    assert size < 18_500, "ids and hashes of what was asked alone take 13,000, and nothing makes hashes smaller"
    assert_equal(run, load_scores(tmp_path / "b.jsonl.gz"))


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "is no score file of evalkit, or damaged"),
        (lambda path: path.write_bytes(b"no gzip"), "is no score file of evalkit, or damaged"),
        (lambda path: path.write_bytes(gzip.compress(b"")), "is no score file of evalkit, or damaged"),
        (lambda path: rewritten(path, [{"id": 1}]), "is no score file of evalkit; evalkit baseline promote RUN makes one"),
        (lambda path: rewritten(path, [[1]]), "is no score file of evalkit; evalkit baseline promote RUN makes one"),
        (lambda path: rewritten(path, [{**lines(path)[0], "evalkit_scores": 9}, *lines(path)[1:]]), "(schema 9"),
        (lambda path: rewritten(path, lines(path)[:-2]), "is damaged"),
        (lambda path: rewritten(path, [*lines(path), [1]]), "is damaged (ValueError: more columns than the header names)"),
        (lambda path: rewritten(path, [*lines(path)[:1], ["q1"], *lines(path)[2:]]), "a column is too short"),
        (lambda path: rewritten(path, [{"evalkit_scores": 1}]), "is damaged (KeyError: 'manifest')"),
    ],
)  # fmt: skip
def test_a_spoilt_file_is_told_in_one_line(file, spoil, said):
    spoil(file)
    with pytest.raises(StoreError) as caught:
        read_score_file(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_columns_are_what_they_say(run, file):
    header, ids, digests, clusters, *_ = lines(file)
    assert header["tables"][0]["task"] == "sums"
    assert ids == list(run.tasks["sums", "none"].ids)
    assert base64.b64decode(digests) == run.tasks["sums", "none"].digests.tobytes()
    assert clusters[0] == [f"p{i}" for i in range(10)]


def test_a_run_with_gaps_is_no_baseline(tmp_path, run):
    half = replace(run, manifest={**run.manifest, "status": "incomplete"})
    with pytest.raises(NotComparable, match=r"run base is incomplete.*--allow-incomplete"):
        promote(half, tmp_path / "b.jsonl.gz")
    assert not (tmp_path / "b.jsonl.gz").exists()
    promote(half, tmp_path / "b.jsonl.gz", allow_incomplete=True)
    assert load_scores(tmp_path / "b.jsonl.gz").manifest["status"] == "incomplete"


def test_where_nothing_can_be_written(tmp_path, run):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write to"):
        promote(run, tmp_path / "file" / "b.jsonl.gz")


def test_names_of_runs_and_files(tmp_path, run, file):
    runs = run.path.parent
    assert load_scores("run:base", output_dir=runs).path == run.path
    assert load_scores(run.path.name[:-2], output_dir=runs).path == run.path
    assert load_scores("latest", output_dir=runs).path == run.path
    assert load_scores(str(run.path)).name == "base"
    assert load_scores(run.path / "run.json", name="mine").name == "mine"
    with pytest.raises(NotFound, match=r"no score file .*bace.jsonl.gz \(did you mean .*base.jsonl.gz\?\)"):
        load_scores(tmp_path / "bace.jsonl.gz")
    with pytest.raises(NotFound, match="no run 'bsae' here or in"):
        load_scores("run:bsae", output_dir=runs)
    with pytest.raises(StoreError, match="is no score file of evalkit"):
        load_scores(run.path / "samples.jsonl.gz")


def test_a_damaged_run_is_told(tmp_path, task):
    path = make_run(tmp_path, task, "base")
    (scores, *_) = sorted((path / "scores").iterdir())
    content = scores.read_bytes()
    scores.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=f"damaged .*evalkit rescore {path}"):
        load_scores(path)
    scores.write_bytes(gzip.compress(b'{"unit": "q000"}\n'))
    with pytest.raises(StoreError, match=f"damaged .*evalkit rescore {path}"):
        load_scores(path)
    scores.write_bytes(gzip.compress(b"".join(gzip.decompress(content).splitlines(True)[1:])))
    with pytest.raises(StoreError, match="are not of its samples"):
        load_scores(path)
