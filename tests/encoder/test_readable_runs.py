"""A finished run stays readable when a network that scored it is no longer where it was."""

from __future__ import annotations

import json
import shutil

import pytest

import evalkit
from evalkit.errors import EvalkitError
from evalkit.report.export import Export

ANSWERS = ["the cat sat on the mat", "a dog ate pears", "the fox"]
REFERENCES = ["the cat sat on a mat", "the dog ate apples", "the quick fox"]


@pytest.fixture
def gone(bert, tmp_path):
    """A run that two scorers with a network scored, and then the network's directory was removed."""
    network = tmp_path / "network"
    shutil.copytree(bert, network)
    scorers = [
        "token_f1",
        {"name": "bertscore", "model": str(network), "num_layers": 2},
        {"name": "embedding_similarity", "model": str(network)},
    ]
    run = evalkit.score(ANSWERS, REFERENCES, scorers=scorers, output_dir=tmp_path / "runs").run
    before = [{name: score.value for name, score in view.scores.items()} for view in run.records()]
    shutil.rmtree(network)
    return evalkit.open_run(run.path), before


def test_records_and_report_are_read_without_the_network(gone):
    run, before = gone
    assert [{name: score.value for name, score in view.scores.items()} for view in run.records()] == before
    assert set(before[0]) == {"token_f1", "bertscore", "embedding_similarity"}
    frame = run.to_pandas()
    assert frame["bertscore_f1"].notna().all()
    assert frame["bertscore_recall"].notna().all()  # a further metric of one scorer
    (run.path / "report.html").unlink()
    Export().finish(run)
    assert "bertscore_recall" in (run.path / "report.html").read_text()


def test_to_score_again_needs_it_and_says_so(gone):
    run, _ = gone
    summaries = (run.path / "summary.json").read_bytes()
    with pytest.raises(EvalkitError, match="network"):
        evalkit.rescore(run.path)
    assert (run.path / "summary.json").read_bytes() == summaries


def test_another_version_of_a_library_changes_nothing_for_readers(gone, monkeypatch):
    run, before = gone
    monkeypatch.setattr("evalkit.scorers.neural.base._major", lambda package: "99")
    assert [view.scores["bertscore"].value for view in run.records()] == [scores["bertscore"] for scores in before]


def test_a_run_whose_file_does_not_say_what_its_scorers_were_is_read_by_rebuilding_them(bert, tmp_path):
    scorers = [{"name": "embedding_similarity", "model": str(bert)}]
    run = evalkit.score(ANSWERS, REFERENCES, scorers=scorers, output_dir=tmp_path / "runs").run
    path = run.path / "summary.json"
    path.write_text(json.dumps({"summaries": json.loads(path.read_text())["summaries"]}))
    assert all(view.scores["embedding_similarity"].value for view in run.records())


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"device": "cuda:99"}, "device 'cuda:99' is not there"),
        ({"dtype": "fp16", "device": "cpu"}, "float16 needs a GPU"),
        ({"num_layers": 3}, "num_layers is 3, and .* has 2 layers"),
    ],
)
def test_a_network_that_cannot_be_used_is_told_before_a_run_begins(bert, tmp_path, params, words):
    scorer = {"name": "bertscore", "model": str(bert), "num_layers": 2, **params}
    with pytest.raises(EvalkitError, match=words):
        evalkit.score(ANSWERS, REFERENCES, scorers=[scorer], output_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_another_kind_is_told_before_a_run_begins(bert, tmp_path):
    with pytest.raises(EvalkitError, match=r"is not a sequence-to-sequence model.*model_type bert"):
        evalkit.score(ANSWERS, REFERENCES, scorers=[{"name": "bartscore", "model": str(bert)}], output_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_damaged_configuration_is_one_line(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "damaged")
    for content in ("{", "[]"):
        (folder / "config.json").write_text(content)
        for name in ("bartscore", "pll", "bertscore"):
            with pytest.raises(EvalkitError) as caught:
                evalkit.score(ANSWERS, REFERENCES, scorers=[{"name": name, "model": str(folder)}], store=False)
            assert "\n" not in str(caught.value)
