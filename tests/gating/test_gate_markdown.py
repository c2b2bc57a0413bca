"""A gate's Markdown: verdict first, within GitHub's limit, and nothing in it but text."""

from __future__ import annotations

import re
from html import unescape

import pytest
from gate_results import BUDGET, FAILED, NASTY, SLICE, UNDECIDED, check, nasty, result
from markdown_it import MarkdownIt

from evalkit.comparison.base import Flip
from evalkit.errors import NotComparable
from evalkit.gating import markdown


def page(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(text)


def rows(html: str) -> list[list[str]]:
    cells = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row, re.S) for row in re.findall(r"<tr>(.*?)</tr>", html, re.S)]
    return [[unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in row] for row in cells]


def test_the_first_line_is_the_verdict_and_the_marker_stands_alone():
    lines = markdown.render(result(check(), FAILED)).splitlines()
    assert lines[0] == "### ❌ FAIL: as the checks say"
    assert "<!-- evalkit-gate:release -->" in lines


def test_the_table_has_what_failed_first_and_every_figure():
    table = rows(page(markdown.render(result(check(), UNDECIDED, FAILED))))
    assert table[0] == ["check", "base", "cand", "Δ [95% CI]", "margin", "n (flips -/+)", "verdict"]
    assert [row[0] for row in table[1:4]] == ["arc_easy acc", "ifeval prompt", "gsm8k exact_match"]
    assert table[1][1:3] == ["0.7000", "0.6690"]
    assert table[1][3].startswith("-3.1 pp [-4.8, -1.4]") and "●" in table[1][3] and "┊" not in table[1][3][:22]
    assert table[1][4:] == ["2 pp", "1,319 (-41/+10)", "❌ FAIL"]
    assert table[2][6] == "⚠️ INCONCLUSIVE"


def test_the_bars_of_all_checks_have_one_scale_in_margins():
    text = markdown.render(result(check(), check("half", margin=0.01, difference=-0.0025, ci=(-0.0065, 0.002))))
    one, two = re.findall(r"<br>`(.*?)`", text)
    assert one == two


def test_where_lower_is_better_the_margin_stands_on_the_other_side():
    text = markdown.render(result(check("loss", percent=False, difference=0.0, ci=(-0.01, 0.01), higher_is_better=False)))
    (drawn,) = re.findall(r"<br>`(.*?)`", text)
    assert drawn.index("┊") > drawn.index("●")


def test_an_undecided_check_says_what_would_settle_it():
    text = markdown.render(result(UNDECIDED))
    assert "needs about 1,900 items (it has 541), or a margin of 3.2 pp" in text


def test_budgets_slices_and_what_is_in_no_pair_are_shown():
    html = page(markdown.render(result(check(), FAILED, BUDGET, SLICE)))
    table = rows(html)
    assert ["p95_latency_s", "2.9 s", "3.1 s", "✅ PASS", "3.1 s, within 4 s"] in table
    assert "<summary>1 slice</summary>" in html
    assert "3 failed in the candidate" in html


def test_a_slice_that_failed_is_not_hidden_in_the_details():
    failed = check("mmlu acc [subject=law]", kind="slice", verdict="FAIL", sentence="worse by 9 pp")
    text = markdown.render(result(check(), failed))
    assert text.index("subject=law") < text.index("gsm8k")
    assert "<summary>" not in text.replace("<summary>samples", "")


def test_the_worst_flips_link_to_the_samples_of_the_report():
    text = markdown.render(result(FAILED), report_url="https://ci.example/7/report.html")
    assert "[`q-7`](<https://ci.example/7/report.html#samples?task=arc_easy&s=q-7>)" in text
    assert "q-9" not in text  # it got better
    without = markdown.render(result(FAILED))
    assert "| `q-7` | 1.0000 | 0.0000 |" in without


def test_a_link_is_made_where_the_flip_has_no_anchor_of_its_own():
    failed = check(verdict="FAIL", flips=(Flip("a b", "id>)#&", 1.0, 0.0),))
    text = markdown.render(result(failed), report_url="runs/my run/report.html")
    assert "(<runs/my%20run/report.html#samples?task=a%20b&s=id%3E%29%23%26>)" in text


def test_the_footer_names_what_the_verdict_rests_on():
    footer = markdown.render(result(check())).splitlines()[-1]
    for fact in ("0123456789abcdef", "α 0.05", "seed 0", "20261122-base", "20261122-cand", "evalkit 0.1.0", "f" * 16):
        assert fact in footer


@pytest.mark.parametrize("text", NASTY)
def test_whatever_a_name_holds_is_text(text):
    made = markdown.render(nasty(text), report_url="https://ci.example/report.html")
    html = page(made)
    assert set(re.findall(r"<(\w+)", html)) <= {
        "h3", "p", "br", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "sub", "a", "ul", "li",
        "blockquote", "span",
    }  # fmt: skip
    assert all(link.startswith("https://ci.example/report.html#") for link in re.findall(r'href="(.*?)"', html))
    assert {len(row) for row in rows(html)} == {3, 5, 7}
    assert len(re.findall(r"^<!--", made, re.M)) == 1
    assert not set(made) & set("\x00\x1b\x07\r\u202e")
    made.encode("utf-8")
    outside_code = re.sub(r"`[^`]*`|<code>.*?</code>|\(<.*?>\)", "", made)
    assert not re.findall(r"@\w|(?<!&)#\w|://", outside_code)


def test_a_long_result_fits_a_comment_and_says_what_is_left_out():
    flips = tuple(Flip("t", f"sample-{i}", 1.0, 0.0) for i in range(40))
    many = [check(f"slice {i}", kind="slice", sentence="x" * 300) for i in range(3000)]
    failed = [check(f"task{i} acc", verdict="FAIL", sentence="worse " * 60, flips=flips) for i in range(120)]
    made = result(*many, *failed, headline="FAIL: much")
    text = markdown.render(made)
    assert len(text.encode("utf-16-le")) // 2 <= 65_536
    assert text.startswith("### ❌ FAIL: much\n")
    assert "`task0 acc`" in text and "this page is shortened" in text
    assert "left out here for want of room" in text
    short = markdown.render(result(check()))
    assert "shortened" not in short and "left out" not in short


def test_even_hostile_names_of_any_length_fit():
    failed = [check("|$\u202e" * 3000 + str(i), verdict="FAIL", sentence="<@" * 5000) for i in range(300)]
    made = result(*failed, headline="<|" * 50_000, notes=("$" * 9999,) * 50, gate="|" * 9999)
    assert len(markdown.render(made)) < 65_536


def test_without_a_verdict_the_comment_says_why():
    text = markdown.refused("release", NotComparable("task `gsm8k`: the data differ | <b>"))
    assert text.splitlines()[0] == "### ⛔ Cannot gate: task \\`gsm8k\\`: the data differ \\| &lt;b&gt;"
    assert "<!-- evalkit-gate:release -->" in text.splitlines()
