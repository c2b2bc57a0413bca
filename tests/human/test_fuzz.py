"""Sheets are damaged in every way that spreadsheets know: the exact ratings come out, or a finding says why not."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import damages
import pytest
import returned_study as small
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.human.import_ratings import ImportedRatings, import_ratings

MADE = small.study(annotators=1, items=len(small.TEXTS))
(ANNOTATOR,) = MADE.annotators
SHEET = small.filled(MADE, ANNOTATOR)
TRUTH = small.truth(MADE)

#: What says that ratings may be on the wrong rows, though each is well-formed.
DOUBTS = {"ratings-sorted"}


def brought(content: bytes, **options) -> ImportedRatings:
    with tempfile.TemporaryDirectory() as folder:
        study = small.written(Path(folder) / "study", MADE)
        file = Path(folder) / "returned.file"
        file.write_bytes(content)
        return import_ratings(study, [file], **options)


def copy() -> damages.Sheet:
    return [list(cells) for cells in SHEET]


def values(done: ImportedRatings) -> dict[tuple[str, str, str], float | None]:
    return {(answer.annotator, answer.row, answer.criterion): answer.value for answer in done.given}


def check(done: ImportedRatings, told: object) -> None:
    """Never a silently wrong rating, never a silently missing one."""
    if done.errors:
        assert not done.ratings and not done.given
        return
    got = values(done)
    wrong = {key for key, value in got.items() if TRUTH.get(key, "no such rating") != value}
    codes = {finding.code for finding in done.findings}
    assert not wrong or codes & DOUBTS, (told, wrong, codes)
    assert got.keys() >= TRUTH.keys() or codes & {"row-missing", "rating-missing", "nothing-rated"}, (told, codes)


@pytest.mark.parametrize("saved", damages.SAVED)
def test_every_kind_of_file_gives_the_exact_ratings(saved: str) -> None:
    done = brought(damages.SAVED[saved](copy()))
    assert [finding.line() for finding in done.findings] == [] and values(done) == TRUTH


def test_a_file_in_windows_1252_gives_the_exact_ratings_and_tells_of_lost_letters() -> None:
    done = brought(small.as_csv(SHEET, ";", "cp1252", errors="replace"))
    assert values(done) == TRUTH
    assert {finding.code for finding in done.findings} == {"encoding", "text-damaged"}
    done = brought(small.as_csv(SHEET, ",", "shift_jis", errors="replace"), encoding="shift_jis")
    assert values(done) == TRUTH and {finding.code for finding in done.findings} <= {"text-damaged", "text-edited"}


@pytest.mark.parametrize("name", damages.HARMLESS)
@pytest.mark.parametrize("saved", ["csv semicolon", "xlsx"])
def test_harmless_damage_gives_the_exact_ratings_and_no_error(name: str, saved: str) -> None:
    for seed in range(3):
        sheet = copy()
        damages.HARMLESS[name](sheet, random.Random(seed))
        done = brought(damages.SAVED[saved](sheet))
        assert [finding.line() for finding in done.errors] == []
        assert values(done) == TRUTH


@pytest.mark.parametrize("name", damages.HARMFUL)
@pytest.mark.parametrize("saved", ["csv semicolon", "xlsx"])
def test_harmful_damage_is_named(name: str, saved: str) -> None:
    damage, codes = damages.HARMFUL[name]
    for seed in range(4):
        sheet = copy()
        damage(sheet, random.Random(seed))
        if sheet == SHEET:
            continue
        done = brought(damages.SAVED[saved](sheet))
        assert {finding.code for finding in done.errors} & set(codes), [finding.line() for finding in done.findings]
        assert not done.given
        for finding in done.errors:
            assert finding.file == "returned.file"
            assert finding.row or finding.code in ("row-missing", "nothing-rated"), finding


@pytest.mark.parametrize("name", damages.SORTED)
def test_ratings_sorted_without_their_rows_are_told(name: str) -> None:
    sheet = copy()
    damages.SORTED[name](sheet, random.Random(0))
    (finding,) = (finding for finding in brought(small.as_csv(sheet)).findings if finding.code == "ratings-sorted")
    assert finding.column == name.split()[0]


steps = st.lists(
    st.tuples(st.sampled_from([*damages.HARMLESS, *damages.HARMFUL]), st.integers(0, 10_000)), min_size=1, max_size=5
)


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(steps, st.sampled_from(list(damages.SAVED)), st.booleans())
def test_mixtures_of_damage_never_give_a_wrong_rating_in_silence(
    mixture: list[tuple[str, int]], saved: str, allow_missing: bool
) -> None:
    sheet = copy()
    names = {name for name, _ in mixture}
    for name, seed in mixture:
        if name == "row dropped" and "row twice, different" in names:
            continue  # what is left of a row that was copied and changed is another opinion
        damage = damages.HARMLESS.get(name) or damages.HARMFUL[name][0]
        if sheet[0] == SHEET[0] and damages.rows(sheet):  # a damage knows the columns by their places
            damage(sheet, random.Random(seed))
    # Ratings that moved by a cell leave a gap at the end and no other trace: why a missing rating is an error.
    moved = names & {"column moved up", "row moved left", "row moved right"}
    check(brought(damages.SAVED[saved](sheet), allow_missing=allow_missing and not moved), (mixture, saved))


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(st.data())
def test_cells_written_anywhere_never_give_a_wrong_rating_in_silence(data: st.DataObject) -> None:
    """Any cell of any row becomes the content of any other cell, or what people and programs write.

    Between ratings that would be another opinion, which no import can tell from the annotator's own.
    """
    sheet = copy()
    typed = st.sampled_from(
        ["", "N", "4.5", "TRUE", "x", "2024-03-04", "sjjphhmn", "=A1", "\u2013", "3 ", "#N/A", "nan", "0"]
    )
    for _ in range(data.draw(st.integers(1, 6))):
        row, column = data.draw(st.integers(1, len(sheet) - 1)), data.draw(st.integers(0, damages.COMMENT - 1))
        other = data.draw(st.integers(1, len(sheet) - 1)), data.draw(st.integers(0, damages.COMMENT - 1))
        given_cell = data.draw(typed) if data.draw(st.booleans()) else sheet[other[0]][other[1]]
        ratings = damages.RATINGS
        opinion = column in ratings and given_cell.strip().casefold() in {
            *"12345", "n/a", "wrong", "right", "partly right",
        }  # fmt: skip
        if not opinion:
            sheet[row][column] = given_cell
    check(brought(small.as_csv(sheet), allow_missing=data.draw(st.booleans())), sheet)


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(st.integers(0, 2**32), st.sampled_from(["csv utf-8 with mark", "tsv utf-16", "csv semicolon", "xlsx"]))
def test_files_with_bytes_lost_never_give_a_wrong_rating_in_silence(seed: int, saved: str) -> None:
    """A download that broke off, or blocks that were lost."""
    draw = random.Random(seed)
    content = CONTENTS[saved]
    start = draw.randrange(len(content))
    end = len(content) if draw.random() < 0.5 else start + draw.randrange(1, 4000)
    check(brought(content[:start] + content[end:]), (seed, saved))


CONTENTS = {name: write(copy()) for name, write in damages.SAVED.items()}
