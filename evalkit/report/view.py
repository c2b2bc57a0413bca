"""A run as the report shows it: everything decided and worded here, so that the template only lays it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from evalkit.report import base, fairness, strict
from evalkit.report.base import ReportableRun
from evalkit.report.human import HumanSection, human_section
from evalkit.report.judge import JudgeSection, judge_sections
from evalkit.report.numbers import NOTES, count, counted, duration, warnings
from evalkit.report.rows import Row, by_slice, rows, table
from evalkit.report.usage import UsageRow, totals, usage_rows
from evalkit.types import Json, Summary

#: Rows of slices in a task's table, and entries of a list in its further figures; summary.csv and results.json have all.
MAX_SLICE_ROWS, MAX_ENTRIES = 300, 40
SEE_BELOW = "caveats: see Bias and toxicity"


@dataclass(frozen=True, slots=True)
class Section:
    """What is told of one task. ``left_out`` counts rows of slices that are in ``summary.csv`` only."""

    name: str
    alias: str
    anchor: str
    about: str
    facts: list[tuple[str, str]]
    rows: list[Row]
    pinned: list[tuple[str, str]]
    detail: str
    warned: bool
    left_out: int = 0

    @property
    def headline(self) -> list[Row]:
        """The first numbers of the whole task, for its title."""
        return [row for row in self.rows if row.kind == "task"][:3]


@dataclass(frozen=True, slots=True)
class ReportView:
    """The whole page."""

    title: str
    run: str
    status: str
    model: str
    command: str
    cards: list[tuple[str, str, str]]
    alerts: list[str]
    rows: list[Row]
    sections: list[Section]
    fairness: list[fairness.Fairness]
    judges: list[JudgeSection] = field(default_factory=list)
    human: HumanSection | None = None
    usage: list[UsageRow] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    graded: list[str] = field(default_factory=list)
    """Tasks whose samples have a value of which 1 is not the best."""


def build(run: ReportableRun) -> ReportView:
    """The view model of ``run``."""
    summaries = run.summary()
    members = base.groups(run)
    model = str(base.part(run, "config").get("model") or "")
    if not model or model.startswith("<"):  # an object: what it calls itself says more than its class
        model = str(base.part(run, "model").get("name") or model or "model")
    told = fairness.told(run, summaries)
    return ReportView(
        title=f"{model}: evaluation report",
        run=base.run_id(run),
        status=run.status,
        model=model,
        command=base.command(run),
        cards=_cards(run, summaries),
        alerts=_alerts(run, summaries),
        rows=_top(run, told),
        sections=[_section(run, name, summaries) for name, _ in base.outline(run) if name not in members],
        fairness=told,
        judges=judge_sections(run, summaries),
        human=human_section(run),
        usage=usage_rows(run),
        facts=_environment(run),
        graded=_graded(summaries),
    )


def _graded(summaries: Iterable[Summary]) -> list[str]:
    first: dict[str, Summary] = {}
    for s in summaries:
        first.setdefault(s.task, s)
    return [task for task, s in first.items() if s.high is not None and s.high > 1]


def _top(run: ReportableRun, told: Iterable[fairness.Fairness]) -> list[Row]:
    """The rows of the first table; what the section on bias says of a task in full, they point to."""
    below = {part.task: set(part.caveats) for part in told}
    pointed: set[str] = set()
    out = []
    for row in table(run, slices=False):
        task = row.summary.task
        notes = [note for note in row.notes if note not in below.get(task, ())]
        if len(notes) < len(row.notes) and task not in pointed:
            notes.append(SEE_BELOW)
            pointed.add(task)
        out.append(replace(row, notes=tuple(notes)))
    return out


def _section(run: ReportableRun, name: str, summaries: Iterable[Summary]) -> Section:
    own = [s for s in summaries if s.task == name]
    whole = [s for s in own if s.slice is None]
    entry = base.part(run, "tasks").get(name) or {}
    config: Mapping[str, Json] = entry.get("definition") or {}
    described = {
        "Data": ":".join(str(config[k]) for k in ("dataset_path", "dataset_name") if config.get(k)),
        "Kind": str(entry.get("output_type") or "").replace("_", " "),
        "Samples": f"{count(entry.get('samples') or 0)} of {count(entry.get('size') or 0)}" if entry.get("samples") else "",
        "Version": str(entry.get("version") or ""),
        "Data hash": str(entry.get("data_hash") or "")[:16],
        "Licence": str(config.get("licence") or ""),
    }
    detail = _detail(whole)
    slices = list(rows(run, by_slice(own), 1, "slice"))
    return Section(
        name=name,
        alias=base.alias(run, name),
        anchor=anchor(name),
        about=str(config.get("summary") or ""),
        facts=[(k, v) for k, v in described.items() if v],
        rows=[*rows(run, whole, 0, "task"), *slices[:MAX_SLICE_ROWS]],
        pinned=list(dict.fromkeys((s.metric, s.signature) for s in whole if s.signature)),
        detail=strict.dumps(detail, indent=1).decode() if detail else "",
        warned=any(warnings(s) for s in whole),
        left_out=max(0, len(slices) - MAX_SLICE_ROWS),
    )


def _detail(whole: Iterable[Summary]) -> dict[str, Json]:
    """Further figures by metric; those that several metrics of a scorer have in common stand once, long lists cut."""
    found: list[list[Summary]] = []
    for s in whole:
        same = next((own for own in found if (own[0].scorer, own[0].detail) == (s.scorer, s.detail)), None)
        if same is not None:
            same.append(s)
        elif s.detail:
            found.append([s])
    names = [", ".join(s.metric if s.filter == "none" else f"{s.metric},{s.filter}" for s in own) for own in found]
    return {name: _shortened(dict(own[0].detail)) for name, own in zip(names, found, strict=True)}


def _shortened(value: Json) -> Json:
    if isinstance(value, Mapping):
        kept = {key: _shortened(v) for key, v in list(value.items())[:MAX_ENTRIES]}
        return (
            kept if len(value) <= MAX_ENTRIES else {**kept, "…": f"{count(len(value) - MAX_ENTRIES)} more in results.json"}
        )
    if isinstance(value, list | tuple):
        kept_ = [_shortened(v) for v in value[:MAX_ENTRIES]]
        return kept_ if len(value) <= MAX_ENTRIES else [*kept_, f"{count(len(value) - MAX_ENTRIES)} more in results.json"]
    return value


def _cards(run: ReportableRun, summaries: list[Summary]) -> list[tuple[str, str, str]]:
    """``(label, figure, remark)``."""
    tasks, groups, failed, took = base.part(run, "tasks"), len(base.groups(run)), base.failures(run), base.seconds(run)
    samples = sum(int(t.get("samples") or 0) for t in tasks.values())
    answers = int(base.part(run, "counts").get("answers") or 0)
    spent = [row for row in totals(run) if not row.local or row.figures["cost_usd"] is not None]
    tokens = counted(sum(row.usage.tokens for row in spent), "token")
    bill = [("Cost", " + ".join(row.cost for row in spent), tokens)] if spent else []
    return [
        *bill,
        (
            "Tasks",
            count(len(tasks)),
            counted(groups, "group") if groups else counted(len({(s.task, s.metric) for s in summaries}), "metric"),
        ),
        ("Samples", count(samples), counted(answers, "answer")),
        ("Failed requests", count(failed), "left out of the scores" if failed else "none"),
        ("Time", "–" if took is None else duration(took), _date(run.manifest.get("created"))),
    ]


def _alerts(run: ReportableRun, summaries: Iterable[Summary]) -> list[str]:
    """What to know before reading any number."""
    out: list[str] = [str(warning) for warning in run.manifest.get("warnings", ())]
    warned = base.content_warnings(run)
    for text in dict.fromkeys(warned.values()):
        tasks = _names(run, [task for task, found in warned.items() if found == text])
        out.append(f"Content warning ({tasks}): {text.rstrip('.')}. The samples are hidden until you ask to see them.")
    if run.status != "complete":
        out.append(f"This run is {run.status}: the numbers cover only what was answered. The same command resumes it.")
    whole = [s for s in summaries if s.slice is None and s.task not in base.groups(run)]
    failed = sorted({s.task for s in whole if s.errors})
    if failed:
        out.append(f"Failed samples, left out of the scores: {_names(run, failed)}")
    unscored = sorted({s.task for s in whole if s.unscored})
    if unscored:
        out.append(f"Unscored samples, left out of the scores: {_names(run, unscored)}")
    for note, text in NOTES.items():
        marked = [s for s in whole if note in s.notes]
        if marked:
            out.append(f"{text[0].upper()}{text[1:]}: {', '.join(f'{base.alias(run, s.task)} {s.metric}' for s in marked)}")
    cut = sorted({s.task for s in whole if (s.cut or 0) >= 0.05})
    if cut:
        out.append(f"5 % or more of the generations stopped at the length limit: {_names(run, cut)}")
    truncated = sorted({s.task for s in whole if s.truncated})
    if truncated:
        out.append(f"Prompts longer than the model's context were truncated: {_names(run, truncated)}")
    return out


def _names(run: ReportableRun, tasks: list[str], limit: int = 12) -> str:
    shown = ", ".join(base.alias(run, t) for t in tasks[:limit])
    return shown + (f" and {len(tasks) - limit} more" if len(tasks) > limit else "")


def _environment(run: ReportableRun) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    surroundings = base.part(run, "environment")
    packages = surroundings.get("packages") or {}
    rest = {k: v for k, v in surroundings.items() if k != "packages"}
    for part in (base.part(run, "model"), {"fingerprint": base.part(run, "fingerprints").get("model")}, rest, packages):
        for key, value in part.items():
            if value not in (None, "", {}, []):
                text = value if isinstance(value, str) else strict.dumps(value).decode()
                found.setdefault(str(key).replace("_", " "), text if len(text) <= 300 else text[:300] + " …")
    return list(found.items())


def anchor(task: str) -> str:
    """The id of a task's section in the page."""
    return "task-" + "".join(c if c.isalnum() else "-" for c in task)


def _date(value: Json) -> str:
    """``2026-11-22 04:48 UTC`` of an ISO time."""
    return f"{str(value)[:16].replace('T', ' ')} UTC" if value else ""
