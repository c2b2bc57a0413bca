"""How far a model's confidence in its best choice is from how often it is right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.choices import softmax, split_results
from evalkit.scorers.common import gold_indices, no_gold, one_of, serves, whole
from evalkit.scorers.totals import TotalsScorer
from evalkit.stats.calibration import calibration_error, calibration_features
from evalkit.types import Json, Record, Score


@serves("multiple_choice")
class CalibrationError(TotalsScorer):
    """Expected calibration error of the best choice's probability, and its Brier score (both in [0, 1]).

    Equal-width ``bins``; probabilities are the softmax of the choices' log-likelihoods, with ``per: character`` of those
    per character.
    """

    name = "calibration_error"
    metrics = (
        MetricInfo("ece", higher_is_better=False, low=0.0, high=1.0, ideal=0.0),
        MetricInfo("brier_top", higher_is_better=False, low=0.0, high=1.0, ideal=0.0, headline=False),
    )
    prefer_linear = True  # a resample is always less calibrated than the data: the bootstrap is biased upwards

    def __init__(self, bins: int = 10, per: str = "choice") -> None:
        self._bins = whole("bins", bins)
        self._per = one_of("per", per, ("choice", "character"))

    def parameters(self) -> Mapping[str, Json]:
        return {"bins": self._bins, "per": self._per}

    def score_one(self, record: Record) -> Score:
        gold = gold_indices(record.sample)
        if gold is None:
            return Score.unscored(no_gold(record.sample))
        split = split_results(record)
        if isinstance(split, str):
            return Score.unscored(split)
        lls, choices = split[0], record.sample.choices or ()
        if self._per == "character":
            lls = [ll / max(len(choice), 1) for ll, choice in zip(lls, choices, strict=True)]
        probabilities = softmax(lls)
        confidence = max(probabilities)
        return Score((confidence, float(probabilities.index(confidence) in gold)), confidence)

    def features(self, stats: Array) -> Array:
        squared = (stats[:, 0] - stats[:, 1]) ** 2
        return np.concatenate([squared[:, None], calibration_features(stats[:, 0], stats[:, 1], self._bins)], axis=1)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return {"ece": calibration_error(totals[..., 1:]), "brier_top": totals[..., 0] / totals[..., -1]}

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """The reliability diagram: by bin the count, mean confidence and accuracy."""
        place = np.clip(np.floor(stats[:, 0] * self._bins), 0, self._bins - 1).astype(int)
        rows = []
        for i in range(self._bins):
            inside = stats[place == i]
            if len(inside):
                confidence, accuracy = inside.mean(axis=0)
                rows.append({"bin": i, "n": len(inside), "confidence": float(confidence), "accuracy": float(accuracy)})
        return {"bins": self._bins, "reliability": rows}
