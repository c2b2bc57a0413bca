"""A small study whose ratings are known, and its sheets as lists of cells to fill in and to damage."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.human import ids, layout
from evalkit.human.base import Output, Row, Study
from evalkit.human.key import write_study
from evalkit.human.sheets_csv import csv_bytes
from evalkit.rubric.schema import Criterion, Rubric, Scale

SYSTEMS = ("alpha-7b", "beta-13b")

#: Texts of every kind that spreadsheets touch; each is said by one system, another is said by the other one.
TEXTS = (
    "The council voted on Tuesday to close the old bridge until the spring, after engineers found cracks in two pillars.",
    "Ärzte in Zürich fanden — nach Jahren — «heilsame» Wirkungen; die Kosten: 4,50 € je Dosis, sagt „Die Zeit“.",
    '=1+1 is what the "model" wrote, and\nthen a second line, with a comma; and a semicolon.',
    "東京の図書館は来月から夜十時まで開館します。利用者は約三千人です。",
    "4.50",
    "1-2",
    "It's the company's third loss in a row... \"We'll recover\", its head said -- nobody believed him (c) 2024.",
    "TRUE",
    "- first point\n- second point\n- third point with a | bar and a\ttab",
    "Ein Roboter 🤖 lernte kochen. Er verbrannte erst alles, dann fast nichts mehr.",
    "A long report begins. "
    + " ".join(f"Sentence {at} of it says that the figure of year {1900 + at} rose." for at in range(60)),
)


def rubric(form: str = "pointwise") -> Rubric:
    if form == "pairwise":
        scale = Scale(labels=("A", "tie", "B"), values=(1, 0.5, 0))
        criteria = (Criterion(name="preference", definition="Which is better?", scale=scale),)
        return Rubric(rubric="pairs", form="pairwise", task="Compare.", needs=("input", "output"), criteria=criteria)
    five = Scale(low=1, high=5)
    verdict = Scale(labels=("wrong", "partly right", "right"))
    criteria = (
        Criterion(name="fluency", definition="Does it read well?", scale=five),
        Criterion(name="relevance", definition="Is it about the point?", scale=five),
        Criterion(name="facts", definition="Is it true?", scale=verdict, title="Factual truth"),
    )
    return Rubric(rubric="small", task="Rate.", needs=("input", "output"), criteria=criteria)


def study(form: str = "pointwise", annotators: int = 2, items: int = 10) -> Study:
    """Each annotator rates every text of both systems (every pair), one of them twice, and one attention check."""
    names = tuple(f"annotator_{at:02}" for at in range(1, annotators + 1))
    bare = Study(
        id=ids.new_ids(1, 5, ids.STUDY)[0],
        form="pairwise" if form == "pairwise" else "pointwise",
        rubric=rubric(form),
        seed=5,
        created="2026-01-01T00:00:00Z",
        evalkit="0.1",
        runs=("a", "b"),
        systems=SYSTEMS,
        annotators=names,
        rows=(),
    )
    new = iter(ids.new_ids(1000, 6))
    rows = [row for name in names for row in _rows(name, form, items, new)]
    return replace(bare, rows=tuple(replace(row, digest=layout.row_digest(bare, row)) for row in rows))


def _rows(name: str, form: str, items: int, new) -> list[Row]:
    draw = random.Random(name)
    firsts = []
    for item in range(items):
        first, second = (_output(item, system) for system in SYSTEMS)
        if form == "pairwise":
            pair = [first, second] if draw.random() < 0.5 else [second, first]
            firsts.append(Row(next(new), name, 0, "item", pair[0], pair[1]))
        else:
            firsts += [Row(next(new), name, 0, "item", first), Row(next(new), name, 0, "item", second)]
    draw.shuffle(firsts)
    again = firsts[0]
    sides = (again.second, again.first) if again.second else (again.first, None)
    repeat = Row(next(new), name, 0, "repeat", sides[0], sides[1], of=again.id)
    scrambled = Output("check", "", "bridge the cracks old council two found in Tuesday pillars", input="A scrambled text")
    expected = {"preference": "B"} if form == "pairwise" else {"fluency": 2.0}
    check = Row(
        next(new), name, 0, "check", scrambled, _output(0, SYSTEMS[0]) if form == "pairwise" else None, expected=expected
    )
    rows = [*firsts, repeat, check]
    return [replace(row, position=at) for at, row in enumerate(rows, FIRST)]


#: The position of a sheet's first row.
FIRST = 1


def _output(item: int, system: str) -> Output:
    text = TEXTS[item]
    if system != SYSTEMS[0]:
        text = f"Said {item} times: {text}" if len(text) > 10 else str(item + 7)
    return Output(f"doc-{item:03}", system, text, input=f"Write about topic {item}: {TEXTS[item][:20]}", task="news")


def answer(row: Row, criterion: str) -> str:
    """What the annotator writes into a cell: the same for the same row, different from row to row."""
    draw = random.Random(f"{row.of or row.id} {criterion}")
    if criterion == "preference":
        said = draw.choice(["A", "tie", "B"])
        said = {"A": "B", "B": "A"}.get(said, said) if row.of else said
        return "B" if row.kind == "check" else said
    if criterion == "facts":
        return draw.choice(["wrong", "partly right", "right", "N/A"])
    return str(draw.randint(1, 2) if row.kind == "check" else draw.randint(1, 5))


def filled(made: Study, annotator: str) -> list[list[str]]:
    """The annotator's sheet with all ratings in, header first, as cells."""
    rows = [row for row in made.rows if row.annotator == annotator]
    sheet = list(csv.reader(io.StringIO(csv_bytes(made, rows, ",").decode("utf-8-sig"), newline="")))
    for row, cells in zip(rows, sheet[1:], strict=True):
        for at, name in enumerate(sheet[0]):
            if name in made.rubric.names:
                cells[at] = answer(row, name)
        cells[-1] = "well said" if row.position % 5 == 0 else ""
    return sheet


def truth(made: Study, annotators: Sequence[str] | None = None) -> dict[tuple[str, str, str], float | None]:
    """(annotator, row, criterion) -> the value that was given, ``None`` for N/A."""
    values: dict[tuple[str, str, str], float | None] = {}
    for row in made.rows:
        if annotators is None or row.annotator in annotators:
            for criterion in made.rubric.criteria:
                points = {**criterion.scale.points, "N/A": None}
                values[row.annotator, row.id, criterion.name] = points[answer(row, criterion.name)]
    return values


def as_csv(
    sheet: Sequence[Sequence[str]], delimiter: str = ",", encoding: str = "utf-8-sig", *, errors: str = "strict", **options
) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, **{"quoting": csv.QUOTE_ALL, "lineterminator": "\r\n", **options}).writerows(sheet)
    return text.getvalue().encode(encoding, errors)


def written(folder: Path, made: Study) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_study(made, folder)
    return folder
