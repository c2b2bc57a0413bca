"""Networks loaded by one of transformers' Auto classes, with every weight from the checkpoint.

transformers fills what a checkpoint lacks with random numbers and says so in the log; a metric must refuse.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from evalkit.encoder.base import Checkpoint, EncoderSpec, checkpoint, wrong_kind
from evalkit.errors import ScorerError


def require_family(place: Checkpoint, families: Collection[str], expected: str) -> None:
    """Raises ScorerError, with what was found, where the config.json of ``place`` names a model type not in ``families``."""
    path = place.file("config.json")
    try:
        fits = path is not None and json.loads(path.read_text(encoding="utf-8")).get("model_type") in families
    except (ValueError, AttributeError) as error:
        raise ScorerError(f"cannot load {place.source}: its config.json cannot be read ({error})") from error
    if not fits:
        raise wrong_kind(place, expected)


def load_whole(
    spec: EncoderSpec, auto: Any, families: Collection[str], expected: str, *, lacking_is_fine: bool = False
) -> tuple[Any, Any]:
    """The module of the Auto class ``auto`` and its tokeniser, of a checkpoint whose model type is one of ``families``.

    ``lacking_is_fine``: the caller puts in weights of its own. Raises ScorerError, in one line, for any other checkpoint,
    and for one without some of its weights: what was found, and that ``expected`` was.
    """
    import torch
    from transformers import AutoTokenizer

    place = checkpoint(spec.model, spec.revision, kind=expected)
    require_family(place, families, expected)
    where: dict[str, Any] = {"revision": place.revision, "trust_remote_code": False}
    module, found = auto.from_pretrained(place.source, dtype=torch.float32, output_loading_info=True, **where)
    if found["missing_keys"] and not lacking_is_fine:
        raise wrong_kind(place, f"{expected} with all its weights (no {min(found['missing_keys'])})")
    return module.eval(), AutoTokenizer.from_pretrained(place.source, **where)
