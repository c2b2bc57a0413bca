"""``evalkit report``: the files that are derived from a run."""

from __future__ import annotations

from evalkit.cli import options as o


def report(
    run: o.RunName = "latest",
    output_dir: o.OutputDir = None,
    max_samples: o.MaxSamples = 2000,
    json: o.Json = False,
) -> None:
    """Write the report of a run anew, and its other files.

    These are report.html, results.json, summary.csv, usage.csv, samples.csv and samples.jsonl.gz; their paths are printed.
    """
    from evalkit import api
    from evalkit.cli.output import print_json
    from evalkit.report.export import export_all

    paths = export_all(api.open_run(run, output_dir=output_dir or "runs"), max_samples=max_samples)
    if json:
        print_json({path.name: str(path) for path in paths})
    else:
        for path in paths:
            print(path)
