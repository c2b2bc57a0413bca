"""A calibration on the terminal: what the judge may be used for, then the tables that say why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from evalkit.cli.output import print_table, say
from evalkit.figures import counted
from evalkit.types import Json

if TYPE_CHECKING:
    from evalkit.calibrate.judge import CriterionCalibration, JudgeCalibration

#: Pairs of systems that are printed; --json and --output have all.
_PAIRS = 10
_MEANS = ("Criterion", "System", "Judge only", "Human only", "Corrected", "Judged", "Rated", "Judge's weight", "Notes")
_COEFFICIENTS = ("pearson", "spearman", "kendall", "accuracy")


def print_calibration(found: JudgeCalibration) -> None:
    """Everything, the verdicts first."""
    about = found.to_dict()
    say(f"{about['judge']}\nbeside {found.human} ({counted(found.raters, 'rater')})")
    asked, failed, refused, lost = (found.counts[key] for key in ("verdicts", "failed", "refused", "unscored"))
    if asked:
        say(
            f"{counted(asked, 'verdict')}, {failed} unreadable, {refused} refused; {counted(lost, 'sample')} without a score"
        )
    for line in dict.fromkeys([*found.notes, *(doubt for one in found.criteria.values() for doubt in one.doubts)]):
        say(f"evalkit: warning: {line}")
    say("")
    for name, one in found.criteria.items():
        first, *more = one.says
        print(f"{name}: {first}")
        for line in more:
            print(f"  {line}")
    print("\nMeans, with 95 % intervals")
    headers: tuple[str, ...] = _MEANS
    rows = [line for name, one in found.criteria.items() for line in _means(name, one)]
    print_table(headers, rows, right=(2, 3, 4, 5, 6, 7), spare=(8, 7))
    print("\nCorrelation with people, with 95 % bootstrap intervals")
    rows = [line for name, one in found.criteria.items() for line in _levels(name, one)]
    headers = ("Criterion", "Level", "Judge", "Pearson", "Spearman", "Kendall", "Accuracy", "Used")
    print_table(headers, rows, right=(3, 4, 5, 6, 7), spare=(6, 3))
    print("\nAgreement and bias")
    headers = (
        "Criterion", "Judge - human", "Alpha", "Kappa", "Alpha of people", "One person", "Judge instead", "Top score",
        "Ties", "With length",
    )  # fmt: skip
    print_table(headers, [_agreement(name, one) for name, one in found.criteria.items()], spare=(8, 7))
    for name, one in found.criteria.items():
        _confusion(name, one.bias.get("confusion"))
        _pass_fail(name, one.bias.get("pass_fail"))
    _order(found.order)


def _means(name: str, one: CriterionCalibration) -> list[tuple[str, ...]]:
    rows = []
    pairs = [row for row in one.corrected if "less" in row]
    for row in [*(row for row in one.corrected if "less" not in row), *pairs[:_PAIRS]]:
        system = f"{row['system']} less {row['less']}" if "less" in row else row["system"]
        means = [told(row[kind], 3) for kind in ("judge", "human", "corrected")]
        weight = "" if row["weight"] is None else f"{row['weight']:.2f}"
        rows.append((name, system, *means, str(row["judged"]), str(row["rated"]), weight, row.get("reason", "")))
    if len(pairs) > _PAIRS:
        say(f"({len(pairs) - _PAIRS} more pairs of systems for {name} are in --json and --output)")
    return rows


def _levels(name: str, one: CriterionCalibration) -> list[tuple[str, ...]]:
    rows = []
    for level, coefficients in one.levels.items():
        used = str(coefficients["pearson"]["used"])
        rows.append((name, level, "this judge", *(told(coefficients[key], 3) for key in _COEFFICIENTS), used))
        for rival, values in one.trivial.items():
            plain = [_plain(values[level][key]) for key in _COEFFICIENTS]
            rows.append(("", "", rival, *plain, ""))
    return rows


def _agreement(name: str, one: CriterionCalibration) -> tuple[str, ...]:
    agreement, bias = one.agreement, one.bias
    people, shape = agreement["people"], bias["shape"]
    own, instead = (people.get(key, {}).get("spearman") for key in ("one", "judge_instead"))
    shares = [[shape[who].get(key) for who in ("judge", "human")] for key in ("top", "ties")]
    return (
        name,
        told(bias["offset"], 2),
        told(agreement["alpha_interval"], 2),
        told(agreement.get("kappa_quadratic"), 2),
        _plain(people.get("alpha_interval"), 2),
        _plain(own, 2),
        _plain(instead, 2),
        *(" / ".join("-" if share is None else f"{share:.0%}" for share in pair) for pair in shares),
        told(bias["length"]["residual"], 2),
    )


def _confusion(name: str, table: Mapping[str, Json] | None) -> None:
    if table is None:
        return
    labels = [f"{level:g}" for level in table["levels"]]
    print(f"\n{name}: people's mean level (rows) by the judge's (columns)")
    rows = [(label, *map(str, row)) for label, row in zip(labels, table["people_by_judge"], strict=True)]
    print_table(("", *labels), rows, right=range(1, len(labels) + 1))


def _pass_fail(name: str, found: Mapping[str, Json] | None) -> None:
    if found is None:
        return
    kind = "probabilities" if found["probabilities"] else "verdicts"
    print(
        f"{name}: as {kind} of a pass: Brier {found['brier']:.3f} ({found['brier_of_the_base_rate']:.3f} for the base "
        f"rate), calibration error {found['ece']:.3f}, accuracy {_plain(found['accuracy'])}; passed by the judge "
        f"{found['passed_by']['judge']:.0%}, by people {found['passed_by']['human']:.0%}"
    )


def _order(found: Mapping[str, Json]) -> None:
    if not found.get("pairs"):
        return
    first = f"; of the verdicts {told(found['first_slot'], 3)} are for the text shown first" if "first_slot" in found else ""
    print(f"\nThe winner flips with the order in {told(found['flip'], 3)} of {counted(found['pairs'], 'pair')}{first}")


def told(found: Mapping[str, Json] | None, digits: int = 3) -> str:
    """``0.412 [0.301, 0.520]``; a dash where there is no value."""
    if found is None or found["value"] is None:
        return "-"
    ci = found.get("ci")
    return f"{found['value']:.{digits}f}" + (f" [{ci[0]:.{digits}f}, {ci[1]:.{digits}f}]" if ci else "")


def _plain(value: Json, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
