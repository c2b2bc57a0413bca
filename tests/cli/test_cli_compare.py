"""``evalkit compare`` on real runs: tables, files, several runs, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "comparison"))

from comparison_runs import make_run, rows, write_task


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs of one task: ``good``, ``same``, ``poor`` (12 sums wrong), ``broken`` (3 fail), and one of another prompt."""
    folder = tmp_path_factory.mktemp("compare")
    task = write_task(folder)
    make_run(folder / "runs", task, "good", wrong={3})
    make_run(folder / "runs", task, "same", wrong={3})
    make_run(folder / "runs", task, "poor", wrong=range(5, 17))
    make_run(folder / "runs", task, "broken", wrong={3}, broken={20, 21, 22})
    other = write_task(folder / "other", doc_to_text="Say {{question}}\nAnswer:")
    make_run(folder / "runs", other, "other")
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def test_two_runs_are_a_table_with_flips_and_the_claim(folder, evalkit):
    done = evalkit("compare", "good", "poor", "--flips", "2")
    assert done.code == 0, done.err
    tables = done.out.split("\n\n")
    header, _, whole, *slices = tables[0].splitlines()
    assert header.split()[:2] == ["Task", "Metric"]
    assert whole.split()[:3] == ["sums", "exact_match", "↑"]
    for figure in ("0.9750", "0.7000", "▼", "-27.5 pp", "-12/+1", ".003"):
        assert figure in whole
    assert [line.split()[1] for line in slices] == ["topic=small", "topic=(none)", "topic=large"]
    assert [line.split()[-1] for line in tables[1].splitlines()[2:]] == ["q005", "q006"]
    assert "11 flips more" in done.err
    assert "what the intervals claim" in done.err
    assert "Tango" in done.err
    assert "baseline: good (2" in done.err


def test_a_run_against_its_repeat_shows_no_difference_but_an_interval(folder, evalkit):
    done = evalkit("compare", "good", "same", "--no-slices")
    (line,) = done.out.splitlines()[2:]
    for figure in ("0.0 pp", "[-8.8, +8.8]", "1.000", "-0/+0"):
        assert figure in line
    assert "▼" not in done.out + done.err


def test_failures_are_never_silent(folder, evalkit):
    done = evalkit("compare", "good", "broken", "--no-slices")
    assert "3 newly failing" in done.out
    assert " ! " in done.out
    assert "left out of sums: 3 failed in the candidate" in done.err
    wrong = evalkit("compare", "good", "broken", "--no-slices", "--errors-as-wrong")
    assert "-7.5 pp" in wrong.out
    assert " 40 " in wrong.out


def test_json_csv_and_markdown_go_where_they_are_sent(folder, evalkit, tmp_path):
    files = {kind: tmp_path / "new" / f"out.{kind}" for kind in ("json", "csv", "md")}
    call = ["compare", "old=good", "poor", "--json", files["json"], "--csv", files["csv"], "--markdown", files["md"]]
    done = evalkit(*map(str, call))
    assert done.code == 0, done.err
    assert "-27.5 pp" in done.out
    document = json.loads(files["json"].read_text())
    assert document["baseline"]["name"] == "old"
    assert document["comparisons"][0]["lost"] == 12
    assert len(document["comparisons"][0]["flips"]) == 13
    assert {c["slice"] for c in document["comparisons"]} == {None, "topic=small", "topic=large", "topic=(none)"}
    found = list(csv.DictReader(files["csv"].open()))
    assert float(found[0]["difference"]) == pytest.approx(-0.275)
    assert "| -27.5 pp |" in files["md"].read_text()
    alone = evalkit("compare", "good", "poor", "--json", "-", "--no-slices")
    assert json.loads(alone.out)["comparisons"][0]["difference"] == pytest.approx(-0.275)
    both = evalkit("compare", "good", "poor", "--json", "-", "--csv", "-")
    assert (both.code, "only one of" in both.err) == (2, True)


def test_several_runs_are_ranked(folder, evalkit):
    done = evalkit("compare", "good", "poor", "same", "--no-slices")
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines()[2:]]
    assert [[w for w in line if w in ("good", "same", "poor")] for line in lines] == [["good"], ["same"], ["poor"]]
    assert lines[0][4:6] == ["1-2", "a"]
    assert lines[2][:2] == ["3", "b"]
    assert "share a letter cannot be told apart" in done.err
    rows_ = list(csv.DictReader(io.StringIO(evalkit("compare", "good", "poor", "same", "--csv", "-", "--no-slices").out)))
    assert [(r["system"], r["groups"], r["rank_best"]) for r in rows_] == [
        ("good", "a", "1"),
        ("same", "a", "1"),
        ("poor", "b", "3"),
    ]
    sliced = json.loads(evalkit("compare", "good", "poor", "same", "--json", "-").out)["rankings"]
    assert [found["slice"] for found in sliced] == [None, "topic=small", "topic=(none)", "topic=large"]
    assert all(system["ci"] for found in sliced for system in found["systems"])


def test_several_runs_are_ranked_on_the_samples_that_all_have(folder, evalkit):
    document = json.loads(evalkit("compare", "good", "poor", "broken", "--no-slices", "--json", "-").out)
    (found,) = document["rankings"]
    assert (found["n"], found["left_out"]) == (37, {"good": 0, "poor": 0, "broken": 3})
    values = {system["system"]: system["value"] for system in found["systems"]}
    assert values["good"] == values["broken"] == pytest.approx(36 / 37)
    wrong = json.loads(evalkit("compare", "good", "poor", "broken", "--no-slices", "--errors-as-wrong", "--json", "-").out)
    assert (wrong["rankings"][0]["n"], wrong["rankings"][0]["left_out"]["broken"]) == (40, 0)
    assert wrong["rankings"][0]["systems"][1]["value"] == pytest.approx(36 / 40)


def test_the_same_run_twice_keeps_two_names(folder, evalkit):
    done = evalkit("compare", "good", "good", "poor", "--no-slices", "--csv", "-")
    names = {r["system"] for r in csv.DictReader(io.StringIO(done.out))}
    assert len(names) == 3


def test_runs_of_other_prompts_are_refused(folder, evalkit):
    done = evalkit("compare", "good", "other")
    assert (done.code, done.out) == (4, "")
    assert "prompts differ" in done.err
    assert "run again: evalkit run" in done.err
    several = evalkit("compare", "good", "poor", "other")
    assert (several.code, "prompts differ" in several.err) == (4, True)


def test_too_little_in_common_is_refused_unless_it_is_allowed(made, evalkit, monkeypatch):
    monkeypatch.chdir(made)
    make_run(made / "runs", write_task(made / "part", data=rows()[:30]), "part")
    refused = evalkit("compare", "good", "part")
    assert (refused.code, "30 of 40 samples" in refused.err) == (4, True)
    done = evalkit("compare", "good", "part", "--min-overlap", "0.7", "--no-slices")
    assert done.code == 0, done.err
    assert "left out of sums: 10 only in the baseline" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("good", "por"), "no run 'por'"),
        (("good", "poor", "--metrics", "exact_mach"), "exact_match"),
        (("good", "poor", "--slices", "topik"), "topic"),
        (("good", "poor", "--tasks", "sum"), "sums"),
        (("good", "poor", "--slices", "topic", "--no-slices"), "exclude each other"),
        (("good", "poor", "--flips", "few"), "--flips"),
        (("good", "poor", "--level", "95"), "--level"),
        (("good",), "CAND"),
    ],
)
def test_usage_is_one_line(folder, evalkit, arguments, told):
    done = evalkit("compare", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_a_narrow_terminal_keeps_the_difference(folder, evalkit, monkeypatch):
    import os
    import shutil

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((60, 24)))
    monkeypatch.setenv("NO_COLOR", "1")
    done = evalkit("compare", "good", "poor", "--no-slices")
    assert all(len(line) <= 60 for line in done.out.splitlines())
    assert "-27.5 pp" in done.out
    assert "\x1b" not in done.out
    assert "left out on this narrow terminal" in done.err


def test_names_from_runs_do_not_steer_the_terminal(made, evalkit, monkeypatch):
    monkeypatch.chdir(made)
    data = [{**row, "id": f"\x1b[2J{row['id']}|`@you\n"} for row in rows()]
    task = write_task(made / "hostile", data=data)
    make_run(made / "runs", task, "h1")
    make_run(made / "runs", task, "h2", wrong={1, 2})
    done = evalkit("compare", "h1", "h2", "--no-slices")
    assert "\x1b" not in done.out
    assert r"\x1b[2Jq001|`@you\n" in done.out
    page = evalkit("compare", "h1", "h2", "--no-slices", "--markdown", "-").out
    assert "@you" not in page
    assert "\x1b" not in page
