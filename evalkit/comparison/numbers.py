"""Comparisons in words and figures: the same on the terminal, in Markdown and in what a gate prints.

Where a metric is wanted, ``True`` or ``False`` will do: whether its values are shares.
"""

from __future__ import annotations

import re
import unicodedata

from evalkit.figures import number
from evalkit.scorers.base import MetricInfo
from evalkit.stats.intervals import Interval

#: Below this a p value is only said to be below it.
_SMALL_P = 0.001
_NONE = "–"
#: Parts what a site would make a link, a mention or an emoji of; nobody sees it.
_PART = "&#8203;"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "<span>$</span>", "://": f":{_PART}//", "www.": f"www{_PART}."}
_MARKDOWN = re.compile(r"://|www\.|@|#(?=\w)|:(?=[\w+-]+:)|[\\`*_\[\]~|$&<>]")
#: Ids of which nothing can leave a code span, even inside a table.
_PLAIN_CODE = re.compile(r"[^|`\\\n\r]*[^|`\\\n\r\s]")


def is_share(metric: MetricInfo | bool) -> bool:
    """Whether values are within 0 and 1, so that differences are told in percentage points."""
    if isinstance(metric, bool):
        return metric
    return metric.proportion or (metric.low, metric.high) == (0.0, 1.0)


def format_value(value: float | None, metric: MetricInfo | bool) -> str:
    """A value as the tables of a run have it: ``0.7350``; a dash where there is none."""
    return number(value)


def format_difference(difference: float | None, metric: MetricInfo | bool) -> str:
    """A difference with its sign: ``-1.2 pp`` of shares, ``+0.0310`` of other metrics; a dash where there is none."""
    if difference is None:
        return _NONE
    return f"{_signed(difference, difference, metric)}{' pp' if is_share(metric) else ''}"


def format_interval(interval: Interval | None, metric: MetricInfo | bool) -> str:
    """The interval of a difference, without the unit that stands beside it: ``[-2.3, -0.1]``, ``[-0.0130, +0.0410]``."""
    if interval is None:
        return _NONE
    smallest = min(interval, key=lambda end: abs(end) or 1.0)
    return "[" + ", ".join(_signed(end, smallest, metric) for end in interval) + "]"


def format_p(p: float | None) -> str:
    """``<.001``, ``.026``, ``1.000``; a dash where there is none."""
    if p is None:
        return _NONE
    return "<.001" if p < _SMALL_P else f"{p:.3f}".removeprefix("0")


def _signed(value: float, smallest: float, metric: MetricInfo | bool) -> str:
    """``value`` in its unit, with the digits that show ``smallest`` as something other than zero."""
    if not is_share(metric):
        return ("+" if value > 0 else "") + number(value + 0.0)
    digits = 2 if 0 < abs(smallest) < 0.0005 else 1
    return f"{100 * value:+.{digits}f}" if value else f"{0:.{digits}f}"


def error_bar(low: float, value: float, high: float, span: float, width: int = 15, *, margin: float | None = None) -> str:
    """A difference and its interval as ``width`` characters from -``span`` to ``span``: ``····├──●─┼─┤····``.

    ``│`` (``┼`` inside the interval) is zero, ``┊`` is -``margin`` where it is given. Ends that lie outside are arrows.
    Raises ValueError for a span that is not positive, or a width that has no middle.
    """
    if not span > 0 or width < 3 or width % 2 == 0:
        raise ValueError(f"an error bar needs a positive span and an odd width of at least 3, not {span} and {width}")
    middle = width // 2

    def column(position: float) -> int:
        return middle + round(max(-1.0, min(1.0, position / span)) * middle)

    cells = ["·"] * width
    cells[middle] = "│"
    for at in range(column(low), column(high) + 1):
        cells[at] = "┼" if at == middle else "─"
    if margin is not None and abs(margin) <= span and column(-margin) != middle:
        cells[column(-margin)] = "┊"
    cells[column(low)] = "◂" if low < -span else "├"
    cells[column(high)] = "▸" if high > span else "┤"
    cells[column(value)] = "●"
    return "".join(cells)


def visible(text: str) -> str:
    """``text`` on one line for a terminal or a table: what is invisible or steers a screen is shown as its escape.

    Names and ids come from data and models; none may move a cursor, turn the direction of writing or end a line.
    """
    return "".join(c if c == " " or unicodedata.category(c)[0] not in "CZ" else _escape(c) for c in text)


def _escape(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def escape_markdown(text: str) -> str:
    """``text`` inside a line or a table's cell of Markdown (GitHub's, GitLab's): shown as it is, whatever it says.

    No markup, HTML or formula comes of it, no cell ends, nobody is mentioned, no issue and no address becomes a link (a
    zero-width space parts what a site would link, as dependency bots do it).
    """
    return _MARKDOWN.sub(lambda match: _escaped_markdown(match[0]), visible(text))


def _escaped_markdown(found: str) -> str:
    return _ENTITIES.get(found) or (f"{found}{_PART}" if found in "@#:" else f"\\{found}")


def code_markdown(text: str) -> str:
    """``text`` as code in a line or a table's cell of Markdown: for names and ids, which then can be copied."""
    shown = visible(text)
    if _PLAIN_CODE.fullmatch(shown) and not shown.startswith(" "):
        return f"`{shown}`"
    return "<code>" + re.sub(r"[^\w ]", lambda m: f"&#{ord(m[0])};", shown).replace("_", "&#95;") + "</code>"
