"""``evalkit run``: evaluate a model on tasks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalkit.cli import options as o
from evalkit.errors import ConfigError, Incomplete, Interrupted

if TYPE_CHECKING:
    from evalkit.api import Run


def run(
    target: Annotated[
        str | None, typer.Argument(metavar="[FILE|RUN]", help="A run file (suite.yaml), or a run's directory to resume.")
    ] = None,
    model: o.Model = None,
    model_args: o.ModelArg = None,
    model_glob: o.ModelGlob = None,
    margin: o.Margin = None,
    tasks: o.Tasks = None,
    task_dirs: o.TaskDir = None,
    data: o.Data = None,
    num_fewshot: o.NumFewshot = None,
    limit: o.Limit = None,
    samples: o.Samples = None,
    seed: o.Seed = None,
    batch_size: o.BatchSize = None,
    device: o.Device = None,
    engine: o.Engine = None,
    attn_implementation: o.AttnImplementation = None,
    threads: o.Threads = None,
    max_connections: o.MaxConnections = None,
    max_retries: o.MaxRetries = None,
    timeout: o.Timeout = None,
    rpm: o.Rpm = None,
    tpm: o.Tpm = None,
    batch_api: o.BatchApi = None,
    apply_chat_template: o.ChatTemplate = None,
    system_instruction: o.SystemInstruction = None,
    fewshot_as_multiturn: o.Multiturn = None,
    gen_kwargs: o.GenKwargs = None,
    compat: o.Compat = None,
    form: o.Form = None,
    allow_code: o.AllowCode = None,
    trust_remote_code: o.TrustRemoteCode = None,
    roles: o.Role = None,
    scorers: o.Scorers = None,
    output_dir: o.OutputDir = None,
    name: o.Name = None,
    max_error_rate: o.MaxErrorRate = None,
    retry_errors: o.RetryErrors = None,
    max_cost: o.MaxCost = None,
    max_tokens_total: o.MaxTokensTotal = None,
    price: o.Price = None,
    prices: o.Prices = None,
    cache: o.Cache = None,
    cache_dir: o.CacheDir = None,
    resume: o.Resume = None,
    new: o.New = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    """Evaluate a model, or a series of checkpoints, on tasks. The same command resumes what did not finish."""
    given = dict(locals())
    given["cache"] = given.pop("cache_dir") or cache
    for own in ("target", "resume", "new", "dry_run", "json", "model_glob", "margin"):
        given.pop(own)
    if model_glob is not None:
        from evalkit.cli.sweep import sweep

        sweep(model_glob, margin, given, target, resume, new=new, dry_run=dry_run, json=json)
        return
    if margin is not None:
        raise ConfigError("--margin is of the regressions of a sweep; it goes with --model-glob")
    settings, resume = _settings(given, target, resume)
    if dry_run:
        _plan(settings, json)
    else:
        _evaluate(settings, resume, new, json)


def _settings(given: dict[str, Any], target: str | None, resume: str | None) -> tuple[dict[str, Any], str | None]:
    """Flags over the environment over the run file (or, resuming by name alone, over what that run was made with)."""
    from evalkit.cli.settings import from_file, from_flags, merged

    flags = from_flags(given)
    if target is not None:
        path = Path(target)
        if path.suffix in (".yaml", ".yml"):
            return merged(from_file(path), flags), resume
        if resume is not None:
            raise ConfigError(f"{target!r} is no run file (*.yaml); with --resume nothing else is named")
        resume = _a_run(target, flags.get("output_dir", "runs"))
    if resume is not None and not (flags.get("tasks") or flags.get("model")):
        return merged(_stored(resume, flags), flags), resume
    return flags, resume


def _a_run(name: str, parent: str) -> str:
    """``name`` if it is a run's; raises ConfigError with what else can be meant."""
    from evalkit import api
    from evalkit.errors import StoreError

    try:
        api.open_run(name, output_dir=parent)
    except StoreError as error:
        raise ConfigError(f"{error}; {name!r} is no run file (*.yaml) either, and a task is named with --tasks") from None
    return name


def _stored(name: str, flags: dict[str, Any]) -> dict[str, Any]:
    """The settings that a run was made with."""
    from evalkit import api
    from evalkit.cli.settings import Settings

    manifest = api.open_run(name, output_dir=flags.get("output_dir", "runs")).manifest
    stored, command = manifest["config"], manifest.get("command", ())
    if list(command[1:2]) == ["score"]:
        raise ConfigError(f"run {name} scores given outputs; its own command resumes it: {shlex.join(command)}")
    if not isinstance(stored["model"], str) or stored["model"].startswith("<"):
        raise ConfigError(f"run {name} was made from Python with {stored['model']}; resume it from there")
    settings = {key: value for key, value in stored.items() if key in Settings.model_fields and value is not None}
    hidden = [
        key for key, value in settings["model_args"].items() if "***" in value and key not in flags.get("model_args", {})
    ]
    if hidden:
        raise ConfigError(f"secrets are not stored with a run; give it again: -M {hidden[0]}=...")
    for role, model in settings.get("roles", {}).items():
        if "***" in str(model) and role not in flags.get("roles", {}):
            raise ConfigError(f"secrets are not stored with a run; give the model again: --role {role}=provider/name,...")
    return settings


def _plan(settings: dict[str, Any], json: bool) -> None:
    from dataclasses import asdict

    from evalkit import api
    from evalkit.cli.output import print_json, print_table, say
    from evalkit.report.numbers import count, counted
    from evalkit.report.usage import dollars

    plans = api.plan(options=_run_options(settings))
    if json:
        print_json({"tasks": [asdict(plan) for plan in plans]})
        return
    sums = ("samples", "requests", "distinct", "context_tokens", "generated_tokens_at_most", "cost_usd_at_most")

    def figure(name: str, value: int | float | None) -> str:
        return "" if value is None else dollars(value) if name == "cost_usd_at_most" else count(int(value))

    rows = [[plan.task, str(plan.n_shot), *(figure(name, getattr(plan, name)) for name in sums)] for plan in plans]
    known = {name: [value for plan in plans if (value := getattr(plan, name)) is not None] for name in sums}
    total = [figure(name, sum(values) if values else None) for name, values in known.items()]
    headers = ("Task", "n-shot", "Samples", "Requests", "Distinct", "Context tokens", "Generated at most", "Cost at most")
    print_table(headers, [*rows, ["total", "", *total]] if len(rows) > 1 else rows, right=range(1, 8))
    if any(plan.estimated for plan in plans):
        say("\ncontext tokens are estimated at 4 characters each: this model cannot count them")
    if formed := [f"{plan.task} ({plan.form})" for plan in plans if plan.form]:
        say(f"multiple choice that is not asked by log-likelihoods: {', '.join(formed)}")
    if unsure := [plan.task for plan in plans if plan.unsure]:
        say(f"a server that scores no given texts is asked in letter form (--form letter counts that): {', '.join(unsure)}")
    for role in dict.fromkeys(role for plan in plans for role in plan.scorers_ask):
        asked = sum(plan.scorers_ask.get(role, 0) for plan in plans)
        say(f"on top, scorers ask the {role} about {counted(asked, 'request')}, before any that is asked again")
    if known["cost_usd_at_most"]:
        say("the cost takes every answer for as long as it may be, and no prompt for cached; judges come on top")


def _evaluate(settings: dict[str, Any], resume: str | None, new: bool, json: bool) -> None:
    from evalkit import api
    from evalkit.cli.output import print_json, print_results, results_json, say, say_content_warnings, say_usage
    from evalkit.cli.progress import shown

    with shown() as progress:
        done = api.run(options=_run_options(settings, resume=resume, new=new), progress=progress)
    if done.status == "interrupted":
        raise Interrupted(f"interrupted; whatever was answered is kept. Resume with: evalkit run --resume {done.path}")
    if json:
        print_json(results_json(done))
    else:
        print_results(done)
        say_usage(done)
        say_content_warnings(done)
        say(f"\nreport: {done.path / 'report.html'}")
    if done.status != "complete":
        raise Incomplete(f"incomplete: {_missing(done)}. Resume with: evalkit run --resume {done.path}{_retry(done)}")


def _missing(run: Run) -> str:
    """What keeps a run from being complete."""
    from evalkit.report.numbers import counted

    counts = run.manifest.get("counts", {})
    reasons = [str(counts[key]) for key in ("systemic", "budget") if counts.get(key)]
    if counts.get("failures"):
        failure = next((view.record.failure for view in run.records() if view.record.failure is not None), None)
        why = "" if failure is None else f" (the first: {failure.kind}: {failure.message})"
        reasons.append(f"{counted(counts['failures'], 'request')} failed{why}")
    if missing := sum(facts.get("missing", 0) for facts in run.manifest.get("facts", {}).values()):
        reasons.append(f"{counted(missing, 'sample')} not answered")
    return "; ".join(reasons) or "not everything was answered"


def _retry(run: Run) -> str:
    """The flag without which nothing would be asked again."""
    counts = run.manifest.get("counts", {})
    if counts.get("budget"):
        return f" {'--max-cost' if '--max-cost' in counts['budget'] else '--max-tokens-total'} MORE"
    final = counts.get("failures") and not (counts.get("retryable") or counts.get("unanswered") or counts.get("systemic"))
    return " --retry-errors" if final else ""


def _run_options(settings: dict[str, Any], **more: Any) -> Any:
    """What the API takes; the command line goes along for the manifest."""
    import sys

    from evalkit.api import RunOptions

    if not settings.get("model"):
        raise ConfigError("no model given; name one with --model provider/name (evalkit ls models lists them)")
    if not settings.get("tasks"):
        raise ConfigError("no task given; name one with --tasks a,b (evalkit ls tasks lists them)")
    return RunOptions(**settings, **more, command=("evalkit", *sys.argv[1:]))
