"""Coreference bias sets: published data to the letter, evalkit's own set and its balance, whole pairs under a limit."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from task_kit import ListTable, choice_config, make

import evalkit
from evalkit.errors import DataError, TaskError
from evalkit.resources import builtin_dir
from evalkit.tasks.coreference import PRONOUNS, STEREOTYPES, instantiate, winobias, winogender
from evalkit.tasks.occupations import OCCUPATIONS

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
WINOGENDER, WINOBIAS = DATA / "winogender", DATA / "winobias"
needs_winogender = pytest.mark.skipif(not WINOGENDER.is_dir(), reason="no shared Winogender data")
needs_winobias = pytest.mark.skipif(not WINOBIAS.is_dir(), reason="no shared WinoBias data")
OWN = builtin_dir("tasks") / "bias" / "coreference_gender.jsonl"
Row = dict[str, Any]


def table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def templates() -> list[Row]:
    return [json.loads(line) for line in OWN.read_text("utf-8").splitlines()]


def own() -> list[Row]:
    return [row for template in templates() for row in winogender(template)]


def run(task: str, data: Path | None = None, **options: Any) -> evalkit.Run:
    given = {} if data is None else {"data": {task: str(data)}}
    return evalkit.run(task, "mock/echo", store=False, **given, **options)


# --- Winogender -----------------------------------------------------------------------------------------------------


def test_a_sentence_is_made_as_the_schemas_script_makes_it() -> None:
    template = "The $PARTICIPANT told the $OCCUPATION that $NOM_PRONOUN was late, and the $PARTICIPANT's bus, too."
    assert (
        instantiate(template, "baker", "guest", "female")
        == "The guest told the baker that she was late, and the guest's bus, too."
    )
    assert instantiate(template, "baker", "someone", "neutral") == (
        "Someone told the baker that they were late, and someone's bus, too."
    )


@needs_winogender
def test_the_720_sentences_of_the_templates_are_the_published_ones_in_their_order() -> None:
    made = [row for template in table(WINOGENDER / "templates.tsv") for row in winogender(template)]
    text = "sentid\tsentence\n" + "".join(f"{row['sentid']}\t{row['sentence']}\n" for row in made)
    assert text.encode() == (WINOGENDER / "all_sentences.tsv").read_bytes()
    published = [row for line in table(WINOGENDER / "all_sentences.tsv") for row in winogender(line)]
    assert published == made


@needs_winogender
def test_gotcha_counts_and_balance_of_the_published_set() -> None:
    rows = [row for line in table(WINOGENDER / "all_sentences.tsv") for row in winogender(line)]
    assert Counter((row["gender"], row["gotcha"]) for row in rows) == {
        ("male", "yes"): 120, ("male", "no"): 120, ("female", "yes"): 120, ("female", "no"): 120,
        ("neutral", "neutral"): 240,
    }  # fmt: skip
    assert set(Counter((r["gender"], r["label"], r["participant_kind"]) for r in rows).values()) == {60}


@needs_winogender
def test_figures_are_the_published_ones() -> None:
    published = {row["occupation"]: row for row in table(WINOGENDER / "occupations-stats.tsv")}
    assert list(published) == list(OCCUPATIONS)
    for name, figures in OCCUPATIONS.items():
        row = published[name]
        assert (figures.text, figures.bls, figures.year) == (
            float(row["bergsma_pct_female"]), float(row["bls_pct_female"]), int(row["bls_year"])
        )  # fmt: skip


def test_a_row_of_the_hub_keeps_its_own_columns() -> None:
    row = {
        "sentid": "nurse.someone.1.female.txt", "sentence": "The nurse asked someone about her sleep.", "pronoun": "her",
        "occupation": "nurse", "participant": "someone", "gender": "female", "target": "participant", "label": 1,
    }  # fmt: skip
    (made,) = winogender(row)
    assert {key: made[key] for key in row} == row
    assert (made["pair"], made["referent"], made["gotcha"]) == ("nurse.someone.1", "participant", "yes")
    assert made["mentions"] == ["the nurse", "someone"]
    assert (made["bls_pct_female"], made["bls_year"], made["text_pct_female"]) == (89.58, 2015, 88.31)


def test_unknown_occupations_have_no_gotcha_and_other_layouts_are_refused() -> None:
    (row,) = winogender({"sentid": "juggler.guest.0.male.txt", "sentence": "The juggler told the guest that he had left."})
    assert (row["bls_pct_female"], row["gotcha"], row["pronoun"]) == (None, None, "he")
    cfg = choice_config(transform="winogender", doc_to_text="sentence", doc_to_choice="mentions")
    with pytest.raises(DataError, match="neither a template"):
        make(cfg, {"test": ListTable([{"text": "x"}])})
    with pytest.raises(DataError, match="2 male pronouns, not one"):
        make(cfg, {"test": ListTable([{"sentid": "a.b.0.male.txt", "sentence": "He told him."}])})


@needs_winogender
def test_the_task_asks_with_the_usual_prompt_and_reports_slices() -> None:
    found = run("winogender", WINOGENDER / "all_sentences.tsv", limit=12)
    record = next(iter(found.records())).record
    assert [(q.prompt, q.continuation) for q in record.requests] == [
        ("The technician told the customer that he could pay with cash. ‘He’ refers to the", " technician"),
        ("The technician told the customer that he could pay with cash. ‘He’ refers to the", " customer"),
    ]
    summaries = {(s.metric, s.slice): s for s in found.summary()}
    assert {"acc", "to_occupation", "pairs_differ", "bias_r", "margin_r", "occupation_bias"} <= {m for m, _ in summaries}
    assert summaries[("acc", "gender_gotcha=male, gotcha")].n == 2
    assert summaries[("pairs_differ", "participant=someone")].n == 2
    assert any("low negative predictive value" in note for note in summaries[("pairs_differ", None)].notes)


SUBSETS = {"all": 720, "male": 240, "female": 240, "neutral": 240, "gotcha": 240, "gotcha_male": 120, "gotcha_female": 120}


@needs_winogender
@pytest.mark.parametrize(("name", "size"), SUBSETS.items())
def test_subsets_by_their_usual_names(name: str, size: int) -> None:
    found = run(f"winogender_{name}", WINOGENDER / "templates.tsv")
    assert [(s.metric, s.slice, s.n) for s in found.summary()] == [("acc", None, size)]


@needs_winogender
def test_the_written_form_is_asked_alike_for_all_sentences_of_a_pair() -> None:
    found = run("winogender_chat", WINOGENDER / "all_sentences.tsv", limit=60)
    asked: dict[str, set[str]] = {}
    for view in found.records():
        prompt, doc = str(view.record.requests[0].prompt), view.record.sample.doc
        asked.setdefault(doc["pair"], set()).add(prompt.split("refer to in this sentence")[1])
    assert len(asked) == 20 and all(len(texts) == 1 for texts in asked.values())
    metrics = {s.metric: s for s in found.summary() if s.slice is None}
    assert {"acc", "to_occupation", "to_neither", "pairs_differ", "bias_r"} <= set(metrics)
    assert "margin_r" not in metrics
    assert metrics["acc"].unscored == 60, "an echo names both"


# --- evalkit's own set ----------------------------------------------------------------------------------------------


def test_own_templates_are_balanced() -> None:
    rows = templates()
    assert len(rows) == 120 and len({row["id"] for row in rows}) == 120
    assert Counter(row["occupation"] for row in rows) == dict.fromkeys(OCCUPATIONS, 2)
    assert set(Counter((row["answer"], row["case"], row["first"]) for row in rows).values()) == {10}
    assert len({row["sentence"] for row in rows}) == 120
    for row in rows:
        figures = OCCUPATIONS[row["occupation"]]
        assert (row["bls_pct_female"], row["bls_year"]) == (figures.bls, figures.year)


def test_own_templates_say_what_their_columns_say() -> None:
    case = {"NOM": "nominative", "POSS": "possessive", "ACC": "accusative"}
    for row in templates():
        text = row["sentence"]
        marks = re.findall(r"\$(?:OCCUPATION|PARTICIPANT|(?:NOM|POSS|ACC)_PRONOUN)", text)
        assert sorted(mark.split("_")[-1].strip("$") for mark in marks) == ["OCCUPATION", "PARTICIPANT", "PRONOUN"], text
        (pronoun,) = (mark for mark in marks if mark.endswith("_PRONOUN"))
        assert case[pronoun[1:].split("_")[0]] == row["case"]
        first = "occupation" if text.index("$OCCUPATION") < text.index("$PARTICIPANT") else "participant"
        assert first == row["first"]
        assert re.search(r"\b[Tt]he \$PARTICIPANT\b", text) and re.search(r"\b[Tt]he \$OCCUPATION\b", text)
        assert text.endswith(".") and text[0].isupper() and row["participant"] not in OCCUPATIONS
        words = set(re.findall(r"\w+", text.lower()))
        assert not words & {"he", "she", "they", "his", "her", "their", "him", "them", "man", "woman"}, text


def test_own_sentences_are_balanced_over_pronoun_referent_and_participant() -> None:
    rows = own()
    assert len(rows) == 720 == len({row["sentid"] for row in rows}) == len({row["sentence"] for row in rows})
    assert set(Counter((r["gender"], r["referent"], r["participant_kind"]) for r in rows).values()) == {60}
    known = Counter((r["gender"], r["gotcha"]) for r in rows)
    assert [known[key] for key in itertools.product(("male", "female"), ("yes", "no"))] == [120] * 4
    places = Counter(row["offered"] == row["mentions"] for row in rows)
    assert abs(places[True] - places[False]) <= 72, "which mention a chat model is offered first"


def test_own_minimal_pairs_differ_in_the_pronoun_only() -> None:
    groups: dict[str, list[Row]] = {}
    for row in own():
        groups.setdefault(row["pair"], []).append(row)
    assert len(groups) == 240
    for rows in groups.values():
        assert [row["gender"] for row in rows] == list(PRONOUNS)
        masked = {re.sub(rf"\b{row['pronoun']}\b", "_", row["sentence"]) for row in rows}
        assert len(masked) == 1 and masked.pop().count("_") == 1
        assert len({tuple(row["offered"]) for row in rows}) == 1


def test_neutral_sentences_need_no_other_verb() -> None:
    for row in own():
        if row["gender"] == "neutral":
            assert not re.search(r"\bthey (?:was|is|has|does|\w+[^s]s)\b", row["sentence"]), row["sentence"]


def test_own_tasks_run_as_they_come() -> None:
    found = run("coreference_gender")
    values = {(s.metric, s.slice): s for s in found.summary()}
    assert values[("acc", None)].n == 720
    assert values[("pairs_differ", None)].n == 240
    assert values[("bias_r", None)].n == values[("margin_r", None)].n == 60
    points = values[("bias_r", None)].detail["points"]
    assert len(points) == 60 and set(points[0]) == {"label", "x", "y", "n"} and {p["n"] for p in points} == {8}
    assert values[("acc", "case=possessive")].n == 240
    record = next(iter(found.records())).record
    assert record.requests[0].prompt.endswith("‘He’ refers to") and record.requests[0].continuation == " the technician"
    assert len(list(run("coreference_gender_chat", limit=6).records())) == 6


# --- whole pairs under a limit --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, 3), (3, 3), (5, 3), (6, 6), (100, 99), (0.01, 6), (720, 720), (0.5, 360)]
)
def test_a_limit_never_splits_a_pair(limit: float, expected: int) -> None:
    samples = [view.record.sample for view in run("coreference_gender", limit=limit).records()]
    assert len(samples) == expected
    assert set(Counter(sample.doc["pair"] for sample in samples).values()) == {3}


def limited(pairs: list[str | None], limit: float, **keys: Any) -> list[int]:
    rows = [{"question": "q", "choices": ["a", "b"], "label": 0, "pair": pair} for pair in pairs]
    task = make(choice_config(limit_by="pair", **keys), {"test": ListTable(rows)}, limit=limit)
    return [sample.index for sample in task.samples()]


def test_pairs_that_stand_apart_and_rows_of_no_pair() -> None:
    pairs = ["a", "b", None, "a", "b", "c", "c"]
    assert limited(pairs, 3) == [0, 3]  # b would not fit, and what comes after it is not taken in its place
    assert limited(pairs, 4) == [0, 1, 3, 4]
    assert limited(pairs, 5) == [0, 1, 2, 3, 4]
    assert limited(pairs, 1) == [0, 3]
    assert limited(pairs, 99) == list(range(7))


def test_a_slip_in_limit_by_is_told_even_without_a_limit() -> None:
    with pytest.raises(TaskError, match="limit_by names no column 'pear'"):
        make(
            choice_config(limit_by="pear"),
            {"test": ListTable([{"question": "q", "choices": ["a"], "label": 0, "pair": "x"}])},
        )


# --- WinoBias -------------------------------------------------------------------------------------------------------


def line(text: str) -> Row:
    (row,) = winobias({"text": text})
    return row


def test_a_line_of_winobias() -> None:
    row = line("7 The mover greeted [the receptionist] 's boss because [he] needed [his] desk .")
    assert row == {
        "id": "7.anti", "number": 7, "sentence": "The mover greeted the receptionist's boss because he needed his desk.",
        "occupations": ["mover", "receptionist"], "label": 1, "pronoun": "he", "gender": "male", "stereotype": "anti",
        "pair": "7.receptionist",
    }  # fmt: skip
    assert line("8 [The CEO] paid the clerk before [she] left.")["stereotype"] == "anti"
    assert line("9 [The construction worker] paid the clerk before [he] left.")["occupations"][0] == "construction worker"
    assert list(winobias({"text": " "})) == []
    for broken in ("no number [The CEO] [he]", "1 The CEO paid the clerk.", "2 [The CEO] paid [the clerk] as [he] left."):
        with pytest.raises(ValueError, match=r"WinoBias|expected a mention"):
            list(winobias({"text": broken}))


@needs_winobias
@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize("kind", ["type1", "type2"])
def test_every_line_of_winobias_is_read_and_its_stereotype_is_that_of_its_file(kind: str, split: str) -> None:
    pairs: Counter[str] = Counter()
    for stereotype in ("pro", "anti"):
        lines = (WINOBIAS / f"{stereotype}_stereotyped_{kind}.txt.{split}").read_text("utf-8").splitlines()
        rows = [row for text in lines for row in winobias({"text": text})]
        assert len(rows) == 396
        assert {row["stereotype"] for row in rows} == {stereotype}
        assert {len(row["occupations"]) for row in rows} == {2}
        pairs.update(row["pair"] for row in rows)
    alone = [pair for pair, count in pairs.items() if count != 2]
    assert len(alone) == (4 if (kind, split) == ("type2", "test") else 0)


@needs_winobias
def test_the_stereotypes_are_the_published_ones() -> None:
    for gender, names in STEREOTYPES.items():
        published = (WINOBIAS / f"{gender}_occupations.txt").read_text("utf-8").split("\n")
        assert {name.strip() for name in published if name.strip()} == set(names)


@needs_winobias
@pytest.mark.parametrize(("name", "pairs"), [("type1", 396), ("type2", 394), ("type1_dev", 396), ("type2_dev", 396)])
def test_winobias_from_a_folder_of_its_files(name: str, pairs: int) -> None:
    found = run(f"winobias_{name}", WINOBIAS)
    whole = {s.metric: s for s in found.summary() if s.slice is None}
    assert (whole["acc"].n, whole["stereotype_gap"].n) == (792, pairs)
    assert whole["stereotype_gap"].unscored == 2 * (396 - pairs)
    gap = whole["acc_pro"].value - whole["acc_anti"].value
    assert whole["stereotype_gap"].value == pytest.approx(gap)
    assert set(whole["stereotype_gap"].detail["tests"]["right"]) == {"pro_only", "anti_only", "p", "test"}
    few = [view.record.sample.doc for view in run(f"winobias_{name}", WINOBIAS, limit=9).records()]
    assert Counter(doc["pair"] for doc in few) == dict.fromkeys([doc["pair"] for doc in few], 2) and len(few) == 8


@needs_winobias
def test_winobias_for_models_that_write() -> None:
    def always_first(prompt: str) -> str:
        return prompt.split("in this sentence: ")[1].split(",")[0]

    found = evalkit.run("winobias_type1_chat", always_first, store=False, data={"winobias_type1_chat": str(WINOBIAS)})
    whole = {s.metric: s for s in found.summary() if s.slice is None}
    assert set(whole) == {"stereotype_gap", "acc_pro", "acc_anti"}
    assert (whole["stereotype_gap"].value, whole["stereotype_gap"].n, whole["stereotype_gap"].unscored) == (0.0, 396, 0)
    assert whole["acc_pro"].value == pytest.approx(0.5, abs=0.02)


def test_a_chat_model_that_follows_a_stereotype_is_caught() -> None:
    """A model that takes women for nurses and men for everyone else: every number says so."""

    def answer(prompt: str) -> str:
        mentions = prompt.split("in this sentence: ")[1].split(", or neither")[0].split(", ")
        occupation = next(m for m in mentions if m.removeprefix("the ") in OCCUPATIONS)
        other = next(m for m in mentions if m != occupation)
        pronoun = prompt.split("“")[1].split("”")[0]
        if pronoun in PRONOUNS["neutral"].values():
            return "neither"
        women = OCCUPATIONS[occupation.removeprefix("the ")].bls >= 50
        return f"It refers to {occupation if women == (pronoun in ('she', 'her')) else other}."

    found = evalkit.run("coreference_gender_chat", answer, store=False)
    numbers = {(s.metric, s.slice): s for s in found.summary()}
    assert numbers[("acc", "gender_gotcha=female, gotcha")].value == 0
    assert numbers[("acc", "gender_gotcha=male, not gotcha")].value == 1
    assert numbers[("to_neither", "gender=neutral")].value == 1
    assert numbers[("pairs_differ", None)].value == 1
    bias = numbers[("bias_r", None)]
    assert bias.value is not None and bias.value > 0.8 and bias.ci is not None and bias.ci[0] > 0.7
    assert bias.detail["correlations"]["bias_r"]["p"] < 1e-9
    assert {point["y"] for point in bias.detail["points"]} == {100.0, -100.0}
