"""How values, differences, p values and texts that are not ours are shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_comparisons import ACC, LOSS

from evalkit.comparison.numbers import (
    code_markdown,
    error_bar,
    escape_markdown,
    format_difference,
    format_interval,
    format_p,
    format_value,
    is_share,
    visible,
)
from evalkit.scorers.base import MetricInfo


def test_differences_of_shares_are_percentage_points():
    assert format_difference(-0.0123, ACC) == "-1.2 pp"
    assert format_difference(0.2, ACC) == "+20.0 pp"
    assert format_difference(0.0, ACC) == format_difference(-0.0, ACC) == "0.0 pp"
    assert format_difference(0.031, LOSS) == "+0.0310"
    assert format_difference(-0.0, LOSS) == "0.0000"
    assert format_difference(None, ACC) == "–"
    assert format_difference(-0.5, True) == "-50.0 pp"


def test_a_small_difference_is_never_shown_as_none():
    assert format_difference(0.0004, ACC) == "+0.04 pp"
    assert format_interval((-0.0204, 0.0001), ACC) == "[-2.04, +0.01]"
    assert format_interval((-0.02, 0.0), ACC) == "[-2.0, 0.0]"


def test_values_are_shown_as_in_the_tables_of_runs():
    assert format_value(0.735, ACC) == "0.7350"
    assert format_value(38.98991, LOSS) == "38.9899"
    assert format_value(None, ACC) == "–"
    assert format_interval((-1.2, 0.31), LOSS) == "[-1.2000, +0.3100]"
    assert format_interval(None, LOSS) == "–"


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, "–"), (0.0, "<.001"), (0.00099, "<.001"), (0.001, ".001"), (0.0264, ".026"), (0.9999, "1.000"), (1.0, "1.000")],
)
def test_p_values(p, text):
    assert format_p(p) == text


def test_what_is_a_share():
    assert is_share(ACC)
    assert is_share(MetricInfo("f1", low=0.0, high=1.0))
    assert not is_share(MetricInfo("bleu", low=0.0, high=100.0))
    assert not is_share(MetricInfo("mcc", low=-1.0, high=1.0))
    assert not is_share(MetricInfo("perplexity", False, low=1.0))


def test_error_bars_have_zero_in_the_middle():
    assert error_bar(-0.02, -0.01, 0.005, 0.05) == "····├─●┼┤······"
    assert error_bar(-0.5, -0.01, 0.5, 0.05) == "◂─────●┼──────▸"
    assert error_bar(0.01, 0.02, 0.03, 0.05, margin=0.02) == "····┊··│├─●┤···"
    assert error_bar(-0.03, -0.01, 0.005, 0.05, margin=0.02) == "···├┊─●┼┤······"
    assert error_bar(0.0, 0.0, 0.0, 1.0, width=3) == "·●·"
    assert error_bar(0.3, 0.4, 0.5, 0.05)[-1] == "●"
    for span, width in ((0.0, 15), (float("nan"), 15), (1.0, 14), (1.0, 1)):
        with pytest.raises(ValueError, match="error bar"):
            error_bar(0.0, 0.0, 0.0, span, width)


@settings(deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.sampled_from([3, 7, 15, 31]))
def test_error_bars_have_their_width_and_one_value(ends, width):
    low, value, high = sorted(ends)
    bar = error_bar(low, value, high, 1.0, width)
    assert (len(bar), bar.count("●")) == (width, 1)


def test_nothing_of_a_name_steers_a_terminal():
    assert visible("a\nb\r\x1b[31m\u202e\u200bz\u2028\ud800") == r"a\nb\r\x1b[31m\u202e\u200bz\u2028\ud800"
    assert visible("naïve 例 a\u00a0b") == "naïve 例 a b"


def test_markdown_shows_texts_as_they_are():
    hostile = "|`<b>*_[x](http://e.com) @user #12 $a$ &lt; www.e.com :bomb:\n# h"
    shown = escape_markdown(hostile)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)[|`*\[\]]", shown)
    for banned in ("<b>", "@user", "#12", "http://", "www.e", ":bomb:", "&lt; "):
        assert banned not in shown
    assert "@&#8203;user" in shown
    assert "&amp;lt;" in shown
    assert escape_markdown("a\\|b") == "a\\\\\\|b"
    assert escape_markdown("gsm8k 5-shot, 12:30") == "gsm8k 5-shot, 12:30"


def test_plain_ids_are_code_that_can_be_copied_and_others_cannot_leave_it():
    assert code_markdown("gsm8k-0412") == "`gsm8k-0412`"
    assert code_markdown("@user #1 <b> http://e.com") == "`@user #1 <b> http://e.com`"
    for text in ("a|b", "a`b", "a\\", " a", "a ", "", "x\ny"):
        shown = code_markdown(text)
        assert shown.startswith("<code>")
        assert shown.endswith("</code>")
        assert not re.search(r"[|`\\\n]", shown)


@settings(deadline=None)
@given(st.text())
def test_no_text_ends_a_cell_or_a_line(text):
    for shown in (escape_markdown(text), code_markdown(text)):
        assert not re.search(r"(?<!\\)(\\\\)*\|", shown)
        assert len(shown.splitlines()) <= 1
