"""The report as a browser shows it: nothing is asked of the network, hidden samples stay hidden until a reader asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from biasrun import SECRET, WARNING, bias_run
from chromium import PATH, Browser

from evalkit.report.html import export_html

pytestmark = pytest.mark.skipif(PATH is None, reason="no chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_html(bias_run(tmp_path_factory.mktemp("run")))


@pytest.fixture
def page(browser: Browser, report: Path) -> Browser:
    """The report freshly loaded, with the samples of the task that has a content warning in its list."""
    browser.open(report)
    browser.wait("document.querySelectorAll('.row').length > 0")
    browser.run("document.querySelector('[data-task=prompts]').click()")
    browser.wait("document.querySelector('.veil') !== null")
    return browser


def text(page: Browser) -> str:
    """All text of the page, that of its compressed blocks aside."""
    return str(page.run("document.querySelector('main').textContent"))


def test_the_page_asks_nothing_of_the_network_and_reports_no_error(browser: Browser, report: Path) -> None:
    browser.events.clear()
    browser.open(report)
    browser.wait("document.querySelectorAll('.row').length > 0")
    browser.run("document.querySelector('.pt').focus()")
    asked = {
        e["params"]["request"]["url"].partition("#")[0] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    }
    assert asked == {report.as_uri()}
    bad = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert [e for e in browser.events if e["method"] in bad] == []


def test_a_link_leads_to_a_sample_as_comparisons_write_it(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.wait("document.querySelectorAll('.row').length > 0")
    browser.wait("document.querySelector('#detail h3') !== null")
    first = browser.run("document.querySelector('#detail h3').textContent")
    browser.run("document.querySelectorAll('.row')[5].click()")
    browser.wait(f"document.querySelector('#detail h3').textContent !== {first!r}")
    sample = browser.run("document.querySelector('#detail h3').textContent")
    task = browser.run("document.querySelectorAll('#detail .tag')[1].textContent")
    browser.send("Page.navigate", url="about:blank")
    browser.send("Page.navigate", url=f"{report.as_uri()}#samples?{urlencode({'task': task, 's': sample})}")
    browser.wait("document.querySelector('#detail h3') !== null")
    assert browser.run("document.querySelector('#detail h3').textContent") == sample != first
    assert browser.run("document.getElementById('by-task').value") == task


def test_hidden_samples_are_not_in_the_page_until_asked_for(page: Browser) -> None:
    assert SECRET not in text(page)
    assert WARNING in page.run("document.querySelector('.veil').textContent")
    page.run("document.querySelector('.veil button').focus()")
    page.press("Enter")
    page.wait("document.querySelector('.veil') === null")
    shown = text(page)
    assert f"{SECRET} 0" in shown and f"{SECRET} 1" not in shown, "one sample was asked for, not its neighbours"
    assert page.run("document.activeElement.id") == "detail", "the focus is where the text is, not lost with the button"


def test_a_click_anywhere_on_what_is_hidden_shows_it(page: Browser) -> None:
    page.run("document.querySelector('.veil').scrollIntoView()")
    box = page.run("(({ x, y }) => [x, y])(document.querySelector('.veil').getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, x=box[0] + 20, y=box[1] + 20, button="left", clickCount=1)
    page.wait("document.querySelector('.veil') === null")
    assert f"{SECRET} 0" in text(page)


def test_all_samples_are_shown_and_hidden_again_by_one_button(page: Browser) -> None:
    page.run("document.getElementById('veil-all').click()")
    page.wait("document.querySelector('.veil') === null")
    assert f"{SECRET} 1" in text(page)
    assert page.run("document.getElementById('veil-all').getAttribute('aria-pressed')") == "true"
    page.run("document.getElementById('veil-all').click()")
    page.wait("document.querySelector('.veil') !== null")
    assert SECRET not in text(page)


def test_samples_of_other_tasks_are_not_hidden(page: Browser) -> None:
    page.run("document.querySelector('[data-task=pronouns]').click()")
    page.wait("document.querySelector('.detail .choices') !== null")
    assert page.run("document.querySelectorAll('.veil, .row .veiled').length") == 0


def test_dots_of_a_plot_tell_their_name_to_the_keyboard(page: Browser) -> None:
    page.send("Emulation.setFocusEmulationEnabled", enabled=True)
    assert page.run("document.querySelectorAll('.plot .pt[tabindex=\"0\"]').length") == 1, (
        "a plot is one stop of the tab key"
    )
    page.run("document.querySelector('.plot .pt').focus()")
    first = page.run("document.querySelector('.callout').textContent")
    page.press("ArrowRight")
    second = page.run("document.querySelector('.callout').textContent")
    names = page.run("[...document.querySelectorAll('.plot .pt')].slice(0, 2).map((p) => p.getAttribute('aria-label'))")
    assert [first, second] == names and first != second


def test_without_javascript_the_figures_show_and_the_samples_do_not(browser: Browser, report: Path) -> None:
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.send("Page.navigate", url=report.as_uri())
        browser.wait("document.readyState === 'complete' && document.querySelector('.forest') !== null")
        shown = str(browser.run("document.querySelector('main').innerText"))
        assert "Muslims" in shown and SECRET not in shown and "needs JavaScript" in shown
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("width", [1280, 380])
def test_the_page_is_never_wider_than_the_window(page: Browser, width: int) -> None:
    page.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    try:
        assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    finally:
        page.send("Emulation.clearDeviceMetricsOverride")
