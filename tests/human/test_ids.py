"""Row ids survive a spreadsheet, and a slip of the pen is noticed."""

from __future__ import annotations

from evalkit.human import ids


def test_ids_are_letters_without_vowels_and_all_different() -> None:
    found = ids.new_ids(5000, 7)
    assert len({*found}) == 5000
    assert all(len(name) == 8 and name[0] == "x" and {*name[1:]} <= {*ids.LETTERS} for name in found)
    assert not {*"aeiouyl"} & {*ids.LETTERS}


def test_the_same_seed_gives_the_same_ids_and_another_one_others() -> None:
    assert ids.new_ids(50, "study a") == ids.new_ids(50, "study a")
    assert not {*ids.new_ids(50, "study a")} & {*ids.new_ids(50, "study b")}
    assert ids.new_ids(50, 3)[:20] == ids.new_ids(20, 3)


def test_every_wrong_letter_is_noticed() -> None:
    for name in ids.new_ids(60, 1):
        for at in range(len(name)):
            for letter in "abcdefghijklmnopqrstuvwxyz":
                if letter != name[at]:
                    assert not ids.valid(name[:at] + letter + name[at + 1 :])


def test_every_two_letters_that_changed_places_are_noticed() -> None:
    for name in ids.new_ids(300, 2):
        for at in range(len(name)):
            for other in range(at + 1, len(name)):
                letters = list(name)
                letters[at], letters[other] = letters[other], letters[at]
                if letters[at] != letters[other]:
                    assert not ids.valid("".join(letters)), (name, at, other)


def test_capitals_and_blanks_do_not_matter() -> None:
    (name,) = ids.new_ids(1, 5)
    assert ids.valid(f"  {name.upper()} ") and ids.folded(f" {name.upper()}\n") == name
    for wrong in ("", "x", name[:-1], name + "b", "1e5", "TRUE", "item_id", name[1:]):
        assert not ids.valid(wrong)


def test_a_study_has_an_id_of_another_kind() -> None:
    (name,) = ids.new_ids(1, 5, ids.STUDY)
    assert name[0] == "s" and ids.valid(name, ids.STUDY) and not ids.valid(name)


def test_the_nearest_id_is_one_slip_away() -> None:
    known = ids.new_ids(40, 9)
    name = known[11]
    swapped = name[:3] + name[4] + name[3] + name[5:]
    for slip in (name.upper(), name[:-1], name[1:], name + "q", name[:4] + "a" + name[5:], swapped):
        assert ids.nearest(slip, known) == name
    assert ids.nearest("xqqqqqqq", known) is None
    assert ids.nearest("xbbbbbbc", ["xbbbbbbd", "xbbbbbbf"]) is None  # either could be meant
