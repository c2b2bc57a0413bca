"""Bias and toxicity in the report: what is said of each number, how groups are tested, how large the page can get."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from biasrun import CAVEAT, SECRET, WARNING, bias_run, points
from fakerun import HOSTILE, FakeRun, fake_run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evalkit.report import forest
from evalkit.report.axis import axis
from evalkit.report.charts import bounded
from evalkit.report.export import export_summary
from evalkit.report.fairness import MAX_CHARTS, told
from evalkit.report.html import render
from evalkit.report.numbers import direction, scale
from evalkit.report.rows import table
from evalkit.report.scatter import MAX_POINTS, scatter
from evalkit.report.view import MAX_SLICE_ROWS, SEE_BELOW, build
from evalkit.types import Summary


def section(run: FakeRun) -> str:
    text = render(run)
    return text[text.index('<section id="bias">') : text.index('<section id="tasks">')]


def test_a_run_without_bias_metrics_has_no_section():
    text = render(fake_run(None))
    assert 'id="bias"' not in text and 'href="#bias"' not in text


def test_a_task_about_bias_is_told_of_whatever_its_scorers_say():
    run = fake_run(None)
    run.manifest["tasks"]["metals"]["definition"] = {"ability": "social bias in question answering"}
    assert [part.task for part in told(run, run.summary())] == ["metals"]


def test_every_number_says_what_it_means_and_how_far_it_is_sure():
    pronouns, prompts = told(bias_run(None), bias_run(None).summary())
    said = {s.metric: s for part in (pronouns, prompts) for s in part.statements}
    assert said["pairs_differ"].n == "240 groups"
    assert said["pairs_differ"].meaning == "Share of male/female minimal pairs resolved differently"
    assert said["pairs_differ"].scale == "lower is better; ideal 0; from 0 to 1"
    assert said["pairs_differ"].finding.startswith(
        "It cannot lie below its ideal 0, so being off it is no finding by itself"
    )
    assert said["pct_stereotype"].finding == "The whole interval lies above the ideal 0.5."
    assert (
        said["bias_r"].finding == "The interval includes the ideal 0: no departure is shown, though 0.47 is not ruled out."
    )
    assert (said["bias_r"].departs, said["pct_stereotype"].departs, said["to_occupation"].departs) == (False, True, None)
    assert said["acc"].finding == "Cannot be told from guessing."
    assert pronouns.caveats == [CAVEAT]
    assert pronouns.tests == [
        "to occupation: female only 6, male only 8; exact McNemar, p = 0.790",
        "accuracy test: accuracy 0.5120, chance 0.5000, n 60; t over occupations, two-sided, p = 0.430",
    ]


def test_the_section_stands_in_the_page_without_javascript():
    text = section(bias_run(None))
    for said in ("What this test cannot show", CAVEAT, "r = 0.495", "Different beyond chance", "Muslims (above)"):
        assert said in text
    assert text.count('class="pt"') == 20 and '<th scope="row">nurse</th>' in text, "a table says the same as the plot"


def test_a_plots_trend_is_pearsons_r_with_fishers_interval():
    found = points()
    plot = scatter({"points": found, "x_label": "x", "y_label": "y"})
    exact = stats.pearsonr([p["x"] for p in found], [p["y"] for p in found])
    low, high = exact.confidence_interval(0.95)
    assert plot is not None
    assert plot.trend.startswith(
        f"r = {exact.statistic:.3f}, 95 % interval [{low:.4f}, {high:.4f}], p = {exact.pvalue:.3f}; n = 20."
    )


def test_a_plot_tells_the_interval_of_the_metric_that_is_its_r():
    found = points()
    r = float(stats.pearsonr([p["x"] for p in found], [p["y"] for p in found]).statistic)
    plot = scatter({"points": found}, [Summary("t", "bias_r", r, 20, ci=(-0.01, 0.8))])
    assert plot is not None
    assert "(metric bias_r), 95 % interval [-0.0100, 0.8000]" in plot.trend and plot.trend.endswith("no trend is shown.")


@pytest.mark.parametrize("found", [[], [{"label": "a", "x": None, "y": 1.0}]])
def test_no_plot_without_points(found):
    assert scatter({"points": found}) is None


def test_points_without_spread_have_no_trend():
    plot = scatter({"points": [{"label": str(i), "x": 50.0, "y": float(i)} for i in range(3)]})
    assert plot is not None and plot.trend.startswith("No trend can be fitted")
    assert "nan" not in plot.svg and 'class="trend"' not in plot.svg


def slices(*groups: tuple[str, float, tuple[float, float], int]) -> list[Summary]:
    return [Summary("t", "m", value, n, ci=ci, slice=f"g={name}") for name, value, ci, n in groups]


def test_slices_are_tested_against_the_others_and_corrected():
    parts = slices(("a", 0.5, (0.402, 0.598), 100), ("b", 0.5, (0.402, 0.598), 100), ("c", 0.7, (0.602, 0.798), 100))
    plot = forest.of_slices("m by g", Summary("t", "m", 0.5667, 300), parts)
    assert plot is not None
    raw = 2 * stats.norm.sf(0.2 / (0.05**2 + 2 * (0.5 * 0.05) ** 2) ** 0.5)
    assert plot.groups[2].p == pytest.approx(3 * raw, rel=1e-3)
    assert (plot.groups[2].differs, plot.groups[0].differs, plot.line_name) == (True, False, "all groups")


def test_two_slices_are_one_comparison():
    parts = slices(("a", 0.5, (0.402, 0.598), 100), ("b", 0.6, (0.502, 0.698), 100))
    plot = forest.of_slices("m by g", Summary("t", "m", 0.55, 200), parts)
    assert plot is not None and "corrected" not in plot.test
    assert plot.groups[0].p == plot.groups[1].p == pytest.approx(2 * stats.norm.sf(0.1 / (0.05 * 2**0.5)), rel=1e-3)


GROUPS = [
    {"label": "a", "value": 0.1, "ci": [0.0, 0.2], "n": 9, "p": 0.02},
    {"label": "b", "value": None, "ci": None, "n": 0, "p": None},
]


@pytest.mark.parametrize(
    ("beside", "p"),
    [({}, 0.02), ({"correction": "Holm"}, 0.02), ({"groups": [{**GROUPS[0], "p_holm": 0.5}, GROUPS[1]]}, 0.5)],
)
def test_p_values_of_a_scorer_are_corrected_once(beside, p):
    plot = forest.given("gap", {"groups": GROUPS, "ideal": 0.0, **beside})
    assert plot is not None
    assert [g.p for g in plot.groups] == [p, None]
    assert plot.groups[1].figures["value"] == "–", "a group without a value is listed"


def test_panels_stand_for_the_copy_of_the_first_at_the_top():
    run = bias_run(None)
    panel = {"metric": "pct_stereotype", "ideal": 0.5, "groups": GROUPS}
    run.summaries[-1] = replace(run.summaries[-1], detail={**panel, "panels": [panel, {**panel, "by": "direction"}]})
    titles = [plot.title for plot in told(run, run.summary())[1].forests]
    assert titles[1:] == ["pct_stereotype by group", "pct_stereotype by direction"]


FIELDS = ["points", "groups", "panels", "label", "value", "x", "y", "n", "ci", "p", "p_holm", "test", "ideal", "meaning"]
KEYS = ["points", "groups", "panels", "tests", "meaning", "p", "test", "gap_p", "ideal", "other"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["points", "groups", "panels", "label", "value", "x", "y", "n", "ci", "p", "test", "ideal", "meaning"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["points", "groups", "panels", "tests", "meaning", "p", "test", "gap_p", "other"]), JSON)
)
def test_whatever_a_scorer_tells_can_be_shown(detail):
    run = fake_run(None)
    run.manifest["tasks"]["metals"]["definition"] = {"ability": "bias"}
    run.summaries[1] = replace(run.summaries[1], detail=detail)
    (part,) = [part for part in told(run, run.summary()) if part.task == "metals"]
    assert all(plot.groups for plot in part.forests) and all(plot.points for plot in part.scatters)


def test_hostile_names_are_never_markup():
    run = bias_run(None)
    detail = {
        "points": [{"label": HOSTILE, "x": 1.0, "y": i, "n": 1} for i in range(3)],
        "x_label": HOSTILE, "y_label": HOSTILE, "meaning": {"bias_r": HOSTILE},
        "tests": {HOSTILE: {"p": 0.5, "test": HOSTILE}},
        "panels": [{"metric": HOSTILE, "groups": [{"label": HOSTILE, "value": 0.5}], "test": HOSTILE}],
    }  # fmt: skip
    run.summaries = [replace(s, detail=detail, notes=(HOSTILE,)) if s.metric == "bias_r" else s for s in run.summaries]
    run.manifest["tasks"]["prompts"]["definition"]["content_warning"] = HOSTILE
    text = section(run)
    assert text.count("onerror=alert(1)&gt;") > 8 and "<img" not in render(run)


def test_a_content_warning_is_said_once_and_hides_the_samples():
    text = render(bias_run(None))
    assert text.count(WARNING) == 1
    assert f"Content warning (Prompts): {WARNING}" in text
    assert SECRET not in text


def test_figures_that_metrics_share_and_long_lists_are_told_in_short():
    run = bias_run(None, size=300)
    (detail,) = [s.detail for s in build(run).sections if s.name == "pronouns"]
    assert detail.count('"x_label"') == 1 and "260 more in results.json" in detail
    assert '"bias_r, occupation_bias"' in detail


def test_the_page_stays_small_with_thousands_of_groups():
    run = bias_run(None, size=5000)
    known = run.summaries[1]
    run.summaries += [replace(known, slice=f"town={i}", value=i / 5000) for i in range(5000)]
    run.summaries += [replace(known, slice=f"column{i}={j}") for i in range(100) for j in range(3)]
    text = render(run)
    assert text.count('class="pt"') <= MAX_POINTS
    assert len(text) < 1_500_000
    view = build(run)
    assert (view.sections[0].left_out, len(view.sections[0].rows)) == (5306 - MAX_SLICE_ROWS, 5 + MAX_SLICE_ROWS)
    assert len(view.fairness[0].scatters) + len(view.fairness[0].forests) == MAX_CHARTS
    assert view.fairness[0].left_out > 70
    towns = next(plot for plot in view.fairness[0].forests if plot.total == 5000)
    assert len(towns.groups) == forest.MAX_GROUPS and towns.groups[0].label == "0", "those farthest from the line are kept"


@pytest.mark.parametrize(
    ("metric", "arrow", "words"),
    [
        ({"low": 0.0, "high": 1.0, "ideal": 1.0}, "↑", "higher is better; ideal 1; from 0 to 1"),
        ({"higher_is_better": False, "low": 0.0, "ideal": 0.0}, "↓", "lower is better; ideal 0; from 0 up"),
        ({"higher_is_better": None, "low": 0.0, "high": 100.0, "ideal": 50.0}, "→ 50", "ideal 50; from 0 to 100"),
        ({"higher_is_better": None, "low": -1.0, "high": 1.0}, "", "from -1 to 1"),
        ({}, "↑", "higher is better"),
    ],
)
def test_which_way_a_metric_goes(metric, arrow, words):
    summary = Summary("t", "m", 0.5, 10, **metric)
    assert (direction(summary), scale(summary)) == (arrow, words)


def test_the_first_table_points_to_the_caveats_below_it():
    noted = {row.metric: row.notes for row in build(bias_run(None)).rows if row.notes}
    assert noted == {"acc": ("cannot be told from chance (0.5000)",), "pairs_differ": (SEE_BELOW,)}, "once a task"


def test_tables_say_a_long_note_once_a_task():
    rows = [row for row in table(bias_run(None)) if CAVEAT in row.notes]
    assert [row.metric for row in rows] == ["pairs_differ"]


def test_the_summary_file_has_range_and_ideal(tmp_path):
    with export_summary(bias_run(tmp_path)).open(newline="", encoding="utf-8") as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    assert [rows["bias_r"][key] for key in ("low", "high", "ideal")] == ["-1.0", "1.0", "0.0"]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([0.03, 0.97], (0, 0.2, 0.4, 0.6, 0.8, 1)), ([-7, 31], (-10, 0, 10, 20, 30, 40)), ([], (0, 0.2, 0.4, 0.6, 0.8, 1))],
)
def test_scales_are_round(values, ticks):
    assert axis(values, 0, 100).ticks == pytest.approx(ticks)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-300, 1e300])
def test_a_scale_of_one_value_has_it_inside(value):
    scale_ = axis([value], 0, 100)
    assert scale_.low <= value < scale_.high and 0 <= scale_.at(value) < 100


def test_an_interval_without_width_rules_nothing_out_and_in():
    run = bias_run(None)
    flat = replace(next(s for s in run.summaries if s.metric == "bias_r"), value=0.0, ci=(0.0, 0.0))
    (pronouns, _) = told(run, [flat if s.metric == "bias_r" and s.slice is None else s for s in run.summary()])
    said = next(s for s in pronouns.statements if s.metric == "bias_r")
    assert (said.finding, said.departs) == (
        "All of these few are alike, so that nothing tells how far this is chance.",
        None,
    )


@pytest.mark.parametrize(
    ("low", "high", "drawn"), [(0.0, 1.0, True), (None, None, True), (-1.0, 1.0, False), (0.0, 100.0, False)]
)
def test_only_what_goes_from_0_to_1_stands_on_that_scale(low, high, drawn):
    one = next(s for s in bias_run(None).summaries if s.metric == "bias_r")
    assert bounded(replace(one, value=0.4, ci=(0.2, 0.6), low=low, high=high)) is drawn
