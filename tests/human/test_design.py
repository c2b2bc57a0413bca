"""What the layout of a study promises: balance over annotators and systems, distance, repeats, checks, the same by seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pool import pool

from evalkit.errors import DataError, UsageError
from evalkit.human import ids, layout
from evalkit.human.base import Row, Study
from evalkit.human.checks import highest, shuffled_words
from evalkit.human.make import Settings, make_study
from evalkit.human.sample import draw, strata
from evalkit.rubric.load import load_rubric
from evalkit.rubric.schema import Scale

SUMMARIES, PAIRS = load_rubric("summarisation"), load_rubric("preference")


def sheets(study: Study) -> dict[str, list[Row]]:
    return {who: [row for row in study.rows if row.annotator == who] for who in study.annotators}


def rated(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.kind == "item"]


def study(n: int = 60, systems: int = 3, rubric=SUMMARIES, items: int = 80, **options) -> Study:
    return make_study(pool(items, systems, tasks=2), rubric, Settings(n=n, **{"overlap": 20, "seed": 7, **options}))


def test_shared_items_go_to_everybody_and_the_others_to_one_each() -> None:
    found = sheets(study())
    seen = {who: {row.first.item for row in rated(rows)} for who, rows in found.items()}
    times = Counter(item for items in seen.values() for item in items)
    assert Counter(times.values()) == {3: 20, 1: 40}
    assert sorted(map(len, seen.values())) == [33, 33, 34]


def test_every_annotator_sees_all_systems_of_an_item_once() -> None:
    for rows in sheets(study(systems=4)).values():
        systems = defaultdict(list)
        for row in rated(rows):
            systems[row.first.item].append(row.first.system)
        assert all(len(found) == len({*found}) == 4 for found in systems.values())


def test_strata_are_in_proportion_in_the_study_and_in_balance_over_annotators() -> None:
    found = study(n=42, items=84, overlap=0)
    whole = Counter(row.first.stratum for row in found.rows if row.kind == "item" and row.first.system == found.systems[0])
    assert len(whole) == 6 and {*whole.values()} == {7}  # two tasks, three lengths
    for rows in sheets(found).values():
        own = Counter(row.first.stratum for row in rated(rows) if row.first.system == found.systems[0])
        assert all(2 <= own[name] <= 3 for name in whole)


def test_a_slice_can_be_drawn_in_proportion_too() -> None:
    made = pool(40)
    bins = strata(made, "topic")
    assert Counter(name.rpartition(", ")[2] for name in bins.values()) == {"a": 20, "b": 20}
    drawn = draw(bins, 20, "seed")
    assert Counter(made.slices[item]["topic"] for item in drawn) == {"a": 10, "b": 10}
    with pytest.raises(DataError, match=r"no slice|has a slice 'topik' \(did you mean topic\?\)"):
        strata(made, "topik")


def test_nobody_sees_the_same_input_in_a_row_or_soon_again() -> None:
    for rows in sheets(study()).values():
        assert all(a.first.item != b.first.item for a, b in pairwise(rows))
        last: dict[str, int] = {}
        for at, row in enumerate(rated(rows)):
            assert at - last.get(row.first.item, -99) >= 10
            last[row.first.item] = at


def test_no_system_stands_early_or_late() -> None:
    for rows in sheets(study(systems=3, n=60, overlap=60)).values():
        only = rated(rows)
        for turn in range(3):
            part = Counter(row.first.system for row in only[turn * 60 : turn * 60 + 60])
            assert {*part.values()} == {20}


def test_annotators_have_orders_and_ids_of_their_own() -> None:
    found = sheets(study(overlap=60))
    orders = [[(row.first.item, row.first.system) for row in rated(rows)] for rows in found.values()]
    assert len({*map(tuple, orders)}) == 3 and {*orders[0]} == {*orders[1]} == {*orders[2]}
    names = [row.id for rows in found.values() for row in rows]
    assert len({*names}) == len(names) and all(map(ids.valid, names))


def test_repeats_are_hidden_ten_rows_away_over_all_systems() -> None:
    made = study()
    for rows in sheets(made).values():
        places = {row.id: row for row in rows}
        again = [row for row in rows if row.kind == "repeat"]
        assert len(again) == round(len(rated(rows)) * 0.1)
        assert {*Counter(row.first.system for row in again).values()} <= {3, 4}
        assert len({row.of for row in again}) == len(again)
        for row in again:
            original = places[row.of or ""]
            assert original.kind == "item" and row.position - original.position >= 10
            assert row.first == original.first and row.digest == original.digest


def test_checks_are_shuffled_words_of_items_that_are_not_in_the_sheet() -> None:
    made, whole = study(), pool(80, 3, tasks=2)
    for rows in sheets(made).values():
        checks = [row for row in rows if row.kind == "check"]
        own = {row.first.item for row in rated(rows)}
        assert len(checks) == round(len(rated(rows)) / 20)
        assert all(row.position > 2 for row in checks)
        assert not own & {row.first.item for row in checks}
        for row in checks:
            assert row.expected == {"fluency": 2.0, "coherence": 2.0} and row.first.system == ""
            texts = [output.text for output in whole.items[row.first.item]]
            assert sorted(row.first.text.split()) in [sorted(text.split()) for text in texts]
            assert row.first.text not in texts


def test_pairs_change_sides_between_annotators_and_within_a_sheet() -> None:
    made = study(n=40, systems=3, rubric=PAIRS, overlap=20, annotators=2)
    found = list(sheets(made).values())
    sides: dict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)
    for rows in found:
        only = rated(rows)
        assert len(only) == 30 * 3
        for pair in {frozenset((row.first.system, row.second.system)) for row in only if row.second}:
            shown = Counter(row.first.system for row in only if row.second and {row.first.system, row.second.system} == pair)
            assert max(shown.values()) - min(shown.values()) <= 2
        for row in only:
            assert row.second is not None
            sides[row.first.item, frozenset((row.first.system, row.second.system))].append(row.first.system)
    assert all(a != b for a, b in (seen for seen in sides.values() if len(seen) == 2))
    for rows in found:
        places = {row.id: row for row in rows}
        again = [row for row in rows if row.kind == "repeat"]
        assert len(again) == 9
        for row in again:
            assert (row.first, row.second) == (places[row.of or ""].second, places[row.of or ""].first)


def test_a_check_of_a_pair_is_a_real_answer_against_a_ruined_one() -> None:
    made = study(n=60, systems=2, rubric=PAIRS, overlap=60, annotators=2)
    checks = [row for row in made.rows if row.kind == "check"]
    assert Counter(row.expected["preference"] for row in checks if row.expected) == {"A": 2, "B": 4}
    for row in checks:
        assert row.second is not None and row.expected is not None
        real, ruined = (row.first, row.second) if row.expected["preference"] == "A" else (row.second, row.first)
        assert real.system in made.systems and ruined.system == "" and real.item == ruined.item


def test_the_same_seed_gives_the_same_study_and_another_one_another() -> None:
    one, two = study(), study()
    assert replace(one, created="") == replace(two, created="")
    other = study(seed=8)
    assert other.id != one.id and {row.first.item for row in other.rows} != {row.first.item for row in one.rows}
    assert not {row.id for row in one.rows} & {row.id for row in other.rows}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 81}, "80 items can be rated; choose 1 to 80"),
        ({"n": 0}, "choose 1 to 80"),
        ({"overlap": 61}, "--overlap 61: it is a part of the 60 items"),
        ({"annotators": 0}, "choose 1 to 99"),
        ({"annotators": 5, "n": 4, "overlap": 0}, "too few to be split among 5"),
        ({"repeats": 0.9}, "--repeats 0.9: a share"),
        ({"check_on": ["fluenzy"]}, r"to check attention by \(did you mean fluency\?\)"),
        ({"systems": 1, "rubric": PAIRS}, "give the runs of two or more"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study(**options)  # type: ignore[arg-type]


def test_the_lowest_quarter_of_a_scale() -> None:
    assert [highest(Scale(low=1, high=high)) for high in (2, 3, 5, 7, 10)] == [1, 1, 2, 2, 3]
    assert highest(Scale(labels=("bad", "fair", "good"))) == 1


def test_words_of_a_script_without_blanks_are_shuffled_by_letters() -> None:
    import random

    text = "我们的城市在春天修建了一座新的桥梁以便居民可以更快地过河去上班"
    ruined = shuffled_words(text, random.Random(1))
    assert sorted(ruined) == sorted(text) and ruined != text


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 25),
    systems=st.integers(1, 6),
    annotators=st.integers(1, 6),
    overlap=st.integers(0, 25),
    pairs=st.booleans(),
    seed=st.integers(0, 5),
)
def test_any_study_keeps_its_promises(n: int, systems: int, annotators: int, overlap: int, pairs: bool, seed: int) -> None:
    overlap = min(n, overlap)
    options = Settings(n=n, annotators=annotators, overlap=overlap, seed=seed)
    rubric = PAIRS if pairs else SUMMARIES
    try:
        made = make_study(pool(25, systems), rubric, options)
    except UsageError as error:
        assert ("too few" in str(error) and overlap == 0) or (pairs and systems == 1)
        return
    units = systems * (systems - 1) // 2 if pairs else systems
    assert len({row.first.item for row in made.rows if row.kind == "item"}) == n
    assert len({row.id for row in made.rows}) == len(made.rows)
    shared = 0 if annotators == 1 else overlap
    assert sum(row.kind == "item" for row in made.rows) == units * (n - shared + shared * annotators)
    for rows in sheets(made).values():
        assert [row.position for row in rows] == list(range(1, len(rows) + 1))
        places = {row.id: row.position for row in rows}
        assert all(row.position - places[row.of] >= 10 for row in rows if row.of)
        own = {row.first.item for row in rated(rows)}
        if len(own) >= 4:
            assert all(a.first.item != b.first.item for a, b in pairwise(rated(rows)))
        assert all(row.digest == layout.row_digest(made, row) for row in rows)
