"""What could be rated: the items that every system answered, joined by sample id, and why others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalkit.data.pairs import Outputs
from evalkit.errors import DataError, nearest
from evalkit.human.base import Output
from evalkit.human.layout import parts
from evalkit.rubric.schema import Part, Rubric
from evalkit.runner.run import Run
from evalkit.types import EMPTY, Record, content_hash

#: The columns of a task's data that its source text is looked for in.
SOURCES = ("source", "src")

#: A task and the id of one of its samples.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pool:
    """Items in the order of the data, each with the outputs of all ``systems`` in their order.

    ``slices`` are an item's labels, ``left_out`` counts items by the reason why they are not here. ``runs`` is aligned with
    ``systems``: where each one's outputs come from.
    """

    systems: tuple[str, ...]
    runs: tuple[str, ...]
    items: Mapping[str, tuple[Output, ...]]
    slices: Mapping[str, Mapping[str, str]]
    left_out: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    """Names that no rater may read: of systems, models, runs."""
    notes: tuple[str, ...] = ()
    """What the owner should know of what raters will see."""


@dataclass(frozen=True, slots=True)
class _Found:
    """One sample of one run: its output, or why there is none."""

    output: Output
    data: str
    slices: Mapping[str, str]
    lacks: str | None
    drawn: int
    """Answers that the model gave to this sample; the first one is rated."""


def from_runs(
    runs: Sequence[Run],
    rubric: Rubric,
    *,
    tasks: Sequence[str] = (),
    filter_: str | None = None,
    columns: Mapping[Part, str] | None = None,
) -> Pool:
    """The pool of runs. A sample's text is what its task's first filter (or the one named ``filter_``) leaves of the answer.

    ``columns`` names columns of the tasks' data for input, source and reference. By default the input is what the model was
    asked, the source the column ``source``, the reference the task's target.

    Raises DataError where nothing is left, or a task, filter or column is not there.
    """
    paths = [str(run.path) for run in runs]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise DataError(f"the run {twice} is given twice")
    wanted = _tasks(runs, tasks)
    systems = system_names(runs)
    shown = parts(rubric)
    found = [_of_run(run, name, wanted, filter_, columns or {}, shown) for run, name in zip(runs, systems, strict=True)]
    items, left_out = _join(found, systems)
    _require(items, left_out)
    warned = [run.manifest["tasks"][task].get("definition") or {} for run in runs for task in wanted]
    warnings = dict.fromkeys(str(entry["content_warning"]) for entry in warned if entry.get("content_warning"))
    first = {(one.output.task, one.output.item): one.slices for one in found[0].values()}
    names = _item_names(items)
    return Pool(
        systems,
        tuple(paths),
        {names[key]: tuple(replace(one, item=names[key]) for one in outputs) for key, outputs in items.items()},
        {names[key]: first[key] for key in items},
        left_out,
        tuple(warnings),
        tuple(dict.fromkeys(text for run, name in zip(runs, systems, strict=True) for text in _secrets(run, name))),
        tuple(_notes(runs[0], found, items, "input" in shown and "input" not in (columns or {}))),
    )


def from_outputs(outputs: Outputs, origins: Mapping[str, str], rubric: Rubric, columns: Mapping[Part, str]) -> Pool:
    """The pool of files of outputs, as `evalkit.score` takes them. ``columns`` may name the one of the input.

    Raises DataError where nothing can be rated.
    """
    items: dict[str, tuple[Output, ...]] = {}
    left_out: Counter[str] = Counter()
    for at, row in enumerate(outputs.rows):
        texts = {name: _first(row.get(name)) for name in ("source", "reference")}
        texts["input"] = _first(row.get(columns.get("input", "input")))
        lacking = [part for part in parts(rubric) if part != "output" and not (texts[part] or "").strip()]
        silent = [name for name, given in outputs.systems.items() if given[at] is None]
        if lacking or silent:
            without = f"{lacking[0]}{_elsewhere(lacking[0], outputs.columns)}" if lacking else f"an output of {silent[0]}"
            left_out[f"without {without}"] += 1
            continue
        items[row["id"]] = tuple(
            Output(row["id"], name, str(given[at]), texts["input"], texts["source"], texts["reference"])
            for name, given in outputs.systems.items()
        )
    _require(items, left_out)
    slices = {row["id"]: {name: str(value) for name, value in row.items()} for row in outputs.rows if row["id"] in items}
    names = tuple(outputs.systems)
    files = tuple(origins[name] for name in names)
    return Pool(names, files, items, slices, dict(left_out), secrets=(*names, *files))


def _first(value: object) -> str | None:
    """A text, or the first of several."""
    item = (value[0] if value else None) if isinstance(value, list | tuple) else value
    return None if item is None else str(item)


def _require(items: Mapping[Any, object], left_out: Mapping[str, int]) -> None:
    if not items:
        why = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        raise DataError(f"no item can be rated: {why or 'there is none'}")


def system_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """What the runs' systems are called: by their models where these differ, else by the runs, else by their folders."""
    models = [str((run.manifest.get("model") or {}).get("name") or run.name) for run in runs]
    for names in (models, [run.name for run in runs]):
        if len({name.casefold() for name in names}) == len(runs):
            return tuple(names)
    return tuple(run.path.name for run in runs)


def _tasks(runs: Sequence[Run], tasks: Sequence[str]) -> tuple[str, ...]:
    known = [task for task in runs[0].tasks if all(task in run.tasks for run in runs)]
    for task in tasks:
        if task not in known:
            hint = nearest(task, known) or f"; there are {', '.join(known) or 'none'}"
            raise DataError(f"not every run has a task {task!r}{hint}")
    if not known:
        raise DataError("the runs have no task in common")
    return tuple(tasks or known)


def _of_run(
    run: Run, system: str, tasks: Sequence[str], filter_: str | None, columns: Mapping[Part, str], shown: Sequence[Part]
) -> dict[Key, _Found]:
    found: dict[Key, _Found] = {}
    for task in tasks:
        chosen = filter_
        for view in run.records(task):
            chosen = chosen or view.filter
            if view.filter != chosen:
                continue
            output = _output(view.record, system, task, columns)
            lacks = _lacks(view.status, output, view.record, shown, columns, system)
            sample = view.record.sample
            data = content_hash(dict(sample.doc)) if sample.doc else ""
            answers = max((request.repeat + 1 for request in view.record.requests), default=1)
            found[task, sample.id] = _Found(output, data, dict(sample.slices or EMPTY), lacks, answers)
        if filter_ and not any(key[0] == task for key in found):
            raise DataError(f"task {task} of {run.path.name} has no filter {filter_!r}")
    return found


def _output(record: Record, system: str, task: str, columns: Mapping[Part, str]) -> Output:
    from evalkit.scorers.common import references, source_text
    from evalkit.scorers.judge.pointwise import asked_of

    sample = record.sample

    def part(name: Part, otherwise: str | None) -> str | None:
        return source_text(sample, columns[name]) if name in columns else otherwise

    source = next((text for name in SOURCES if (text := source_text(sample, name)) is not None), None)
    answer = _answer(record)
    return Output(
        sample.id,
        system,
        answer or "",
        part("input", asked_of(record)),
        part("source", source),
        part("reference", next(iter(references(sample)), None)),
        task,
    )


def _lacks(
    status: str, output: Output, record: Record, shown: Sequence[Part], columns: Mapping[Part, str], system: str
) -> str | None:
    """Why this record cannot be rated."""
    if status != "ok":
        return f"not answered by {system} ({status})"
    texts = {"input": output.input, "source": output.source, "reference": output.reference}
    for part in shown:
        if part == "output":
            continue
        if not (texts[part] or "").strip():
            named = f" (column {columns[part]!r})" if part in columns else ""
            return f"without {part}{named}" + _elsewhere(part, record.sample.doc)
    return "whose answer is no text (a task of choices?)" if _answer(record) is None else None


def _answer(record: Record) -> str | None:
    """The text that is rated: the first answer, where several were drawn."""
    answer = record.answer[0] if isinstance(record.answer, list | tuple) and record.answer else record.answer
    return answer if isinstance(answer, str) else None


def _elsewhere(part: Part, columns: Sequence[str] | Mapping[str, object]) -> str:
    return f": the data has {', '.join(columns)}; name its column with --column {part}=NAME" if columns else ""


def _join(
    found: Sequence[Mapping[Key, _Found]], systems: Sequence[str]
) -> tuple[dict[Key, tuple[Output, ...]], dict[str, int]]:
    """The samples that every run has and answered, with the first run's input, source and reference for all systems."""
    keys = dict.fromkeys(key for run in found for key in run)
    items: dict[Key, tuple[Output, ...]] = {}
    left_out: Counter[str] = Counter()
    for key in keys:
        present = [run.get(key) for run in found]
        rated = [one for one in present if one is not None]
        if len(rated) < len(found):
            left_out[f"not in the run of {systems[present.index(None)]}"] += 1
        elif lacks := next((one.lacks for one in rated if one.lacks), None):
            left_out[lacks] += 1
        elif len({one.data for one in rated}) > 1:
            left_out["whose data differs between the runs"] += 1
        else:
            lead = rated[0].output  # a prompt may tell systems apart (a template, examples), so all show the same one
            items[key] = tuple(
                replace(one.output, input=lead.input, source=lead.source, reference=lead.reference) for one in rated
            )
    return items, dict(left_out)


def _notes(
    lead: Run, found: Sequence[Mapping[Key, _Found]], items: Mapping[Key, tuple[Output, ...]], prompts: bool
) -> Iterator[str]:
    """What the owner should know: several answers, and prompts that are shown as the input."""
    if several := [key for key in items if any(run[key].drawn > 1 for run in found)]:
        yield f"{len(several):,} items have several answers; the first one of each is rated"
    if not prompts:
        return
    shots = max((int(lead.manifest["tasks"][task].get("num_fewshot") or 0) for task, _ in items), default=0)
    if shots:
        yield f"raters see the prompt with {shots} examples as the input; --column input=NAME shows a column of the data"
    if differing := [key for key in items if len({run[key].output.input for run in found}) > 1]:
        yield f"{len(differing):,} items were asked in other words in other runs; raters see those of the first run"


def _item_names(keys: Mapping[Key, object]) -> dict[Key, str]:
    """Sample ids; with the task before them where two tasks have the same."""
    ids = [key[1] for key in keys]
    alone = len({*ids}) == len(ids)
    return {key: key[1] if alone else f"{key[0]}/{key[1]}" for key in keys}


def _secrets(run: Run, system: str) -> list[str]:
    model = run.manifest.get("model") or {}
    found = [system, run.name, run.path.name, model.get("name"), model.get("model")]
    return [str(text) for text in found if text]
