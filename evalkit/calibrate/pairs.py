"""Answers of several runs to the same samples, side by side: what a judge compares two at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from evalkit.data.pairs import Outputs
from evalkit.errors import DataError, nearest
from evalkit.runner.given import GivenOptions
from evalkit.runner.roles import remembered
from evalkit.runner.run import Run
from evalkit.scorers.common import answers, references, source_text
from evalkit.scorers.judge.pointwise import asked_of, related_warnings
from evalkit.types import content_hash

#: What the task and the only system of such a run are called.
TASK, SYSTEM = "pairs", "pairs"
#: The columns of its rows: the pair, its two systems, what was asked, and the second system's answer.
PAIR, FIRST, SECOND, ITEM, INPUT, OTHER = "pair", "first", "second", "item", "input", "other"


@dataclass(frozen=True, slots=True)
class PairOptions:
    """What is compared, by whom and how.

    ``against``: the system that the others are compared with; all pairs by default. ``limit``: so many items, drawn with
    ``seed``. ``task`` and ``filter`` say which answers of the runs are meant, where there are several. ``judge`` are further
    parameters of the scorer ``judge_pairwise``.
    """

    model: Any = None
    rubric: str = "preference"
    against: str | None = None
    task: str | None = None
    filter: str | None = None
    limit: int | None = None
    seed: int = 1234
    judge: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Side:
    """One system's answer to one item, with what a judge may see beside it."""

    item: str
    text: str
    input: str | None
    source: str | None
    reference: str | None
    cluster: str
    content: str
    """A hash of the sample's data: that two systems answered the same."""


@dataclass(frozen=True, slots=True)
class Lineup:
    """The pairs to be judged, as outputs of a run, and what a reader must know of how they came about."""

    outputs: Outputs
    systems: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    items: int
    notes: tuple[str, ...]


def named_runs(runs: Sequence[Any] | Mapping[str, Any], find: Callable[[Any], Run]) -> dict[str, Run]:
    """Systems by name: the given ones, else the runs' own, or their ids where two are called the same.

    Raises DataError for a run that is named twice.
    """
    given = list(runs.values() if isinstance(runs, Mapping) else runs)
    found = [one if isinstance(one, Run) else find(one) for one in given]
    ids = [str(run.manifest["id"]) for run in found]
    if twice := next((id for id in ids if ids.count(id) > 1), None):
        raise DataError(f"the run {twice} is named twice: a comparison needs two runs")
    names = [run.name for run in found]
    own = [name if names.count(name) == 1 else id for name, id in zip(names, ids, strict=True)]
    return dict(zip(runs if isinstance(runs, Mapping) else own, found, strict=True))


def lineup(runs: Mapping[str, Run], options: PairOptions) -> Lineup:
    """Join the answers of ``runs`` (system -> run) by task and sample id, and pair them up.

    Raises DataError for fewer than two systems, an unknown baseline or task, samples that have nothing in common or the same
    id and other content.
    """
    pairs = _paired(list(runs), options.against)
    found = {name: _sides(name, run, options) for name, run in runs.items()}
    first, *others = found.values()
    common = [item for item in first if all(item in other for other in others)]
    if not common:
        raise DataError(f"{', '.join(runs)}: no sample was answered by all of them; were they run on the same task?")
    for name, other in found.items():
        differing = next((item for item in common if other[item].content != first[item].content), None)
        if differing is not None:
            raise DataError(f"sample {differing!r} of {name} is not the sample of that id of {next(iter(runs))}")
    notes = []
    most = max(len(own) for own in found.values())
    if len(common) < most:
        notes.append(f"{most - len(common)} of {most} samples left out: not all of the systems answered them")
    if options.limit is not None and options.limit < len(common):
        drawn = set(sorted(common, key=lambda item: content_hash([options.seed, item]))[: options.limit])
        common = [item for item in common if item in drawn]
    rows = [_row(found, item, *pair) for item in common for pair in pairs]
    for column in ("source", "reference"):
        if any(row[column] is None for row in rows):
            rows = [{name: value for name, value in row.items() if name != column} for row in rows]
    texts = [found[first][item].text for item in common for first, _ in pairs]
    outputs = Outputs(rows, {SYSTEM: texts}, "reference" in rows[0], "source" in rows[0], tuple(rows[0]))
    return Lineup(outputs, tuple(runs), pairs, len(common), tuple(notes))


def pair_run(given: Lineup, options: PairOptions, settings: GivenOptions) -> GivenOptions:
    """``settings`` with the scorer, slices and clusters of a run over these pairs."""
    scorer = {"name": "judge_pairwise", "against": OTHER, "rubric": options.rubric, "input": INPUT, **options.judge}
    named = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    chosen = {} if options.model is None else {"judge": options.model}
    return GivenOptions(
        **{
            **named,
            "task": TASK,
            "scorers": [scorer],
            "slices": [PAIR],
            "cluster": ITEM,
            "roles": {**settings.roles, **chosen},
            "name": settings.name or "_".join(["pairs", *given.systems]),
        }
    )


def family_warnings(runs: Mapping[str, Run], judged: Run) -> list[str]:
    """A line for every system that the judge of ``judged`` is, or is of one family with."""
    judge = remembered(judged.manifest).get("judge")
    found = [(name, remembered(run.manifest).get("model")) for name, run in runs.items()]
    return [f"{name}: {line}" for name, model in found if judge for line in related_warnings([judge], model)]


def pair_name(first: str, second: str) -> str:
    """What a pair is called in tables and slices."""
    return f"{first} vs {second}"


def _paired(systems: Sequence[str], against: str | None) -> tuple[tuple[str, str], ...]:
    if len(systems) < 2:
        raise DataError("a comparison needs two runs or more")
    if against is None:
        return tuple(combinations(systems, 2))
    if against not in systems:
        raise DataError(f"--against {against}: there is no such system{nearest(against, systems)}; {', '.join(systems)}")
    return tuple((system, against) for system in systems if system != against)


def _sides(name: str, run: Run, options: PairOptions) -> dict[str, Side]:
    """Item -> the system's first answer to it, in the order of the samples."""
    if options.task is not None and options.task not in run.tasks:
        raise DataError(f"{name} has no task {options.task!r}{nearest(options.task, run.tasks)}; {', '.join(run.tasks)}")
    several = options.task is None and len(run.tasks) > 1
    found = {side.item: side for side in _answered(run, options, several)}
    if not found:
        raise DataError(f"{name} holds no written answer{f' by filter {options.filter!r}' if options.filter else ''}")
    return found


def _answered(run: Run, options: PairOptions, several: bool) -> Iterator[Side]:
    chosen: dict[str, str] = {}
    for view in run.records(options.task):
        if view.filter != (options.filter or chosen.setdefault(view.task, view.filter)) or not view.record.complete:
            continue
        given, sample = answers(view.record), view.record.sample
        if given is None:
            continue
        item = f"{view.task}/{sample.id}" if several else sample.id
        yield Side(
            item,
            given[0],
            asked_of(view.record),
            source_text(sample, str(options.judge.get("source", "source"))),
            _reference(references(sample)),
            f"{view.task}/{sample.cluster}" if sample.cluster else item,
            content_hash(sample.doc),
        )


def _reference(given: Iterable[str]) -> str | None:
    return next(iter(given), None)


def _row(found: Mapping[str, Mapping[str, Side]], item: str, first: str, second: str) -> dict[str, Any]:
    ours, theirs = found[first][item], found[second][item]
    return {
        "id": f"{item} {pair_name(first, second)}",
        ITEM: ours.cluster,
        PAIR: pair_name(first, second),
        FIRST: first,
        SECOND: second,
        INPUT: next(iter(found.values()))[item].input,
        "source": ours.source,
        "reference": ours.reference,
        OTHER: theirs.text,
    }
