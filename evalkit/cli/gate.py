"""``evalkit gate``: one verdict on a candidate, one exit code, and what CI systems show of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalkit.cli import options as o
from evalkit.errors import ConfigError, Incomplete, NotComparable

if TYPE_CHECKING:
    from evalkit.cli.gate_outputs import Outputs
    from evalkit.gating.policy import Policy

PolicyFile = Annotated[str, typer.Argument(metavar="POLICY", help="The policy: gates/release.yaml.")]
Candidate = Annotated[
    str | None, o.option("--candidate -c", "The run to judge: a directory, (part of) a run's name, latest, a score file.")
]
Baseline = Annotated[
    str | None,
    o.option("--baseline -b", "What it is held against: as --candidate, or git:REF:PATH. [default: the policy's]"),
]
AllTasks = Annotated[bool, o.option("--all-tasks", "With --model: all tasks of the baseline, not only those of the policy.")]
Plan = Annotated[bool, o.option("--plan", "Say what each check can certify, and judge nothing.")]
Power = Annotated[
    float, o.option("--power", "With --plan: the chance to certify a margin, were both equal.", min=0.5, max=0.999)
]
Discordance = Annotated[
    float, o.option("--discordance", "With --plan: the share of answers that flip between equal models.", min=0.0, max=1.0)
]
Inconclusive = Annotated[
    str | None, o.option("--inconclusive", "fail (exit 3), warn or pass (exit 0). [default: the policy's]")
]
AllowMissing = Annotated[
    bool,
    o.option("--allow-missing-baseline", "Exit 0 where there is no baseline yet; floors and budgets are still checked."),
]
Promote = Annotated[
    str | None, o.option("--promote", "On PASS, write the candidate's scores here: the next baseline.", metavar="FILE")
]
# Elsewhere --json is a flag, so what it reads from the environment has another name here.
ToJson = Annotated[
    str | None, o.option("--json", "The result as JSON, to a file or -.", metavar="FILE", envvar="EVALKIT_JSON_FILE")
]
ToMarkdown = Annotated[
    str | None,
    o.option("--markdown", "A page for a comment, to a file or -.", metavar="FILE", envvar="EVALKIT_MARKDOWN_FILE"),
]
ToJunit = Annotated[str | None, o.option("--junit", "JUnit XML, to a file.", metavar="FILE")]
Github = Annotated[bool, o.option("--github", "Annotations on stdout, and the page in $GITHUB_STEP_SUMMARY.")]
ReportUrl = Annotated[
    str | None, o.option("--report-url", "Where the candidate's report.html will be: flips link to it.", metavar="URL")
]

#: What is asked of the gate; everything else is of the candidate's run.
_OWN = (
    "context", "policy", "candidate", "baseline", "plan", "power", "discordance", "inconclusive", "allow_missing_baseline",
    "promote", "json", "markdown", "junit", "github", "report_url", "all_tasks", "new",
)  # fmt: skip


def gate(
    context: typer.Context,
    policy: PolicyFile,
    candidate: Candidate = None,
    baseline: Baseline = None,
    plan: Plan = False,
    power: Power = 0.8,
    discordance: Discordance = 0.08,
    inconclusive: Inconclusive = None,
    allow_missing_baseline: AllowMissing = False,
    promote: Promote = None,
    json: ToJson = None,
    markdown: ToMarkdown = None,
    junit: ToJunit = None,
    github: Github = False,
    report_url: ReportUrl = None,
    model: o.Model = None,
    model_args: o.ModelArg = None,
    all_tasks: AllTasks = False,
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
    allow_code: o.AllowCode = None,
    trust_remote_code: o.TrustRemoteCode = None,
    roles: o.Role = None,
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
    new: o.New = False,
) -> None:
    """Judge a candidate by a policy: a run that is there (--candidate), or a model run now as its baseline was (--model).

    Exit codes: 0 PASS, 1 FAIL, 3 INCONCLUSIVE (0 with --inconclusive warn or pass), 4 there can be no verdict, 2 bad input,
    5 the candidate's run did not finish.
    """
    given = dict(locals())
    given["cache"] = given.pop("cache_dir") or cache
    settings = {key: value for key, value in given.items() if key not in _OWN}
    from evalkit.cli.gate_outputs import Outputs
    from evalkit.cli.settings import from_flags
    from evalkit.gating.execute import read_policy

    read = read_policy(policy, inconclusive)
    wanted = Outputs(read.gate, json=json, markdown=markdown, junit=junit, github=github, report_url=report_url)
    asked = {**from_flags(settings), "new": new} if model else {"output_dir": output_dir or "runs"}
    if plan:
        _plan(read, baseline, asked.get("output_dir", "runs"), power, discordance, json)
        return
    if (candidate is None) == (model is None):
        raise ConfigError(
            "name what is judged: either a run with --candidate RUN, or a model to run with --model provider/name"
        )
    if candidate is not None:
        _refuse_settings(context, settings, {"all_tasks": "--all-tasks", "new": "--new"})
    sources = {"candidate": candidate, "baseline": baseline, "promote": promote}
    _judge(read, wanted, {**sources, **asked, "all_tasks": all_tasks, "allow_missing_baseline": allow_missing_baseline})


def _refuse_settings(context: typer.Context, settings: dict[str, Any], more: dict[str, str]) -> None:
    """Refuse what only a run takes where there is a run already; what the environment sets for every command is no slip."""
    from evalkit.cli.settings import flag

    for name in (*settings, "cache_dir", *more):
        source = None if name == "output_dir" else context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"{more.get(name) or flag(name)} is for a model that is run; this candidate is a run already")


def _judge(policy: Policy, outputs: Outputs, asked: dict[str, Any]) -> None:
    """The verdict, in every form that was asked for; leaves with its exit code."""
    import sys

    from evalkit import api
    from evalkit.cli.output import say
    from evalkit.cli.progress import shown

    if asked.get("model"):
        asked["command"] = ("evalkit", *sys.argv[1:])
    try:
        with shown() as progress:
            result = api.gate(policy, **asked, progress=progress)
    except (NotComparable, Incomplete) as error:
        outputs.refused(error)
        raise
    outputs.show(result)
    if asked["promote"] is not None:
        done = f"written to {asked['promote']}: the next baseline" if result.baseline_promoted else "not promoted"
        say(f"the candidate's scores are {done}")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _plan(policy: Policy, baseline: str | None, output_dir: str, power: float, discordance: float, json: str | None) -> None:
    from dataclasses import asdict

    from evalkit.cli.gate_outputs import write
    from evalkit.cli.output import print_table, say
    from evalkit.gating.as_json import render
    from evalkit.gating.execute import find_baseline
    from evalkit.gating.plan import plan_gate
    from evalkit.gating.terminal import PLAN_HEADERS, PLAN_RIGHT, plan

    if not discordance > 0:
        raise ConfigError("--discordance is the share of answers that flip between equal models: above 0, 0.08 is usual")
    found = find_baseline(policy, baseline, output_dir=output_dir, missing_ok=baseline is None)
    if found is None:
        say(f"there is no baseline ({policy.baseline or 'none is named'}) that says how many samples there are")
    rows = plan_gate(policy, found, power=power, discordance=discordance)
    if json is not None:
        write(Path(json), render({"gate": policy.gate, "power": power, "checks": [asdict(row) for row in rows]}))
    if json != "-":
        print_table(PLAN_HEADERS, plan(rows), right=PLAN_RIGHT)
        equal = f"if {discordance:.0%} of 0/1 answers flip between equal models"
        say(f"\ncertifiable: the smallest margin that equal models pass with {power:.0%} chance, {equal}")
