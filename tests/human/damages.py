"""What happens to sheets between export and import: each way of it, on the cells of a filled sheet or on its bytes."""

from __future__ import annotations

import datetime as dt
import io
import random
import re
import unicodedata
from collections.abc import Callable

import returned_study as small

Sheet = list[list[str]]
Damage = Callable[[Sheet, random.Random], None]

TEXT_COLUMNS, RATINGS = (2, 3), (4, 5, 6)
NUMBERS, COMMENT = (4, 5), 7
COMMENTS = ("=cmd|' /C calc'!A0", "4", 'a "quoted", one;\nmore')
GUARDED = re.compile(r"^'")


def rows(sheet: Sheet) -> list[list[str]]:
    """Those below the header that are wide enough to be damaged."""
    return [cells for cells in sheet[1:] if len(cells) > COMMENT and len(cells[0]) > 6]


def each(columns: tuple[int, ...], change: Callable[[str, random.Random], str]) -> Damage:
    """A change of every cell in some columns."""

    def damage(sheet: Sheet, draw: random.Random) -> None:
        for cells in rows(sheet):
            for at in columns:
                cells[at] = change(cells[at], draw)

    return damage


def one(column: int, change: Callable[[str, random.Random], str]) -> Damage:
    """A change of one cell in a column."""

    def damage(sheet: Sheet, draw: random.Random) -> None:
        cells = draw.choice(rows(sheet))
        cells[column] = change(cells[column], draw)

    return damage


# --- what must do no harm: the exact ratings come out, and no error ---


def shuffled_rows(sheet: Sheet, draw: random.Random) -> None:
    body = sheet[1:]
    draw.shuffle(body)
    sheet[1:] = body


def sorted_rows(sheet: Sheet, draw: random.Random) -> None:
    at = draw.randrange(COMMENT)
    sheet[1:] = sorted(sheet[1:], key=lambda cells: cells[at] if at < len(cells) else "", reverse=draw.random() < 0.5)


def moved_columns(sheet: Sheet, draw: random.Random) -> None:
    order = list(range(len(sheet[0])))
    draw.shuffle(order)
    sheet[:] = [[cells[at] if at < len(cells) else "" for at in order] for cells in sheet]


def blank_rows(sheet: Sheet, draw: random.Random) -> None:
    for _ in range(3):
        sheet.insert(draw.randint(1, len(sheet)), [""] * draw.randint(0, 12))


def extra_column(sheet: Sheet, draw: random.Random) -> None:
    for number, cells in enumerate(sheet):
        cells.append(draw.choice(["Notes", "", "n"]) if number == 0 else draw.choice(["", "ok", "4"]))


def edited_header(sheet: Sheet, draw: random.Random) -> None:
    changes = (
        str.upper,
        str.title,
        lambda s: f" {s} ",
        lambda s: s.replace("_", " "),
        lambda s: "\ufeff" + s,
        lambda s: f'"{s}"',
    )
    sheet[0] = [draw.choice(changes)(name) for name in sheet[0]]


def total_row(sheet: Sheet, draw: random.Random) -> None:
    sheet.append(["Average", "", "", "", "3.1", "2.9", "", ""])


def title_row(sheet: Sheet, draw: random.Random) -> None:
    sheet.insert(0, ["Ratings of Anna", "", "", "", "", "", "", ""])


def respelled(text: str, draw: random.Random) -> str:
    if text in {*"12345"}:
        full = chr(ord(text) + 0xFEE0)
        spellings = [
            f"{text}.0",
            f"{text},0",
            f" {text} ",
            f"{text}.00",
            full,
            f"'{text}",
            f"\u00a0{text}",
            f"{text}.",
            f"{text}E+00",
        ]
        return draw.choice([text, *spellings])
    return draw.choice([text, text.upper(), f" {text} ", text.title(), text.casefold()])


def autocorrected(text: str, draw: random.Random) -> str:
    for typed, made in (
        ("...", "\u2026"),
        ("--", "\u2014"),
        ("'", "\u2019"),
        (' "', " \u201c"),
        ('"', "\u201d"),
        ("- ", "\u2013 "),
    ):
        text = text.replace(typed, made)
    return text


def retyped(text: str, draw: random.Random) -> str:
    """A short text that the spreadsheet took for something else."""
    bare = text.removeprefix("'")
    return {
        "4.50": draw.choice(["4.5", "4,5", "4,50"]),
        "1-2": draw.choice(["2024-02-01", "01/02/2024"]),
        "TRUE": "True",
    }.get(bare, text)


def mojibake(text: str, draw: random.Random) -> str:
    return (
        text.encode("utf-8")
        .decode("latin-1")
        .translate({code: bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(128, 160)})
    )


HARMLESS: dict[str, Damage] = {
    "rows shuffled": shuffled_rows,
    "rows sorted": sorted_rows,
    "columns moved": moved_columns,
    "blank rows": blank_rows,
    "extra column": extra_column,
    "header re-cased": edited_header,
    "total row": total_row,
    "title above the header": title_row,
    "ratings spelled otherwise": each(RATINGS, respelled),
    "quotes and dashes corrected": each(TEXT_COLUMNS, autocorrected),
    "guards removed": each(TEXT_COLUMNS, lambda text, draw: GUARDED.sub("", text)),
    "short texts retyped": each(TEXT_COLUMNS, retyped),
    "blanks at the ends": each(TEXT_COLUMNS, lambda text, draw: f" {text}\n"),
    "line ends": each(TEXT_COLUMNS, lambda text, draw: text.replace("\n", draw.choice(["\r\n", "\r", "\u2028"]))),
    "blanks narrowed": each(TEXT_COLUMNS, lambda text, draw: text.replace(" ", draw.choice([" ", "\u00a0", "  "]))),
    "decomposed accents": each(TEXT_COLUMNS, lambda text, draw: unicodedata.normalize("NFD", text)),
    "utf-8 opened as Windows-1252": each(TEXT_COLUMNS, mojibake),
    "texts cut": each(TEXT_COLUMNS, lambda text, draw: text[:1500]),
    "one letter typed into a text": one(3, lambda text, draw: f"{text}." if len(text) > 20 else text),
    "ids in capitals": each((0, 1), lambda text, draw: f" {text.upper()}"),
    "same row twice": lambda sheet, draw: sheet.append(list(draw.choice(rows(sheet)))),
    "comments typed": each((COMMENT,), lambda text, draw: draw.choice([text, *COMMENTS])),
    "study id lost": each((1,), lambda text, draw: ""),
}  # fmt: skip

# --- what would do harm if it were not noticed; each with the codes of which one must be told ---


def ids_swapped(sheet: Sheet, draw: random.Random) -> None:
    one, two = draw.sample(rows(sheet), 2)
    while one[3] == two[3]:  # a hidden repeat: the same text, so nothing would be torn apart
        one, two = draw.sample(rows(sheet), 2)
    one[0], two[0] = two[0], one[0]


def texts_swapped(sheet: Sheet, draw: random.Random) -> None:
    one, two = draw.sample(rows(sheet), 2)
    while one[3] == two[3]:
        one, two = draw.sample(rows(sheet), 2)
    one[3], two[3] = two[3], one[3]


def sorted_alone(*columns: int) -> Damage:
    def damage(sheet: Sheet, draw: random.Random) -> None:
        body = rows(sheet)
        keys = sorted(([cells[at] for at in columns] for cells in body), key=lambda part: part[0].casefold())
        for cells, part in zip(body, keys, strict=True):
            for at, cell in zip(columns, part, strict=True):
                cells[at] = cell

    return damage


def column_down(sheet: Sheet, draw: random.Random) -> None:
    """A cell was inserted at the top of a column."""
    at = draw.choice((0, 2, 3, *NUMBERS))
    body = [cells for cells in sheet[1:] if len(cells) > COMMENT]
    sheet.append(["", "", "", "", "", "", "", ""])
    moved = ["", *(cells[at] for cells in body)]
    for cells, cell in zip([*body, sheet[-1]], moved, strict=True):
        cells[at] = cell


def column_up(sheet: Sheet, draw: random.Random) -> None:
    """A cell was deleted at the top of a column."""
    at = draw.choice((0, 2, 3, *NUMBERS))
    body = [cells for cells in sheet[1:] if len(cells) > COMMENT]
    moved = [*(cells[at] for cells in body[1:]), ""]
    for cells, cell in zip(body, moved, strict=True):
        cells[at] = cell


def row_right(sheet: Sheet, draw: random.Random) -> None:
    cells = draw.choice(rows(sheet))
    cells.insert(draw.randint(0, 5), "")


def row_left(sheet: Sheet, draw: random.Random) -> None:
    del draw.choice(rows(sheet))[draw.randint(0, 5)]


def dropped(sheet: Sheet, draw: random.Random) -> None:
    sheet.remove(draw.choice(rows(sheet)))


def twice_different(sheet: Sheet, draw: random.Random) -> None:
    again = list(draw.choice(rows(sheet)))
    again[4] = "1" if "1" not in again[4] else "2"
    sheet.append(again)


def renamed_header(sheet: Sheet, draw: random.Random) -> None:
    sheet[0][draw.choice((0, *RATINGS))] = draw.choice(["Bewertung", "", "Flüssigkeit", "fluency2"])


def doubled_header(sheet: Sheet, draw: random.Random) -> None:
    sheet[0][4] = sheet[0][5]


def lost_column(sheet: Sheet, draw: random.Random) -> None:
    at = draw.choice((0, 3, *RATINGS))
    for cells in sheet:
        if len(cells) > at:
            del cells[at]


def swapped_headings(sheet: Sheet, draw: random.Random) -> None:
    sheet[0][2], sheet[0][3] = sheet[0][3], sheet[0][2]


def dated(text: str, draw: random.Random) -> str:
    day = dt.date(2024, draw.randint(1, 5), draw.randint(1, 28))
    return draw.choice([day.isoformat(), f"{day:%d.%m.%Y}", f"{day:%d-%b}", f"{day:%b %d}", f"{day.month}/{day.day}"])


def broken_id(text: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(text))
    return text[:at] + draw.choice([c for c in "bcdfghjkm" if c != text[at].casefold()]) + text[at + 1 :]


MOVED = ("text-torn", "text-changed", "text-missing", "twice-different", "row-shifted", "rating", "rating-missing")
HARMFUL: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "two ids swapped": (ids_swapped, ("text-torn",)),
    "two outputs swapped": (texts_swapped, ("text-torn",)),
    "ids sorted alone": (sorted_alone(0), ("text-torn",)),
    "outputs sorted alone": (sorted_alone(3), ("text-torn",)),
    "all but the ratings sorted": (sorted_alone(2, 3), ("text-torn",)),
    "ids and inputs sorted": (sorted_alone(0, 1, 2), ("text-torn",)),
    "column moved down": (column_down, ("row-shifted", "id-missing", "no-id", "text-missing")),
    "column moved up": (column_up, ("rating-missing", "text-missing", "id-missing")),
    "row moved right": (row_right, ("row-shifted", "row-too-long", "rating-missing", "text-changed", "text-missing")),
    "row moved left": (row_left, ("id-unknown", "text-torn", "text-changed", "rating", "rating-missing", "row-shifted")),
    "row dropped": (dropped, ("row-missing",)),
    "row twice, different": (twice_different, ("twice-different",)),
    "header renamed": (renamed_header, ("header",)),
    "header twice": (doubled_header, ("header-twice",)),
    "column lost": (lost_column, ("header",)),
    "headings of texts swapped": (swapped_headings, ("text-torn",)),
    "date in a rating": (one(4, dated), ("rating",)),
    "truth value in a rating": (one(5, lambda text, draw: draw.choice(["TRUE", "FAUX"])), ("rating",)),
    "half a point": (one(4, lambda text, draw: draw.choice(["3.5", "2,5", "4½"])), ("rating",)),
    "percent": (one(4, lambda text, draw: "4%"), ("rating",)),
    "two numbers in a cell": (one(5, lambda text, draw: draw.choice(["4 5", "4/5", "4-5", "4;5", "45"])), ("rating",)),
    "formula in a rating": (one(4, lambda text, draw: draw.choice(["=E2", "=4", "+E3", "#REF!"])), ("rating",)),
    "rating deleted": (one(4, lambda text, draw: draw.choice(["", " ", "'"])), ("rating-missing",)),
    "id mistyped": (one(0, broken_id), ("id-unknown",)),
    "id lost": (one(0, lambda text, draw: ""), ("id-missing",)),
    "text lost": (one(3, lambda text, draw: ""), ("text-missing",)),
    "text written anew": (one(3, lambda text, draw: "A summary that somebody wrote from scratch."), ("text-changed",)),
    "all letters lost": (one(3, lambda text, draw: "#" * 255), ("text-changed",)),
    "row of another study": (one(1, lambda text, draw: "sbcdfghj"), ("other-study",)),
}

#: Put ratings on other rows without a trace in texts: noticed only as long as the rows stand in the order of the sheet.
SORTED = {f"{name} sorted alone": sorted_alone(at) for at, name in ((4, "fluency"), (5, "relevance"), (6, "facts"))}


# --- how the file is saved ---


def workbook(sheet: Sheet, *, typed: bool = True, header: bool = True) -> bytes:
    """As XLSX; ``typed``: what looks like a number or a date is one."""
    from openpyxl import Workbook

    book = Workbook()
    page = book.active
    page.title = "Ratings"
    for number, cells in enumerate(sheet, 1):
        for at, text in enumerate(cells, 1):
            cell = page.cell(number, at)
            clean = re.sub(r"[\x00-\x08\x0b-\x1f\ufeff]", "", text.replace("\r\n", "\n").replace("\r", "\n"))
            if typed and re.fullmatch(r"[1-5](\.\d+)?", clean):
                cell.value = float(clean)
            elif typed and re.fullmatch(r"\d{4}-\d\d-\d\d", clean):
                cell.value = dt.datetime.fromisoformat(clean)
            elif typed and clean in ("TRUE", "FALSE"):
                cell.value = clean == "TRUE"
            elif typed and re.fullmatch(r"\d+%", clean):
                cell.value, cell.number_format = int(clean[:-1]) / 100, "0%"
            else:
                cell.value = clean or None
                if clean.startswith("=") and at not in (5, 6):
                    cell.data_type = "s"
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


SAVED: dict[str, Callable[[Sheet], bytes]] = {
    "csv utf-8 with mark": lambda sheet: small.as_csv(sheet),
    "csv utf-8": lambda sheet: small.as_csv(sheet, encoding="utf-8", quoting=0, lineterminator="\n"),
    "csv semicolon": lambda sheet: small.as_csv(sheet, ";", quoting=0),
    "tsv utf-16": lambda sheet: small.as_csv(sheet, "\t", "utf-16", quoting=0),
    "tsv utf-16 without mark": lambda sheet: small.as_csv(sheet, "\t", "utf-16-le", quoting=0),
    "csv utf-16 big-endian": lambda sheet: b"\xfe\xff" + small.as_csv(sheet, ";", "utf-16-be"),
    "csv with a line sep=": lambda sheet: b"sep=;\r\n" + small.as_csv(sheet, ";", "utf-8", quoting=0),
    "csv with bars": lambda sheet: small.as_csv(sheet, "|", "utf-8"),
    "csv two marks": lambda sheet: b"\xef\xbb\xbf" + small.as_csv(sheet),
    "xlsx": workbook,
    "xlsx of texts": lambda sheet: workbook(sheet, typed=False),
}
