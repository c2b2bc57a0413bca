"""``evalkit show``: a run's results, or one of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalkit.cli import options as o
from evalkit.errors import UsageError, nearest

if TYPE_CHECKING:
    from evalkit.api import Run
    from evalkit.report.base import MetricNames, View


def show(
    run: o.RunName = "latest",
    sample: o.Sample = None,
    task: o.Task = None,
    output_dir: o.OutputDir = None,
    json: o.Json = False,
) -> None:
    """Print a run's results, or one sample.

    Of a sample: its prompt, what came back, and how it was scored; first what its task warns of.
    """
    from evalkit import api
    from evalkit.cli.output import print_json, print_results, results_json, say, say_usage

    found = api.open_run(run, output_dir=output_dir or "runs")
    if task is not None and task not in found.manifest["tasks"]:
        raise UsageError(f"run {found.name} has no task {task!r}{nearest(task, found.manifest['tasks'])}")
    if sample is not None:
        _sample(found, sample, task, json)
    elif json:
        print_json(results_json(found))
    else:
        engine = found.manifest["model"].get("engine")
        say(f"{found.path} ({found.status}{f', {engine} engine' if engine else ''})\n")
        print_results(found)
        say_usage(found)


def _sample(run: Run, wanted: str, task: str | None, json: bool) -> None:
    from evalkit.cli.output import print_json, say_content_warnings
    from evalkit.report.base import metric_names
    from evalkit.report.samples import line

    names = metric_names(run)
    views, near = _matches(run, wanted, task)
    if not views:
        raise UsageError(f"run {run.name} has no sample {wanted!r}{nearest(wanted, near)}")
    say_content_warnings(run, {view.task for view in views})
    if json:
        print_json([line(view, names) for view in views])
        return
    for view in views:
        _print_view(view, names)


def _matches(run: Run, wanted: str, task: str | None) -> tuple[Sequence[View], set[str]]:
    """Records with that id; failing these, with that position. Also some ids of the run, for a hint."""
    by_id: list[View] = []
    by_position: list[View] = []
    known: set[str] = set()
    for view in run.records(task):
        if view.record.sample.id == wanted:
            by_id.append(view)
        elif str(view.record.sample.index) == wanted:
            by_position.append(view)
        if len(known) < 1000:
            known.add(view.record.sample.id)
    return by_id or by_position, known


def _print_view(view: View, names: MetricNames) -> None:
    from evalkit.report.base import status, values
    from evalkit.report.numbers import number
    from evalkit.report.samples import answer_text, prompt_text, target_text

    record = view.record
    print(f"=== {view.task} · {record.sample.id} · position {record.sample.index} · filter {view.filter} · {status(view)}")
    for name, value in record.sample.slices.items():
        print(f"{name}: {value}")
    shown: Any = None
    for request, response in zip(record.requests, record.responses, strict=True):
        if request.prompt != shown:
            _block("prompt", prompt_text(request.prompt))
            shown = request.prompt
        if response is None:
            _block("answer", "(not answered)")
        elif response.error is not None:
            _block("error", f"{response.error.kind}: {response.error.message}")
        elif response.text is not None:
            _block("output" + (" (cut at the length limit)" if response.finish == "length" else ""), response.text)
        else:
            print(f"{number(response.logprob):>12}  {request.continuation!r}{'  (greedy)' if response.is_greedy else ''}")
    _block("answer after the filter", answer_text(record))
    _block("target", target_text(record))
    for metric, figure in values(view, names).items():
        print(f"{metric}: {number(figure)}")
    for name, score in view.scores.items():
        if score.stats is None:
            print(f"{name}: unscored ({score.reason})")


def _block(title: str, text: str) -> None:
    print(f"--- {title}\n{text}")
