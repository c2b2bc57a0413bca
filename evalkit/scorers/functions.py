"""Calling a task folder's functions the way lm-eval calls them, and the items of its built-in metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evalkit.errors import CodeRefused, ScorerError
from evalkit.scorers.choices import ranked, softmax, split_results
from evalkit.scorers.common import gold_indices, no_gold, references
from evalkit.scorers.items import Items, NoItem
from evalkit.scorers.likelihood import count_words
from evalkit.types import OutputType, Record


def filtered_results(record: Record, output_type: OutputType) -> list[Any]:
    """What lm-eval hands to ``process_results``: (log-likelihood, is_greedy) pairs, log-likelihoods, or the answer."""
    if output_type == "generate_until":
        return [record.answer]
    if output_type == "loglikelihood_rolling":
        return [ll for ll, _ in record.results]
    return list(record.results)


def processed(function: Callable[..., Any], output_type: OutputType) -> Items:
    """The items of a task's ``process_results(doc, results)``."""

    def items(record: Record) -> Mapping[str, Any]:
        found = function(dict(record.sample.doc), filtered_results(record, output_type))
        if not isinstance(found, Mapping):
            raise NoItem(f"process_results gave {type(found).__name__}, not a mapping of metrics")
        return {str(name): value for name, value in found.items()}

    return items


def gold_and_result(record: Record, multiple_targets: bool) -> tuple[Any, Any]:
    """The target and answer that a metric of a generation sees: the target is text (or, with several, a list of text)."""
    texts = list(references(record.sample)) or [str(None)]  # what lm-eval makes of a missing target
    several = multiple_targets and not record.sample.choices
    return (texts if several or len(texts) > 1 else texts[0]), record.answer


def called(name: str, function: Callable[..., Any], params: Mapping[str, Any], multiple_targets: bool) -> Items:
    """The items of a metric function on generations.

    Called with ``references=[target], predictions=[answer]`` and the entry's parameters; where it takes no such arguments,
    with ``[target, answer]``. A mapping yields several metrics. With several targets, the item is 1.0 if the metric is
    true for any of them, lm-eval's rule.
    """

    def call(gold: Any, result: Any) -> Any:
        try:
            return function(references=[gold], predictions=[result], **params)
        except TypeError as first:
            try:
                return function([gold, result])
            except TypeError:
                raise first from None

    def items(record: Record) -> Mapping[str, Any]:
        gold, result = gold_and_result(record, multiple_targets)
        if not isinstance(gold, list):
            found = call(gold, result)
            return {str(k): v for k, v in found.items()} if isinstance(found, Mapping) else {name: found}
        scores = [call(one, result) for one in gold]
        return {name: float(any(s[name] if isinstance(s, Mapping) else s for s in scores))}

    return items


def passed_on(name: str, multiple_targets: bool) -> Items:
    """The items of lm-eval's pass-through metrics on generations: ``[target, answer]``."""
    return lambda record: {name: list(gold_and_result(record, multiple_targets))}


def hub_metric(name: str, allow_code: bool) -> Callable[..., Any]:
    """``compute`` of a metric from the evaluate library, which loads it as code from the hub (or a local path).

    Raises CodeRefused without ``allow_code``, ScorerError where it cannot be loaded.
    """
    if not allow_code:
        raise CodeRefused(f"metric {name!r} is code from the Hugging Face hub; allow it with --allow-code")
    try:
        import evaluate
    except ImportError as error:
        raise ScorerError(f"metric {name!r} needs the package evaluate: pip install 'evalkit[metrics]'") from error
    try:
        module = evaluate.load(name, keep_in_memory=True)
    except Exception as error:  # whatever a download or a foreign script may raise
        raise ScorerError(f"metric {name!r} cannot be loaded with evaluate: {type(error).__name__}: {error}") from error
    return module.compute  # type: ignore[no-any-return]


def choice_items(name: str) -> Items:
    """The items of lm-eval's multiple-choice metrics, for a task's own aggregation of them."""

    def items(record: Record) -> Mapping[str, Any]:
        sample = record.sample
        choices = sample.choices or ()
        gold = gold_indices(sample)
        split = split_results(record)
        if gold is None or isinstance(split, str):
            raise NoItem(split if isinstance(split, str) else no_gold(sample))
        lls, unconditional = split
        right: Any = gold[0] if len(gold) == 1 and not isinstance(sample.target, tuple | list) else list(gold)
        if name in ("f1", "mcc"):
            return {name: (right, ranked("acc", lls, choices, None))}
        if name == "brier_score":
            return {name: (right, softmax(lls))}
        if name == "likelihood":
            return {name: (right, tuple(lls))}
        if name == "exact_match":
            return {name: int(any(record.results[i][1] for i in gold))}
        if name == "acc_mutual_info" and unconditional is None:
            raise NoItem("acc_mutual_info needs unconditional log-likelihoods, which were not requested")
        return {name: float(ranked(name, lls, choices, unconditional) in gold)}

    return items


def likelihood_items(name: str) -> Items:
    """The items of lm-eval's log-likelihood metrics, for a task's own aggregation of them."""

    def items(record: Record) -> Mapping[str, Any]:
        if not record.results:
            raise NoItem("no log-likelihood")
        ll, greedy = record.results[0]
        if name == "acc":
            return {name: int(greedy)}
        if name == "perplexity":
            return {name: ll}
        text = references(record.sample)[0]
        return {name: (ll, count_words(text) if name == "word_perplexity" else len(text.encode()))}

    return items
