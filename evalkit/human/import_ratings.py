"""Sheets that came back -> validated ratings in the study's folder, or a list of what is wrong and nothing written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.errors import DataError, StoreError
from evalkit.human.answers import ANSWERS, answer_files, read_answers
from evalkit.human.base import Finding, Given, Study
from evalkit.human.combine import combine, missing
from evalkit.human.findings import REPORT, order, report
from evalkit.human.formats.label_studio import read_export
from evalkit.human.given import GIVEN, Returned, Source, as_json, read_returned, tidy
from evalkit.human.header import Names, Table, read_table
from evalkit.human.key import read_study
from evalkit.human.layout import columns
from evalkit.human.quality import doubts
from evalkit.human.readers import read_grid
from evalkit.human.validate import Checker, Entry
from evalkit.ratings.base import RATINGS, Rating, write_ratings
from evalkit.runner.files import atomic, writing


@dataclass(frozen=True, slots=True)
class ImportedRatings:
    """What an import found. Where `errors` is not empty nothing was written and there are no ratings.

    ``ratings`` and ``given`` are those of the whole study after the import; ``kept`` are the annotators whose ratings an
    earlier import brought; ``findings`` are those of this import.
    """

    study: Study
    ratings: tuple[Rating, ...]
    given: tuple[Given, ...]
    findings: tuple[Finding, ...]
    annotators: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "warning")


def import_ratings(
    study_folder: str | Path,
    files: Iterable[str | Path] = (),
    *,
    allow_missing: bool = False,
    mapping: Mapping[str, str] | None = None,
    replace_earlier: bool = False,
    encoding: str | None = None,
) -> ImportedRatings:
    """Read sheets (CSV, TSV, XLSX, Label Studio's JSON; else the browser's answers), validate, write what was rated.

    ``mapping`` names the columns of a file that is not ours, ours -> theirs; ``annotator`` and ``seconds`` are columns too.
    ``allow_missing`` lets rows and ratings be missing. An annotator who was imported before keeps those ratings unless the
    same file comes again, every annotator is imported, or ``replace_earlier``. Writes ``ratings_long.csv``, ``ratings.json``
    and ``import_report.md``. Raises DataError for a file or a mapped column that is not there, StoreError and NotFound for
    the study's own files; what is wrong inside of files are findings.
    """
    folder = Path(study_folder)
    study = read_study(folder)
    paths = [Path(file) for file in files]
    browser = not paths
    read = _read_all(study, folder, paths or answer_files(folder), browser, mapping or {}, encoding)
    entries, twice = combine(read.entries)
    findings = [*read.findings, *twice, *missing(study, entries, allowed=allow_missing)]
    findings += doubts(study, entries)
    if not entries and not any(finding.level == "error" for finding in findings):
        findings.append(Finding("error", "nothing-rated", ", ".join(read.names), "no row of this study is in it"))
    now = _returned(study, entries, read, findings)
    before = _before(folder, study)
    findings += _clashes(study, before, now, replace_earlier or browser)
    if any(finding.level == "error" for finding in findings):
        return ImportedRatings(study, (), (), tuple(order(findings)), now.annotators)
    whole, kept = _merged(before, replace(now, findings=tuple(order(findings))))
    ratings = tidy(study, whole.given)
    _write(folder, study, whole, ratings, kept)
    return ImportedRatings(study, tuple(ratings), whole.given, tuple(order(findings)), now.annotators, kept)


@dataclass(frozen=True, slots=True)
class _Read:
    names: tuple[str, ...]
    digests: Mapping[str, str]
    entries: Sequence[Entry]
    findings: Sequence[Finding]


def _read_all(
    study: Study, folder: Path, paths: Sequence[Path], browser: bool, mapping: Mapping[str, str], encoding: str | None
) -> _Read:
    titles = {criterion.name: criterion.shown for criterion in study.rubric.criteria}
    names = Names(columns(study), titles, mapping)
    checker = Checker(study)
    entries: list[Entry] = []
    findings: list[Finding] = []
    digests: dict[str, str] = {}
    for path in paths:
        unique = [other.name for other in paths].count(path.name) == 1
        file = f"{ANSWERS}/{path.name}" if browser else path.name if unique else str(path)
        digest = _digest(path)
        if digest in digests.values():
            first = next(name for name, known in digests.items() if known == digest)
            findings.append(Finding("warning", "file-twice", file, f"the same file as {first}; read once"))
            continue
        digests[file] = digest
        table, meta = _table(path, file, study, names, browser, encoding)
        found, told = checker.check(table, meta)
        entries += found
        findings += [*table.findings, *told]
    return _Read(tuple(digests), digests, entries, findings)


def _of_label_studio(path: Path) -> bool:
    """An export says itself who made an annotation, and that is nobody of the study."""
    return path.suffix.casefold() == ".json"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _table(
    path: Path, file: str, study: Study, names: Names, browser: bool, encoding: str | None
) -> tuple[Table, Mapping[str, Sequence[str]]]:
    if browser:
        return read_answers(path, file, study), {}
    if _of_label_studio(path):
        return read_export(path, file, study), {}
    grid = read_grid(path, file, names, encoding)
    return read_table(grid, names), grid.meta


def _returned(study: Study, entries: Sequence[Entry], read: _Read, findings: Sequence[Finding]) -> Returned:
    given = tuple(
        Given(entry.row.id, entry.annotator, name, cell.value, entry.comment, entry.seconds)
        for entry in entries
        for name, cell in entry.cells.items()
        if cell.state in ("value", "na")
    )
    sources = []
    for file, digest in read.digests.items():
        mine = [entry for entry in read.entries if entry.file == file]
        if mine:
            sources.append(Source(file, digest, tuple(dict.fromkeys(entry.annotator for entry in mine)), len(mine)))
    extras = tuple((entry.annotator, entry.row.id, entry.extras) for entry in entries if entry.extras)
    return Returned(study.id, study.rubric.hash, tuple(sources), given, extras, tuple(findings))


def _before(folder: Path, study: Study) -> Returned:
    if not (folder / GIVEN).exists():
        return Returned(study.id, study.rubric.hash)
    before = read_returned(folder)
    if (before.study, before.rubric) != (study.id, study.rubric.hash):
        raise StoreError(f"{folder / GIVEN} is of another study ({before.study}); move it away first")
    return before


def _clashes(study: Study, before: Returned, now: Returned, replacing: bool) -> list[Finding]:
    """Annotators who were imported before from another file, in an import of a part of the annotators."""
    if replacing or {*study.annotators, *before.annotators} <= {*now.annotators}:
        return []
    known = {source.sha256 for source in before.sources}
    findings = []
    for source in now.sources:
        again = [name for name in source.annotators if name in before.annotators]
        if again and source.sha256 not in known:
            earlier = next(old.file for old in before.sources if again[0] in old.annotators)
            message = f"{', '.join(again)} was imported already, from {earlier}; add --replace to take this file instead"
            findings.append(Finding("error", "imported-before", source.file, message))
    return findings


def _merged(before: Returned, now: Returned) -> tuple[Returned, tuple[str, ...]]:
    """Both imports as one; an annotator's ratings are all of one import."""
    kept = tuple(name for name in before.annotators if name not in now.annotators)
    sources = []
    for source in before.sources:
        left = tuple(name for name in source.annotators if name in kept)
        if left:
            sources.append(replace(source, annotators=left))
    files = {source.file for source in sources}
    whole = replace(
        now,
        sources=(*sources, *now.sources),
        given=(*(given for given in before.given if given.annotator in kept), *now.given),
        extras=(*(extra for extra in before.extras if extra[0] in kept), *now.extras),
        findings=(*(finding for finding in before.findings if finding.file in files), *now.findings),
    )
    return whole, kept


def _write(folder: Path, study: Study, whole: Returned, ratings: Sequence[Rating], kept: Sequence[str]) -> None:
    """The three files, each whole or not there at all."""
    content = json.dumps(as_json(whole, study), ensure_ascii=False, indent=1, allow_nan=False)
    with writing(folder):
        with atomic(folder / GIVEN) as file:
            file.write(content.encode("utf-8", "backslashreplace") + b"\n")
        with atomic(folder / RATINGS) as file:
            write_ratings(Path(file.name), ratings)
        with atomic(folder / REPORT) as file:
            file.write(report(study, whole, kept).encode("utf-8", "replace"))
