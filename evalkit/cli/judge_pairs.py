"""``evalkit judge pairs``: which of these systems does a judge prefer, and what is its preference worth?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli import options as o
from evalkit.errors import ConfigError, Incomplete, Interrupted

if TYPE_CHECKING:
    from evalkit.calibrate.pair_figures import Figure, PairFigures, PairReport
    from evalkit.stats.rating_systems import Rating


def pairs(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two runs or more: NAME=RUN, directory or name.")],
    model: Annotated[str | None, o.option("--model -m", "The judge: provider/name,option=value.")] = None,
    rubric: Annotated[str, o.option("--rubric", "A pairwise rubric, by name or file.")] = "preference",
    against: Annotated[
        str | None, o.option("--against", "Compare the others with this one only. [default: all pairs]")
    ] = None,
    task: o.Task = None,
    filter_: Annotated[str | None, o.option("--filter", "Which filter's answers. [default: the task's first]")] = None,
    limit: Annotated[int | None, o.option("--n", "So many samples, drawn with --seed.", min=1)] = None,
    seed: o.Seed = None,
    score_mode: Annotated[str | None, o.option("--score-mode", "argmax, sample:N or logprobs. [default: argmax]")] = None,
    orders: Annotated[str | None, o.option("--orders", "both, or random (one, by the sample). [default: both]")] = None,
    swap: Annotated[
        str | None, o.option("--swap", "Orders that disagree are a tie, or their average counts. [default: tie]")
    ] = None,
    source: Annotated[str | None, o.option("--source", "The column of the source text, where the rubric shows it.")] = None,
    retry_errors: o.RetryErrors = None,
    max_cost: o.MaxCost = None,
    max_tokens_total: o.MaxTokensTotal = None,
    price: o.Price = None,
    prices: o.Prices = None,
    cache: o.Cache = None,
    cache_dir: o.CacheDir = None,
    output_dir: o.OutputDir = None,
    name: o.Name = None,
    new: o.New = False,
    json: o.Json = False,
    to: Annotated[
        str | None, o.option("--output", "Write a file too: a pair a row where its name ends in .csv, else JSON.")
    ] = None,
) -> None:
    """Let a judge compare the answers of two or more runs, sample by sample and in both orders.

    Prints win rates (raw and at equal length), how often the order decided, and from three systems on Bradley-Terry and Elo,
    all with 95 % intervals over samples; beside them what judges would say that look at length or at nothing. The same
    command goes on where it was.
    """
    import sys

    from evalkit import api
    from evalkit.cli.files import write_result
    from evalkit.cli.output import print_json, say_usage
    from evalkit.cli.progress import shown
    from evalkit.cli.settings import from_flags

    if model is None:
        raise ConfigError("no judge given; name one with --model provider/name (evalkit ls models lists providers)")
    asking = {
        "retry_errors": retry_errors, "max_cost": max_cost, "max_tokens_total": max_tokens_total, "price": price,
        "prices": prices, "cache": cache_dir or cache,
    }  # fmt: skip
    settings = api.GivenOptions(
        name=name, output_dir=output_dir or "runs", new=new, **from_flags(asking), command=("evalkit", *sys.argv[1:])
    )
    judge = {"score_mode": score_mode, "orders": orders, "swap": swap, "source": source}
    chosen = {"model": model, "rubric": rubric, "against": against, "task": task, "filter": filter_, "limit": limit}
    with shown() as progress:
        found = api.judge_pairs(
            _named(runs),
            settings=settings,
            output_dir=output_dir or "runs",
            progress=progress,
            **chosen,
            **({} if seed is None else {"seed": seed}),
            judge={key: value for key, value in judge.items() if value is not None},
        )
    if found.run.status == "interrupted":
        raise Interrupted("interrupted; whatever was answered is kept. Run the same command again to resume")
    if json:
        print_json(found.to_dict())
    else:
        _print(found)
        say_usage(found.run)
    if to is not None:
        write_result(to, found.to_dict(), found.flat())
    if found.run.status != "complete":
        raise Incomplete("incomplete: not every pair has been judged. Run the same command again to go on")


def _named(given: list[str]) -> list[str] | dict[str, str]:
    """``RUN`` or ``NAME=RUN``, the same way for all."""
    pairs_ = [text.partition("=") for text in given]
    if not any(equals for _, equals, _ in pairs_):
        return given
    if wrong := next((name for name, equals, _ in pairs_ if not equals), None):
        raise ConfigError(f"name all runs as NAME=RUN or none of them; {wrong!r} has no name")
    if empty := next((name for name, _, run in pairs_ if not run), None):
        raise ConfigError(f"{empty}= names no run; write NAME=RUN")
    found = {name: run for name, _, run in pairs_}
    if len(found) < len(given):
        raise ConfigError("two runs have one name; tell them apart with NAME=RUN")
    return found


def _print(found: PairReport) -> None:
    from evalkit.cli.output import print_table, say
    from evalkit.figures import counted

    whole = found.overall
    say(f"judge: {found.judge['name']}\n{found.judge['signature']}")
    if whole.failed:
        reason, count = max(found.failures.items(), key=lambda item: item[1])
        asked = whole.failed + whole.n
        more = f" ({count} of them)" if count < whole.failed else ""
        say(f"{whole.failed} of {asked} pairs ({whole.failed / asked:.1%}) have no verdict, in no number: {reason}{more}")
    for note in found.notes:
        say(f"evalkit: warning: {note}")
    say("")
    headers = (
        "Pair",
        "Win rate",
        "At equal length",
        "Ties",
        "Flips",
        "First slot",
        "n",
        "Failed",
        "Longest wins",
        "As longest",
    )
    print_table(headers, [_pair(pair) for pair in found.pairs], right=(6, 7), spare=(3, 9, 5))
    say(
        "\nwin rate of the first of each pair, ties half. Beside this judge: one that takes the longest text would say "
        "'Longest wins', the shortest 1 less that, one at random or always the first place 0.500; 'As longest' is how "
        "often this judge names the longer text"
    )
    if len(found.pairs) > 1:
        parts = [
            f"first slot {_share(whole.first_slot)}",
            f"ties {_share(whole.ties)}",
            f"as longest {_share(whole.as_longest)}",
        ]
        flips = [] if whole.flip_rate is None else [f"flips {_share(whole.flip_rate)}"]
        say(f"over all {counted(whole.n, 'comparison')}: {', '.join([*flips, *parts])}")
    if found.scales:
        _print_scales(found)
    say(f"\nreport: {found.run.path / 'report.html'}")


def _pair(pair: PairFigures) -> tuple[str, ...]:
    from evalkit.calibrate.pairs import pair_name

    told = (pair.win_rate, pair.win_rate_lc, pair.ties, pair.flip_rate, pair.first_slot)
    cells = ["" if figure is None else _share(figure) for figure in told]
    tail = (str(pair.n), str(pair.failed) if pair.failed else "", _share(pair.longest), _share(pair.as_longest))
    return (pair_name(pair.first, pair.second), *cells, *tail)


def _share(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    return f"{figure.value:.3f}" + (f" [{figure.ci[0]:.2f}, {figure.ci[1]:.2f}]" if figure.ci else "")


def _print_scales(found: PairReport) -> None:
    from evalkit.cli.output import print_table, say

    print("\nSystems on one scale (1000: their average; 400 points more: odds of ten to one)")
    terry, elo = found.scales["bradley_terry"], found.scales["elo"]
    order = sorted(range(len(found.systems)), key=lambda at: -(terry[at].value or elo[at].value or 0.0))
    rows = [
        (found.systems[at], _points(terry[at]), _points(elo[at]), *(_cell(found.wins[at][other]) for other in order))
        for at in order
    ]
    headers = ("System", "Bradley-Terry", "Elo", *(f"over {found.systems[at]}" for at in order))
    print_table(headers, rows, right=tuple(range(3, 3 + len(order))))
    for reason in dict.fromkeys(rating.reason for rating in (*terry, *elo) if rating.reason):
        say(f"note: {reason}")


def _points(rating: Rating) -> str:
    if rating.value is None:
        return "-"
    return f"{rating.value:.0f}" + (f" [{rating.ci[0]:.0f}, {rating.ci[1]:.0f}]" if rating.ci else "")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
