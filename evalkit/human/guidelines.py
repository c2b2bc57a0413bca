"""What annotators are told: the rubric in words, how to fill in a sheet, and what to send to whom."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import PurePath

from evalkit.human.base import Row, Study
from evalkit.human.key import KEY
from evalkit.human.layout import NOT_APPLICABLE, columns, texts_file, whole_texts
from evalkit.rubric.schema import Criterion

#: Lines of text that the tallest row of a spreadsheet shows.
TALLEST = 26

#: Widths of text columns, in digits of the sheet's font; letters are narrower.
WIDTHS = {"input": 50, "source": 80, "reference": 50, "output": 60}
LETTERS = 1.15


def scale_words(criterion: Criterion) -> str:
    """``1, 2, 3, 4, 5 or N/A``."""
    return f"{', '.join(criterion.scale.points)} or {NOT_APPLICABLE}"


def rules(study: Study) -> list[str]:
    """How to rate, the same for every rubric."""
    pair = study.form == "pairwise"
    what = "which of the two texts is better (A, B or tie)" if pair else "the text in the column output"
    found = [
        f"Rate every row by itself: {what}. Some texts may look alike; rate each as if it were the only one.",
        "Work alone, in the order of the sheet, and take a break when you get tired.",
        f"Fill in every rating. Where a criterion cannot be rated at all, write {NOT_APPLICABLE} and say why under comment.",
        "Comments are optional, in any words you like. There is no right number of high ratings.",
        "Change nothing else: not the texts, the ids or the names of the columns, and do not sort single columns.",
        "Do not ask another person, a search engine or a chatbot what to answer, unless the task says so.",
    ]
    return found


def warning_lines(study: Study) -> list[str]:
    """What raters are warned of before they read any text."""
    lines = [f"Content warning: {text.rstrip('.')}." for text in study.warnings]
    return [*lines, "You may stop at any time."] if lines else []


def markdown(study: Study) -> str:
    """``guidelines.md``: everything that an annotator reads before starting."""
    rubric = study.rubric
    lines = ["# Rating guidelines", ""]
    lines += [f"> {line}" for line in warning_lines(study)] + ([""] if study.warnings else [])
    lines += ["## The task", "", rubric.task.strip(), ""]
    lines += [rubric.guidelines.strip(), ""] if rubric.guidelines else []
    lines += ["## How to rate", "", *(f"- {rule}" for rule in rules(study)), ""]
    for criterion in rubric.criteria:
        lines += [f"## {criterion.shown} (column `{criterion.name}`)", "", criterion.definition.strip(), ""]
        lines += [f"Values: {scale_words(criterion)}", ""]
        if criterion.levels:
            lines += [f"- **{level}**: {criterion.levels[level].strip()}" for level in _levels(criterion)] + [""]
        if criterion.steps:
            lines += ["How to go about it:", ""]
            lines += [f"{at}. {step.strip()}" for at, step in enumerate(criterion.steps, 1)] + [""]
    return "\n".join([*lines, f"Study {study.id}", ""])


def _levels(criterion: Criterion) -> list[str]:
    return [point for point in criterion.scale.points if point in criterion.levels]


#: Of a study whose sheets are files.
ONE_SHEET = "Every annotator needs one sheet only; where there are both, .xlsx is the safer one and .csv is for other tools."


def owners_note(study: Study, files: Sequence[str]) -> str:
    """``README.txt``: for whoever runs the study, what to send to whom."""
    lines = [
        f"Study {study.id}: what to send to whom",
        "",
        f"KEEP {KEY} TO YOURSELF. It says which system wrote what; whoever has seen it can no longer rate.",
        "Send single files, never this folder.",
        "",
    ]
    for at, annotator in enumerate(study.annotators, 1):
        own = [name for name in files if PurePath(name).name.startswith(annotator)]
        lines.append(f"To annotator {at}: {', '.join([*own, 'guidelines.md'])}")
    tool = next((str(PurePath(name).parent) for name in files if "/" in name), None)
    lines += [
        "",
        f"How the files of {tool} are used, and how ratings come back, is told in {tool}/README.txt." if tool else ONE_SHEET,
        "Put what comes back into a folder of its own. Then, STUDY being this folder:",
        "",
        "    evalkit human import STUDY FILE...",
    ]
    return "\n".join([*lines, ""])


def lines_of(text: str, width: int) -> int:
    """Lines that a text takes in a column ``width`` characters wide."""
    return sum(max(1, -(-len(line) // width)) for line in text.split("\n"))


def row_lines(study: Study, texts: dict[str, str]) -> int:
    """Lines that a row with these text cells takes."""
    return max(lines_of(texts[c.name], round(LETTERS * WIDTHS[c.part])) for c in columns(study) if c.part is not None)


def texts_page(study: Study, rows: Sequence[Row]) -> str | None:
    """The page of the texts that no cell shows whole, under the ids of their rows; ``None`` where all of them fit."""
    found = [(row, whole_texts(study, row)) for row in rows]
    long = [(row, texts) for row, texts in found if row_lines(study, texts) > TALLEST]
    if not long:
        return None
    body = [
        f'<section id="{row.id}"><h2>{row.id}</h2>'
        + "".join(f'<h3>{html.escape(name)}</h3><pre dir="auto">{html.escape(text)}</pre>' for name, text in texts.items())
        + "</section>"
        for row, texts in long
    ]
    warned = "".join(f"<p><b>{html.escape(line)}</b></p>" for line in warning_lines(study))
    return _PAGE.format(study=study.id, warned=warned, body="\n".join(body))


def texts_hint(annotator: str) -> str:
    """What a sheet says of the page of long texts."""
    return f"Texts too long for a cell are in {texts_file(annotator)}: look there for the row's item_id (Ctrl+F)."


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Texts of {study}</title>
<style>body{{max-width:48rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;background:#f4f4f4;padding:.7rem;unicode-bidi:plaintext}}
h2{{margin-top:3rem;border-top:1px solid #888}}h3{{margin-bottom:0;font-size:1rem}}
@media(prefers-color-scheme:dark){{body{{background:#181818;color:#eee}}pre{{background:#282828}}}}</style></head>
<body><h1>Long texts</h1>{warned}
{body}
</body></html>
"""
