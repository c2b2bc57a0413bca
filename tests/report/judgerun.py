"""A run with judges made by hand: a panel with a calibration beside it, a comparison without, and words that try things."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fakerun import HOSTILE, FakeRun, FakeView, manifest, text_view

from evalkit.types import Score, Summary

PANEL = "judge|combine:mean|judge:hf/one@aa,hf/two@bb|mode:logprobs|rubric:summarisation@0123abcd|via:loglikelihood"
PAIRS = "judge_pairwise|against:other|judge:hf/one@aa|mode:argmax|orders:both|rubric:preference@4567ef|swap:tie|version:1"
PANEL_NOTE = "the judge hf/one is of the model's own family (one), which judges tend to favour"


def canary(name: str, criterion: str, judge: str, value: float | None, earned: bool) -> dict[str, Any]:
    return {
        "canary": name, "criterion": criterion, "judge": judge, "value": value, "floor": 1.0,
        "state": "score" if value is not None else "refusal", "worthless": True, "earned": earned,
    }  # fmt: skip


def _mean(value: float | None, ci: tuple[float, float] | None = None) -> dict[str, Any]:
    return {"value": value, "ci": None if ci is None else list(ci)}


def _criterion(name: str, use: str, says: list[str], **more: Any) -> dict[str, Any]:
    spearman = {"value": 0.61, "ci": [0.47, 0.72], "used": 100, "reason": None}
    coefficients = dict.fromkeys(("pearson", "spearman", "kendall", "accuracy"), spearman)
    plain = dict.fromkeys(coefficients, 0.12)
    row = {"judged": 800, "rated": 100, "weight": 0.71}
    return {
        "criterion": name, "human": name, "items": 100, "outputs": 200, "systems": 2, "low": 1.0, "high": 5.0, "use": use,
        "says": says,
        "levels": {"segment": coefficients, "summary": coefficients},
        "trivial": {"longest": {"segment": plain, "summary": plain}, "constant": {"segment": dict.fromkeys(plain)}},
        "agreement": {
            "n": 200, "alpha_interval": _mean(0.52, (0.43, 0.6)), "alpha_ordinal": _mean(0.5, (0.4, 0.58)),
            "kappa_quadratic": _mean(0.5, (0.41, 0.6)),
            "people": {"raters": 3, "alpha_interval": 0.66, "one": {"spearman": 0.7}, "judge_instead": {"spearman": 0.58}},
        },
        "bias": {
            "offset": {"value": 0.62, "ci": [0.5, 0.74], "mean_absolute": 0.9},
            "length": {"residual": _mean(0.21, (0.08, 0.33)), "judge": _mean(0.3), "human": _mean(0.1)},
            "confusion": {"levels": [1, 2, 3, 4, 5], "people_by_judge": [[4, 3, 1, 0, 0], [2, 9, 9, 1, 0], [0, 3, 30, 22, 4],
                          [0, 0, 9, 41, 22], [0, 0, 1, 14, 25]]},
            "shape": {"judge": {"ties": 0.31, "top": 0.26}, "human": {"ties": 0.12, "top": 0.2}},
        },
        "corrected": [
            {"system": "smollm2", "judge": _mean(3.9, (3.84, 3.96)), "human": _mean(3.25, (3.03, 3.47)),
             "corrected": _mean(3.29, (3.13, 3.45)), **row},
            {"system": "rival", "judge": _mean(4.1, (4.04, 4.16)), "human": _mean(3.6, (3.4, 3.8)),
             "corrected": _mean(3.52, (3.37, 3.67)), **row},
            {"system": "rival", "less": "smollm2", "judge": _mean(0.2, (0.14, 0.26)), "human": _mean(0.35, (0.1, 0.6)),
             "corrected": _mean(0.23, (0.05, 0.41)), **row},
        ],
        "doubts": [],
    } | more  # fmt: skip


def calibration() -> dict[str, Any]:
    few = [{"system": HOSTILE, "judge": _mean(4.2, (4.1, 4.3)), "human": _mean(None), "corrected": None, "judged": 800,
            "rated": 2, "weight": None, "reason": "2 rated items: at least 5 are needed"}]  # fmt: skip
    return {
        "schema": 1, "judge": PANEL, "scorer": "judge", "task": "prose", "rubric": "0123abcd", "created": "2026-11-22",
        "alpha": _mean(0.52), "n": 100, "human": {"ratings": "study", "raters": 3}, "notes": ["2 outputs were left out"],
        "order": {},
        "criteria": {
            "coherence": _criterion("coherence", "means", ["ranks systems as people do", "scores 0.62 too high"]),
            "fluency": _criterion("fluency", "no", [f"not usable: {HOSTILE}"], corrected=few, doubts=["together"]),
        },
    }  # fmt: skip


def judge_view(number: int, reply: str) -> FakeView:
    view = text_view("prose", number, f"A summary, {number}.", "", filter_="none")
    verdicts = [
        {"judge": "hf/one", "coherence": {"value": 3.8, "shares": {"3": 0.2, "4": 0.8}},
         "fluency": {"value": None, "state": "refusal", "reason": "the judge declined"}},
        {"judge": "hf/two", "coherence": {"value": 4.0, "reply": reply}},
    ]  # fmt: skip
    return FakeView("prose", "none", view.record, {"judge": Score((3.9, 4.0), 1.0, detail={"verdicts": verdicts})})


def pair_view(number: int, reply: str) -> FakeView:
    view = text_view("pairs", number, f"An answer, {number}.", "", filter_="none")
    verdicts = [
        {"first": "answer", "label": "A", "value": 1.0, "reply": reply},
        {"first": "other", "label": None, "value": None, "reason": "no verdict could be found"},
    ]
    return FakeView("pairs", "none", view.record, {"judge_pairwise": Score((1.0,), 1.0, detail={"verdicts": verdicts})})


def summaries() -> list[Summary]:
    panel = {
        "judges": {"judge_1": "hf/one", "judge_2": "hf/two"}, "rubric": "summarisation", "score_mode": "logprobs",
        "verdicts": 3200, "failed": 12, "refused": 4, "asked_again": 9, "outside": {"mean": 0.031, "worst": 0.4},
        "unscored": {"the judge declined": 3},
        "panel": {"coherence": {"items": 800, "mean": {"judge_1": 3.8, "judge_2": 4.0}, "spread": 0.41,
                                "without": {"judge_1": 4.0, "judge_2": 3.8}}},
        "canaries": [
            canary("empty", "coherence", "judge_1", 1.02, False), canary("empty", "fluency", "judge_1", None, False),
            canary("instruction", "coherence", "judge_1", 4.9, True),
            canary("instruction", "fluency", "judge_2", 1.4, False),
        ],
    }  # fmt: skip
    pairs = {
        "judge": "hf/one", "rubric": "preference", "agrees_with_longest": 0.71, "ties": 0.2,
        "win_rate_of_trivial_judges": {"longest": 0.66, "shortest": 0.34, "random": 0.5, "constant": 0.5},
        "canaries": [{"canary": "empty", "criterion": "preference", "value": 0.0, "earned": False}],
    }  # fmt: skip
    own: dict[str, Any] = {"scorer": "judge", "signature": PANEL, "low": 1.0, "high": 5.0, "ideal": 5.0, "detail": panel}
    notes = (PANEL_NOTE, "1 of 4 canaries earned more than the floor ('instruction': 4.90 for coherence, whose floor is 1)")
    share: dict[str, Any] = {"scorer": "judge_pairwise", "signature": PAIRS, "low": 0.0, "high": 1.0, "detail": pairs}
    return [
        Summary("prose", "coherence", 3.9, 800, ci=(3.84, 3.96), notes=notes, **own),
        Summary("prose", "fluency", 4.2, 797, ci=(4.1, 4.3), notes=notes, **own),
        Summary("prose", "coherence@judge_1", 3.8, 800, ci=(3.7, 3.9), **own),
        Summary("prose", "coherence", 3.7, 400, ci=(3.6, 3.8), scorer="judge", slice="part=a"),
        Summary("pairs", "win_rate", 0.62, 300, ci=(0.57, 0.67), **share),
        Summary("pairs", "win_rate_lc", 0.55, 300, ci=(0.5, 0.6), **share),
        Summary("pairs", "flip_rate", 0.24, 300, ci=(0.2, 0.29), higher_is_better=False, ideal=0.0, **share),
        Summary("pairs", "first_slot", 0.58, 300, ci=(0.54, 0.62), higher_is_better=None, ideal=0.5, **share),
    ]  # fmt: skip


def judge_run(path: Path | None, reply: str = HOSTILE, *, calibrated: bool = True) -> FakeRun:
    """Task ``prose`` judged by a panel (calibrated), ``pairs`` by a comparison."""
    made = manifest()
    entry = made["tasks"]["prose"]
    made["tasks"] = {"prose": {**entry, "samples": 800}, "pairs": {**entry, "alias": "pairs", "samples": 300}}
    made["groups"] = []
    views = [*(judge_view(i, reply) for i in range(4)), *(pair_view(i, reply) for i in range(4))]
    if path is not None and calibrated:
        (path / "calibration").mkdir()
        (path / "calibration" / "judge.json").write_text(json.dumps(calibration()))
    return FakeRun(path, views, summaries(), made)
