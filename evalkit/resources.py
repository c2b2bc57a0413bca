"""Where the folders that ship beside the package are: in a checkout, an editable install and a wheel alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

Kind = Literal["tasks", "judges", "reports", "gates"]


def builtin_dir(kind: Kind) -> Path:
    """The folder of built-in ``kind``.

    The pyproject guard keeps an installed package from picking up a foreign ``site-packages/tasks``.
    """
    package = Path(__file__).resolve().parent
    if (package.parent / "pyproject.toml").is_file():
        return package.parent / kind
    return package / "_data" / kind


def user_cache_dir(*parts: str) -> Path:
    """Where this user's derived data is kept (converted weights, indexes): ``$EVALKIT_CACHE``, else the XDG cache.

    Everything in it can be deleted at any time. The folder is not created here.
    """
    root = os.environ.get("EVALKIT_CACHE")
    base = Path(root).expanduser() if root else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "evalkit"
    return base.joinpath(*parts)
