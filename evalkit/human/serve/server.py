"""Starting the page and stopping it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.human.serve.app import rating_app
from evalkit.human.serve.desk import Desk

PORT = 8377
_EVERYWHERE = ("0.0.0.0", "::")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve_study(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    ready: Callable[[Mapping[str, str]], None] = lambda links: None,
) -> None:
    """Serve the rating pages of a study until Ctrl-C. ``ready`` is given each annotator's link once the page answers.

    ``port`` 0 takes a free one. Raises UsageError where the port is taken or the packages are missing, StoreError for a
    folder that is no study or is served already.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise UsageError("the rating page needs starlette and uvicorn: pip install 'evalkit[human]'") from error
    desk = Desk(Path(folder))
    try:
        listening = _listening(host, port)
        bound = int(listening.getsockname()[1])
        names = _own_names() if host in _EVERYWHERE else {host, *(_LOOPBACK if host in _LOOPBACK else ())}
        hosts = frozenset(f"[{name}]:{bound}" if ":" in name else f"{name}:{bound}" for name in names)
        shown = socket.gethostname() if host in _EVERYWHERE else host
        place = f"http://{f'[{shown}]' if ':' in shown else shown}:{bound}/r/"
        config = uvicorn.Config(rating_app(desk, hosts), log_level="error", access_log=False, server_header=False)
        server = uvicorn.Server(config)
        ready({name: place + token for name, token in desk.tokens.items()})
        server.run(sockets=[listening])
    finally:
        desk.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(64)
    except OSError as error:
        raise UsageError(f"cannot serve on {host}, port {port}: {error.strerror or error}; name another --port") from error
    return found


def _own_names() -> set[str]:
    """Every name and address by which this machine may be asked for."""
    names = {*_LOOPBACK, socket.gethostname(), socket.getfqdn()}
    with suppress(OSError):
        names |= {str(item[4][0]).partition("%")[0] for item in socket.getaddrinfo(socket.gethostname(), None)}
    return names
