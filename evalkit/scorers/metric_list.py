"""From a task's ``metric_list`` (lm-eval's semantics, defaults included) to scorers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from evalkit.errors import ScorerError, nearest
from evalkit.scorers import choices, classification, likelihood, text
from evalkit.scorers.aggregations import Aggregation, Custom, aggregation
from evalkit.scorers.base import BaseScorer, MetricSpec, Scorer, ScoringPlan
from evalkit.scorers.functions import called, choice_items, hub_metric, likelihood_items, passed_on, processed
from evalkit.scorers.items import Items, ItemScorer
from evalkit.scorers.ngram import corpus
from evalkit.types import Json, OutputType

#: lm-eval's metrics: the aggregation and direction it gives them where an entry names none.
KNOWN: Mapping[str, tuple[str, bool]] = {
    "acc": ("mean", True),
    "acc_norm": ("mean", True),
    "acc_bytes": ("mean", True),
    "acc_mutual_info": ("mean", True),
    "exact_match": ("mean", True),
    "likelihood": ("mean", True),
    "brier_score": ("brier_score", False),
    "f1": ("f1", True),
    "mcc": ("matthews_corrcoef", True),
    "perplexity": ("perplexity", False),
    "word_perplexity": ("weighted_perplexity", False),
    "byte_perplexity": ("weighted_perplexity", False),
    "bits_per_byte": ("bits_per_byte", False),
    "bleu": ("bleu", True),
    "chrf": ("chrf", True),
    "chrf++": ("chrf++", True),
    "ter": ("ter", False),
    "bypass": ("bypass", True),
}

#: The metrics a task gets that names none.
DEFAULTS: Mapping[OutputType, tuple[str, ...]] = {
    "multiple_choice": ("acc", "acc_norm"),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "generate_until": ("exact_match",),
}

#: The metrics that each kind of task can compute by itself, and how.
_NATIVE: Mapping[OutputType, Mapping[str, Callable[..., BaseScorer]]] = {
    "multiple_choice": {
        "acc": choices.acc,
        "acc_norm": choices.acc_norm,
        "acc_bytes": choices.acc_bytes,
        "acc_mutual_info": choices.acc_mutual_info,
        "exact_match": choices.ChoiceGreedy,
        "likelihood": choices.likelihood,
        "brier_score": choices.brier_score,
        "f1": classification.f1,
        "mcc": classification.mcc,
    },
    "loglikelihood": {"perplexity": likelihood.perplexity, "acc": likelihood.GreedyAccuracy},
    "loglikelihood_rolling": {
        "word_perplexity": likelihood.word_perplexity,
        "byte_perplexity": likelihood.byte_perplexity,
        "bits_per_byte": likelihood.bits_per_byte,
    },
    "generate_until": {
        "exact_match": text.exact_match,
        "bleu": corpus.bleu,
        "chrf": corpus.chrf,
        "chrf++": corpus.chrf_plus_plus,
        "ter": corpus.ter,
    },
}
_EXACT_MATCH = ("regexes_to_ignore", "ignore_case", "ignore_punctuation", "ignore_numbers")


def metric_scorers(plan: ScoringPlan) -> list[Scorer]:
    """The scorers of ``metric_list``, or of the output type's default metrics where neither list names any.

    Raises ScorerError for an unknown metric, parameter or aggregation, CodeRefused for a hub metric without permission.
    """
    if plan.process_results is not None:
        return [_process_results(plan)]
    specs = plan.metrics
    if not specs and not plan.scorers:
        specs = tuple(MetricSpec(name) for name in DEFAULTS[plan.output_type])
    scorers: list[Scorer] = []
    grouped = _grouped(plan.output_type, specs)
    for spec in specs:
        if spec.metric == "bypass":  # lm-eval's way to say: answers only, no metric
            continue
        if spec in grouped:
            if spec is grouped[0]:
                scorers.append(_together(plan.output_type, grouped))
            continue
        scorers.append(_one(plan, spec))
    return scorers


def _grouped(output_type: OutputType, specs: tuple[MetricSpec, ...]) -> list[MetricSpec]:
    """The entries that one pass over a sample answers together, in order."""
    names = choices.RANKINGS if output_type == "multiple_choice" else tuple(_NATIVE["loglikelihood_rolling"])
    if output_type not in ("multiple_choice", "loglikelihood_rolling"):
        return []
    return [spec for spec in specs if spec.metric in names and _default_aggregation(spec)]


def _default_aggregation(spec: MetricSpec) -> bool:
    return isinstance(spec.metric, str) and spec.aggregation in (None, KNOWN[spec.metric][0])


def _together(output_type: OutputType, specs: list[MetricSpec]) -> Scorer:
    names = tuple(dict.fromkeys(str(spec.metric) for spec in specs))
    scorer: BaseScorer
    if output_type == "multiple_choice":
        scorer = choices.ChoiceAccuracy(names)
    else:
        scorer = likelihood.RollingPerplexity(names)
    directions = {str(spec.metric): spec.higher_is_better for spec in specs if spec.higher_is_better is not None}
    return _directed(scorer, directions)


def _directed(scorer: BaseScorer, directions: Mapping[str, bool]) -> BaseScorer:
    """The scorer with the directions that the task file states."""
    scorer.metrics = tuple(
        replace(m, higher_is_better=directions[m.name]) if m.name in directions else m for m in scorer.metrics
    )
    return scorer


def _one(plan: ScoringPlan, spec: MetricSpec) -> Scorer:
    """The scorer of one entry that stands alone."""
    output_type, name = plan.output_type, _name(spec)
    native = _NATIVE[output_type].get(name) if isinstance(spec.metric, str) and not spec.hf_evaluate else None
    if output_type != "generate_until" and isinstance(spec.metric, str):
        native = _NATIVE[output_type].get(name)  # hf_evaluate changes nothing here: lm-eval never calls such a metric
        if native is None:
            raise _unknown(name, output_type)
    if native is not None and _default_aggregation(spec):
        params = _exact_match_params(spec) if native is text.exact_match else {}
        found = native(**params)
        return _directed(found, {} if spec.higher_is_better is None else {name: spec.higher_is_better})
    how = _aggregation(spec)
    return ItemScorer(
        name,
        _items(plan, spec),
        {name: how},
        fallback=lambda metric: _aggregation(spec, metric),
        parameters=_pinned(spec, how),
    )


def _items(plan: ScoringPlan, spec: MetricSpec) -> Items:
    """Where the items of an entry come from."""
    name, several = _name(spec), plan.multiple_targets
    if plan.output_type == "multiple_choice" and isinstance(spec.metric, str):
        return choice_items(name)
    if plan.output_type != "generate_until" and isinstance(spec.metric, str):
        return likelihood_items(name)
    if plan.output_type != "generate_until":
        raise ScorerError(f"metric function {name!r}: lm-eval calls metric functions on generate_until tasks only")
    if callable(spec.metric):
        return called(name, spec.metric, spec.params, several)
    if name == "exact_match" and not spec.hf_evaluate:
        inner = text.exact_match(**_exact_match_params(spec))
        return lambda record: {name: inner.score_one(record).value}
    if spec.hf_evaluate or name not in KNOWN:
        if not spec.hf_evaluate and not plan.allow_code:
            hub = "; if it is one of the evaluate library, --allow-code loads it"
            raise ScorerError(f"{_unknown(name, plan.output_type)}{hub}")
        return called(name, hub_metric(name, plan.allow_code), spec.params, several)
    if callable(spec.aggregation) or name in ("bleu", "chrf", "chrf++", "ter"):
        return passed_on(name, several)
    raise ScorerError(f"metric {name!r} of a generate_until task needs an aggregation function; did you mean exact_match?")


def _process_results(plan: ScoringPlan) -> Scorer:
    """The scorer of a task that computes its metrics itself: ``metric_list`` then only says how they are aggregated."""
    assert plan.process_results is not None
    specs = {_name(spec): spec for spec in plan.metrics if spec.metric != "bypass"}
    if not plan.metrics:
        specs = {name: MetricSpec(name) for name in DEFAULTS[plan.output_type]}
    declared = {name: _aggregation(spec) for name, spec in specs.items()}
    function = plan.process_results
    pinned: dict[str, Json] = {"function": getattr(function, "__qualname__", type(function).__qualname__)}
    for name, how in declared.items():
        pinned[name] = _label(how)
    return ItemScorer("process_results", processed(function, plan.output_type), declared, parameters=pinned)


def _aggregation(spec: MetricSpec, metric: str | None = None) -> Aggregation:
    """The aggregation of an entry: its own, lm-eval's for that metric, else the mean."""
    name = metric or _name(spec)
    default, better = KNOWN.get(name, ("mean", None))
    how = spec.aggregation or ("mean" if default == "bypass" else default)
    if how == "bypass":
        how = "mean"
    return aggregation(name, how, better if spec.higher_is_better is None else spec.higher_is_better)


def _exact_match_params(spec: MetricSpec) -> Mapping[str, Any]:
    for key in spec.params:
        if key not in _EXACT_MATCH:
            raise ScorerError(f"metric 'exact_match' has no parameter {key!r}{nearest(key, _EXACT_MATCH)}")
    return spec.params


def _name(spec: MetricSpec) -> str:
    return spec.metric if isinstance(spec.metric, str) else getattr(spec.metric, "__name__", type(spec.metric).__name__)


def _pinned(spec: MetricSpec, how: Aggregation) -> Mapping[str, Json]:
    return {**{k: str(v) for k, v in spec.params.items()}, "aggregation": _label(how)}


def _label(how: Aggregation) -> str:
    return how.function_name if isinstance(how, Custom) else type(how).__name__.lower()


def _unknown(name: str, output_type: OutputType) -> ScorerError:
    known = _NATIVE[output_type]
    hint = nearest(name, known) or f"; it has {', '.join(known)}"
    return ScorerError(f"a {output_type} task has no metric {name!r}{hint}")
