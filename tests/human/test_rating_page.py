"""The rating page: blind, one annotator's own, and nothing saved is ever lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import PATH, Browser
from small_study import SYSTEMS, small_study

from evalkit.errors import StoreError, UsageError
from evalkit.human.serve.desk import Desk

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")


class Served:
    """``evalkit human serve`` as a process of its own."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "evalkit", "human", "serve", str(folder), "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.links = {}
        assert self.process.stdout is not None
        for _ in range(2):
            line = self.process.stdout.readline().split()
            assert line, self.process.stderr.read()
            self.links[line[0]] = line[1]
        self.port = int(self.links["annotator_01"].split(":")[2].partition("/")[0])
        for _ in range(200):
            try:
                self.ask("/rate.css")
                break
            except OSError:
                time.sleep(0.05)

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, dict[str, str]]:
        url = path if path.startswith("http") else f"http://127.0.0.1:{self.port}{path}"
        kinds = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(url, body, {**kinds, **{name.replace("_", "-"): v for name, v in headers.items()}})
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read().decode(), dict(reply.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), dict(error.headers)

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("study")
    small_study(found)
    return found


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    found = Served(folder)
    yield found
    found.stop()


def rows(served: Served, annotator: str) -> list[dict]:
    return json.loads(served.ask(served.links[annotator] + "/sheet")[1])["rows"]


def test_a_link_gives_its_annotators_rows_in_their_order_and_names_no_system(served: Served, folder: Path) -> None:
    key = json.loads((folder / "key.json").read_text())
    for annotator in served.links:
        _, text, _ = served.ask(served.links[annotator] + "/sheet")
        assert not any(name in text for name in (*SYSTEMS, "item0", "digest"))
        own = [row["id"] for row in key["rows"] if row["annotator"] == annotator]
        assert [row["id"] for row in json.loads(text)["rows"]] == own


@pytest.mark.parametrize(
    "path",
    ["/", "/key.json", "/r/", "/r/wrong", "/r/wrong/sheet", "/r/annotator_01/sheet", "/r/../key.json", "/r/%2e%2e/key.json",
     "/rate.py", "/rate.json", "/links.json", "/answers/annotator_01.jsonl", "/openapi.json"],
)  # fmt: skip
def test_nothing_else_can_be_asked_for(served: Served, path: str) -> None:
    status, text, _ = served.ask(path)
    assert status == 404
    assert "secret-system" not in text


def test_every_reply_forbids_foreign_code_frames_and_referrers(served: Served) -> None:
    for path in (served.links["annotator_01"], "/rate.js", "/nowhere"):
        _, _, headers = served.ask(path)
        lowered = {name.lower(): value for name, value in headers.items()}
        if path != "/nowhere":
            assert "default-src 'none'" in lowered["content-security-policy"]
            assert lowered["referrer-policy"] == "no-referrer" and lowered["cache-control"] == "no-store"


def test_another_name_for_this_machine_and_another_pages_requests_are_refused(served: Served) -> None:
    link = served.links["annotator_01"]
    body = json.dumps({"row": rows(served, "annotator_01")[0]["id"], "criterion": "fluency", "value": "3"}).encode()
    assert served.ask(link + "/sheet", Host=f"evil.example:{served.port}")[0] == 421
    assert served.ask(link + "/answer", body, Origin="http://evil.example")[0] == 403
    assert served.ask(link + "/answer", body, Content_Type="text/plain")[0] == 415
    assert served.ask(link + "/answer", b"x" * 100_000)[0] == 413


def test_what_is_not_on_the_sheet_or_the_scale_is_refused(served: Served, folder: Path) -> None:
    link = served.links["annotator_01"]
    own, foreign = rows(served, "annotator_01")[0]["id"], rows(served, "annotator_02")[0]["id"]
    for answer, reason in (
        ({"row": foreign, "criterion": "fluency", "value": "3"}, "not on your sheet"),
        ({"row": own, "criterion": "style", "value": "3"}, "no criterion 'style'"),
        ({"row": own, "criterion": "fluency", "value": "6"}, "'6' is not on the scale of fluency: 1, 2, 3, 4, 5"),
        ({"row": own, "criterion": "fluency", "value": 3}, "not on the scale"),
        ({"row": own, "comment": "x" * 10_001}, "up to 10,000"),
        (["row"], "an answer is an object"),
    ):
        status, text, _ = served.ask(link + "/answer", json.dumps(answer).encode())
        assert (status, reason in text) == (400, True), text
    assert served.ask(link + "/answer", b"{")[0] == 400


def test_ratings_outlive_a_killed_server_and_links_stay(tmp_path: Path) -> None:
    small_study(tmp_path)
    first = Served(tmp_path)
    row = rows(first, "annotator_01")[0]["id"]
    given = [("fluency", "3"), ("coherence", "N/A"), ("fluency", "4")]
    for name, value in given:
        body = json.dumps({"row": row, "criterion": name, "value": value, "seconds": 2.5}).encode()
        assert first.ask(first.links["annotator_01"] + "/answer", body)[0] == 200
    assert (
        first.ask(first.links["annotator_01"] + "/answer", json.dumps({"row": row, "comment": "odd\u2028one"}).encode())[0]
        == 200
    )
    first.stop(signal.SIGKILL)
    with (tmp_path / "answers" / "annotator_01.jsonl").open("ab") as file:
        file.write(b'{"row": "torn')  # what a power cut may leave
    again = Served(tmp_path)
    assert again.links["annotator_01"].rpartition("/")[2] == first.links["annotator_01"].rpartition("/")[2]
    sheet = json.loads(again.ask(again.links["annotator_01"] + "/sheet")[1])
    assert sheet["answers"] == {row: {"fluency": "4", "coherence": "N/A", "comment": "odd\u2028one"}}
    assert again.stop() in (0, 130)


def test_links_are_their_owners_only(tmp_path: Path) -> None:
    small_study(tmp_path)
    desk = Desk(tmp_path)
    assert (tmp_path / "links.json").stat().st_mode & 0o077 == 0
    assert len(set(desk.tokens.values())) == 2
    assert desk.annotator("") is None and desk.annotator(desk.tokens["annotator_01"] + "x") is None
    with pytest.raises(StoreError, match="served already"):
        Desk(tmp_path)
    desk.close()


def test_a_folder_that_is_no_study_and_a_taken_port_are_told_in_one_line(tmp_path: Path, served: Served) -> None:
    small_study(tmp_path / "study")
    for arguments, reason in (
        ([str(tmp_path)], "there is no study in"),
        ([str(tmp_path / "study"), "--port", str(served.port)], f"port {served.port}: "),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "evalkit", "human", "serve", *arguments], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2 and reason in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if PATH is None:
        pytest.skip("no chromium: apt-get install chromium")
    found = Browser(tmp_path / "profile")
    yield found
    found.close()


def opened(browser: Browser, url: str) -> None:
    browser.send("Page.navigate", url="about:blank")
    browser.wait("location.href === 'about:blank'")  # a page that is left may ask first: one after the other
    browser.send("Page.navigate", url=url)
    browser.wait("document.querySelectorAll('fieldset').length > 0")


def test_rating_by_keys_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    small_study(tmp_path / "study")
    served = Served(tmp_path / "study")
    link = served.links["annotator_02"]
    opened(browser, link)
    assert browser.run("document.querySelector('b') === null"), "text of outputs is text, never markup"
    assert "<b>bold</b>" in browser.run("document.querySelector('#texts').textContent")
    for key in "4325":
        browser.press(key)
    browser.wait("document.getElementById('saving').textContent === 'all saved'")
    assert browser.run("document.getElementById('progress').textContent") == "1 of 6 rated"
    browser.press("ArrowRight")
    browser.press("n")
    browser.wait("document.getElementById('saving').textContent === 'all saved'")
    first, second = (row["id"] for row in rows(served, "annotator_02")[:2])
    with Desk_closed(served, tmp_path / "study") as desk:
        assert desk.answers("annotator_02") == {
            first: {"fluency": "4", "coherence": "3", "relevance": "2", "factuality": "5"},
            second: {"fluency": "N/A"},
        }
    bad = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event["method"] in bad] == []


def test_a_page_waits_for_its_server_to_come_back_and_goes_on_where_it_was(browser: Browser, tmp_path: Path) -> None:
    small_study(tmp_path / "study")
    served = Served(tmp_path / "study")
    link, port = served.links["annotator_01"], served.port
    opened(browser, link)
    browser.press("1")
    browser.wait("document.getElementById('saving').textContent === 'all saved'")
    served.stop(signal.SIGKILL)
    browser.press("2")
    browser.wait("document.getElementById('saving').textContent.includes('not saved yet')")
    again = Served(tmp_path / "study", port)
    browser.wait("document.getElementById('saving').textContent === 'all saved'")
    opened(browser, again.links["annotator_01"])
    browser.wait("document.querySelectorAll('[aria-checked=true]').length === 2")
    assert browser.run("document.querySelector('fieldset.now legend').textContent") == "Relevance"
    again.stop()


def test_offensive_texts_are_hidden_until_they_are_asked_for(browser: Browser, tmp_path: Path) -> None:
    small_study(tmp_path / "study", warnings=("Offensive language.",))
    served = Served(tmp_path / "study")
    opened(browser, served.links["annotator_01"])
    assert "Offensive language." in browser.run("document.getElementById('warning').textContent")
    assert browser.run("document.querySelectorAll('.hidden-text').length") == 1
    browser.run("document.querySelector('.hidden-text div').click()")
    assert browser.run("document.querySelectorAll('.hidden-text').length") == 0
    served.stop()


def test_pairs_stand_side_by_side_and_take_letters(browser: Browser, tmp_path: Path) -> None:
    small_study(tmp_path / "study", rubric="preference")
    served = Served(tmp_path / "study")
    opened(browser, served.links["annotator_01"])
    assert browser.run("document.querySelectorAll('.pair .text').length") == 2
    browser.press("b")
    browser.wait("document.getElementById('saving').textContent === 'all saved'")
    assert browser.run("document.querySelector('[aria-checked=true]').textContent") == "B"
    browser.press("ArrowRight")
    browser.press("t")
    browser.wait("document.querySelector('[aria-checked=true]')?.textContent === 'tie'")
    served.stop()


class Desk_closed:
    """The desk of a study after its server has ended."""

    def __init__(self, served: Served, folder: Path) -> None:
        served.stop()
        self._desk = Desk(folder)

    def __enter__(self) -> Desk:
        return self._desk

    def __exit__(self, *error: object) -> None:
        self._desk.close()


def test_an_answer_that_cannot_be_written_is_not_called_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = small_study(tmp_path)
    desk = Desk(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        desk.save("annotator_01", {"row": study.rows[0].id, "criterion": "fluency", "value": "3"})
    with pytest.raises(UsageError):
        desk.save("annotator_01", {"row": "nobody", "criterion": "fluency", "value": "3"})
    desk.close()
