"""Judges in the report: what is said of them, what is red, and that no judge's words become markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import PATH, Browser
from fakerun import HOSTILE, fake_run
from judgerun import PANEL_NOTE, judge_run

from evalkit.report.html import export_html, render
from evalkit.report.judge import judge_sections
from evalkit.report.judge_calibration import told
from evalkit.report.judge_sample import verdict_text
from evalkit.report.view import build


def section(text: str) -> str:
    return text[text.index('<section id="judge">') : text.index('<section id="tasks">')]


def test_a_run_without_a_judge_has_no_section() -> None:
    text = render(fake_run(None))
    assert 'id="judge"' not in text and 'href="#judge"' not in text


def test_without_a_calibration_the_report_says_so_plainly(tmp_path: Path) -> None:
    text = section(render(judge_run(tmp_path, calibrated=False)))
    assert text.count("Not calibrated against people.") == 2
    assert "evalkit judge calibrate --judge-run" in text


def test_a_calibration_of_another_judge_does_not_count(tmp_path: Path) -> None:
    run = judge_run(tmp_path)
    path = tmp_path / "calibration" / "judge.json"
    path.write_text(path.read_text().replace("hf/one@aa", "hf/one@older"))
    assert all(one.calibration is None for one in judge_sections(run, run.summary()))
    path.write_text("{")
    assert all(one.calibration is None for one in judge_sections(run, run.summary()))


def test_judges_and_what_was_asked_of_them_are_named(tmp_path: Path) -> None:
    run = judge_run(tmp_path)
    panel, pairs = judge_sections(run, run.summary())
    facts = dict(panel.facts)
    assert facts["Panel"] == "hf/one, hf/two" and facts["Rubric"] == "summarisation (0123abcd)"
    assert (facts["Score mode"], facts["How asked"], facts["Combined by"]) == ("logprobs", "loglikelihood", "mean")
    assert dict(pairs.facts)["Orders"] == "both" and dict(pairs.facts)["Compared with"] == "other"
    assert [mean.metric for mean in panel.means] == ["coherence", "fluency"]
    assert "3,200 verdicts: 12 could not be read, 4 refused (0.5%)" in panel.counts
    assert "3 samples without a score (3: the judge declined)" in panel.counts
    assert panel.outside.startswith("Probability on none of the scale's labels: 3.1% on the mean, 40.0% at worst")
    assert panel.caveats == [PANEL_NOTE]  # canaries have a table of their own
    assert pairs.trivial[0] == ("longest", "0.6600") and "71%" in pairs.trivial_remark


def test_a_canary_that_earned_something_is_red(tmp_path: Path) -> None:
    run = judge_run(tmp_path)
    panel, pairs = judge_sections(run, run.summary())
    cells = {(row.name, row.judge): row.cells for row in panel.canaries}
    assert cells[("instruction", "judge_1")] == [("4.90", True), ("", False)]
    assert cells[("empty", "judge_1")] == [("1.02", False), ("refusal", False)]
    assert panel.earned.startswith("1 of 4 earned more than they deserve")
    assert pairs.earned == "None of them earned more than the scale's floor."
    text = section(render(run))
    assert text.count("num bad") == 1 and re.search(r'num bad">.{0,60}▲</span> 4\.90', text)


def test_three_means_stand_side_by_side(tmp_path: Path) -> None:
    run = judge_run(tmp_path)
    calibration = judge_sections(run, run.summary())[0].calibration
    assert calibration is not None
    coherence, fluency = calibration.criteria
    assert (coherence.use, coherence.tone, fluency.use, fluency.tone) == ("ranks systems", "good", "not usable", "bad")
    assert coherence.means[0].cells == ["3.900 [3.840, 3.960]", "3.250 [3.030, 3.470]", "3.290 [3.130, 3.450]"]
    assert coherence.means[2].label == "rival less smollm2"
    assert 'class="zero"' in str(coherence.means[2].chart) and 'class="zero"' not in str(coherence.means[0].chart)
    assert fluency.means[0].cells[1:] == ["–", "–"] and fluency.means[0].remark.startswith("2 rated items")
    text = section(render(run))
    for words in (
        "Judge only",
        "Human only",
        "Corrected",
        "need rated items drawn at random",
        "2 outputs were left out",
    ):
        assert words in text
    assert told(None) == told({"value": None, "ci": None}) == "–"


def test_no_words_of_a_judge_or_of_a_file_become_markup(tmp_path: Path) -> None:
    text = render(judge_run(tmp_path))
    assert HOSTILE not in text and "<img src=x" not in text
    assert "&lt;/script&gt;&lt;img src=x" in section(text)


def test_verdicts_of_a_sample_are_words(tmp_path: Path) -> None:
    run = judge_run(tmp_path, "Well said.\nVERDICT: 4")
    rating, pair = (run.views[i].scores for i in (0, 4))
    assert verdict_text(rating["judge"].detail) == (
        "hf/one, coherence: 3.8 (3 20%, 4 80%)\nhf/one, fluency: refused\n    the judge declined\n"
        "hf/two, coherence: 4\n    Well said.\n    VERDICT: 4"
    )
    assert verdict_text(pair["judge_pairwise"].detail) == (
        "answer first: the first text wins\n    Well said.\n    VERDICT: 4\n"
        "other text first: no verdict\n    no verdict could be found"
    )
    assert verdict_text({"verdicts": "none"}) is None and verdict_text({}) is None


def test_one_is_no_full_mark_on_a_scale_to_five(tmp_path: Path) -> None:
    assert build(judge_run(tmp_path)).graded == ["prose"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.mark.skipif(PATH is None, reason="no chromium: apt-get install chromium")
def test_the_browser_shows_verdicts_as_text(browser: Browser, tmp_path: Path) -> None:
    browser.events.clear()
    browser.open(export_html(judge_run(tmp_path)))
    browser.wait("document.querySelector('#detail pre') !== null")
    assert browser.run("document.querySelector('#detail pre').textContent").startswith("judge: hf/one, coherence: 3.8")
    assert HOSTILE in browser.run("document.querySelector('#detail').textContent")
    assert browser.run("document.images.length") == 0
    assert browser.run("document.querySelector('#detail .tag').textContent") == "◐ in between"
    bad = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert [event for event in browser.events if event["method"] in bad] == []
