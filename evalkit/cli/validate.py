"""``evalkit validate``: is this task right, and what does the model really see?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalkit.cli import options as o
from evalkit.errors import ConfigError, EvalkitError

if TYPE_CHECKING:
    from evalkit.models.base import Model
    from evalkit.runner.prepare import ReadyTask
    from evalkit.types import Request


def validate(
    names: Annotated[list[str] | None, typer.Argument(metavar="TASK...", help="Tasks, groups or YAML files.")] = None,
    tasks: o.Tasks = None,
    model: o.Model = None,
    model_args: o.ModelArg = None,
    task_dirs: o.TaskDir = None,
    data: o.Data = None,
    num_fewshot: o.NumFewshot = None,
    seed: o.Seed = None,
    device: o.Device = None,
    apply_chat_template: o.ChatTemplate = None,
    system_instruction: o.SystemInstruction = None,
    fewshot_as_multiturn: o.Multiturn = None,
    gen_kwargs: o.GenKwargs = None,
    compat: o.Compat = None,
    allow_code: o.AllowCode = None,
    trust_remote_code: o.TrustRemoteCode = None,
    scorers: o.Scorers = None,
    json: o.Json = False,
) -> None:
    """Check tasks and show the first prompt, or check rubrics and show what a judge reads. No model is asked.

    Data, templates, filters, metrics and functions are tried on the first sample. With --model, its tokenizer shows how
    the prompt is cut into context and scored continuation.
    """
    given = dict(locals())
    from evalkit.cli.output import content_warning, print_json, say
    from evalkit.cli.rubrics import is_rubric, validate_rubrics

    given["tasks"] = [*(given.pop("names") or ()), *(tasks or ())]
    given.pop("json")
    rubrics = [name for name in given["tasks"] if is_rubric(name)]
    if rubrics:
        given["tasks"] = [name for name in given["tasks"] if name not in rubrics]
        validate_rubrics(rubrics, json)
        if not given["tasks"]:
            return
    reports = _check(given)
    if json:
        print_json({"tasks": reports})
    else:
        for report in reports:
            if report.get("content_warning"):
                say(content_warning([report["task"]], report["content_warning"]))
            _print(report)
    bad = [report for report in reports if report["error"]]
    if bad:
        first = bad[0]["error"] if bad[0]["task"] in bad[0]["error"] else f"{bad[0]['task']}: {bad[0]['error']}"
        raise ConfigError(f"{len(bad)} of {len(reports)} tasks have errors: {first}")


def _check(given: dict[str, Any]) -> list[dict[str, Any]]:
    from evalkit.cli.output import say
    from evalkit.cli.settings import from_flags
    from evalkit.models.registry import load_model
    from evalkit.runner.options import RunOptions
    from evalkit.runner.prepare import ready_task, scorer_spec, select
    from evalkit.scorers.registry import misfits

    settings = from_flags(given)
    if not settings.get("tasks"):
        raise ConfigError("no task given; name one (evalkit ls tasks lists them)")
    options = RunOptions(**{"model": None, **settings})
    selection = select(options)
    left_out = misfits(map(scorer_spec, options.scorers), {config.task: config.output_type for config in selection.tasks})
    for warning in (*selection.warnings, *left_out):
        say(f"evalkit: warning: {warning}")
    model = load_model(options.model, options.model_options()) if options.model else None
    reports = []
    for config in selection.tasks:
        try:
            reports.append(_describe(ready_task(config, options), model))
        except EvalkitError as error:
            reports.append({"task": config.task, "error": str(error)})
    return reports


def _describe(ready: ReadyTask, model: Model | None) -> dict[str, Any]:
    """What is found out about a task from its first sample."""
    from evalkit.errors import DataError, ScorerError
    from evalkit.models.base import ChatModel, TokenizingModel
    from evalkit.report.samples import target_text
    from evalkit.runner.trial import try_out
    from evalkit.types import Record

    task = ready.task
    sample = next(iter(task.samples()), None)
    if sample is None:
        raise DataError(f"task {task.name!r} has no samples")
    requests = task.requests(sample, model if isinstance(model, ChatModel) else None)
    trials = try_out(ready, sample, requests)
    if trials and all(trial.reason for trial in trials):
        raise ScorerError(f"task {task.name}: the first sample cannot be scored: {trials[0].reason}")
    return {
        "task": task.name,
        "error": None,
        "version": task.version,
        "output_type": task.output_type,
        "samples": len(task),
        "n_shot": task.num_fewshot,
        "filters": [f.name for f in task.filters],
        "scorers": [s.signature() for s in ready.scorers],
        "unscored": [{"scorer": t.scorer, "filter": t.filter, "reason": t.reason} for t in trials if t.reason],
        "sample_id": sample.id,
        "target": target_text(Record(sample)),
        "content_warning": ready.definition.content_warning,
        "requests": [_request(q, model if isinstance(model, TokenizingModel) else None) for q in requests],
    }


def _request(request: Request, model: Any) -> dict[str, Any]:
    from evalkit.report.samples import prompt_text

    split = None if model is None else model.split(request)
    return {
        "kind": request.kind,
        "prompt": prompt_text(request.prompt),
        "continuation": request.continuation,
        "params": dict(request.params),
        "tokens": None
        if split is None
        else {"context": list(split.context), "continuation": list(split.continuation), "truncated": split.truncated},
    }


def _print(report: dict[str, Any]) -> None:
    print(f"=== {report['task']}")
    if report["error"]:
        print(f"ERROR {report['error']}\n")
        return
    print(f"{report['samples']} samples, {report['n_shot']}-shot, {report['output_type']}, version {report['version']}")
    print(f"filters: {', '.join(report['filters'])}")
    for signature in report["scorers"]:
        print(f"scorer:  {signature}")
    for trial in report["unscored"]:
        print(f"note:    {trial['scorer']} on filter {trial['filter']}: {trial['reason']}")
    print(f"first sample: {report['sample_id']}, target {report['target']!r}")
    shown = None
    for request in report["requests"]:
        if request["prompt"] != shown:
            print(f"--- prompt ({request['kind']})\n{request['prompt']}\n---")
            shown = request["prompt"]
        if request["kind"] == "generate":
            print(f"settings: {request['params']}")
        elif request["continuation"]:
            print(f"continuation: {request['continuation']!r}")
        if request["tokens"]:
            tail, scored = request["tokens"]["context"][-6:], request["tokens"]["continuation"]
            print(f"  tokens: {len(request['tokens']['context'])} of context, ending {tail}; scored {scored}")
    print()
