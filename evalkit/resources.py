"""Where the folders that ship beside the package are: in a checkout, an editable install and a wheel alike."""

from __future__ import annotations

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
