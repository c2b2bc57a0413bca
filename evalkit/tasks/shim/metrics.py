"""Stands in for ``lm_eval.api.metrics``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

__all__ = [
    "bits_per_byte", "mean", "mean_stderr", "median", "metric_max_over_ground_truths", "nanmean", "perplexity",
    "sample_stddev", "weighted_mean", "weighted_perplexity",
]  # fmt: skip


def metric_max_over_ground_truths(
    metric_fn: Callable[[Any, Any], float], prediction: Any, ground_truths: Iterable[Any]
) -> float:
    """The best score of ``prediction`` against any of the ``ground_truths``."""
    return max(metric_fn(prediction, truth) for truth in ground_truths)


def mean(arr: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(arr) / len(arr)


def nanmean(arr: Sequence[float]) -> float:
    """The mean of what is a number; NaN where nothing is."""
    numbers = [x for x in arr if not math.isnan(x)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def sample_stddev(arr: Sequence[float]) -> float:
    """The standard deviation with n - 1 below the line."""
    centre = mean(arr)
    return math.sqrt(sum((x - centre) ** 2 for x in arr) / (len(arr) - 1))


def mean_stderr(arr: Sequence[float]) -> float:
    """The standard error of the mean."""
    return sample_stddev(arr) / math.sqrt(len(arr))


def perplexity(items: Sequence[float]) -> float:
    """The exponential of the negative mean log-likelihood."""
    return math.exp(-mean(items))


def weighted_mean(items: Iterable[tuple[float, float]]) -> float:
    """Sum of the values over the sum of the weights, of (value, weight) pairs."""
    values, weights = zip(*items, strict=True)
    return float(sum(values) / sum(weights))


def weighted_perplexity(items: Iterable[tuple[float, float]]) -> float:
    """The exponential of the negative `weighted_mean` of (log-likelihood, weight) pairs."""
    return math.exp(-weighted_mean(items))


def bits_per_byte(items: Iterable[tuple[float, float]]) -> float:
    """Bits per byte of (log-likelihood in nats, bytes) pairs."""
    return -weighted_mean(items) / math.log(2)
