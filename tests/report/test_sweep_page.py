"""The page and the table of a sweep: what they say of a series whose answer is known, and that nothing in them is code."""

from __future__ import annotations

import csv
import html
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import PATH, Browser

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import checkpoint_series as made

import evalkit
from evalkit.report.sweep import COLUMNS, Sweep

HOSTILE = "step-9<img src=x onerror=alert(1)>{{ 7*7 }}"
SHARES = {0: 0.0, 1: 0.25, 10: 0.27, 100: 0.55, 1000: 0.9, 2000: 0.6, 4000: 0.95}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """Chance until step 10, above it from 100 on, worse at 2000; the smaller model of step 1 aside."""
    work = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        patch.setenv("EVALKIT_CACHE", str(work / "cache"))
        for step, right in SHARES.items():
            state = {"global_step": step, "total_flos": step * 1e15}
            made.checkpoint(work / "c" / f"step-{step}", right, parameters=5000 if step == 1 else 1_000_000, state=state)
        (work / "c" / HOSTILE).mkdir()
        made.task(work, task_alias="=1+1 <b>letters</b>", items=250)
        group = {"group": "all", "task": ["letters", "numbers"], "aggregate_metric_list": [{"metric": "acc"}]}
        (work / "all.yaml").write_text(json.dumps(group))
        made.task(work, "numbers", 150)
        yield evalkit.sweep(str(work / "all.yaml"), "known/c/step-*", task_dirs=[work], output_dir=work / "runs")


@pytest.fixture(scope="module")
def page(done: Sweep) -> str:
    return (done.path / "sweep.html").read_text("utf-8")


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.partition("<main")[2].partition("<script>")[0])).split())


def test_the_marks_are_where_the_series_was_made_to_have_them(done):
    curves = {panel.key[0]: panel for panel in done.panels}
    assert set(curves) == {"all", "letters", "numbers"}
    for panel in curves.values():
        assert panel.emerged.member.name == "step-100", panel.key
        assert panel.regressed.member.name == "step-2000", panel.key
        assert panel.regressed.against.name == "step-1000"
        assert [point.regressed for point in panel.points] == [False, False, False, False, False, True, False]
    assert curves["letters"].regressed.comparison.test.value == pytest.approx(-0.3, abs=0.06)


def test_the_page_says_the_marks_the_rules_and_every_number(page):
    text = words(page)
    assert "▲ Leaves chance level (0.2500) for good at step-100 (p < 0.001)." in text
    assert re.search(r"▼ First regression at step-2000: -\d\d\.\d pp, 95 % interval \[-[\d., -]+\] against step-1000", text)
    assert "one-sided, 5 %; p corrected for the number of checkpoints by Holm" in text
    assert "significantly worse (one-sided, 5 %) and by more than 1 pp" in text
    assert "p is multiplied by the number of checkpoints that the best one was chosen from" in text
    assert "evalkit compare" in text
    assert "could not be loaded" in text
    tables = page.partition('id="figures"')[2]
    assert tables.count('<th scope="row"><a href="../') == 3 * len(SHARES)


def test_links_lead_to_the_reports_of_the_runs(done, page):
    links = {html.unescape(link).partition("#")[0] for link in re.findall(r'href="(\.\./[^"]+)"', page)}
    assert len(links) == len(SHARES)
    assert all((done.path / link).is_file() for link in links)


def test_three_axes_are_drawn_and_the_long_ones_logarithmically(page):
    for name, label in (("step", "training step"), ("parameters", "parameters"), ("compute", "training compute, FLOP")):
        charts = re.findall(rf'<div class="plot-box against against-{name}[^>]*><svg.*?</svg>', page)
        assert len(charts) == 3
        assert f">{label} (logarithmic)</text>" in charts[0]
    assert page.count('<circle class="pt') == 3 * 3 * len(SHARES)


def test_nothing_in_the_page_is_code_or_asks_the_network(page):
    assert "<img" not in page
    assert html.escape(HOSTILE) in page
    assert "&lt;b&gt;letters" in page
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_the_table_has_a_row_for_every_curve_and_checkpoint(done):
    with (done.path / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 3 * len(SHARES) + 1
    own = [row for row in rows if row["task"] == "letters"]
    assert [row["checkpoint"] for row in own if row["emerges"] == "true"] == ["step-100"]
    assert [row["checkpoint"] for row in own if row["regressed"] == "true"] == ["step-2000"]
    worse = next(row for row in own if row["regressed"] == "true")
    assert float(worse["difference"]) == pytest.approx(float(worse["value"]) - float(own[4]["value"]))
    assert int(worse["lost"]) - int(worse["gained"]) == -round(float(worse["difference"]) * 250)
    assert (worse["compute"], worse["compute_source"]) == ("2e+18", "total_flos")
    assert rows[-1]["status"] == "failed"
    frame = done.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == len(rows)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if PATH is None:
        pytest.skip("no chromium: apt-get install chromium")
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def shown(browser: Browser, done: Sweep) -> Browser:
    browser.events.clear()
    browser.open(done.path / "sweep.html")
    return browser


def test_the_page_reports_no_error_and_asks_nothing(shown, done):
    asked = {e["params"]["request"]["url"] for e in shown.events if e["method"] == "Network.requestWillBeSent"}
    assert asked == {(done.path / "sweep.html").as_uri()}
    bad = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert [e for e in shown.events if e["method"] in bad] == []


def test_one_axis_shows_at_a_time_and_the_keyboard_changes_it_without_a_script(browser, done):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(done.path / "sweep.html")
        visible = "[...document.querySelectorAll('.curve .against')].filter(e => e.checkVisibility()).map(e => e.className)"
        assert {name.split()[2] for name in browser.run(visible)} == {"against-step"}
        browser.run("document.getElementById('axis-step').focus()")
        browser.press("ArrowRight")
        assert {name.split()[2] for name in browser.run(visible)} == {"against-parameters"}
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)


def test_arrow_keys_step_through_the_checkpoints(shown):
    shown.run("document.querySelector('.curve .pt').focus()")
    shown.press("ArrowRight")
    assert shown.run("document.activeElement.getAttribute('aria-label')").startswith("step-1:")
    said = shown.run("document.querySelector('.curve .callout').textContent")
    assert said.startswith("step-1:")
    box = shown.run("(b => [b.x, b.x + b.width])(document.querySelector('.curve .callout').getBBox())")
    assert 0 <= box[0] < box[1] <= 560, "the whole of it is inside the plot"


def test_on_a_narrow_screen_nothing_but_tables_and_plots_scrolls_sideways(shown):
    shown.send("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=False)
    try:
        assert shown.run("document.documentElement.scrollWidth") <= 360
    finally:
        shown.send("Emulation.clearDeviceMetricsOverride")


def test_a_larger_margin_takes_the_mark_away_and_runs_nothing_again(done, page, monkeypatch):
    work = done.path.parents[1]
    monkeypatch.chdir(work)
    again = evalkit.sweep(str(work / "all.yaml"), "known/c/step-*", task_dirs=[work], output_dir=work / "runs", margin=0.5)
    assert again.path == done.path
    assert [panel.regressed for panel in again.panels] == [None, None, None]
    assert "by more than 50 pp" in words((done.path / "sweep.html").read_text("utf-8"))
    assert "by more than 50 pp" not in words(page)
