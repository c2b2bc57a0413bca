"""Multiple choice in generative form, for models that write but do not score: lettered options in, a letter out.

The form is another measurement than the log-likelihood one, with a prompt, filter and numbers of its own. Its definition is
an ordinary ``generate_until`` task derived from the task's, so that it is asked, stored and scored again like any other.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import TaskError, TemplateError
from evalkit.tasks.fields import Fields, column_or_template
from evalkit.tasks.prompt import joined
from evalkit.tasks.schema import FilterPipeline, FilterStep, Form, ScorerEntry, TaskConfig
from evalkit.types import content_hash

Doc = Mapping[str, Any]

INSTRUCTION = "Choose the option that best answers the question or completes the text. Reply with its letter only."
#: What stands before the options of a task whose choices are whole texts, not answers to one question.
WHICH = "Which of these texts is right?"

#: Log-likelihood metrics that the share of right letters stands in for.
_ACCURACIES = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "f1", "mcc", "likelihood"})
_CUE = re.compile(r"\s*(?:^|(?<=\s))(?:Answer|A)\s*:\s*$")
_LONGEST_ANSWER = 256
#: A first token that is blank does not count, so that a little room is needed.
_LONGEST_LETTER = 4
#: As many as any server gives.
_TOP = 20


def in_form(config: TaskConfig, form: Form) -> TaskConfig:
    """The definition of a multiple-choice task in that form; any other task (one in a form, too) stays as it is.

    Raises TaskError for a task whose scoring needs log-likelihoods.
    """
    if config.output_type != "multiple_choice":
        return config
    if form == "loglikelihood":
        return config.model_copy(update={"form": None}) if config.form else config
    _check(config)
    kwargs: dict[str, Any] = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": _LONGEST_ANSWER}
    steps = [FilterStep(function="take_first")]
    if form == "letter":
        steps.insert(0, FilterStep(function="choice_letter"))
    else:
        kwargs.update(max_gen_toks=_LONGEST_LETTER, logprobs=True, top_logprobs=_TOP)
    shots = config.fewshot_config.model_copy(update={"gen_prefix": None, "target_delimiter": " "})
    return config.model_copy(
        update={
            "form": form,
            "output_type": "generate_until",
            "generation_kwargs": kwargs,
            "repeats": 1,
            "gen_prefix": None,
            "target_delimiter": " ",
            "fewshot_config": shots,
            "filter_list": [FilterPipeline(name=form, filter=steps)],
            "metric_list": None,
            "scorers": [ScorerEntry(name="letter_choice" if form == "letter" else "letter_logprobs")],
        }
    )


def left_out(config: TaskConfig) -> list[str]:
    """What a task measures by log-likelihood and the letter form does not: names of metrics and scorers."""
    named = [str(entry.metric) for entry in config.metric_list or ()] + [entry.name for entry in config.scorers]
    return [name for name in dict.fromkeys(named) if name != "acc"]


def _check(config: TaskConfig) -> None:
    why = None
    named = {str(entry.metric) for entry in config.metric_list or ()} | {entry.name for entry in config.scorers}
    if config.process_results is not None:
        why = "its own process_results reads log-likelihoods"
    elif named and not named & _ACCURACIES:
        why = f"{', '.join(sorted(named))} need log-likelihoods"
    if why:
        raise TaskError(f"task {config.task} cannot be asked in letter form: {why}; leave it out for this model")


def described(description: str | Callable[[Doc], str] | None) -> Callable[[Doc], str]:
    """The task's description with what the form asks for behind it."""

    def text(doc: Doc) -> str:
        own = description(doc) if callable(description) else column_or_template(description, doc)
        return f"{own.rstrip()}\n\n{INSTRUCTION}\n\n" if own else f"{INSTRUCTION}\n\n"

    return text


@dataclass(frozen=True, slots=True)
class LetterFields(Fields):
    """A task's fields with the lettered options below the question.

    ``inputs``: the choices are contexts, and the target completes each (Winogrande style). ``shuffled``: the options stand
    in an order of their content, for in the data the right one always stands in one place.
    """

    inputs: bool = False
    shuffled: bool = False

    def question(self, doc: Doc) -> str:
        options = LetterFields.doc_to_choice(self, doc)
        if len(options) > len(string.ascii_uppercase):
            raise TemplateError(f"{len(options)} choices cannot be lettered: the letter form takes at most 26")
        if self.inputs:
            rest = str(Fields.doc_to_target(self, doc))
            return _lettered(WHICH, [joined(option, rest, " ") for option in options])
        question = Fields.question(self, doc)
        if _are_letters(options):  # the question shows the options itself
            return question if question.rstrip().endswith(":") else f"{question.rstrip()}\nAnswer:"
        return _lettered(_CUE.sub("", question).rstrip() or WHICH, options)

    def doc_to_choice(self, doc: Doc) -> list[str]:
        options = Fields.doc_to_choice(self, doc)
        return [options[i] for i in _order(options)] if self.shuffled else options

    def doc_to_target(self, doc: Doc) -> Any:
        gold = Fields.doc_to_target(self, doc)
        if not self.shuffled:
            return gold
        order = _order(Fields.doc_to_choice(self, doc))
        places = {old: new for new, old in enumerate(order)}
        several = isinstance(gold, list | tuple)
        found = [places.get(item, item) if isinstance(item, int) else item for item in (gold if several else [gold])]
        return found if several else found[0]


@dataclass(frozen=True, slots=True)
class LetterShots(LetterFields):
    """The fields of few-shot examples: as `LetterFields`, and the answer is a letter."""

    def doc_to_choice(self, doc: Doc) -> list[str]:
        return list(string.ascii_uppercase[: len(Fields.doc_to_choice(self, doc))])

    def doc_to_target(self, doc: Doc) -> Any:
        gold = Fields.doc_to_text(self, doc) if self.inputs else LetterFields.doc_to_target(self, doc)
        first = gold[0] if isinstance(gold, list | tuple) and gold else gold
        options = LetterFields.doc_to_choice(self, doc)
        return options.index(first) if isinstance(first, str) and first in options else first


def lettered(fields: Fields, kind: type[LetterFields], *, inputs: bool, shuffled: bool) -> LetterFields:
    """The same fields in letter form."""
    own = (fields.text, fields.target, fields.choice, fields.columns, fields.has_choices)
    return kind(*own, inputs=inputs, shuffled=shuffled)


def one_sided(fields: Fields, docs: Iterable[Doc]) -> bool:
    """Whether the right choice stands in the same place in all of these rows, so that one letter would always be right.

    Two rows or fewer say nothing, and options that the question shows itself cannot be moved.
    """
    places: list[Any] = []
    for doc in docs:
        options = fields.doc_to_choice(doc)
        gold = fields.doc_to_target(doc)
        if _are_letters(options):
            return False
        places.append(options.index(gold) if isinstance(gold, str) and gold in options else gold)
        if len(places) > 1 and places[-1] != places[0]:
            return False
    return len(places) > 2


def _order(options: Sequence[str]) -> list[int]:
    """Positions of the options in an order that depends on all of their texts."""
    return sorted(range(len(options)), key=lambda i: (content_hash([options[i], sorted(options)], 8), i))


def _lettered(question: str, options: Sequence[str]) -> str:
    lines = [f"{letter}. {option.strip()}" for letter, option in zip(string.ascii_uppercase, options, strict=False)]
    return "\n".join([question.rstrip(), *lines, "Answer:"])


def _are_letters(options: Sequence[str]) -> bool:
    bare = [option.strip().strip("().").upper() for option in options]
    return len(bare) > 1 and bare == list(string.ascii_uppercase[: len(bare)])
