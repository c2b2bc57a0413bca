"""The public Python API: what the command line does, for notebooks and training loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.calibrate.classifier import ClassifierReport, evaluate_classifier
from evalkit.calibrate.columns import Columns
from evalkit.calibrate.judge import JudgeCalibration, calibrate_judge
from evalkit.calibrate.labelled_texts import TextColumns
from evalkit.calibrate.pair_figures import PairReport
from evalkit.calibrate.pair_run import judge_pairs as _judge_pairs
from evalkit.calibrate.pairs import PairOptions, named_runs
from evalkit.calibrate.validate import Validation, validate_metrics
from evalkit.comparison.base import Comparison, RunScores
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.load import apart, load_scores
from evalkit.comparison.resampled import PairedScores, Scores, paired_scores
from evalkit.comparison.scorefile import promote as write_scores
from evalkit.data.pairs import joined
from evalkit.data.textfile import further, systems
from evalkit.errors import ConfigError, DataError, Incomplete, Interrupted, ModelError, nearest
from evalkit.gating.base import GateResult
from evalkit.gating.candidate import candidate_options, first_options, require_same_tasks, taken_up, unfinished
from evalkit.gating.execute import find_baseline, gate_scores, read_policy
from evalkit.gating.policy import Policy
from evalkit.human.export import export_study
from evalkit.human.import_ratings import ImportedRatings, import_ratings
from evalkit.human.study_report import StudyReport, study_report
from evalkit.importers.load import read_logs
from evalkit.importers.write import Imported, write_run
from evalkit.models.base import ConnectingModel
from evalkit.report.export import Export
from evalkit.report.finished import executed, finish
from evalkit.report.sweep import Sweep
from evalkit.report.sweep import export as export_sweep
from evalkit.report.sweep_marks import MARGIN
from evalkit.report.sweep_panels import Reader, panels
from evalkit.runner.asking import scorers_requests
from evalkit.runner.budget import quotes_of
from evalkit.runner.checkpoints import find_checkpoints
from evalkit.runner.given import GivenOptions, prepare_given
from evalkit.runner.options import RunOptions
from evalkit.runner.plan import TaskPlan, forecast
from evalkit.runner.prepare import prepare
from evalkit.runner.rescoring import rescore_run
from evalkit.runner.run import Run
from evalkit.runner.run import open_run as _open_run
from evalkit.runner.series import Member, known_series, listed, open_series
from evalkit.runner.session import Progress, Silent
from evalkit.runner.store import RunStore, find_run
from evalkit.runner.sweep import Intent, Present, check_options, finished_run, intents, run_series

__all__ = [
    "ClassifierReport", "Columns", "Comparison", "GateResult", "GivenOptions", "Imported", "ImportedRatings",
    "JudgeCalibration", "PairOptions", "PairReport", "PairedScores", "Progress", "Run", "RunOptions", "Scores",
    "StudyReport", "Sweep", "TaskPlan", "TextColumns", "Validation", "calibrate_judge", "compare",
    "evaluate_classifier", "export_study", "gate", "import_ratings", "import_runs", "judge_pairs", "open_run", "plan",
    "rescore", "run", "score", "study_report", "sweep", "validate_metrics",
]  # fmt: skip


def run(
    tasks: str | Sequence[str] | None = None,
    model: Any = None,
    *,
    options: RunOptions | None = None,
    store: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> Run:
    """Evaluate ``model`` on ``tasks``.

    Args:
        tasks: names, tags, groups, globs or YAML paths; one or several.
        model: ``provider/name``, a callable ``prompt -> text``, a loaded transformers module (its ``tokenizer=`` beside it)
            or a Model.
        options: everything at once, instead of ``tasks``, ``model`` and ``settings``.
        store: write a run directory under ``output_dir``; without it nothing is left on disk.
        progress: who shows how it goes; nobody by default.
        settings: any further field of `RunOptions`.

    Returns:
        The run. Its ``status`` is ``complete``, or ``incomplete`` or ``interrupted``: run the same again to resume.

    Raises:
        UsageError: bad input, with one line that says what, where and what to do.
    """
    options = options or RunOptions(tasks=_names(tasks), model=model, **settings)
    progress = progress or Silent()
    return executed(prepare(options, progress.phase), store, progress)


def plan(
    tasks: str | Sequence[str] | None = None, model: Any = None, *, options: RunOptions | None = None, **settings: Any
) -> list[TaskPlan]:
    """What `run` would ask, with no call: samples, requests, distinct requests, tokens and cost a task.

    What judges are asked comes on top: see `TaskPlan.scorers_ask`.
    """
    options = options or RunOptions(tasks=_names(tasks), model=model, **settings)
    prepared = prepare(options, connect=False)
    prices = quotes_of(options, {"model": prepared.model, **prepared.roles})
    plans = forecast([ready.task for ready in prepared.tasks], prepared.model, prices["model"].price)
    open_question = options.form == "auto" and isinstance(prepared.model, ConnectingModel)
    for found, ready in zip(plans, prepared.tasks, strict=True):
        found.form = ready.definition.form
        found.unsure = open_question and ready.task.output_type == "multiple_choice"
        found.scorers_ask = dict(scorers_requests(ready))
    return plans


def open_run(name: str | Path = "latest", *, output_dir: str | Path = "runs") -> Run:
    """A run by directory, by (part of its) name under ``output_dir``, or the ``latest``."""
    return _open_run(find_run(str(name), Path(output_dir)))


def rescore(
    name: str | Path,
    scorers: Sequence[str | Mapping[str, Any]] = (),
    *,
    roles: Mapping[str, Any] | None = None,
    output_dir: str | Path = "runs",
    allow_code: bool | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Run:
    """Score a run's stored responses again, with further ``scorers`` on top of its tasks' own.

    The model under test is never asked. Models are called only where one is named: as ``roles`` (role -> model), or by a
    scorer (``judge:coherence,model=...``). Their answers and what they cost join the run. A scorer that cannot measure some
    of the tasks is left out there, with a warning.

    Args:
        name: a run, as `open_run` has it.
        scorers: as in a task file.
        roles: role -> model that scorers may ask.
        output_dir: where the run is looked for by name.
        allow_code: whether code of task folders may be loaded; as the run was allowed to, by default.
        progress: who shows how it goes; nobody by default.
        settings: of `RunOptions`, for the models that are called: ``max_cost`` (of these roles), ``price``, ``cache``,
            ``retry_errors``, ``device``, ``max_connections``, ...

    Raises:
        ScorerError: a scorer needs model calls that the run does not hold, and no model is named for them.
        DataError: a scorer reads a column which the run's data has not.
        Incomplete, Interrupted: not all was answered; the run is as it was, and the same again goes on.
    """
    options = RunOptions(tasks=(), model=None, roles=roles or {}, scorers=scorers, **settings)
    store = RunStore.open(find_run(str(name), Path(output_dir)), write=True)
    export = Export()
    try:
        rescore_run(store, options, allow_code=allow_code, progress=progress or Silent(), watching=export.watching)
    finally:
        store.close()
    done = Run(store)
    finish(export, done)
    return done


def score(
    predictions: Any,
    references: Any = None,
    sources: Any = None,
    *,
    scorers: Sequence[str | Mapping[str, Any]] = (),
    columns: Mapping[str, str] | None = None,
    baseline: str | None = None,
    options: GivenOptions | None = None,
    store: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> Scores:
    """Score texts that are there already, of one system or of several on the same rows. No model is asked for them.

    Args:
        predictions: a file, or a text a row; for several systems a mapping of names to either, or a list of `Path` objects.
        references: a file (several: a list of `Path` objects, each one more reference a row), or a text or list of texts a
            row; without it they are looked for in the predictions' columns.
        sources: a file, or a text a row.
        scorers: as in a task file; BLEU, chrF and ROUGE where nothing is said.
        columns: role (``prediction``, ``reference``, ``source``, ``id``) -> the column that has it.
        baseline: the system that the others are compared with; the first one by default.
        options: everything else at once, instead of ``scorers`` and ``settings``.
        store: write run directories under ``output_dir``; without it nothing is left on disk.
        progress: who shows how it goes; nobody by default.
        settings: any further field of `GivenOptions`.

    Returns:
        A run for each system, and every metric of the others compared with the baseline.

    Raises:
        UsageError: bad input, with one line that says what, where and what to do.
    """
    options = options or GivenOptions(scorers=scorers, **settings)
    progress = progress or Silent()
    files = systems(predictions)
    if baseline is not None and baseline not in files:
        known = ", ".join(files)
        raise DataError(f"there is no system {baseline!r}{nearest(baseline, files) or f'; there are {known}'}")
    outputs = joined(files, further("references", references), next(iter(further("sources", sources)), None), columns)
    runs: dict[str, Run] = {}
    origins = {name: file.name for name, file in files.items()}
    for name, prepared in prepare_given(outputs, origins, options, progress.phase).items():
        runs[name] = executed(prepared, store, progress)
        if runs[name].status == "interrupted":
            return Scores(runs, baseline or next(iter(files)))
    baseline = baseline or next(iter(files))
    if len(runs) == 1:
        return Scores(runs, baseline)
    progress.phase(f"comparing with {baseline}")
    return Scores(runs, baseline, tuple(paired_scores(runs, baseline)))


def compare(
    baseline: str | Path | Run | RunScores,
    *systems: str | Path | Run | RunScores,
    output_dir: str | Path = "runs",
    **settings: Any,
) -> list[Comparison]:
    """How much ``systems`` differ from ``baseline`` on the same samples: every metric of each, by task, group and slice.

    Args:
        baseline: a run, its directory or name, ``latest``, a score file or ``git:REF:PATH`` of one.
        systems: one or more of the same.
        output_dir: where runs are looked for by name.
        settings: ``tasks``, ``metrics``, ``slices``, ``cluster_by``, ``min_overlap``, ``errors_as_wrong``, ``strict`` and
            ``seed`` of `compare_scores`.

    Raises:
        NotComparable: the runs differ in what was asked or how it was scored; the line says where, and how to run again.
        UsageError: there is no such run, task, slice or metric.
    """
    scores = apart([_scores_of(given, output_dir) for given in (baseline, *systems)])
    return [comparison for system in scores[1:] for comparison in compare_scores(scores[0], system, **settings)]


def _scores_of(given: str | Path | Run | RunScores, output_dir: str | Path) -> RunScores:
    if isinstance(given, RunScores):
        return given
    return load_scores(given.path if isinstance(given, Run) else given, output_dir=output_dir)


def judge_pairs(
    runs: Sequence[str | Path | Run] | Mapping[str, str | Path | Run],
    *,
    settings: GivenOptions | None = None,
    output_dir: str | Path = "runs",
    progress: Progress | None = None,
    **options: Any,
) -> PairReport:
    """Let a judge compare the answers of two or more runs to the same samples, each pair in both orders.

    The verdicts are a run of their own; the same call again goes on with it.

    Args:
        runs: runs, their directories or names; a mapping says what the systems are called.
        settings: of the judge's run.
        output_dir: where runs are looked for.
        progress: who shows how it goes.
        options: fields of `PairOptions`: ``model`` (the judge), ``rubric``, ``against``, ``limit`` ...

    Raises UsageError for bad input and for runs without answers to the same samples.
    """
    watching = progress or Silent()
    found = named_runs(runs, lambda one: open_run(one, output_dir=output_dir))
    given = settings or GivenOptions(output_dir=output_dir)
    return _judge_pairs(found, PairOptions(**options), given, lambda run: executed(run, True, watching), watching.phase)


def import_runs(
    paths: str | Path | Sequence[str | Path],
    *,
    task_dirs: Sequence[str | Path] = (),
    name: str | None = None,
    output_dir: str | Path = "runs",
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[Imported]:
    """Logs of lm-eval and inspect as runs, each with its numbers held against those of the log. No model is called.

    Args:
        paths: lm-eval's output folder or results file, an inspect log (``.eval``, ``.json``), or a folder of either.
        task_dirs: folders of task files; a definition of the same name says what samples, slices and clusters are called.
        name: of the run, where there is one log.
        output_dir: where runs go.
        command: the command line, for the manifest.
        progress: who shows how it goes; nobody by default.

    Raises:
        UsageError: what is no log, damaged, not finished or without samples; nothing of that log is written.
    """
    progress = progress or Silent()
    found = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    logs = [log for path in found for log in read_logs(path, [Path(folder) for folder in task_dirs])]
    if name is not None and len(logs) > 1:
        raise ConfigError(f"--name is for one log, and there are {len(logs)} here")
    done = []
    for log in logs:
        export = Export()
        made = write_run(log, Path(output_dir), name=name, command=command, progress=progress, watching=export.watching)
        finish(export, made.run)
        done.append(made)
    return done


def gate(
    policy: str | Path | Policy,
    candidate: str | Path | Run | None = None,
    baseline: str | Path | Run | None = None,
    *,
    model: Any = None,
    all_tasks: bool = False,
    inconclusive: str | None = None,
    allow_missing_baseline: bool = False,
    promote: str | Path | None = None,
    output_dir: str | Path = "runs",
    progress: Progress | None = None,
    **settings: Any,
) -> GateResult:
    """Judge a candidate by a policy: PASS, FAIL or INCONCLUSIVE, with everything that it rests on.

    Args:
        policy: the policy's file.
        candidate: a run (its directory, name, ``latest`` or itself) or a score file.
        baseline: as ``candidate``, or ``git:REF:PATH``; the policy's own by default.
        model: instead of ``candidate``, a model that is run first, exactly as the baseline was.
        all_tasks: run ``model`` on all tasks of the baseline, not only on those that the policy needs.
        inconclusive: ``fail``, ``warn`` or ``pass`` instead of what the policy says.
        allow_missing_baseline: without a baseline check floors and absolute budgets alone; the exit code then is 0.
        promote: a file that becomes the next baseline (the candidate's scores, no texts) on PASS, or where there was none.
        output_dir: where runs are looked for and written.
        progress: who shows how the candidate's run goes.
        settings: with ``model``, further fields of `RunOptions` that are the candidate's own: ``model_args``, ``device`` ...

    Returns:
        The result; its ``exit_code`` is the command line's.

    Raises:
        NotComparable: there can be no verdict: no baseline, or runs that differ in what was asked.
        Incomplete: the candidate's run did not finish; the same call goes on with it.
        UsageError: bad input, with one line that says what, where and what to do.
    """
    read = read_policy(policy, inconclusive)
    if (candidate is None) == (model is None):
        raise ConfigError("name what is judged: either a candidate's run, or a model to run")
    if settings and model is None:
        raise ConfigError(f"{next(iter(settings))} is for a model that is run; this candidate is a run already")
    if promote is not None and not str(promote).endswith(".jsonl.gz"):
        raise ConfigError(f"promote {promote}: the name of a score file ends in .jsonl.gz")
    found = find_baseline(read, _source(baseline), output_dir=output_dir, missing_ok=allow_missing_baseline)
    if model is not None:
        own = {**settings, "output_dir": output_dir}
        candidate = _candidate(read, found, model, all_tasks, progress or Silent(), own)
    scores = load_scores(_source(candidate) or "", output_dir=output_dir)
    result = gate_scores(read, found, scores, missing=_source(baseline))
    if promote is None or not (result.verdict == "PASS" or (found is None and result.exit_code == 0)):
        return result
    write_scores(scores, Path(promote))
    return replace(result, baseline_promoted=True)


def _source(given: str | Path | Run | None) -> str | Path | None:
    return given.path if isinstance(given, Run) else given


def _candidate(
    policy: Policy, baseline: RunScores | None, model: Any, all_tasks: bool, progress: Progress, own: Mapping[str, Any]
) -> Run:
    """The candidate's run, made as the baseline's was; without one, of the policy's tasks as they are by default."""
    if baseline is None:
        prepared = prepare(first_options(policy, model, **own), progress.phase)
    else:
        prepared = prepare(candidate_options(policy, baseline, model, all_tasks=all_tasks, **own), progress.phase)
        require_same_tasks(prepared, baseline)
    if (note := taken_up(prepared)) is not None:
        progress.warning(note)
    done = executed(prepared, True, progress)
    if done.status == "interrupted":
        raise Interrupted("interrupted; whatever was answered is kept, and the same command goes on with it")
    if done.status != "complete":
        raise Incomplete(f"no verdict, the candidate's run {done.path} is incomplete: {unfinished(done.manifest)}")
    return done


def sweep(
    tasks: str | Sequence[str] | None = None,
    checkpoints: str = "",
    *,
    margin: float = MARGIN,
    options: RunOptions | None = None,
    watching: Callable[[Member], AbstractContextManager[Progress]] | None = None,
    **settings: Any,
) -> Sweep:
    """Evaluate a series of checkpoints, each as a run of its own, and draw its metrics over them.

    What is finished already (the same configuration) is not run again; new checkpoints are added to the series.

    Args:
        tasks: as in `run`.
        checkpoints: ``[provider/]glob`` of folders or GGUF files, the provider ``hf`` by default.
        margin: the share of a metric's range (0.01: one percentage point) that a regression must exceed.
        options: everything else at once, instead of ``tasks`` and ``settings``; without a model.
        watching: gives who shows how a checkpoint's run goes, while it goes; nobody by default.
        settings: any further field of `RunOptions`.

    Returns:
        The series. Its ``status`` is ``complete``, or ``incomplete`` (a checkpoint could not be loaded, or not everything
        was answered) or ``interrupted``: the same again goes on.

    Raises:
        UsageError: bad input, with one line that says what, where and what to do.
    """
    options = options or RunOptions(tasks=_names(tasks), model=None, **settings)
    check_options(options)
    there, present = find_checkpoints(checkpoints), Present(options)
    series = open_series(checkpoints, there, options)
    reader, found = Reader(), Sweep(series, ())

    def evaluate(member: Member, own: RunOptions) -> Run:
        with nullcontext(Silent()) if watching is None else watching(member) as progress:
            try:
                prepared = prepare(own, progress.phase)
            except ModelError as error:
                progress.warning(f"{member.name} cannot be evaluated: {error}")
                raise
            return finished_run(prepared) or executed(prepared, True, progress)

    def changed() -> None:
        nonlocal found
        found = Sweep(series, tuple(panels(series, reader, margin)))
        export_sweep(series, found.panels, margin)

    try:
        series.update(margin=margin)
        run_series(series, options, present, evaluate, changed=changed)
    finally:
        series.close()
    return found


def plan_sweep(checkpoints: str, options: RunOptions) -> list[tuple[Member, Intent]]:
    """What `sweep` would do with each checkpoint, in order: nothing is loaded but the tasks, and nothing is written."""
    check_options(options)
    there = find_checkpoints(checkpoints)
    series = None if options.new else known_series(checkpoints, there, options)
    members = [listed(one) for one in there] if series is None else series.members
    return intents(series, members, options, Present(options))


def _names(tasks: str | Sequence[str] | None) -> tuple[str, ...]:
    if tasks is None:
        return ()
    return tuple(part for name in ([tasks] if isinstance(tasks, str) else tasks) for part in str(name).split(",") if part)
