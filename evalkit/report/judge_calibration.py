"""A judge's stored calibration as the report lays it out: the verdict, three means side by side, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from evalkit.report.numbers import number
from evalkit.types import Json

WIDTH, HEIGHT, _PAD = 230, 34, 5
#: The three means of a row, from above: key and class of the bar.
_KINDS = ("judge", "human", "corrected")
_MAX_ROWS = 40
_COEFFICIENTS = ("pearson", "spearman", "kendall", "accuracy")
#: What the uses are called, and whether they are good news (``good``), to be watched (``warn``) or bad.
_USES: Mapping[str, tuple[str, str]] = {
    "yes": ("usable", "good"),
    "means": ("ranks systems", "good"),
    "corrected": ("with human ratings only", "warn"),
    "no": ("not usable", "bad"),
    "unknown": ("too few ratings", "warn"),
}


@dataclass(frozen=True, slots=True)
class MeansRow:
    """A system, or the difference of two: judge-only, human-only and corrected mean, and a drawing of them."""

    label: str
    cells: list[str]
    judged: str
    rated: str
    weight: str
    remark: str
    chart: Markup | None


@dataclass(frozen=True, slots=True)
class CriterionView:
    """One criterion. ``levels`` has a row a level and judge: level, judge, coefficients, used."""

    name: str
    human: str
    use: str
    tone: str
    says: list[str]
    means: list[MeansRow]
    left_out: int
    levels: list[list[str]]
    facts: list[tuple[str, str]]
    doubts: list[str]
    confusion: tuple[list[str], list[list[str]]] | None


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What is told of a calibration."""

    about: str
    criteria: list[CriterionView]
    notes: list[str]
    order: str


def calibrated(stored: Mapping[str, Json]) -> Calibrated:
    """A calibration file as `evalkit.calibrate.judge_file` wrote it."""
    human = stored.get("human") or {}
    made = str(stored.get("created") or "")[:10]
    raters = human.get("raters")
    return Calibrated(
        about=f"Ratings: {human.get('ratings', 'unknown')}"
        + (f", by {raters} people" if isinstance(raters, int) and raters > 1 else "")
        + (f"; calibrated on {made}" if made else ""),
        criteria=[_criterion(name, found) for name, found in stored["criteria"].items()],
        notes=[str(note) for note in stored.get("notes") or ()],
        order=_order(stored.get("order") or {}),
    )


def _criterion(name: str, found: Mapping[str, Json]) -> CriterionView:
    use, tone = _USES.get(str(found["use"]), (str(found["use"]), "warn"))
    rows = found["corrected"]
    confusion = found["bias"].get("confusion")
    return CriterionView(
        name=name,
        human=str(found["human"]) if found["human"] != name else "",
        use=use,
        tone=tone,
        says=[str(line) for line in found["says"]],
        means=list(_means(rows[:_MAX_ROWS])),
        left_out=max(0, len(rows) - _MAX_ROWS),
        levels=list(_levels(found)),
        facts=[(label, text) for label, text in _facts(found) if text != "–"],
        doubts=[str(line) for line in found["doubts"]],
        confusion=None
        if confusion is None
        else (
            [f"{level:g}" for level in confusion["levels"]],
            [[str(n) for n in row] for row in confusion["people_by_judge"]],
        ),
    )


def _confusion(table: Mapping[str, Json]) -> tuple[list[str], list[list[str]]]:
    return [f"{level:g}" for level in table["levels"]], [[str(n) for n in row] for row in table["people_by_judge"]]


def _means(rows: Iterable[Mapping[str, Json]]) -> Iterator[MeansRow]:
    rows = list(rows)
    reaches = {kind: _reach(row for row in rows if ("less" in row) == kind) for kind in (False, True)}
    for row in rows:
        difference = "less" in row
        yield MeansRow(
            label=f"{row['system'] or 'this run'} less {row['less']}" if difference else str(row["system"] or "this run"),
            cells=[told(row[kind]) for kind in _KINDS],
            judged=str(row["judged"]),
            rated=str(row["rated"]),
            weight="" if row["weight"] is None else f"{row['weight']:.2f}",
            remark=str(row.get("reason") or ""),
            chart=_chart(row, reaches[difference], difference),
        )


def _reach(rows: Iterable[Mapping[str, Json]]) -> tuple[float, float] | None:
    """What the intervals of these rows span."""
    ends = [
        end
        for row in rows
        for kind in _KINDS
        if row[kind] and row[kind]["value"] is not None
        for end in (row[kind]["value"], *(row[kind]["ci"] or ()))
    ]
    return (min(ends), max(ends)) if ends and min(ends) < max(ends) else None


def _chart(row: Mapping[str, Json], reach: tuple[float, float] | None, difference: bool) -> Markup | None:
    """The three intervals below each other on one scale; of differences with a line at 0."""
    if reach is None:
        return None
    low, high = (min(reach[0], 0.0), max(reach[1], 0.0)) if difference else reach

    def x(value: float) -> float:
        return round(_PAD + (value - low) / (high - low) * (WIDTH - 2 * _PAD), 1)

    parts = []
    if difference:
        parts.append(Markup('<line class="zero" x1="{0}" y1="1" x2="{0}" y2="{1}"/>').format(x(0.0), HEIGHT - 1))
    for place, kind in enumerate(_KINDS):
        one = row[kind]
        if not one or one["value"] is None:
            continue
        y = 6 + 11 * place
        if one["ci"]:
            line = Markup('<line class="{0}" x1="{1}" y1="{2}" x2="{3}" y2="{2}"/>')
            parts.append(line.format(kind, x(one["ci"][0]), y, x(one["ci"][1])))
        parts.append(Markup('<circle class="{}" cx="{}" cy="{}" r="3.5"/>').format(kind, x(one["value"]), y))
    label = "; ".join(f"{kind} {told(row[kind])}" for kind in _KINDS)
    head = Markup('<svg class="means" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">')
    return head.format(WIDTH, HEIGHT, label) + Markup("").join(parts) + Markup("</svg>")


def _levels(found: Mapping[str, Json]) -> Iterator[list[str]]:
    for level, coefficients in found["levels"].items():
        yield [
            level,
            "this judge",
            *(told(coefficients[key]) for key in _COEFFICIENTS),
            str(coefficients["pearson"]["used"]),
        ]
        for name, values in found["trivial"].items():
            if level in values:
                yield ["", name, *(number(values[level][key], 3) for key in _COEFFICIENTS), ""]


def _facts(found: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    bias, agreement = found["bias"], found["agreement"]
    people, shape, length = agreement["people"], bias["shape"], bias["length"]
    yield "Rated", f"{found['items']} items, {found['outputs']} outputs"
    yield "Judge less human, on the mean", told(bias["offset"])
    yield "Alpha (interval) with people", told(agreement["alpha_interval"])
    yield "Alpha (ordinal) with people", told(agreement["alpha_ordinal"])
    yield "Quadratic kappa with people", told(agreement.get("kappa_quadratic"))
    yield "Alpha among people", number(people.get("alpha_interval"), 3)
    for key, label in (("one", "One person with the others (Spearman)"), ("judge_instead", "The judge in that place")):
        yield label, number((people.get(key) or {}).get("spearman"), 3)
    yield "Judge less human, with length (Spearman)", told(length["residual"])
    for who, label in (("judge", "judge"), ("human", "people")):
        if shape[who].get("top") is not None:
            yield f"Top scores, {label}", f"{shape[who]['top']:.0%}"
        if shape[who].get("ties") is not None:
            yield f"Tied pairs, {label}", f"{shape[who]['ties']:.0%}"
    passing = bias.get("pass_fail")
    if passing:
        yield "Brier score", f"{passing['brier']:.3f} ({passing['brier_of_the_base_rate']:.3f} for the base rate)"
        yield "Calibration error", number(passing["ece"], 3)
    if bias.get("scale"):
        yield "Scales", str(bias["scale"])


def _order(found: Mapping[str, Json]) -> str:
    if not found.get("pairs"):
        return ""
    first = f"; {told(found['first_slot'])} of its verdicts are for the text shown first" if found.get("first_slot") else ""
    return f"Its winner flips with the order in {told(found['flip'])} of {found['pairs']} pairs{first}."


def told(one: Mapping[str, Json] | None) -> str:
    """``0.412 [0.301, 0.520]``."""
    if not one or one.get("value") is None:
        return "–"
    ci = one.get("ci")
    return number(one["value"], 3) + (f" [{number(ci[0], 3)}, {number(ci[1], 3)}]" if ci else "")
