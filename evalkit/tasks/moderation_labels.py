"""Labels of undesired content, several a text, as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Sexual, hate, violence, harassment, self-harm, and the worse kinds of sexual, hate and violence.
LABELS = ("S", "H", "V", "HR", "SH", "S3", "H2", "V2")
#: Sexual content about minors: such a text is neither shown to a model nor kept in a run.
_LEFT_OUT = "S3"


def openai_moderation(doc: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """``undesired``: 1 where one of the labels applies, else 0. Texts without any label, or with S3, are left out."""
    found = [int(float(value)) for label in LABELS if (value := doc.get(label)) not in (None, "") and value == value]
    if found and not int(float(doc.get(_LEFT_OUT) or 0)):
        yield {**doc, "undesired": int(any(found))}
