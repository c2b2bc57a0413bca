"""``evalkit run --model-glob``: a series of checkpoints, one run each."""

from __future__ import annotations

import math
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import ConfigError, Incomplete, Interrupted, ModelError

if TYPE_CHECKING:
    from evalkit.api import RunOptions, Sweep
    from evalkit.report.sweep_panels import Panel
    from evalkit.runner.series import Member
    from evalkit.runner.session import Progress

_INTENTS = {"done": "done already", "run": "run", "resume": "go on"}


def sweep(
    pattern: str,
    margin: str | None,
    given: dict[str, Any],
    target: str | None,
    resume: str | None,
    *,
    new: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Evaluate the checkpoints that ``pattern`` fits; the same command goes on, and adds new ones."""
    from evalkit import api
    from evalkit.report.sweep_marks import MARGIN

    options = _options(given, target, resume, new)
    if dry_run:
        _plan(pattern, options, json)
        return
    allowed = MARGIN if margin is None else share(margin)
    done = api.sweep(checkpoints=pattern, margin=allowed, options=options, watching=_Told(pattern))
    if json:
        _print_json(done)
    else:
        _print_marks(done)
    _leave(done)


def share(margin: str) -> float:
    """``1pp``, ``1%`` or ``0.01`` as a share; raises ConfigError."""
    text = margin.strip().lower()
    number = text.removesuffix("pp").removesuffix("%").strip()
    try:
        value = float(number) / (1 if number == text else 100)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise ConfigError(f"--margin {margin}: expected percentage points (1pp), per cent (1%) or a share (0.01), below 1")
    return value


def _options(given: dict[str, Any], target: str | None, resume: str | None, new: bool) -> RunOptions:
    """Flags over the environment over the run file, whose model gives way to the series."""
    from evalkit.api import RunOptions
    from evalkit.cli.settings import from_file, from_flags, merged

    settings = from_flags(given)
    if settings.get("model"):
        raise ConfigError("--model and --model-glob exclude each other: a sweep takes its models from the pattern")
    if target is not None:
        if Path(target).suffix not in (".yaml", ".yml"):
            raise ConfigError(f"{target!r} is no run file (*.yaml); a sweep is resumed by the same command")
        settings = merged(from_file(Path(target)), settings)
    settings["model"] = None
    settings.setdefault("tasks", [])
    return RunOptions(**settings, resume=resume, new=new, command=("evalkit", *sys.argv[1:]))


class _Told:
    """Says which checkpoint's turn it is, and shows its run."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __call__(self, member: Member) -> AbstractContextManager[Progress]:
        from evalkit.cli.output import say
        from evalkit.cli.progress import shown

        say(f"evalkit: checkpoint {member.name}" + ("" if member.step is None else f", step {member.step:,}"))
        return shown()


def _plan(pattern: str, options: RunOptions, json: bool) -> None:
    from evalkit.api.sweeping import plan_sweep
    from evalkit.cli.output import print_json, print_table, say
    from evalkit.report.sweep_axis import amount

    plans = plan_sweep(pattern, options)
    if json:
        print_json({"checkpoints": [{**member.public(), "would": intent} for member, intent in plans]})
        return
    rows = [
        [
            member.name,
            "" if member.step is None else f"{member.step:,}",
            "" if member.parameters is None else f"{member.parameters:,}",
            "" if member.compute is None else amount(member.compute[0]),
            _INTENTS[intent],
            member.run or "",
        ]
        for member, intent in plans
    ]
    print_table(("Checkpoint", "Step", "Parameters", "Compute", "Would", "Run"), rows, right=(1, 2, 3))
    todo = sum(intent != "done" for _, intent in plans)
    say(f"\n{todo} of {len(plans)} checkpoints to evaluate (one of them as --model, with --dry-run: requests and tokens)")


def _print_json(done: Sweep) -> None:
    from evalkit.cli.output import print_json
    from evalkit.report.sweep import rows

    print_json(
        {
            "sweep": str(done.path),
            "status": done.status,
            "checkpoints": [member.public() for member in done.series.members],
            "curves": [_marks(panel) for panel in done.panels],
            "values": rows(done.series, done.panels),
        }
    )


def _marks(panel: Panel) -> dict[str, Any]:
    task, filter_, scorer, metric = panel.key
    emerged, regressed = panel.emerged, panel.regressed
    return {
        "task": task,
        "filter": filter_,
        "scorer": scorer,
        "metric": metric,
        "leaves_chance_at": None if emerged is None else emerged.member.name,
        "first_regression": None if regressed is None else regressed.member.name,
    }


def _print_marks(done: Sweep) -> None:
    """A line a curve: from the first checkpoint to the last, and the marks."""
    from evalkit.cli.output import print_table, say
    from evalkit.figures import number

    rows = []
    for panel in done.panels:
        values = [point.summary.value for point in panel.points if point.summary is not None]
        ends = (values[0], values[-1]) if values else (None, None)
        emerged, regressed = panel.emerged, panel.regressed
        level = "" if panel.emergence is None else "never" if panel.emergence.first is None else "throughout"
        rows.append(
            [
                panel.name,
                "" if panel.summary.filter == "none" else panel.summary.filter,
                panel.summary.metric,
                number(ends[0]),
                number(ends[1]),
                level if emerged is None else emerged.member.name,
                "" if regressed is None else regressed.member.name,
            ]
        )
    headers = ("Task", "Filter", "Metric", "First", "Last", "Above chance from", "First regression")
    print_table(headers, rows, right=(3, 4))
    say(f"\nsweep: {done.path / 'sweep.html'}")


def _leave(done: Sweep) -> None:
    """Raise what the exit code tells of a sweep that did not do everything."""
    members = done.series.members
    failed = [member for member in members if member.status == "failed"]
    if done.status == "interrupted":
        raise Interrupted("interrupted; whatever was answered is kept. The same command goes on with the sweep")
    if failed and len(failed) == len(members):
        first = f"the first, {failed[0].name}: {failed[0].error}"
        raise ModelError(f"none of {len(members)} checkpoints could be loaded; {first}")
    open_ = [member for member in members if member.status not in ("complete", "failed")]
    if failed or open_:
        parts = [f"{len(failed)} of {len(members)} checkpoints could not be loaded ({failed[0].name})"] if failed else []
        parts += [f"{len(open_)} of {len(members)} runs incomplete (evalkit run --resume {open_[0].run})"] if open_ else []
        raise Incomplete(f"incomplete: {'; '.join(parts)}. The same command tries them again")
