"""``evalkit cache``: what is kept from one run to the next."""

from __future__ import annotations

from typing import Annotated

from evalkit.cli import options as o
from evalkit.errors import StoreError


def cache(
    cache_dir: o.CacheDir = None,
    clear: Annotated[bool, o.option("--clear", "Remove all of it.")] = False,
    json: o.Json = False,
) -> None:
    """Show the caches, or clear them.

    One holds the answers of runs made with --cache, the other the texts that neural metrics have encoded. With --cache-dir
    only the cache of answers in that folder is meant.
    """
    from pathlib import Path

    from evalkit import cache as answers
    from evalkit.cli.output import print_json, print_table, say
    from evalkit.encoder import disk
    from evalkit.report.numbers import count, counted

    folder = Path(cache_dir) if cache_dir else answers.default_folder()
    try:
        if clear:
            answers.clear(folder)
        held = answers.contents(folder)
        if clear and not cache_dir:
            disk.clear()
        encoded = None if cache_dir else disk.contents()
    except (OSError, ValueError) as error:
        raise StoreError(f"{error}; evalkit cache --clear removes it" if not clear else str(error)) from error
    if json:
        found = {"path": str(held.path), "bytes": held.bytes, "models": held.models}
        if encoded is not None:
            found["encoded"] = {"path": str(encoded.path), "bytes": encoded.bytes, "models": encoded.models}
        print_json(found)
        return
    if held.models:
        print_table(("Model", "Answers"), [(model, count(number)) for model, number in held.models.items()], right=(1,))
    say(f"{held.path}: {counted(sum(held.models.values()), 'answer')}, {held.bytes / 1e6:.2f} MB")
    if encoded is not None and encoded.models:
        print_table(("Encoder", "Texts"), [(model, count(number)) for model, number in encoded.models.items()], right=(1,))
    if encoded is not None:
        say(f"{encoded.path}: {counted(sum(encoded.models.values()), 'encoded text')}, {encoded.bytes / 1e6:.2f} MB")
