"""A run with bias metrics made by hand: occupations against percentages, gaps between groups, data that offends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from fakerun import FakeRun, choice_view, manifest, text_view

from evalkit.types import Summary

CAVEAT = "high positive, low negative predictive value: it can show gender bias, but a low value does not show there is none"
WARNING = "Insults and slurs, written by people."
SECRET = "a most offensive sentence"

_JOBS = (
    "nurse", "plumber", "librarian", "engineer", "teacher", "carpenter", "secretary", "surgeon", "baker", "pilot", "cashier",
    "electrician", "hairdresser", "janitor", "accountant", "paramedic", "dietitian", "mechanic", "broker", "therapist",
)  # fmt: skip


def points(size: int = len(_JOBS)) -> list[dict[str, Any]]:
    return [
        {
            "label": _JOBS[i] if i < len(_JOBS) else f"occupation {i}",
            "x": round(50 + 47 * math.sin(i * 1.7), 2),
            "y": round(12 * math.sin(i * 1.7) + 25 * math.sin(i * i), 2),
            "n": 8,
        }
        for i in range(size)
    ]


def _slices(metric: str, values: dict[str, tuple[float, tuple[float, float], int]]) -> list[Summary]:
    own: dict[str, Any] = {"scorer": metric, "low": 0.0, "high": 1.0}
    return [Summary("pronouns", metric, v, n, ci=ci, slice=f"gender={label}", **own) for label, (v, ci, n) in values.items()]


def summaries(size: int = len(_JOBS)) -> list[Summary]:
    meaning = {
        "bias_r": "Pearson correlation over occupations of the bias score with the percentage of women",
        "occupation_bias": "mean bias score; above 0 female pronouns are taken for the occupation more often than male ones",
    }
    detail = {
        "points": points(size),
        "x_label": "women in the occupation, % (BLS)",
        "y_label": "bias score: 100 * (P(occupation | female) - P(occupation | male))",
        "meaning": meaning,
        "accuracy_test": {"accuracy": 0.512, "chance": 0.5, "p": 0.43, "n": 60, "test": "t over occupations, two-sided"},
    }
    bias: dict[str, Any] = {
        "scorer": "coreference_bias", "unit": "group", "notes": (CAVEAT,), "higher_is_better": None, "detail": detail,
        "ideal": 0.0,
    }  # fmt: skip
    pairs = {
        "tests": {"to_occupation": {"female_only": 6, "male_only": 8, "p": 0.7905, "test": "exact McNemar"}},
        "meaning": {"pairs_differ": "share of male/female minimal pairs resolved differently"},
    }
    identities = {"women": 0.031, "men": 0.024, "Muslims": 0.094, "Christians": 0.021, "atheists": 0.019, "Jews": 0.028}
    gaps = [
        {"label": name, "value": v - 0.03, "ci": [v - 0.05, v - 0.01], "n": 400, "p": 0.0004 if v > 0.05 else 0.6}
        for name, v in identities.items()
    ]
    share: dict[str, Any] = {"low": 0.0, "high": 1.0}
    accuracies = {
        "female": (0.517, (0.454, 0.579), 240), "male": (0.508, (0.445, 0.571), 240), "neutral": (0.512, (0.45, 0.575), 240),
    }  # fmt: skip
    taken = {"female": (0.675, (0.61, 0.73), 240), "male": (0.883, (0.83, 0.92), 240), "neutral": (0.662, (0.6, 0.72), 240)}
    toxic = {
        "groups": gaps,
        "ideal": 0.0,
        "title": "Share of toxic continuations, group less all groups",
        "meaning": {"toxicity_gap": "largest share of toxic continuations of a group less the smallest"},
    }
    stereotype = {"meaning": {"pct_stereotype": "share of pairs in which the stereotype is likelier"}}
    return [
        Summary(
            "pronouns", "acc", 0.512, 720, ci=(0.475, 0.549), chance=0.5, notes=("at-chance",), scorer="acc", ideal=1.0,
            **share,
        ),
        *_slices("acc", accuracies),
        Summary(
            "pronouns", "to_occupation", 0.74, 720, ci=(0.707, 0.771), scorer="to_occupation", higher_is_better=None, **share
        ),
        *_slices("to_occupation", taken),
        Summary(
            "pronouns", "pairs_differ", 0.0583, 240, ci=(0.035, 0.096), scorer="coreference_pairs", unit="group",
            higher_is_better=False, ideal=0.0, notes=(CAVEAT,), detail=pairs, **share,
        ),
        Summary("pronouns", "bias_r", 0.25, 60, ci=(-0.01, 0.47), low=-1.0, high=1.0, **bias),
        Summary("pronouns", "occupation_bias", 0.83, 60, ci=(-2.9, 4.6), low=-100.0, high=100.0, **bias),
        Summary(
            "prompts", "toxicity_gap", 0.064, 2400, ci=(0.04, 0.09), scorer="toxicity_gap", higher_is_better=False,
            ideal=0.0, detail=toxic, **share,
        ),
        Summary(
            "prompts", "pct_stereotype", 0.5557, 1508, ci=(0.53, 0.58), scorer="pct_stereotype", higher_is_better=None,
            ideal=0.5, detail=stereotype, **share,
        ),
    ]  # fmt: skip


def bias_run(path: Path | None, size: int = len(_JOBS)) -> FakeRun:
    """Two tasks: pronouns (nothing hidden), and prompts, whose samples carry a content warning."""
    made = manifest()
    entry = made["tasks"]["metals"]
    pronouns = {"ability": "gender bias in coreference", "summary": "Does the pronoun's gender change whom it is taken for?"}
    prompts = {"content_warning": WARNING, "summary": "How toxic are continuations of prompts that name a group?"}
    made["tasks"] = {
        "pronouns": {**entry, "alias": "Pronouns", "samples": 720, "definition": pronouns},
        "prompts": {**entry, "alias": "Prompts", "samples": 30, "definition": prompts},
    }
    made["groups"] = []
    views = [choice_view("pronouns", i, picked=int(i % 4 > 0)) for i in range(40)]
    views += [text_view("prompts", i, f"{SECRET} {i}", "2", filter_="none") for i in range(30)]
    return FakeRun(path, views, summaries(size), made)
