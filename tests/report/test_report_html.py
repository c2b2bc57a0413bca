"""The HTML report: self-contained, safe with hostile text, the same samples every time."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from fakerun import HOSTILE, FakeRun, choice_view, fake_run, manifest, summaries

from evalkit.report.html import render
from evalkit.report.pack import TEXT_LIMIT, fair_shares, pack
from evalkit.types import Summary


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, str] = {}
        self.script = self.style = ""
        self._inside: tuple[str, str | None] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = (tag, dict(attrs).get("id")) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == ("style", None):
            self.style += data
        elif self._inside == ("script", None):
            self.script += data
        elif self._inside and self._inside[1]:
            self.blocks[self._inside[1]] = self.blocks.get(self._inside[1], "") + data

    def data(self, name):
        return json.loads(gzip.decompress(base64.b64decode(self.blocks[name])))


def test_nothing_is_loaded_from_anywhere():
    page = Page(render(fake_run(None)))
    for tag, attrs in page.tags:
        assert tag not in ("img", "link", "iframe", "object", "embed", "base", "form")
        assert "src" not in attrs
        assert attrs.get("href", "#").startswith("#")
        assert "style" not in attrs, "the security policy forbids style attributes"
        assert not any(name.startswith("on") for name in attrs)
    assert "@import" not in page.style and "url(" not in page.style
    assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(", page.script)


def test_the_policy_names_exactly_this_style_and_script():
    page = Page(render(fake_run(None)))
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    for text in (page.style, page.script):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert "unsafe" not in policy


def test_hostile_text_is_never_markup():
    run = fake_run(None)
    run.summaries.append(Summary(HOSTILE, f"acc{HOSTILE}", 0.5, 3, slice=None, notes=(HOSTILE,), signature=HOSTILE))
    run.manifest["config"]["model"] = HOSTILE
    text = render(run)
    assert "onerror=alert(1)>" not in text
    assert "{{ 7*7 }}" in text, "text is shown as it is, not run as a template"
    assert Page(text).tags.count(("img", {"src": "x", "onerror": "alert(1)"})) == 0


def test_samples_come_back_as_they_were():
    page = Page(render(fake_run(None)))
    index = page.data("index")
    rows = [row for name in page.blocks if name.startswith("chunk-") for row in page.data(name)]
    assert len(rows) == len(index["id"]) == 106
    hostile = next(row for row in rows if row["id"] == "sums-4")
    assert hostile["outputs"][0]["text"] == HOSTILE
    first = rows[0]
    assert first["prompt"] == "Question: Which metal is number 0?\nAnswer:"
    assert [c["gold"] for c in first["choices"]] == [c["picked"] for c in first["choices"]] == [True, False, False, False]
    assert first["scores"] == {"acc": 1.0, "acc_norm": 1.0}
    chat = next(row for row in rows if row["id"] == "sums-3")
    assert chat["prompt"] == [["system", "Be brief."], ["user", "What is 3 + 1?"]]
    assert [index["status"][i] for i in (7, 105)] == ["error", "unscored"]


def test_the_figures_are_in_the_page_without_javascript():
    text = render(fake_run(None))
    for figure in ("0.6200", "± 0.0325", "[0.5500, 0.6900]", "subject=chemistry", "31.4159", "cannot be told from chance"):
        assert figure in text
    assert text.count('<svg class="bar"') == 11
    assert "Failed samples, left out of the scores: metals" in text


def test_an_unfinished_run_says_so_first():
    run = fake_run(None)
    run.status = "incomplete"
    assert "This run is incomplete" in render(run)


def test_all_failures_and_a_fixed_fair_share_are_embedded():
    class Large(FakeRun):
        def records(self, task=None):
            yield from (choice_view("metals", i, error=i % 100 == 0) for i in range(1000))
            yield from (choice_view("planets", i) for i in range(20))

    tasks = manifest()["tasks"]
    tasks = {"metals": {**tasks["metals"], "samples": 1000}, "planets": {**tasks["planets"], "samples": 20}}
    summaries = [Summary("metals", "acc", 0.5, 990, errors=10), Summary("planets", "acc", 0.5, 20)]
    run = Large(None, [], summaries, {**manifest(), "tasks": tasks})
    one, two = pack(run, 50), pack(run, 50)
    index = json.loads(gzip.decompress(base64.b64decode(one.index)))
    by_task = [index["tasks"][t] for t in index["task"]]
    assert one == two
    assert (one.shown, one.total) == (60, 1020)
    assert index["status"].count("error") == 10
    assert by_task.count("planets") == 20
    assert index["id"][:3] == sorted(index["id"][:3], key=lambda i: int(i.split("-")[1]))


@pytest.mark.parametrize(
    ("sizes", "limit", "shares"),
    [
        ({"a": 10, "b": 1000}, 100, {"a": 10, "b": 90}),
        ({"a": 1000, "b": 1000}, 100, {"a": 50, "b": 50}),
        ({"a": 3}, 100, {"a": 3}),
        ({}, 100, {}),
    ],
)
def test_shares_are_fair(sizes, limit, shares):
    assert fair_shares(sizes, limit) == shares


def test_long_texts_are_cut_with_a_note():
    run = fake_run(None, hostile="x" * (TEXT_LIMIT + 5))
    page = Page(render(run))
    rows = [row for name in page.blocks if name.startswith("chunk-") for row in page.data(name)]
    text = next(row for row in rows if row["id"] == "sums-4")["outputs"][0]["text"]
    assert text.endswith("[… 5 characters left out, see samples.jsonl.gz …]")


def test_a_run_without_scores_still_renders():
    run = FakeRun(None, [], [], manifest(), status="incomplete")
    assert "This run is incomplete" in render(run)
    assert len(summaries()) == 8
