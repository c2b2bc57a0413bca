"""The tidy table of ratings survives the way to disk and back, and says where it is broken."""

from __future__ import annotations

import pytest

from evalkit.errors import DataError
from evalkit.ratings.base import Rating, mean_ratings, read_ratings, write_ratings

RATINGS = (
    Rating("ann", "007", "a", "fluency", 4.0),
    Rating("bob", "007", "a", "fluency", 5.0),
    Rating("ann", 'odd "id",\nwith a line', "b\x85", "fluency", 0.1),
)


def test_written_ratings_are_read_back_as_they_were(tmp_path):
    write_ratings(tmp_path / "ratings_long.csv", RATINGS)
    assert read_ratings(tmp_path) == RATINGS
    assert mean_ratings(RATINGS)["007", "a"] == {"fluency": 4.5}


def test_columns_may_come_in_any_order_and_a_mark_of_byte_order_is_no_text(tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes("\ufeffValue,Criterion,ITEM\r\n3,fluency,x\r\n,,\r\n".encode())
    assert read_ratings(path) == (Rating("", "x", "", "fluency", 3.0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item,criterion\n", "no column 'value'"),
        ("item,criterion,value\nx,f,n/a\n", r"r.csv:2: value 'n/a' is no number"),
        ("item,criterion,value\nx,f,nan\n", r"r.csv:2: value 'nan' is no number"),
        ("item,criterion,value\nx,f\n", r"r.csv:2: 2 columns where the header has 3"),
        ("item,criterion,value\n,f,1\n", r"r.csv:2: a rating needs an item"),
    ],
)
def test_a_broken_table_is_told_with_its_line(tmp_path, text, message):
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_ratings(path)
