"""``evalkit human export``: runs or files in, a folder of blind sheets out, and the key that stays with its owner."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.data.pairs import ROLES, joined
from evalkit.data.textfile import further, systems
from evalkit.errors import DataError, UsageError, nearest
from evalkit.human import guidelines
from evalkit.human.base import Row, Study
from evalkit.human.folder import GUIDELINES, IGNORED, README, clear, put, require_free
from evalkit.human.formats import FORMATS
from evalkit.human.key import KEY, write_study
from evalkit.human.layout import texts_file
from evalkit.human.make import Settings, make_study
from evalkit.human.pool import Pool, from_outputs, from_runs
from evalkit.human.sheets_csv import csv_bytes, separator
from evalkit.human.sheets_xlsx import xlsx_bytes
from evalkit.rubric.load import load_criteria
from evalkit.rubric.schema import Rubric
from evalkit.runner.run import Run, open_run
from evalkit.runner.store import find_run

Format = Literal["csv", "xlsx", "both", "label-studio", "argilla", "potato", "mturk"]

#: The columns of a task's data that can be named.
_PARTS = ("input", "source", "reference")


def export_study(
    runs: str | Path | Run | Sequence[str | Path | Run] = (),
    rubric: str | Path | Rubric = "",
    *,
    out: str | Path,
    predictions: Any = None,
    references: Any = None,
    sources: Any = None,
    tasks: Sequence[str] = (),
    filter: str | None = None,
    columns: Mapping[str, str] | None = None,
    output_dir: str | Path = "runs",
    format: Format = "both",
    delimiter: str = "auto",
    force: bool = False,
    **settings: Any,
) -> Study:
    """Write blind rating sheets for the same items of several systems, and the key, to the folder ``out``.

    Args:
        runs: one run a system (directory, name, ``latest``, or itself); only items that all of them answered are rated.
        rubric: a shipped rubric, ``rubric/criterion``, a YAML file, or a Rubric. It says what raters see and rate.
        out: a new folder.
        predictions: instead of ``runs``, files of outputs by system name, as `evalkit.score` takes them.
        references: with ``predictions``, files of references.
        sources: with ``predictions``, the file of source texts.
        tasks: of the runs; all that they have in common by default.
        filter: the filter whose answers are rated; each task's first one by default.
        columns: where the data has the parts of an item: ``input``, ``source``, ``reference`` (and ``id``, ``prediction`` in
            files).
        output_dir: where runs are looked for by name.
        format: ``csv``, ``xlsx``, ``both``, or another tool: ``label-studio``, ``argilla``, ``potato``, ``mturk``.
        delimiter: of CSV files: ``auto``, ``,``, ``;`` or ``tab``.
        force: replace a study that nobody has rated yet.
        settings: ``n`` items (all by default) for ``annotators`` (3), of which ``overlap`` (30) are rated by everybody;
            ``seed`` (0); ``stratify``, a slice that is drawn in proportion, as tasks and lengths always are; ``repeats``
            (.1) and ``checks`` (.05), shares of rows that come again and that check attention; ``check_on``, the criteria
            that shuffled words must fail.

    Returns:
        The study, as the key holds it. The same arguments give the same study.

    Raises:
        UsageError: bad input, a folder that is not free, or data that lacks what the rubric shows.
    """
    chosen = open_rubric(rubric)
    require_free(Path(out), force)
    pool = open_pool(
        runs,
        chosen,
        predictions=predictions,
        references=references,
        sources=sources,
        tasks=tasks,
        filter_=filter,
        columns=columns,
        output_dir=output_dir,
    )
    study = make_study(pool, chosen, Settings(**settings))
    write_folder(study, Path(out), format=format, delimiter=delimiter, force=force)
    return study


def open_rubric(rubric: str | Path | Rubric) -> Rubric:
    """A rubric by name or file, with one of its criteria alone where that is asked for. Raises RubricError."""
    if isinstance(rubric, Rubric):
        return rubric
    whole, criteria = load_criteria(rubric)
    return whole if criteria == whole.criteria else whole.model_copy(update={"criteria": criteria})


def open_pool(
    runs: str | Path | Run | Sequence[str | Path | Run],
    rubric: Rubric,
    *,
    predictions: Any = None,
    references: Any = None,
    sources: Any = None,
    tasks: Sequence[str] = (),
    filter_: str | None = None,
    columns: Mapping[str, str] | None = None,
    output_dir: str | Path = "runs",
) -> Pool:
    """What can be rated of runs, or of files of outputs. Raises UsageError."""
    named = [runs] if isinstance(runs, str | Path | Run) else list(runs)
    allowed = _PARTS if named else (*_PARTS, *(role for role in ROLES if role not in _PARTS))
    columns = dict(columns or {})
    if wrong := next((role for role in columns if role not in allowed), None):
        raise DataError(f"--column {wrong}={columns[wrong]}: it is one of {', '.join(allowed)}{nearest(wrong, allowed)}")
    parts: dict[Any, str] = {part: columns[part] for part in _PARTS if part in columns}
    if not named:
        if predictions is None:
            raise UsageError("nothing to rate: name one or more runs, or files of outputs with --predictions")
        files = systems(predictions)
        others = {role: name for role, name in columns.items() if role in ROLES}
        outputs = joined(files, further("references", references), next(iter(further("sources", sources)), None), others)
        return from_outputs(outputs, {name: file.name for name, file in files.items()}, rubric, parts)
    if predictions is not None:
        raise UsageError("a study is made of runs or of --predictions, not of both")
    opened = [run if isinstance(run, Run) else open_run(find_run(str(run), Path(output_dir))) for run in named]
    return from_runs(opened, rubric, tasks=tasks, filter_=filter_, columns=parts)


def write_folder(
    study: Study, out: Path, *, format: Format = "both", delimiter: str = "auto", force: bool = False
) -> list[str]:
    """Write the study to the folder ``out``, the key first; gives the names of the files.

    Raises UsageError where the folder is not free (`require_free`).
    """
    if format not in get_args(Format):
        raise UsageError(f"--format {format!r}: it is {', '.join(get_args(Format))}{nearest(format, get_args(Format))}")
    separator(delimiter)
    require_free(out, force)
    sheets = {name: content for who in study.annotators for name, content in _sheets(study, who, format, delimiter).items()}
    out.mkdir(parents=True, exist_ok=True)
    clear(out)
    put(out / IGNORED, f"# says which system wrote what: nobody who rates may see it\n/{KEY}\n".encode())
    write_study(study, out)
    files = {**sheets, GUIDELINES: guidelines.markdown(study).encode()}
    others: list[str] = []
    if format in FORMATS:
        (out / format).mkdir(exist_ok=True)
        others = [f"{format}/{name}" for name in FORMATS[format](study, out / format)]
    files[README] = guidelines.owners_note(study, [*sheets, *others]).encode()
    for name, content in files.items():
        put(out / name, content)
    return [KEY, *files, *others]


def _sheets(study: Study, annotator: str, format: Format, delimiter: str) -> dict[str, bytes]:
    if format in FORMATS:  # another tool's files stand in a folder of their own
        return {}
    rows = [row for row in study.rows if row.annotator == annotator]
    page = guidelines.texts_page(study, rows)
    found = {}
    if format != "csv":
        found[f"{annotator}.xlsx"] = xlsx_bytes(study, annotator, rows, page=page is not None)
    if format != "xlsx":
        found[f"{annotator}.csv"] = csv_bytes(study, rows, delimiter)
    if page is not None:
        found[texts_file(annotator)] = page.encode("utf-8")
    return found


def unblinding(study: Study, pool: Pool) -> list[str]:
    """Names of systems, models and runs that stand in texts which raters see, with the number of rows; for the owner."""
    names = {name.casefold(): name for name in pool.secrets if len(name) > 2}
    if not names:
        return []
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    telling = re.compile(rf"(?<!\w)(?:{words})(?!\w)")
    rows = Counter(name for row in study.rows for name in {*telling.findall(_texts(row))})
    return [
        f"{count} rows show a text that holds the name {names[name]!r}; raters may guess the system"
        for name, count in sorted(rows.items())
    ]


def _texts(row: Row) -> str:
    outputs = [output for output in (row.first, row.second) if output is not None]
    return "\n".join(text for o in outputs for text in (o.text, o.input, o.source, o.reference) if text).casefold()
