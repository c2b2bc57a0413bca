"""A page in one file: its template with styles and scripts inlined, and nothing else allowed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from evalkit.resources import builtin_dir


def page(template: str, styles: Sequence[str], scripts: Sequence[str], **values: Any) -> str:
    """``template`` of ``reports/`` with ``values``. Style and script are named by hash in its content security policy.

    Values are escaped unless they are Markup, so that text of data and models is never markup and never code.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = builtin_dir("reports")
    style, script = ("".join((folder / name).read_text("utf-8") for name in names) for names in (styles, scripts))
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(
        **values,
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
    )


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
