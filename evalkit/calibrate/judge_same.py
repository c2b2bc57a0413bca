"""Whether a judge and people rated the same texts, and, of pairs, from the same side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from evalkit.calibrate.judge_human import rated_keys
from evalkit.calibrate.judge_run import Judged
from evalkit.calibrate.pairs import pair_name
from evalkit.errors import DataError
from evalkit.ratings.base import Rating
from evalkit.ratings.joining import Texts


def of_these_texts(
    runs: Sequence[Judged], systems: Sequence[str | None], ratings: Sequence[Rating], shown: Texts
) -> tuple[tuple[Rating, ...], list[str]]:
    """The ratings without those of other texts than the judge saw, and how many these are.

    A run that was made anew has the name and the samples of the old one, but people did not rate its answers. Ratings
    without a record of what was ``shown`` are believed. Raises DataError where nothing is left.
    """
    given = {(rating.item, rating.system) for rating in ratings}
    other: set[tuple[str, str]] = set()
    same = 0
    for run, system in zip(runs, systems, strict=True):
        for at, key in enumerate(rated_keys(run, system, given)):
            if key in given and shown:
                differs = not all(text is None or text == told for text, told in _both(run, at, key, shown))
                other |= {key} if differs else set()
                same += not differs
    if not other:
        return tuple(ratings), []
    said = f"{len(other)} of {len(other) + same} rated outputs are not what the judge saw"
    if not same:
        raise DataError(f"{said}: people rated other answers (of another run of that name?); name the runs that were rated")
    kept = tuple(rating for rating in ratings if (rating.item, rating.system) not in other)
    return kept, [f"{said} (answers of another run?) and were left out"]


def _both(run: Judged, at: int, key: tuple[str, str], shown: Texts) -> list[tuple[str | None, str | None]]:
    """Texts that people saw, each beside the judge's; of a comparison two."""
    if not run.pairs:
        item, system = key
        sides = _sides(system, shown) if run.pairwise else None
        return [(shown.get((item, sides[0]) if sides else key), run.texts[at])]
    pair = run.pairs[at]
    return [(shown.get((pair.item, pair.first)), run.texts[at]), (shown.get((pair.item, pair.second)), pair.other)]


def oriented(runs: Sequence[Judged], ratings: tuple[Rating, ...], shown: dict[tuple[str, str], str]) -> tuple[Rating, ...]:
    """Ratings of pairs under the judge's names of them and from the view of its first system.

    The systems of a study may be called otherwise than the runs that a judge compared: then they are known by their texts,
    and ``shown`` gets the judge's names, too. Raises DataError for pairs whose systems cannot be told.
    """
    if len(runs) != 1 or not runs[0].pairwise:
        return ratings
    if not runs[0].pairs:
        turned = {system for system in {rating.system for rating in ratings} if _is_second(runs[0], system, shown)}
        return tuple(_turned(rating, shown) if rating.system in turned else rating for rating in ratings)
    known = {pair.name: pair for pair in runs[0].pairs}
    names = dict.fromkeys(name for pair in known.values() for name in (pair.first, pair.second))
    theirs = {name: _called(runs[0], name, shown) or name for name in names}
    shown |= {(item, name): text for name, own in theirs.items() for (item, at), text in list(shown.items()) if at == own}
    forward = {pair_name(theirs[pair.first], theirs[pair.second]): name for name, pair in known.items()}
    backward = {pair_name(theirs[pair.second], theirs[pair.first]): name for name, pair in known.items()}
    found = []
    for rating in ratings:
        if rating.system in forward:
            found.append(replace(rating, system=forward[rating.system]))
        elif rating.system in backward:
            found.append(replace(rating, system=backward[rating.system], value=1.0 - rating.value))
    if not found:
        told = ", ".join(dict.fromkeys(rating.system for rating in ratings))
        raise DataError(
            f"the judge compared {', '.join(known)}, people {told}: call the systems as people's ratings do "
            "(evalkit judge pairs NAME=RUN NAME=RUN)"
        )
    return (*found,)


def _sides(system: str, shown: Texts) -> tuple[str, str] | None:
    """The two systems of the pair that ratings call ``system``."""
    names = dict.fromkeys(name for _, name in shown)
    return next(((a, b) for a in names for b in names if pair_name(a, b) == system), None)


def _is_second(run: Judged, system: str, shown: Texts) -> bool:
    """Whether the run, compared with a column of its data, has the outputs of the pair's second system."""
    sides = _sides(system, shown)
    if sides is None:
        return False
    given = Counter(
        name
        for sample, text in zip(run.ids, run.texts, strict=True)
        for name in sides
        if shown.get((f"{run.task}/{sample}", name), shown.get((sample, name))) == text
    )
    return given[sides[1]] > given[sides[0]]


def _turned(rating: Rating, shown: Texts) -> Rating:
    first, second = _sides(rating.system, shown) or ("", "")
    return replace(rating, system=pair_name(second, first), value=1.0 - rating.value)


def _called(run: Judged, name: str, shown: Texts) -> str | None:
    """The system of the ratings whose texts are those of the judge's system ``name``."""
    if any(system == name for _, system in shown):
        return name
    systems = dict.fromkeys(system for _, system in shown)
    equal = Counter[str]()
    for at, pair in enumerate(run.pairs):
        text = run.texts[at] if pair.first == name else pair.other if pair.second == name else None
        equal.update(system for system in systems if text is not None and shown.get((pair.item, system)) == text)
    best = equal.most_common(2)
    return best[0][0] if best and (len(best) == 1 or best[0][1] > best[1][1]) else None
