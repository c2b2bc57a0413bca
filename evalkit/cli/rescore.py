"""``evalkit rescore``: other metrics from the answers there are."""

from __future__ import annotations

from evalkit.cli import options as o


def rescore(
    run: o.RunName,
    scorers: o.Scorers = None,
    roles: o.Role = None,
    batch_size: o.BatchSize = None,
    device: o.Device = None,
    max_connections: o.MaxConnections = None,
    max_retries: o.MaxRetries = None,
    timeout: o.Timeout = None,
    retry_errors: o.RetryErrors = None,
    max_cost: o.MaxCost = None,
    max_tokens_total: o.MaxTokensTotal = None,
    price: o.Price = None,
    prices: o.Prices = None,
    cache: o.Cache = None,
    cache_dir: o.CacheDir = None,
    output_dir: o.OutputDir = None,
    allow_code: o.AllowCode = None,
    json: o.Json = False,
) -> None:
    """Score a run again from its stored answers. --scorers adds metrics to those of its tasks.

    The model under test is never called. Others are only where one is named, by --role or in a scorer:
    --scorers judge:coherence --role judge=provider/name. --max-cost is of them alone. What was interrupted goes on when
    the same command is given again.
    """
    given = dict(locals())
    given["cache"] = given.pop("cache_dir") or cache
    for own in ("run", "scorers", "output_dir", "allow_code", "json"):
        given.pop(own)
    from evalkit import api
    from evalkit.cli.output import print_json, print_results, results_json, say_usage
    from evalkit.cli.progress import shown
    from evalkit.cli.settings import from_flags

    settings = from_flags(given)
    with shown() as progress:
        done = api.rescore(
            run, scorers or (), output_dir=output_dir or "runs", allow_code=allow_code, progress=progress, **settings
        )
    if json:
        print_json(results_json(done))
        return
    print_results(done)
    if any(row["role"] != "model" for row in done.manifest.get("usage", ())):
        say_usage(done)
