"""``evalkit human serve``: ratings given in the browser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer


def serve(
    study: Annotated[Path, typer.Argument(help="The study's folder, as evalkit human export made it.")],
    host: Annotated[
        str, typer.Option(help="Address to serve on. Anything but this machine's own is reachable by others, unencrypted.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8377,
) -> None:
    """Serve a small page on which each annotator rates their rows, until Ctrl-C.

    Every rating is on the disk before the page says so. evalkit human import STUDY takes the ratings over.
    """
    from evalkit.cli.output import say
    from evalkit.human.serve.server import serve_study

    def ready(links: Mapping[str, str]) -> None:
        if host not in ("127.0.0.1", "::1", "localhost"):
            say("evalkit: warning: the page is reachable from other machines, and its traffic is not encrypted")
        for annotator, link in links.items():
            print(f"{annotator}  {link}", flush=True)
        say("evalkit: a link is its annotator's only; Ctrl-C stops, ratings are saved as they are given")

    serve_study(study, host=host, port=port, ready=ready)
    say(f"evalkit: stopped; evalkit human import {study} takes the ratings over")
