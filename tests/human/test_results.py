"""Ratings held against what was rated: metrics of runs in the report, and studies as data of ``metrics validate``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rated_study import ITEMS, TRUE, answered, rated, study
from scipy.stats import spearmanr
from typer.testing import CliRunner

import evalkit
from evalkit.calibrate.validate import validate_metrics
from evalkit.cli.app import app
from evalkit.errors import DataError, UsageError
from evalkit.human.attach import attach_ratings
from evalkit.human.key import read_study
from evalkit.human.results import read_answers
from evalkit.human.study_report import study_report
from evalkit.ratings.base import mean_ratings, read_ratings
from evalkit.ratings.outputs import rated_rows
from evalkit.report.html import render as render_run
from evalkit.report.study import render

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def written(item: int, system: int) -> str:
    return " ".join(WORDS[: round(2 * [*TRUE.values()][system]) + item % 3])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A rated study, and a run a system whose outputs are the longer a part of the reference the better it is."""
    work = tmp_path_factory.mktemp("work")
    rated(work / "study", written=written)
    files = {}
    for number, name in enumerate(TRUE):
        lines = [{"id": f"doc{i}", "prediction": written(i, number), "reference": " ".join(WORDS)} for i in range(ITEMS)]
        files[name] = work / f"{name.replace(' ', '_')}.jsonl"
        files[name].write_text("".join(json.dumps(line) + "\n" for line in lines))
    evalkit.score(files, scorers=["chrf", "ter"], output_dir=work / "runs")
    return work


@pytest.fixture(scope="module")
def runs(place) -> list[evalkit.Run]:
    folders = [path for path in sorted((place / "runs").iterdir()) if path.name != "latest"]
    found = [evalkit.open_run(path, output_dir=place / "runs") for path in folders]
    assert sorted(run.name for run in found) == sorted(TRUE)
    return found


def test_metrics_of_the_rated_runs_stand_beside_people(place, runs):
    found = study_report(place / "study", runs=runs)
    means = mean_ratings(read_ratings(place / "study"))
    values = {(view.record.sample.id, run.name): view.scores["chrf"].value for run in runs for view in run.records()}
    rows = {(row.criterion, row.metric, row.level.name): row for row in found.correlations}
    assert {key[2] for key in rows} == {"segment", "summary", "system"}
    for criterion in ("fluency", "relevance"):
        keys = list(means)
        expected = spearmanr([values[key] for key in keys], [means[key][criterion] for key in keys]).statistic
        row = rows[criterion, "chrf", "segment"]
        one = row.level.coefficients["spearman"]
        assert one.value == pytest.approx(expected, abs=1e-9) and one.ci[0] < one.value < one.ci[1]
        assert row.level.n == 3 * ITEMS
        lower = rows[criterion, "ter", "segment"]
        assert lower.negated and lower.level.coefficients["spearman"].value > 0.2
    assert "Metrics and judges beside people" in render(found) and found.to_dict()["correlations"]
    assert 0.5 < found.to_dict()["one_annotator_against_the_rest"]["fluency"] < 1


def test_the_command_takes_runs(place, runs):
    arguments = ["human", "report", str(place / "study")]
    for run in runs:
        arguments += ["--metrics", str(run.path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Metrics and judges beside people" in done.output and "negated" in done.output


def test_a_run_that_nobody_rated_is_refused(place, runs, tmp_path):
    path = tmp_path / "outputs.jsonl"
    path.write_text(json.dumps({"id": "doc1", "prediction": "x", "reference": "y"}) + "\n")
    other = next(iter(evalkit.score({"stranger": path}, scorers=["chrf"], output_dir=tmp_path / "runs").runs.values()))
    with pytest.raises(DataError, match=r"no system called as the run .*stranger"):
        study_report(place / "study", runs=[other])
    with pytest.raises(DataError, match="two runs are the system"):
        study_report(place / "study", runs=[runs[0], runs[0]])
    rated(tmp_path / "pairs", "pairwise")
    with pytest.raises(DataError, match="ratings of pairs"):
        study_report(tmp_path / "pairs", runs=runs)


def test_a_study_is_data_for_metrics_validate(place):
    """Outputs and references come from the key, ratings are means over annotators."""
    found = validate_metrics(place / "study", ["chrf"])
    made = read_study(place / "study")
    means = mean_ratings(read_ratings(place / "study"))
    outputs = {(row.first.item, row.first.system): row.first for row in made.rows if row.kind == "item"}
    assert len(found.data.outputs) == len(outputs) == len(means)
    for output in found.data.outputs:
        key = (output.item, output.system)
        assert output.ratings == means[key]
        assert output.record.answer == outputs[key].text
        assert output.record.sample.target == (outputs[key].reference,)
        assert output.record.sample.doc["source"] == outputs[key].source
    assert {row.level.name for row in found.rows} == {"segment", "summary", "system"}
    assert found.find("chrf", "fluency", "segment").n == 3 * ITEMS


def test_single_ratings_and_their_runs_are_data_too(place, runs, tmp_path):
    alone = tmp_path / "ratings.csv"
    alone.write_bytes((place / "study" / "ratings_long.csv").read_bytes())
    with pytest.raises(DataError, match="name the rated runs with --run"):
        validate_metrics(alone, ["chrf"])
    found = validate_metrics(alone, ["chrf"], runs=runs)
    report = study_report(place / "study", runs=runs)
    (row,) = [r for r in report.correlations if (r.metric, r.criterion, r.level.name) == ("chrf", "fluency", "summary")]
    level = found.find("chrf", "fluency", "summary")
    assert level.coefficients["kendall"].value == pytest.approx(row.level.coefficients["kendall"].value, abs=1e-9)
    arguments = ["metrics", "validate", "--data", str(alone), "--scorers", "chrf", "--json"]
    for run in runs:
        arguments += ["--run", str(run.path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["data"]["outputs"] == 3 * ITEMS
    with pytest.raises(UsageError, match="is none"):
        validate_metrics(place / "plain.jsonl", ["chrf"], runs=runs)


def test_pairs_are_no_data_for_metrics(tmp_path):
    rated(tmp_path, "pairwise")
    with pytest.raises(DataError, match="rates pairs"):
        rated_rows(tmp_path)


def test_answers_of_pairs_are_from_the_first_systems_side(tmp_path):
    """Whichever side it was shown on; the tidy table says the same."""
    made = rated(tmp_path, "pairwise")
    found = read_answers(tmp_path)
    mine = {(a.annotator, a.item, a.system): a.value for a in found.answers if a.kind == "item"}
    tidy = {(r.annotator, r.item, r.system): r.value for r in read_ratings(tmp_path)}
    assert mine == tidy
    assert any(a.swapped for a in found.answers) and not all(a.swapped for a in found.answers)
    assert found.systems == ["plain vs tuned", "plain vs same as tuned", "tuned vs same as tuned"]
    assert len(made.rows) == len(found.answers)


def test_who_has_not_answered_is_no_annotator(tmp_path):
    given = [one for one in answered(study()) if one.annotator != "annotator_02"]
    rated(tmp_path, given=[replace(one, comment="odd") for one in given])
    found = read_answers(tmp_path)
    assert found.annotators == ["annotator_01", "annotator_03"] and found.systems == list(TRUE)
    assert {a.comment for a in found.answers} == {"odd"}


def test_ratings_attached_to_a_run_stand_in_its_report(place, runs):
    run = next(run for run in runs if run.name == "tuned")
    assert 'id="people"' not in render_run(run)
    done = CliRunner().invoke(app, ["human", "report", str(place / "study"), "--attach", str(run.path)])
    assert done.exit_code == 0, done.output
    own = read_ratings(run.path / "human" / "ratings_long.csv")
    assert own == tuple(r for r in read_ratings(place / "study") if r.system == "tuned")
    page = (run.path / "report.html").read_text("utf-8")
    (row,) = [row for row in study_report(place / "study").systems if (row.system, row.criterion) == ("tuned", "fluency")]
    assert f"{row.mean:.3f}" in page and f"[{row.ci[0]:.3f}, {row.ci[1]:.3f}]" in page and 'href="#people"' in page
    (run.path / "human" / "summary.json").write_text("{")
    assert 'id="people"' not in render_run(run)


def test_win_rates_attached_to_a_run(place, runs, tmp_path):
    rated(tmp_path / "pairs", "pairwise")
    run = next(run for run in runs if run.name == "plain")
    attach_ratings(study_report(tmp_path / "pairs"), run)
    page = render_run(run)
    assert "Preference, against tuned" in page and "Preference, against all others" in page and "Win rate" in page
    own = read_ratings(run.path / "human" / "ratings_long.csv")
    assert {r.system for r in own} == {"plain vs tuned", "plain vs same as tuned"}
