"""Make runs of the logs of other harnesses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import ConfigError
from evalkit.importers.load import read_logs
from evalkit.importers.write import Imported, write_run
from evalkit.report.export import Export
from evalkit.report.finished import finish
from evalkit.runner.session import Progress, Silent


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
