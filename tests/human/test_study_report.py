"""What a report says of a study whose truth is known."""

from __future__ import annotations

import csv
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import PATH, Browser
from rated_study import LENIENT, TRUE, answered, of, rated, study
from typer.testing import CliRunner

from evalkit.cli.app import app
from evalkit.errors import DataError, NotFound, StoreError
from evalkit.human.given import GIVEN
from evalkit.human.key import write_study
from evalkit.human.study_report import StudyReport, study_report
from evalkit.report.study import export_csv, export_html, render


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("study")
    rated(place)
    return place


@pytest.fixture(scope="module")
def report(folder) -> StudyReport:
    return study_report(folder)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> StudyReport:
    place = tmp_path_factory.mktemp("pairs")
    rated(place, "pairwise")
    return study_report(place)


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.partition("<main")[2])).split())


def test_means_and_their_intervals_hold_the_truth(report):
    for system, truth in TRUE.items():
        row = of(report.systems, system=system, criterion="relevance")
        level = truth + sum(LENIENT.values()) / 3
        assert row.mean == pytest.approx(level, abs=0.3)
        assert row.ci[0] < level < row.ci[1]
        assert row.ci[0] >= 1 and row.ci[1] <= 5
        assert (row.n, row.items, row.annotators) == (80, 40, 3)


def test_a_difference_is_found_where_there_is_one_and_not_where_there_is_none(report):
    """Leniency moves all systems alike: differences are far surer than means."""
    for criterion in ("fluency", "relevance"):
        found = of(report.differences, criterion=criterion, system="tuned", baseline="plain")
        assert found.paired == "item and annotator"
        assert found.ci[0] < 1 < found.ci[1] and found.p_holm < 0.001
        none = of(report.differences, criterion=criterion, system="same as tuned", baseline="tuned")
        assert none.p_holm > 0.05 and none.p <= none.p_holm
        mean = of(report.systems, criterion=criterion, system="tuned")
        assert found.ci[1] - found.ci[0] < 0.5 * (mean.ci[1] - mean.ci[0])


def test_z_scores_take_leniency_out_of_the_means(folder, report):
    z = study_report(folder, z=True)
    wide = of(report.systems, criterion="fluency", system="plain")
    row = of(z.systems, criterion="fluency", system="plain")
    assert row.mean < -0.5
    assert (row.ci[1] - row.ci[0]) / row.sd < 0.5 * (wide.ci[1] - wide.ci[0]) / wide.sd
    assert [a.alpha_interval for a in z.agreement] == [a.alpha_interval for a in report.agreement]


def test_repeats_and_checks_count_for_annotators_and_for_nothing_else(report):
    for name in LENIENT:
        row = of(report.annotators, annotator=name)
        assert row.rows == 78 or row.rows == 81
        assert row.ratings == 2 * row.rows
        assert row.repeats == 2 * -(-row.rows // 10)
        assert 0.4 < row.same / row.repeats < 1 and 0 < row.drift < 0.25
        assert (row.checks, row.passed) == (2, 0 if name == "annotator_03" else 2)
        assert row.seconds == 20
    assert report.notes == ["annotator_03 failed 2 of 2 attention checks"]


def test_the_lenient_annotator_is_told(report):
    for criterion in ("fluency", "relevance"):
        lenient = of(report.leniency, criterion=criterion, annotator="annotator_02")
        assert lenient.ci[0] < 0.8 < lenient.ci[1]
        assert lenient.outputs == 60 and lenient.spearman > 0.6
        other = of(report.leniency, criterion=criterion, annotator="annotator_01")
        assert other.ci[1] < 0


def test_disputed_outputs_come_with_what_everybody_said(report):
    spreads = [row.spread for row in report.disputed]
    assert spreads == sorted(spreads, reverse=True) and spreads[0] > 1
    assert all(set(row.ratings) == set(LENIENT) for row in report.disputed)


def test_win_rates_strengths_and_sides(pairs):
    assert not pairs.systems and not pairs.differences
    lost = of(pairs.win_rates, system="plain", against="tuned")
    assert lost.rate == pytest.approx((lost.wins + lost.ties / 2) / (lost.wins + lost.ties + lost.losses), abs=0.05)
    assert lost.ci[1] < 0.5 and lost.p_holm < 0.001
    even = of(pairs.win_rates, system="tuned", against="same as tuned")
    assert even.ci[0] < 0.5 < even.ci[1] and even.p_holm > 0.05
    points = {row.system: row for row in pairs.strengths}
    assert points["plain"].points < 900 < 1000 < points["tuned"].points
    assert points["tuned"].ci[0] < points["same as tuned"].points < points["tuned"].ci[1]
    (side,) = pairs.sides
    assert side.ci[0] < 0.5 < side.ci[1] and side.repeats == 26 and 0 < side.flipped < 26
    assert [row.passed for row in pairs.annotators] == [2, 2, 0]


def test_preferring_a_side_is_found(tmp_path):
    given = [replace(one, value=1.0) for one in answered(study("pairwise"))]
    rated(tmp_path, "pairwise", given)
    found = study_report(tmp_path)
    (side,) = found.sides
    assert side.rate == 1 and side.flipped == side.repeats == 26
    assert of(found.win_rates, system="tuned", against="same as tuned").rate == pytest.approx(0.5, abs=0.01)


def test_ratings_that_are_all_the_same_are_undefined_never_one(tmp_path):
    rated(tmp_path, given=[replace(one, value=4.0) for one in answered(study())])
    found = study_report(tmp_path)
    for row in found.agreement:
        assert row.alpha_ordinal.value is row.ac2.value is row.kappa is row.fleiss is None
        assert row.share == 1 and "the same" in row.reason
    assert all(row.ci is None for row in [*found.systems, *found.differences])
    assert any("undefined" in note for note in found.notes)
    assert all(row.straight_line for row in found.leniency)
    assert "undefined" in words(render(found))


def test_one_annotator_and_what_was_not_applicable(tmp_path):
    given = [one for one in answered(study()) if one.annotator == "annotator_01"]
    given = [replace(one, value=None) if one.criterion == "fluency" and i % 4 == 0 else one for i, one in enumerate(given)]
    rated(tmp_path, given=given)
    found = study_report(tmp_path)
    assert found.agreement[1].reason == "no output was rated by two annotators"
    assert all(row.annotators == 1 and row.ci for row in found.systems)
    assert sum(row.not_applicable for row in found.systems if row.criterion == "fluency") > 10
    assert all(row.offset is None for row in found.leniency)
    assert "nothing came back from annotator_02, annotator_03" in found.notes
    assert words(render(found))


def test_who_rates_an_output_under_two_ids_repeats_it(tmp_path):
    """Workers of a platform may take rows of several sheets; one person is no two annotators."""
    given = [replace(one, annotator="W1") for one in answered(study()) if one.annotator != "annotator_03"]
    rated(tmp_path, given=given)
    found = study_report(tmp_path)
    (worker,) = found.annotators
    assert worker.annotator == "W1" and worker.repeats == 16 + 18 + 2 * 60
    assert all(row.outputs == 0 and row.reason for row in found.agreement)
    assert all(row.n == row.items for row in found.systems)


def test_everything_is_json_and_tables(folder, report):
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["datasheet"]["items_with_two_annotators"] == 20
    assert document["datasheet"]["rubric"]["hash"] == study().rubric.hash
    assert document["datasheet"]["criteria"][0]["definition"] == "Does it read well?"
    for path in export_csv(report, folder):
        rows = list(csv.DictReader(path.open(encoding="utf-8")))
        assert len(rows) == len(document[path.stem])


def test_the_page_holds_the_figures_and_no_code(report):
    page = render(report)
    text = words(page)
    for row in (*report.systems, *report.agreement):
        assert f"{(row.mean if hasattr(row, 'mean') else row.alpha_ordinal.value):.3f}" in text
    assert "<script" not in page and "<b>each" not in page and "Rate <b>each</b> text." in text
    assert "http" not in re.sub(r"<svg.*?</svg>", "", page.partition("<body")[2], flags=re.DOTALL)


@pytest.mark.skipif(PATH is None, reason="no chromium: apt-get install chromium")
def test_the_page_in_a_browser(report, pairs, tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        for found in (report, pairs):
            path = export_html(found, tmp_path)
            browser.events.clear()
            browser.open(path)
            assert browser.run("document.querySelectorAll('svg.bar circle').length") > 5
            assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
            bad = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
            assert [e for e in browser.events if e["method"] in bad] == []
    finally:
        browser.close()


def test_the_command(folder, pairs):
    run = CliRunner().invoke(app, ["human", "report", str(folder), "--html", "--csv"])
    assert run.exit_code == 0, run.output
    assert "Paired differences" in run.output and "undefined" not in run.output
    assert (folder / "report.html").is_file() and (folder / "tables" / "systems.csv").is_file()
    run = CliRunner().invoke(app, ["human", "report", pairs.answers.where, "--json"])
    assert json.loads(run.stdout)["win_rates"][0]["system"] == "plain"
    run = CliRunner().invoke(app, ["human", "report", pairs.answers.where])
    assert "Bradley-Terry" in run.output and "Changed when sides changed" in run.output


def test_a_table_of_ratings_from_elsewhere_is_reported_too(folder):
    found = study_report(folder / "ratings_long.csv")
    whole = study_report(folder)
    for row, other in zip(found.systems, whole.systems, strict=True):
        assert (row.system, row.mean, row.n) == (other.system, pytest.approx(other.mean), other.n)
    assert found.name == "ratings_long.csv" and not any(row.checks for row in found.annotators)


def test_what_is_missing_or_damaged_is_said(tmp_path):
    with pytest.raises(DataError, match="has no ratings yet"):
        study_report(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        study_report(tmp_path / "nowhere.csv")
    write_study(study(), tmp_path)
    with pytest.raises(NotFound, match="evalkit human import"):
        study_report(tmp_path)
    made = rated(tmp_path)
    content = json.loads((tmp_path / GIVEN).read_text())
    content["ratings"][0]["row"] = "xgone"
    (tmp_path / GIVEN).write_text(json.dumps(content))
    with pytest.raises(StoreError, match="xgone"):
        study_report(tmp_path)
    content["study"] = "another"
    (tmp_path / GIVEN).write_text(json.dumps(content))
    with pytest.raises(StoreError, match="another study"):
        study_report(tmp_path)
    twice = tmp_path / "twice.csv"
    twice.write_text("annotator,item,system,criterion,value\na,1,s,c,2\na,1,s,c,3\n")
    with pytest.raises(DataError, match="rated c of item 1 s twice"):
        study_report(twice)
    assert made.id == "stest"
