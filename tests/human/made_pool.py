"""Outputs of made-up systems, for studies to be made of."""

from __future__ import annotations

import random

from evalkit.human.base import Output
from evalkit.human.pool import Pool

TEXT = """the river town council budget spring storm bridge market school teacher finds new water plan after long debate
about money roads people say mayor vote winter snow heat summer rain team wins late goal final city bus line opens"""
WORDS = TEXT.split()
SYSTEMS = ("zephyrnaught-7b", "quillfeather-13b", "mosswright-70b", "tarnholm-1b", "vexillary-3b", "ombrelle-9b")


def sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words)).capitalize() + "."


def pool(items: int = 30, systems: int = 2, tasks: int = 1, words: int = 20, **changed: object) -> Pool:
    draw = random.Random(5)
    made: dict[str, tuple[Output, ...]] = {}
    slices = {}
    for at in range(items):
        name, task = f"item-{at:03d}", f"task{at % tasks}"
        source = sentence(draw, 40)
        made[name] = tuple(
            Output(name, system, sentence(draw, words + at % 7), f"Summarise: {source}", source, "a reference", task)
            for system in SYSTEMS[:systems]
        )
        slices[name] = {"topic": "ab"[at % 2]}
    facts = {
        "systems": SYSTEMS[:systems],
        "runs": tuple(f"/somewhere/runs/20260101T000000Z_{name}" for name in SYSTEMS[:systems]),
        "items": made,
        "slices": slices,
        "left_out": {},
        "secrets": SYSTEMS[:systems],
    }
    return Pool(**{**facts, **changed})  # type: ignore[arg-type]
