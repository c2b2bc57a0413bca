"""``evalkit baseline``: score files, small enough to be committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalkit.cli import options as o
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.comparison.base import RunScores

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def baseline() -> None:
    """Baselines to compare and gate against (baseline promote, baseline show)."""


@app.command("promote")
def promote(
    run: o.RunName = "latest",
    to: Annotated[str | None, o.option("--to", "The file to write. [default: baselines/NAME.jsonl.gz]")] = None,
    force: Annotated[bool, o.option("--force", "Replace the file.")] = False,
    allow_incomplete: Annotated[bool, o.option("--allow-incomplete", "Promote a run that has gaps, too.")] = False,
    output_dir: o.OutputDir = None,
    json: o.Json = False,
) -> None:
    """Write a run's scores to a file of a few kilobytes.

    It has sample ids, scores, seconds, tokens, cost and hashes of what was asked, and no prompt, answer or reference. Commit
    it, and compare with it: baselines/NAME.jsonl.gz, or git:REF:baselines/NAME.jsonl.gz.
    """
    from pathlib import Path

    from evalkit.cli.output import print_json, say
    from evalkit.comparison.load import load_scores
    from evalkit.comparison.scorefile import promote
    from evalkit.runner.store import slug

    scores = load_scores(run, output_dir=output_dir or "runs")
    path = Path(to) if to else Path("baselines") / f"{slug(scores.name)}.jsonl.gz"
    if not path.name.endswith(".jsonl.gz"):
        raise UsageError(f"--to {path}: the name of a score file ends in .jsonl.gz")
    if path.exists() and not force:
        raise UsageError(f"{path} is there already; --force replaces it")
    size = promote(scores, path, allow_incomplete=allow_incomplete)
    if json:
        print_json({"path": str(path), "bytes": size, **_facts(scores)})
        return
    samples = {task: len(table.ids) for (task, _), table in scores.tasks.items()}
    print(path)
    say(f"{scores.name}: {sum(samples.values()):,} samples of {', '.join(samples)} in {size / 1000:.1f} KB")


@app.command("show")
def show(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A score file, git:REF:PATH of one, or a run.")],
    output_dir: o.OutputDir = None,
    json: o.Json = False,
) -> None:
    """Say what is in a score file: run, model, tasks, samples and metrics."""
    from evalkit.cli.output import print_json, print_table, say
    from evalkit.comparison.load import load_scores
    from evalkit.figures import arrow, count, number

    scores = load_scores(source, output_dir=output_dir or "runs")
    facts = _facts(scores)
    if json:
        print_json(facts)
        return
    say(f"{facts['run']} ({facts['status']}), {facts['model']}, {facts['created']}, evalkit {facts['evalkit']}\n")
    rows = [
        (m["task"], m["version"], m["filter"], m["metric"], arrow(m["higher_is_better"]), number(m["value"]), count(m["n"]))
        for m in facts["metrics"]
    ]
    print_table(("Task", "Version", "Filter", "Metric", "", "Value", "n"), rows, right=(5, 6))


def _facts(scores: RunScores) -> dict[str, Any]:
    from evalkit.comparison.pairs import value_of

    manifest = scores.manifest
    return {
        "run": manifest.get("id", scores.name),
        "name": scores.name,
        "source": scores.source,
        "status": manifest["status"],
        "created": manifest.get("created"),
        "evalkit": manifest.get("evalkit"),
        "model": manifest.get("model", {}).get("name"),
        "fingerprint": manifest["fingerprints"].get("model"),
        "config_hash": manifest["config_hash"],
        "metrics": [
            {
                "task": table.task,
                "version": table.version,
                "filter": table.filter,
                "scorer": measured.scorer.name,
                "signature": measured.signature,
                "metric": metric.name,
                "higher_is_better": metric.higher_is_better,
                "value": value_of(measured, metric),
                "n": int((measured.status == 0).sum()),
                "units": len(measured.units),
            }
            for table in scores.tasks.values()
            for measured in table.measured
            for metric in measured.scorer.metrics
        ],
    }
