"""``evalkit cache``: what the response cache holds."""

from __future__ import annotations

from typing import Annotated

from evalkit.cli import options as o
from evalkit.errors import StoreError


def cache(
    cache_dir: o.CacheDir = None,
    clear: Annotated[bool, o.option("--clear", "Remove all of it.")] = False,
    json: o.Json = False,
) -> None:
    """Show the response cache, or clear it.

    It holds the answers of runs made with --cache.
    """
    from pathlib import Path

    from evalkit import cache as answers
    from evalkit.cli.output import print_json, print_table, say
    from evalkit.report.numbers import count, counted

    folder = Path(cache_dir) if cache_dir else answers.default_folder()
    try:
        if clear:
            answers.clear(folder)
        held = answers.contents(folder)
    except (OSError, ValueError) as error:
        raise StoreError(f"{error}; evalkit cache --clear removes it" if not clear else str(error)) from error
    if json:
        print_json({"path": str(held.path), "bytes": held.bytes, "models": held.models})
        return
    if held.models:
        print_table(("Model", "Answers"), [(model, count(number)) for model, number in held.models.items()], right=(1,))
    say(f"{held.path}: {counted(sum(held.models.values()), 'answer')}, {held.bytes / 1e6:.2f} MB")
