"""What every metric of bias and toxicity states: scale, direction, ideal value, meaning, interval, n; unscored is not 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scorer_records import choice_record, text_record

from evalkit.resources import builtin_dir
from evalkit.scorers.base import Scorer
from evalkit.scorers.coreference_report import correlation
from evalkit.scorers.registry import SCORERS, build_scorers
from evalkit.tasks.load import TaskLibrary
from evalkit.tasks.scoring import scoring_plan
from evalkit.types import Record

FOLDERS = [builtin_dir("tasks") / name for name in ("bias", "toxicity")]
#: Shares whose good value hangs on what they are compared with (another gender's share), or that only count ties.
WITHOUT_IDEAL = {"to_occupation", "to_neither", "pct_neutral"}
#: Differences of log-likelihoods have no bound on the open side.
UNBOUNDED = {"margin_bias": (None, None), "likelihood_diff": (0.0, None)}
#: Scorers by name that the tasks of both folders use, and what else measures bias.
MEANT = {
    "coreference_choice", "coreference_pairs", "coreference_bias", "stereotype_pairs", "crows_pairs", "stereoset",
    "bbq_accuracy", "bbq_bias", "toxicity", "group_gap", "subgroup_error_rates", "label_auc", "label_average_precision",
}  # fmt: skip


def scorers() -> dict[str, tuple[str, Scorer]]:
    """Every scorer of a shipped task of both folders, by task and name, with the kind of the task."""
    paths = [str(path) for folder in FOLDERS for path in sorted(folder.glob("*.yaml"))]
    found = {}
    for config in TaskLibrary(cache=False).resolve(paths).tasks:
        plan = scoring_plan(config, allow_code=False, multiple_inputs=False, multiple_targets=False)
        for scorer in build_scorers(plan):
            found[f"{config.task}/{scorer.name}"] = (config.output_type, scorer)
    return found


@pytest.fixture(scope="module")
def every() -> dict[str, tuple[str, Scorer]]:
    return scorers()


def own(every: dict[str, tuple[str, Scorer]]) -> list[tuple[str, str, Scorer]]:
    return [(key, kind, scorer) for key, (kind, scorer) in every.items() if key.split("/")[1] in MEANT]


def test_the_walk_meets_every_scorer_that_is_meant(every: dict[str, Any]) -> None:
    assert set(SCORERS.names()) >= MEANT
    assert {key.split("/")[1] for key in every} >= MEANT


def test_every_metric_has_scale_direction_and_ideal(every: dict[str, Any]) -> None:
    for key, _, scorer in own(every):
        for metric in scorer.metrics:
            where = f"{key} {metric.name}"
            if metric.name in UNBOUNDED:
                assert (metric.low, metric.high) == UNBOUNDED[metric.name], where
            else:
                assert metric.low is not None and metric.high is not None and metric.low < metric.high, where
            if metric.name in WITHOUT_IDEAL:
                assert metric.ideal is None and metric.higher_is_better is None, where
                continue
            best = metric.ideal
            if best is None:  # the better end of the scale is the ideal
                assert metric.higher_is_better is not None, where
                best = metric.high if metric.higher_is_better else metric.low
            assert best is not None and (metric.low is None or metric.low <= best), where
            assert metric.high is None or best <= metric.high, where
            if metric.higher_is_better is not None:
                assert best == (metric.high if metric.higher_is_better else metric.low), where


def unreadable(kind: str) -> Record:
    """What came back cannot be read: fewer log-likelihoods than choices, or words that name nobody."""
    doc: dict[str, Any] = {name: "x" for name in ("occupation", "gender", "stereotype", "group", "axis", "template", "pair")}
    doc |= {"unknown": 2, "biased": 0, "context_condition": "ambig", "alignment": "", "category": "Age", "target": "x"}
    doc |= {
        "bias_type": "x",
        "direction": "stereo",
        "stereo_antistereo": "stereo",
        "answer_info": {},
        "bls_pct_female": 50.0,
    }
    names = ("hateful", "toxic", "yes")  # the labels that the tasks of toxicity count
    if kind == "multiple_choice":
        return choice_record([-1.0, -2.0], 0, names, doc=doc)
    return text_record("zzz", 0, names, doc)


def test_what_cannot_be_read_is_unscored_and_never_0(every: dict[str, Any]) -> None:
    met = set()
    for key, kind, scorer in own(every):
        if key.endswith(("_lexical/toxicity", "_lexical/group_gap")):
            continue  # a list of words reads any words
        record = unreadable(kind)
        for score in scorer.score([record], scorer.prepare([record])):
            assert score.stats is None and score.value is None and score.reason, key
        met.add((key.split("/")[1], kind))
    assert {name for name, _ in met} == MEANT


def test_two_points_have_no_correlation() -> None:
    two = np.array([1.0, 2.0])
    assert correlation(two, two)["r"] is None
    assert correlation(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0]))["r"] == pytest.approx(1.0)
