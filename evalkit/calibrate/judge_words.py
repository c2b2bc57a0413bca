"""What a judge may be used for, in words: the first thing that a calibration says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from evalkit.calibrate.judge_bias import items_needed
from evalkit.figures import counted
from evalkit.types import Json

#: Items below which nothing is said but how many are needed.
FEW = 30
#: Items that a calibration should have: below, an interval of a correlation is wider than +-0.15.
ENOUGH = 100
#: Krippendorff's bound for tentative conclusions from single ratings.
_RELIABLE = 0.667

#: ``yes``: single scores may stand for people's; ``means``: averages and rankings; ``corrected``: only together with human
#: ratings; ``no``: not at all; ``unknown``: too few items.
Use = Literal["yes", "means", "corrected", "no", "unknown"]


def verdict(found: Mapping[str, Json]) -> tuple[Use, list[str]]:
    """The use of a judge on one criterion, and the sentences that say it, the most important first.

    ``found`` has the keys of `judge.CriterionCalibration`.
    """
    segment = found["levels"]["segment"]["spearman"]
    n = int(found["items"])
    if segment["value"] is None and n < FEW:
        return "unknown", [
            f"cannot be said yet: {counted(n, 'rated item')} (no correlation is defined: {segment['reason']}); "
            f"rate at least {ENOUGH} items ({FEW} are the least that anything is said about)"
        ]
    if segment["value"] is None:
        return "no", [f"not usable: no correlation with people is defined ({segment['reason']})"]
    r, told = float(segment["value"]), _interval("Spearman", segment)
    if n < FEW:
        return "unknown", [
            f"cannot be said yet: {counted(n, 'rated item')} ({told}); rate at least {max(ENOUGH, items_needed(r))} items "
            f"({FEW} are the least that anything is said about)"
        ]
    low, high = segment["ci"] or (r, r)
    if low <= 0 <= high:
        return "no", [f"not usable: its correlation with people cannot be told from 0 ({told}, {counted(n, 'item')})"]
    if r < 0:
        return "no", [f"not usable: it goes against people ({told}, {counted(n, 'item')})"]
    rival = _rival(found, r)
    if rival:
        return "no", [f"not usable: {rival} ({told}, {counted(n, 'item')})"]
    return _usable(found, told, n)


def _usable(found: Mapping[str, Json], told: str, n: int) -> tuple[Use, list[str]]:
    alpha = found["agreement"]["alpha_interval"]
    bound = (alpha["ci"] or [alpha["value"]])[0] if alpha["value"] is not None else None
    ranking = _ranking(found)
    use: Use = "corrected"
    if bound is not None and bound >= _RELIABLE:
        use, first = "yes", f"single scores may stand for people's: {_interval('alpha', alpha)}"
    elif ranking:
        use, first = "means", ranking
    else:
        first = f"tells better outputs from worse ({told}, {counted(n, 'item')}); its means need correction by human ratings"
    said = [first]
    if use == "yes" and ranking:
        said.append(ranking)
    offset = found["bias"]["offset"]
    if "scale" not in found["bias"] and offset["ci"] is not None and not offset["ci"][0] <= 0 <= offset["ci"][1]:
        way, (low, high) = "high" if offset["value"] > 0 else "low", sorted(abs(end) for end in offset["ci"])
        said.append(
            f"scores {abs(offset['value']):.2f} too {way} on the mean [{low:.2f}, {high:.2f}]: use its corrected means, not "
            "its own"
        )
    said += [line for line in (_ceiling(found), _length(found)) if line]
    if n < ENOUGH:
        said.append(f"{n} items leave a wide interval: {max(ENOUGH, items_needed(_value(found)))} would be enough")
    return use, said


def _value(found: Mapping[str, Json]) -> float:
    return float(found["levels"]["segment"]["spearman"]["value"])


def _ranking(found: Mapping[str, Json]) -> str | None:
    level = found["levels"].get("system")
    if level is None or level["spearman"]["value"] is None or level["spearman"]["ci"] is None:
        return None
    low = level["spearman"]["ci"][0]
    systems = counted(int(level["spearman"]["used"]), "system")
    if low <= 0:
        return None
    return f"ranks systems as people do ({_interval('Spearman', level['spearman'])}, {systems})"


def _rival(found: Mapping[str, Json], r: float) -> str | None:
    """A judge that looks at length alone and does as well."""
    for name in ("longest", "shortest"):
        value = found["trivial"][name]["segment"]["spearman"]
        if value is not None and value >= r:
            return f"preferring the {name} output agrees with people as well (Spearman {value:.2f})"
    return None


def _ceiling(found: Mapping[str, Json]) -> str | None:
    people = found["agreement"]["people"]
    if "one" not in people:
        return None
    one, judge = people["one"]["spearman"], people["judge_instead"]["spearman"]
    if one is None or judge is None:
        return None
    how = "as well as" if judge >= one - 0.02 else "less than"
    return f"agrees with the other people {how} one of them does (Spearman {judge:.2f} and {one:.2f})"


def _length(found: Mapping[str, Json]) -> str | None:
    length = found["bias"]["length"]["residual"]
    if length["value"] is None or length["ci"] is None or length["ci"][0] <= 0 <= length["ci"][1]:
        return None
    way = "longer" if length["value"] > 0 else "shorter"
    return f"favours {way} outputs more than people do ({_interval('Spearman of judge less human with length', length)})"


def _interval(name: str, told: Mapping[str, Json]) -> str:
    ci = f" [{told['ci'][0]:.2f}, {told['ci'][1]:.2f}]" if told.get("ci") else ""
    return f"{name} {told['value']:.2f}{ci}"
