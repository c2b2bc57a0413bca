"""From names to scorers: the table of built-ins, what a task's plan asks for, and the listing for ``evalkit ls``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evalkit.errors import ScorerError, nearest
from evalkit.registry import Registry
from evalkit.scorers.base import Scorer, ScorerSpec, ScoringPlan
from evalkit.scorers.choices import ChoiceAccuracy
from evalkit.scorers.labelled import Labelled
from evalkit.scorers.metric_list import metric_scorers
from evalkit.types import OutputType

_HERE = "evalkit.scorers"

#: Scorer name -> factory, a class or function whose keyword parameters are the scorer's.
SCORERS = Registry(
    "scorer",
    {
        "acc": f"{_HERE}.choices:acc",
        "acc_bytes": f"{_HERE}.choices:acc_bytes",
        "acc_mutual_info": f"{_HERE}.choices:acc_mutual_info",
        "acc_norm": f"{_HERE}.choices:acc_norm",
        "accuracy": f"{_HERE}.classification:Accuracy",
        "bartscore": f"{_HERE}.neural.bartscore:BartScore",
        "bertscore": f"{_HERE}.neural.bertscore:bertscore",
        "bbq_accuracy": f"{_HERE}.bbq:BbqAccuracy",
        "bbq_bias": f"{_HERE}.bbq:BbqBias",
        "bits_per_byte": f"{_HERE}.likelihood:bits_per_byte",
        "bleu": f"{_HERE}.ngram.corpus:bleu",
        "bleurt": f"{_HERE}.neural.bleurt:Bleurt",
        "brier": f"{_HERE}.choices:brier",
        "brier_score": f"{_HERE}.choices:brier_score",
        "byte_perplexity": f"{_HERE}.likelihood:byte_perplexity",
        "calibration_error": f"{_HERE}.calibration:CalibrationError",
        "cer": f"{_HERE}.ngram.error_rate:cer",
        "chrf": f"{_HERE}.ngram.corpus:chrf",
        "chrf++": f"{_HERE}.ngram.corpus:chrf_plus_plus",
        "claims": f"{_HERE}.judge.claims:Claims",
        "comet": f"{_HERE}.neural.comet.scorer:Comet",
        "contains": f"{_HERE}.text:contains",
        "coreference_bias": f"{_HERE}.coreference:coreference_bias",
        "coreference_choice": f"{_HERE}.coreference:coreference_choice",
        "coreference_pairs": f"{_HERE}.coreference:coreference_pairs",
        "crows_pairs": f"{_HERE}.stereotypes:CrowsPairs",
        "crows_pairs_masked": f"{_HERE}.neural.crows_pairs:CrowsPairsMasked",
        "evaluate": f"{_HERE}.evaluate_bridge:evaluate",
        "embedding_similarity": f"{_HERE}.neural.embedding:EmbeddingSimilarity",
        "exact_match": f"{_HERE}.text:exact_match",
        "f1": f"{_HERE}.classification:f1",
        "given": f"{_HERE}.given:given",
        "group_correlation": f"{_HERE}.groups:GroupCorrelation",
        "group_gap": f"{_HERE}.toxicity_groups:GroupGap",
        "judge": f"{_HERE}.judge.pointwise:Judge",
        "judge_pairwise": f"{_HERE}.judge.pairwise:JudgePairwise",
        "label_auc": f"{_HERE}.label_ranking:label_auc",
        "label_average_precision": f"{_HERE}.label_ranking:label_average_precision",
        "letter_choice": f"{_HERE}.letters:letter_choice",
        "letter_logprobs": f"{_HERE}.letters:letter_logprobs",
        "likelihood": f"{_HERE}.choices:likelihood",
        "llm_judge_yes_no": f"{_HERE}.judge.yes_no:JudgeYesNo",
        "majority_vote": f"{_HERE}.repeats:MajorityVote",
        "matthews": f"{_HERE}.classification:Matthews",
        "matches_pattern": f"{_HERE}.pattern:matches_pattern",
        "mcc": f"{_HERE}.classification:mcc",
        "moderation": f"{_HERE}.moderation:Moderation",
        "numeric_match": f"{_HERE}.text:numeric_match",
        "pair_consistency": f"{_HERE}.groups:PairConsistency",
        "pass_at_k": f"{_HERE}.repeats:PassAtK",
        "perplexity": f"{_HERE}.likelihood:perplexity",
        "pll": f"{_HERE}.neural.pseudo_likelihood:PseudoLikelihood",
        "precision_recall_f1": f"{_HERE}.classification:PrecisionRecallF1",
        "rolling_perplexity": f"{_HERE}.likelihood:RollingPerplexity",
        "rouge": f"{_HERE}.ngram.rouge:rouge",
        "self_consistency": f"{_HERE}.self_consistency:self_consistency",
        "selfcheck": f"{_HERE}.judge.selfcheck:selfcheck",
        "squad_exact_match": f"{_HERE}.text:squad_exact_match",
        "stereoset": f"{_HERE}.stereoset:StereoSet",
        "stereotype_pairs": f"{_HERE}.coreference_stereotype:StereotypePairs",
        "subgroup_error_rates": f"{_HERE}.label_ranking:SubgroupErrorRates",
        "ter": f"{_HERE}.ngram.corpus:ter",
        "token_f1": f"{_HERE}.text:token_f1",
        "tool_calls": f"{_HERE}.tool_calls:tool_calls",
        "toxicity": f"{_HERE}.toxicity:Toxicity",
        "truthfulqa_gen": f"{_HERE}.truthfulqa:TruthfulQAGeneration",
        "truthfulqa_mc2": f"{_HERE}.choices:truthfulqa_mc2",
        "wer": f"{_HERE}.ngram.error_rate:wer",
        "word_perplexity": f"{_HERE}.likelihood:word_perplexity",
    },
    ScorerError,
)


#: Annotations of parameters that are true or false, and nothing else that happens to be truthy.
_FLAGS = ("bool", "bool | None")


@dataclass(frozen=True, slots=True)
class ScorerListing:
    """One line of ``evalkit ls scorers``. ``params`` maps a parameter to its default, ``required`` where it has none."""

    name: str
    summary: str
    params: Mapping[str, str] = field(default_factory=dict)
    output_types: tuple[OutputType, ...] = ()


def build_scorers(plan: ScoringPlan) -> tuple[Scorer, ...]:
    """The scorers a task asks for: lm-eval's metrics (or its defaults), then those by name, then the extra ones.

    A scorer that is asked for twice is built once. Raises ScorerError for an unknown name or parameter (with the nearest),
    a scorer that cannot score this kind of task, and two that would report the same metric.
    """
    own = {plain.metric for plain in plan.metrics} | {spec.name for spec in plan.scorers}
    if "acc_mutual_info" in {spec.name for spec in plan.extra} - own and plan.output_type == "multiple_choice":
        raise ScorerError(
            "scorer 'acc_mutual_info' needs requests of its own (each choice without its question), which only a task file "
            "asks for: add it to metric_list there"
        )
    scorers = {scorer.name: scorer for scorer in metric_scorers(plan)}  # a metric listed twice: the last one, as in lm-eval
    for spec in (*plan.scorers, *plan.extra):
        scorer = build_scorer(spec, plan)
        if not any(_same(scorer, other) for other in scorers.values()):
            _refuse_clash(scorer, scorers.values())
            scorers[scorer.name] = scorer
    return tuple(scorers.values())


def _same(scorer: Scorer, other: Scorer) -> bool:
    """Whether ``other`` reports all that ``scorer`` would. Accuracies of choices are computed together."""
    if isinstance(scorer, ChoiceAccuracy) and isinstance(other, ChoiceAccuracy):
        return {metric.name for metric in scorer.metrics} <= {metric.name for metric in other.metrics}
    return scorer.signature() == other.signature()


def _refuse_clash(scorer: Scorer, others: Iterable[Scorer]) -> None:
    """Two numbers of one name could not be told apart in any table or file."""
    for other in others:
        names = {metric.name for metric in other.metrics} & {metric.name for metric in scorer.metrics}
        if names or scorer.name == other.name:
            raise ScorerError(
                f"two scorers would both report {min(names or {scorer.name})!r}: give one a name of its own with the "
                f"parameter label ({other.signature()} and {scorer.signature()})"
            )


def fits(spec: ScorerSpec, output_type: str) -> bool:
    """Whether a scorer can measure tasks of this kind. Raises ScorerError for an unknown name."""
    output_types: tuple[str, ...] = getattr(SCORERS.get(spec.name), "output_types", ())
    return not output_types or output_type in output_types


def misfits(specs: Iterable[ScorerSpec], tasks: Mapping[str, str]) -> list[str]:
    """A line for each scorer asked for that cannot measure some of the ``tasks`` (name -> output type).

    Raises ScorerError for one that can measure none of them.
    """
    lines = []
    for spec in specs:
        without = [name for name, output_type in tasks.items() if not fits(spec, output_type)]
        if not without:
            continue
        kinds = " and ".join(SCORERS.get(spec.name).output_types)
        if len(without) == len(tasks):
            others = ", ".join(sorted(set(tasks.values())))
            raise ScorerError(f"scorer {spec.name!r} scores {kinds} tasks; here there are only {others} ones")
        named = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
        lines.append(f"scorer {spec.name!r} scores {kinds} tasks: left out for {named}")
    return lines


def build_scorer(spec: ScorerSpec, plan: ScoringPlan) -> Scorer:
    """One scorer by registered name; a factory with a parameter ``plan`` is given the task's plan.

    Every scorer has a parameter ``label``: the name that it and its metrics are reported by.
    """
    factory = SCORERS.get(spec.name)
    if not fits(spec, plan.output_type):
        raise ScorerError(f"scorer {spec.name!r} scores {' and '.join(factory.output_types)} tasks, not {plan.output_type}")
    known = _parameters(factory)
    given = dict(spec.params)
    label = given.pop("label", None) if "label" not in known else None
    open_ended = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(factory).parameters.values())
    for key in given:
        if key not in known and not open_ended:
            hint = nearest(key, known) or (f"; it has {', '.join(known)}" if known else "; it has none")
            raise ScorerError(f"scorer {spec.name!r} has no parameter {key!r}{hint}")
    for key, value in given.items():
        if key in known and known[key].annotation in _FLAGS and not isinstance(value, bool) and value != known[key].default:
            raise ScorerError(f"scorer {spec.name!r}: parameter {key!r} must be true or false, not {value!r}")
    missing = [k for k, p in known.items() if p.default is inspect.Parameter.empty and k not in given]
    if missing:
        raise ScorerError(f"scorer {spec.name!r} needs the parameter {missing[0]!r}")
    if "plan" in inspect.signature(factory).parameters:
        given["plan"] = plan
    built: Scorer = factory(**given)
    return built if label is None else Labelled(built, str(label))


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(factory).parameters
    return {k: p for k, p in found.items() if k != "plan" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def scorers_listing() -> list[ScorerListing]:
    """Every known scorer, sorted by name."""
    listing = []
    for name in SCORERS.names():
        factory = SCORERS.get(name)
        params = {
            key: "required" if p.default is inspect.Parameter.empty else repr(p.default)
            for key, p in _parameters(factory).items()
        }
        summary = (inspect.getdoc(factory) or "").split("\n", 1)[0]
        listing.append(ScorerListing(name, summary, params, getattr(factory, "output_types", ())))
    return listing
