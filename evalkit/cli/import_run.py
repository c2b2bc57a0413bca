"""``evalkit import``: logs of lm-eval and inspect as runs."""

from __future__ import annotations

from typing import Annotated

import typer

from evalkit.cli import options as o
from evalkit.errors import ConfigError

Paths = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="lm-eval's output folder or results file; an inspect log or a folder.")
]


def import_run(
    paths: Paths,
    task_dir: o.TaskDir = None,
    name: o.Name = None,
    output_dir: o.OutputDir = None,
    json: o.Json = False,
) -> None:
    """Make runs of lm-eval's and inspect's logs, to compare with, to gate against and to report.

    No model is called. Each number is held against the one in the log.
    """
    import sys
    from pathlib import Path

    from evalkit import api
    from evalkit.cli.output import print_json, print_results, results_json, say
    from evalkit.cli.progress import shown

    with shown() as progress:
        done = api.import_runs(
            [Path(path) for path in paths],
            task_dirs=[Path(folder) for folder in task_dir or ()],
            name=name,
            output_dir=output_dir or "runs",
            command=("evalkit", *sys.argv[1:]),
            progress=progress,
        )
    if json:
        documents = [results_json(imported.run) for imported in done]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    for imported in done:
        print_results(imported.run)
        for check in imported.checks:
            say(check.line(str(imported.run.manifest["imported"]["from"])))
        say(f"report: {imported.run.path / 'report.html'}")
    if not done:
        raise ConfigError("nothing to import")
