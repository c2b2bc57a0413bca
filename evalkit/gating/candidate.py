"""How a candidate is run that is to be gated: exactly as its baseline was, but for the model and the machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from evalkit.comparison.base import RunScores
from evalkit.comparison.directory import digest_of
from evalkit.comparison.rerun import rerun_command
from evalkit.errors import ConfigError, NotComparable, TaskError, nearest
from evalkit.figures import counted
from evalkit.gating.names import absent, leaves, matching_tasks, task_names
from evalkit.gating.policy import Policy
from evalkit.runner.options import RunOptions
from evalkit.runner.plan import sample_requests
from evalkit.runner.prepare import Prepared, ReadyTask, ready_task, scorer_spec
from evalkit.runner.store import newest_unfinished, read_manifest
from evalkit.secrets import BLANK
from evalkit.tasks.load import Selection, TaskLibrary
from evalkit.types import content_hash

#: What decides what is asked and how it is scored: the baseline's, whatever the candidate.
ASKED = (
    "tasks", "task_dirs", "data", "num_fewshot", "limit", "samples", "seed", "apply_chat_template", "system_instruction",
    "fewshot_as_multiturn", "gen_kwargs", "compat", "form", "scorers",
)  # fmt: skip
#: Samples of a task whose definition or data changed that are looked at before the run.
_LOOKED_AT = 50


def candidate_options(policy: Policy, baseline: RunScores, model: Any, *, all_tasks: bool = False, **own: Any) -> RunOptions:
    """The options that run ``model`` as ``baseline`` was run: its tasks, samples, seed, prompts, settings, scorers, roles.

    Only the tasks that ``policy`` needs, or with ``all_tasks`` all of the baseline. ``own``: further fields of `RunOptions`,
    the candidate's own (its ``model_args``, device, ``output_dir`` ...). Whether code of task folders may run is never taken
    from a baseline, which may come from anywhere.

    Raises ConfigError for an option that is the baseline's to decide, and for a baseline that no run can repeat.
    """
    config = baseline.manifest.get("config") or {}
    _require_repeatable(baseline, config)
    _require_own(own, f"the baseline's: the candidate is run exactly as {baseline.source} was")
    asked = {name: config[name] for name in ASKED if config.get(name) is not None}
    asked["form"] = _form(baseline, config)
    asked["scorers"] = _scorers(baseline, config)
    needed = None if all_tasks else needed_tasks(policy, baseline)
    asked["tasks"], kept = _narrowed(asked["tasks"], asked.get("task_dirs", ()), needed)
    for name in ("data", "samples"):
        if asked.get(name):
            asked[name] = {task: value for task, value in asked[name].items() if task in kept}
    judges = {**(baseline.manifest.get("judges") or {}), **(config.get("roles") or {})}  # of a rescoring, and the run's own
    own["roles"] = _roles(judges, own.get("roles") or {})
    own.setdefault("max_error_rate", config.get("max_error_rate", 0.05))
    return RunOptions(model=model, **asked, **own)


def first_options(policy: Policy, model: Any, **own: Any) -> RunOptions:
    """The options that run ``model`` on the tasks of ``policy`` where there is no baseline yet, tasks as by default.

    Raises NotComparable for a policy that names no task, ConfigError for an option that a baseline decides.
    """
    tasks = list(dict.fromkeys(check.task for check in policy.checks))
    if not tasks:
        raise NotComparable("there is no baseline, and the policy names no task that a candidate could be run on")
    _require_own(own, "a baseline's: run the candidate with evalkit run to choose it")
    return RunOptions(model=model, tasks=tasks, **own)


def taken_up(prepared: Prepared) -> str | None:
    """Which unfinished run will be gone on with, where it bears another name than the one asked for."""
    options = prepared.options
    if options.new or options.name is None:
        return None
    found = newest_unfinished(Path(options.output_dir), content_hash(prepared.config()))
    if found is None or (name := read_manifest(found)["name"]) == options.name:
        return None
    return f"going on with the unfinished run {found.name}: it asks the same, under the name {name!r}; --new starts another"


def needed_tasks(policy: Policy, baseline: RunScores) -> set[str] | None:
    """The tasks and groups that the checks name; ``None`` for a policy of budgets alone, which are over all tasks.

    Raises NotComparable for a check whose task the baseline does not have.
    """
    if not policy.checks:
        return None
    needed: set[str] = set()
    for at, check in enumerate(policy.checks):
        found = matching_tasks(check.task, baseline)
        if not found:
            raise absent(policy, at, "task", check.task, task_names(baseline), baseline)
        needed.update(found, *(leaves(baseline, name) for name in found))
    return needed


def require_same_tasks(prepared: Prepared, baseline: RunScores) -> None:
    """Refuse, before anything is asked, tasks that have changed since the baseline's run; raises NotComparable.

    A definition may change in ways that no prompt shows, so that where it did, the first samples are asked for what they
    would ask now.
    """
    before: Mapping[str, Any] = baseline.manifest["tasks"]
    for ready in prepared.tasks:
        entry = before.get(ready.name)
        if entry is None:
            continue
        for what, was, now in (
            ("version", str(entry["version"]), str(ready.task.version)),
            ("num_fewshot", entry["num_fewshot"], ready.task.num_fewshot),
        ):
            if was != now:
                raise _changed(baseline, ready.name, f"{what} was {was} in {baseline.source}, is {now} now")
        definition = content_hash(ready.task.config)
        if (definition, ready.task.data_hash) != (entry.get("hash"), entry.get("data_hash")):
            _require_same_prompts(prepared, ready, baseline)


def _require_same_prompts(prepared: Prepared, ready: ReadyTask, baseline: RunScores) -> None:
    """Refuse a task whose first samples ask something else than they asked in the baseline's run."""
    scores = next((found for (task, _), found in baseline.tasks.items() if task == ready.name), None)
    if scores is None:
        return
    chat = prepared.options.apply_chat_template
    known = dict(zip(scores.ids, scores.digests.tolist(), strict=True))
    # of a task built anew: examples are drawn as prompts are made, and the run's must not be disturbed
    form = ready.definition.form or "loglikelihood"
    for sample, requests in islice(
        sample_requests(ready_task(ready.definition, prepared.options, form).task, prepared.model), _LOOKED_AT
    ):
        if known.get(sample.id, digest_of(sample, requests, chat=chat)) != digest_of(sample, requests, chat=chat):
            why = f"its data or prompts have changed since {baseline.source} was run (first sample {sample.id})"
            raise _changed(baseline, ready.name, why)
    if chat and content_hash(ready.task.config) != baseline.manifest["tasks"][ready.name].get("hash"):
        # what the chat template made of it is not compared, so that what went in must be the same
        raise _changed(
            baseline, ready.name, f"its definition has changed since {baseline.source} was run with a chat template"
        )


def _changed(baseline: RunScores, task: str, why: str) -> NotComparable:
    again = rerun_command(baseline, baseline, [task])
    return NotComparable(f"task {task}: {why}; run the baseline again, too: {again}")


def _require_own(own: Mapping[str, Any], whose: str) -> None:
    if theirs := [name for name in own if name in ASKED]:
        raise ConfigError(f"{theirs[0]} is {whose}")
    if unknown := [name for name in own if name not in {f.name for f in fields(RunOptions)}]:
        raise ConfigError(f"no setting {unknown[0]!r}{nearest(unknown[0], [f.name for f in fields(RunOptions)])}")


def _require_repeatable(baseline: RunScores, config: Mapping[str, Any]) -> None:
    if not config.get("tasks") or config.get("model") == "<GivenModel>":
        raise ConfigError(
            f"{baseline.source} does not say how it was run, so that no candidate can be run as it was; "
            "run the candidate with evalkit run, then gate it with --candidate RUN"
        )


def _form(baseline: RunScores, config: Mapping[str, Any]) -> str:
    """How the baseline was asked multiple-choice tasks: what ``auto`` came to depends on the model."""
    form = str(config.get("form") or "auto")
    if form != "auto":
        return form
    identity = (baseline.manifest.get("identity") or {}).get("tasks") or {}
    found = {entry["form"] for entry in identity.values() if entry.get("form")}
    if any(entry.get("output_type") == "multiple_choice" for entry in baseline.manifest["tasks"].values()):
        found.add("loglikelihood")
    return found.pop() if len(found) == 1 else "auto"


def _scorers(baseline: RunScores, config: Mapping[str, Any]) -> list[Any]:
    """The run's further scorers, and those that it was rescored with."""
    given = list(config.get("scorers") or ())
    known = [scorer_spec(item) for item in given]
    for entry in baseline.manifest["tasks"].values():
        for added in entry.get("extra_scorers") or ():
            item = {"name": added["name"], **added["params"]}
            if (spec := scorer_spec(item)) not in known:
                known.append(spec)
                given.append(item)
    return given


def _narrowed(names: Sequence[str], dirs: Sequence[str], needed: set[str] | None) -> tuple[list[str], set[str]]:
    """Of what the baseline's run named, what gives the needed tasks; and the names of all tasks that it gives.

    A group or pattern of which only some tasks are needed becomes those tasks, a file or folder stays as it is.
    """
    library = TaskLibrary([Path(folder) for folder in dirs])
    kept: dict[str, None] = {}
    tasks: set[str] = set()
    for name in names:
        selection = _resolved(library, name)
        leaf_names = [task.task for task in selection.tasks]
        wanted = [leaf for leaf in leaf_names if needed is None or leaf in needed]
        groups = [group.group for group in selection.groups if needed is not None and group.group in needed]
        whole = len(wanted) == len(leaf_names) or not _known(library, wanted)
        if wanted:
            kept.update(dict.fromkeys([name] if whole else [*groups, *wanted]))
            tasks.update(leaf_names if whole else wanted)
    return list(kept), tasks


def _resolved(library: TaskLibrary, name: str) -> Selection:
    """What ``name`` selects; paths start from where this command runs, as they did for the baseline."""
    try:
        return library.resolve([name])
    except TaskError as error:
        where = (
            f"; relative paths are those of the baseline's run: gate from the folder that it was run in, not {Path.cwd()}"
        )
        is_path = "/" in name or name.endswith((".yaml", ".yml"))
        raise TaskError(
            f"{error} (a task of the baseline){where if is_path and not Path(name).is_absolute() else ''}"
        ) from error


def _known(library: TaskLibrary, names: Collection[str]) -> bool:
    """Whether each is a task that can be named without its file."""
    return all(name in library.entries for name in names)


def _roles(stored: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The baseline's models by role, but for those given again."""
    for role, model in stored.items():
        if role not in own and (not isinstance(model, str) or model.startswith("<") or BLANK in model):
            why = "secrets are not stored with a run" if BLANK in str(model) else "it was made in Python"
            raise ConfigError(
                f"the baseline's {role} cannot be asked again, {why}; give it: --role {role}=provider/name,..."
            )
    return {**stored, **own}


def unfinished(manifest: Mapping[str, Any]) -> str:
    """What keeps a run from being complete, in a few words, and what goes on with it."""
    counts = manifest.get("counts") or {}
    final = bool(counts.get("failures")) and not (
        counts.get("retryable") or counts.get("unanswered") or counts.get("systemic") or counts.get("budget")
    )
    reasons = [str(counts[key]) for key in ("systemic", "budget") if counts.get(key)]
    if counts.get("failures"):
        reasons.append(f"{counted(counts['failures'], 'request')} failed{' for good' if final else ''}")
    if missing := sum(facts.get("missing", 0) for facts in (manifest.get("facts") or {}).values()):
        reasons.append(f"{counted(missing, 'sample')} not answered")
    why = "; ".join(reasons) or "not everything was answered"
    if not final:
        return f"{why}. The same again goes on with it"
    allowed = (manifest.get("config") or {}).get("max_error_rate")
    share = "" if allowed is None else f", more than the {100 * allowed:g}% that a run may lose (--max-error-rate)"
    return f"{why}{share}. The same again changes nothing; --retry-errors asks them again"
