"""Comparisons as tables, Markdown and data: what stands there, what is escaped, what is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from made_comparisons import ACC, LOSS, compared, rows, run

from evalkit.comparison.base import Flip, LeftOut
from evalkit.comparison.ranks import rank
from evalkit.comparison.render import flips, footnotes, lines, more_flips, table
from evalkit.comparison.render_data import comparison_document, comparison_rows, ranking_document, ranking_rows
from evalkit.comparison.render_markdown import comparison_markdown, ranking_markdown
from evalkit.comparison.render_ranks import rank_footnotes, rank_table
from evalkit.report.strict import dumps
from evalkit.report.tables import cell
from evalkit.scorers.base import MetricInfo

LOST = compared(rows(80, 100), rows(60, 100))
SAME = compared(rows(50, 100), rows(50, 100), task="facts")


def row(found, at=0):
    return dict(zip(table(found).headers, table(found).rows[at], strict=True))


def test_a_row_has_values_difference_interval_and_flips():
    told = row(lines([LOST, SAME]))
    assert (told["Task"], told["Metric"], told["n"]) == ("maths", "acc", "100")
    assert (told["Base"], told["Cand"], told["Difference"]) == ("0.8000", "0.6000", "-20.0 pp")
    assert told["Flips"] == "-20/+0"
    assert (told[" "], told["p"], told["p (Holm)"]) == ("▼", "<.001", "<.001")
    assert told["95% CI"].startswith("[-28.")
    other = row(lines([LOST, SAME]), 1)
    assert (other[" "], other["Difference"], other["p"], other["Flips"]) == ("", "0.0 pp", "1.000", "-0/+0")
    assert "90% CI" in table(lines([LOST], level=0.9), 0.9).headers


def test_holm_counts_whole_tasks_and_slices_apart():
    one = compared(rows(50, 100), rows(56, 100))  # 6 one-sided flips: p = .03125
    slices = [replace(one, slice=f"topic={label}") for label in "abc"]
    found = lines([one, *slices, SAME])
    assert [line.comparison.slice for line in found] == [None, "topic=a", "topic=b", "topic=c", None]
    assert [line.p for line in found] == pytest.approx([0.03125] * 4 + [1.0])
    assert [line.p_adjusted for line in found] == pytest.approx([0.0625, *[0.09375] * 3, 1.0])
    assert not any(line.mark for line in found)
    assert lines([one])[0].mark == "▲"
    assert "2 comparisons of whole tasks and over 3 slices by themselves" in footnotes(found)[0]


def test_marks_follow_the_direction_of_the_metric():
    low, high = rows(10, 100) + 1, rows(60, 100) + 1
    assert lines([compared(low, high, metric=LOSS)])[0].mark == "▼"
    assert lines([compared(high, low, metric=LOSS)])[0].mark == "▲"
    neither = MetricInfo("to_occupation", None, low=0.0, high=1.0, mean=True, proportion=True)
    assert lines([compared(rows(10, 100), rows(60, 100), metric=neither)])[0].mark == "≠"


def test_new_failures_are_marked_and_every_unit_that_is_left_out_is_counted():
    failing = replace(SAME, left_out=LeftOut(baseline_only=1, system_errors=3, baseline_unscored=2, pairs=5))
    mended = replace(LOST, left_out=LeftOut(baseline_errors=2, pairs=2))
    found = lines([failing, mended])
    assert [line.mark for line in found] == ["!", "▼*"]
    assert row(found)["Notes"] == "3 newly failing"
    told = footnotes(found)
    assert "left out of facts: 1 only in the baseline, 3 failed in the candidate, 2 unscored in the baseline" in told
    assert "left out of maths: 2 failed in the baseline" in told
    assert "! newly failing" in told[0]


def test_only_headline_metrics_unless_others_are_asked_for():
    aside = replace(LOST, metric=replace(ACC, name="unparsed", headline=False))
    assert [line.comparison.metric.name for line in lines([aside, LOST])] == ["acc"]
    assert [line.comparison.metric.name for line in lines([aside, LOST], metrics=["unparsed"])] == ["unparsed"]


def test_a_metric_without_a_paired_test_says_so():
    told = row(lines([replace(LOST, test=None, notes=("its network is gone",))]))
    assert (told["Difference"], told["p"]) == ("", "")
    assert told["Notes"] == "no paired test; its network is gone"


def test_the_claim_and_the_tests_are_told():
    mean = compared(np.linspace(0, 1, 50), np.linspace(0.1, 1, 50), metric=LOSS)
    told = "\n".join(footnotes(lines([LOST, mean])))
    assert "Tango's score interval and exact McNemar test (acc)" in told
    assert "t test (loss)" in told
    assert "these two models differ over all samples of this kind" in told


def test_flips_are_listed_worst_first_and_counted_beyond_the_limit():
    both = compared(rows(50, 100), rows(50, 100, first=2))
    found = lines([both, replace(both, slice="topic=a")])
    listed = flips(found, 3)
    assert [(r[2], r[3], r[4], r[5]) for r in listed.rows] == [
        ("▼", "1.0000", "→ 0.0000", "s0"),
        ("▼", "1.0000", "→ 0.0000", "s1"),
        ("▲", "0.0000", "→ 1.0000", "s50"),
    ]
    assert more_flips(found, 3) == "1 flip more (--flips all lists them)"
    assert len(flips(found, None).rows) == 4
    assert (more_flips(found, None), more_flips(found, 4)) == ("", "")


def test_the_flips_of_a_group_are_told_once():
    group = replace(LOST, task="all", detail={"members": ["maths"]}, left_out=LeftOut(system_errors=1))
    found = lines([replace(LOST, left_out=LeftOut(system_errors=1)), group])
    assert {r[0] for r in flips(found, None).rows} == {"maths"}
    assert len(flips(found, None).rows) == 20
    assert len([line for line in footnotes(found) if line.startswith("left out")]) == 1
    assert len(flips(lines([group]), None).rows) == 20


HOSTILE = "|<img src=x onerror=alert(1)>`@team`\n#1 \x1b[31m"


def test_markdown_is_a_table_in_which_names_stay_text():
    named = compared(rows(80, 100), rows(60, 100), task=HOSTILE)
    changed = replace(named, flips=(Flip(HOSTILE, HOSTILE, 1.0, 0.0),))
    page = comparison_markdown(lines([changed]), run("old"), run(HOSTILE))
    for banned in ("<img", "@team", "#1 ", "\x1b"):
        assert banned not in page
    cells = [line.replace("\\|", "").count("|") for line in page.splitlines() if line.startswith("|")]
    assert cells[0] == cells[1] == cells[2]
    assert cells[3] == cells[4] == cells[5]
    assert len(cells) == 6
    assert "| -20.0 pp |" in page
    assert "&lt;.001" in page
    assert "<details>\n<summary>1 flipped sample</summary>" in page


def test_the_document_is_strict_json_with_every_field():
    broken = replace(SAME, baseline_value=None, test=None, flips=(Flip("facts", "s1", float("nan"), 1.0),))
    document = json.loads(dumps(comparison_document(lines([LOST, broken]), run("old"), run("new"), seed=3)))
    assert (document["format"], document["level"], document["seed"]) == (1, 0.95, 3)
    assert (document["baseline"]["name"], document["system"]["source"]) == ("old", "runs/new")
    first, second = document["comparisons"]
    assert (first["method"], first["p_method"], first["difference"]) == ("tango", "mcnemar-exact", pytest.approx(-0.2))
    assert (first["baseline_value"], first["system_value"], first["lost"], first["significant"]) == (0.8, 0.6, 20, True)
    assert (first["share"], first["left_out"]["pairs"], len(first["flips"])) == (True, 0, 20)
    assert (second["difference"], second["ci"], second["p"], second["method"]) == (None, None, None, None)
    assert second["flips"][0]["baseline"] is None


def test_rows_are_flat_and_safe_in_a_spreadsheet():
    (found,) = comparison_rows(
        lines([compared(rows(80, 100), rows(60, 100), task="=cmd()", left_out=LeftOut(system_errors=4))])
    )
    assert (found["ci_low"] < found["difference"] < found["ci_high"], found["left_out_system_errors"]) == (True, 4)
    assert cell(found["task"]) == "'=cmd()"
    assert not any(isinstance(value, dict | list | tuple) for value in found.values())


def ranking():
    columns = {"low": rows(20, 100), "high": rows(60, 100), HOSTILE: rows(62, 100)}
    x = list(columns.values())
    pairs = {(i, j): compared(x[i], x[j]) for i, j in combinations(range(3), 2)}
    values = [(float(column.mean()), (0.1, 0.9)) for column in x]
    return rank(list(columns), values, pairs, left_out={"low": 0, "high": 2})


def test_a_ranking_is_a_block_of_rows_best_first():
    made = rank_table([ranking()])
    told = [dict(zip(made.headers, line, strict=True)) for line in made.rows]
    assert [(r["Task"], r["Rank"], r["Group"], r["Value"]) for r in told] == [
        ("maths", "1-2", "a", "0.6200"),
        ("", "1-2", "a", "0.6000"),
        ("", "3", "b", "0.2000"),
    ]
    assert [(r["To first"], r["Flips"]) for r in told] == [("+42.0 pp", "-0/+42"), ("+40.0 pp", "-0/+40"), ("", "")]
    assert made.rows[0][9] == "[0.1000, 0.9000]"
    notes = rank_footnotes([ranking()], "low")
    assert "3 pairs" in notes[0]
    assert "left out of maths (acc): 2 without a value of high" in notes


def test_rankings_as_markdown_and_data():
    runs = [run("low"), run("high"), run(HOSTILE)]
    page = ranking_markdown([ranking()], runs)
    assert "<img" not in page
    assert "@team" not in page
    document = json.loads(dumps(ranking_document([ranking()], runs)))
    best = document["rankings"][0]["systems"][0]
    assert (best["ranks"], best["groups"], best["to_first"]["lost"]) == ([1, 2], ["a"], 0)
    flat = ranking_rows([ranking()])
    assert [(r["rank_best"], r["rank_worst"], r["groups"]) for r in flat] == [(1, 2, "a"), (1, 2, "a"), (3, 3, "b")]
    assert flat[2]["difference"] is None


def test_nothing_to_compare_is_said():
    assert footnotes([]) == ["nothing to compare"]
    assert rank_footnotes([], "low") == ["nothing to compare"]
    assert table([]).rows == []
