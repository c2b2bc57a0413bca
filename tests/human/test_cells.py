"""What a rating cell may look like after a spreadsheet had it, and what it never means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.human.cells import read_cell
from evalkit.rubric.schema import Scale

FIVE, SIGNED, BINARY = Scale(low=1, high=5), Scale(low=-2, high=2), Scale(low=0, high=1)
PERCENT, THOUSAND = Scale(low=0, high=100), Scale(low=0, high=2000)
WORDS = Scale(labels=("wrong", "partly right", "right"))
SIDES = Scale(labels=("A", "tie", "B"), values=(1, 0.5, 0))


@pytest.mark.parametrize(
    "text",
    [
        "4",
        "4.0",
        "4,0",
        "4.00",
        " 4 ",
        "\u00a04\u202f",
        "４",
        "４．０",
        "'4",
        "\u201c4\u201d",
        '"4"',
        "4.",
        "+4",
        "4\u200b",
        "4E+00",
        "4.00E+00",
        "\ufeff4",
        "4\n",
    ],
)
def test_spellings_of_four(text: str) -> None:
    assert read_cell(text, FIVE).value == 4.0


@pytest.mark.parametrize(
    ("text", "scale", "value"),
    [
        ("-2", SIGNED, -2),
        ("\u22122", SIGNED, -2),
        ("'-2", SIGNED, -2),
        ("-2,0", SIGNED, -2),
        ("0", BINARY, 0),
        ("-0", BINARY, 0),
        ("100", PERCENT, 100),
        ("Partly  Right", WORDS, 2),
        ("RIGHT ", WORDS, 3),
        ("a", SIDES, 1),
        ("Tie", SIDES, 0.5),
        ("Ｂ", SIDES, 0),
        ("1.000", FIVE, 1),
        ("true", Scale(labels=("FALSE", "TRUE")), 2),
        ("1-2", Scale(labels=("1-2", "3-4")), 1),
        ("n/a", Scale(labels=("n/a", "b")), 1),
        ("2,0", Scale(labels=("1.0", "2.0"), values=(10, 20)), 20),
    ],
)
def test_points_of_other_scales(text: str, scale: Scale, value: float) -> None:
    assert read_cell(text, scale).value == value


@pytest.mark.parametrize(
    ("text", "scale", "says"),
    [
        ("3.5", FIVE, "between two points"),
        ("3,5", FIVE, "between two points"),
        ("6", FIVE, "not on the scale 1 to 5"),
        ("0", FIVE, "not on"),
        ("-4", FIVE, "not on"),
        ("44", FIVE, "not on"),
        ("2024-02-01", FIVE, "a date"),
        ("1-2", FIVE, "a date"),
        ("3/4", FIVE, "a date"),
        ("01.02.2024", FIVE, "a date"),
        ("4-May", FIVE, "a date"),
        ("Mai 04", FIVE, "a date"),
        ("04:00", FIVE, "a date"),
        ("2024-02-01 00:00:00", FIVE, "a date"),
        ("TRUE", BINARY, "a truth value"),
        ("Falsch", BINARY, "a truth value"),
        ("4%", FIVE, "a percentage"),
        ("=4", FIVE, "a formula"),
        ("+B2", FIVE, "a formula"),
        ("#REF!", FIVE, "a spreadsheet's error"),
        ("#N/A", FIVE, "a spreadsheet's error"),
        ("1E5", FIVE, "not on"),
        ("four", FIVE, "no rating"),
        ("-", FIVE, "no rating"),
        ("4/5", FIVE, "a date"),
        ("4 (good)", FIVE, "no rating"),
        ("4;", FIVE, "no rating"),
        ("45123", FIVE, "not on"),
        ("1,000", THOUSAND, "may be 1 or 1000"),
        ("1.000", THOUSAND, "may be 1 or 1000"),
        ("2", WORDS, "none of wrong"),
        ("rigth", WORDS, "did you mean right"),
        ("1", SIDES, "none of A, tie, B"),
        ("AB", SIDES, "none of"),
        ("nan", FIVE, "no rating"),
        ("inf", FIVE, "no rating"),
        ("4_0", FIVE, "no rating"),
        ("٤x", FIVE, "no rating"),
    ],
)
def test_what_is_no_rating_says_what_it_is(text: str, scale: Scale, says: str) -> None:
    cell = read_cell(text, scale)
    assert (cell.state, cell.value) == ("wrong", None) and says in cell.problem


@pytest.mark.parametrize("text", ["N/A", "n/a", "NA", " n.a. ", "Not applicable", "'N/A", "Ｎ／Ａ"])
def test_not_applicable_is_said(text: str) -> None:
    assert read_cell(text, FIVE).state == "na"


@pytest.mark.parametrize("text", ["", " ", "\n", "\u00a0", "'", "\ufeff", "\u200b"])
def test_empty_is_forgotten(text: str) -> None:
    assert read_cell(text, FIVE).state == "empty"


@settings(derandomize=True, database=None, max_examples=300)
@given(st.text(max_size=8))
def test_no_text_is_rounded_or_guessed(text: str) -> None:
    cell = read_cell(text, FIVE)
    if cell.state == "value":
        assert cell.value in (1, 2, 3, 4, 5) and any(letter.isnumeric() for letter in text)
        assert "".join(text.split()).strip("'\"").count("-") == 0
