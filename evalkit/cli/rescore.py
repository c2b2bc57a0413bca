"""``evalkit rescore``: other metrics from the answers there are."""

from __future__ import annotations

from evalkit.cli import options as o


def rescore(
    run: o.RunName,
    scorers: o.Scorers = None,
    output_dir: o.OutputDir = None,
    allow_code: o.AllowCode = None,
    json: o.Json = False,
) -> None:
    """Score a run again from its stored answers.

    No model is called. --scorers adds metrics to those of its tasks.
    """
    from evalkit import api
    from evalkit.cli.output import print_json, print_results, results_json
    from evalkit.cli.progress import shown

    with shown() as progress:
        done = api.rescore(run, scorers or (), output_dir=output_dir or "runs", allow_code=allow_code, progress=progress)
    if json:
        print_json(results_json(done))
    else:
        print_results(done)
