"""Filter pipelines: from a sample's response texts to its answer, by lm-eval's names and rules.

Every step sees the responses of many samples (a list a sample, one entry a repeat) beside their documents, and returns as
many. A pipeline usually ends in ``take_first``; one that leaves lists keeps them, and scorers reduce the repeats.
The class names and parameters are also what third-party task folders subclass (``lm_eval.filters``).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from evalkit.errors import EvalkitError, TaskError
from evalkit.registry import Registry
from evalkit.tasks.schema import FilterPipeline, FilterStep
from evalkit.tasks.scoring import loaded

Docs = Sequence[Mapping[str, Any]]


class ResponseFilter:
    """One step of a pipeline. Subclasses define `one` (a response) or `apply` (all of them)."""

    def __init__(self, **kwargs: Any) -> None:
        pass

    def apply(self, resps: Sequence[Any], docs: Docs) -> Iterable[Any]:
        """The filtered responses, a list a sample and in the same order."""
        return [[self.one(response) for response in responses] for responses in resps]

    def one(self, response: Any) -> Any:
        """What becomes of one response."""
        raise NotImplementedError(f"{type(self).__name__} must define one() or apply()")


class RegexFilter(ResponseFilter):
    """``regex``: match number ``group_select`` of the pattern (its first non-empty group), stripped; else ``fallback``."""

    def __init__(
        self, regex_pattern: str = r"#### (\-?[0-9\.\,]+)", group_select: int = 0, fallback: str = "[invalid]"
    ) -> None:
        self.regex_pattern = regex_pattern
        self.regex = re.compile(regex_pattern)
        self.group_select = group_select
        self.fallback = fallback

    def one(self, response: Any) -> str:
        found = self.regex.findall(response if isinstance(response, str) else "")
        if not found:
            return self.fallback
        match = found[self.group_select]
        if isinstance(match, tuple):
            match = next((group for group in match if group), self.fallback)
        return str(match).strip()


class PosFilter(ResponseFilter):
    """``regex_pos``: the tags of ``('word', 'TAG')`` pairs; ``fallback`` where there are none.

    ``regex_pattern`` and ``group_select`` are accepted and, as in lm-eval, not used.
    """

    _PAIR = re.compile(r"\('([^']*)', '([^']*)'\)")

    def __init__(self, regex_pattern: str = "", group_select: int = 0, fallback: list[str] | None = None) -> None:
        self.fallback = ["invalid"] if fallback is None else fallback

    def one(self, response: Any) -> list[str]:
        pairs = self._PAIR.findall(response) if isinstance(response, str) else response
        return [tag for _, tag in pairs] or self.fallback


class MultiChoiceRegexFilter(RegexFilter):
    """``multi_choice_regex``: the letter of a choice, tried as pattern, as the text of a choice, then as ``: A``.

    Needs ``choices`` in the document. ``ignore_case``, ``ignore_punctuation`` and ``regexes_to_ignore`` loosen the match
    with a choice's text.
    """

    def __init__(
        self,
        regex_pattern: str = r"#### (\-?[0-9\.\,]+)",
        group_select: int = 0,
        fallback: str = "[invalid]",
        ignore_case: bool = False,
        ignore_punctuation: bool = False,
        regexes_to_ignore: list[str] | None = None,
    ) -> None:
        super().__init__(regex_pattern, group_select, fallback)
        self.ignore_case = ignore_case
        self.ignore_punctuation = ignore_punctuation
        self.regexes_to_ignore = regexes_to_ignore or []

    def apply(self, resps: Sequence[Any], docs: Docs) -> list[list[str]]:
        return [self._sample(responses, doc) for responses, doc in zip(resps, docs, strict=True)]

    def _sample(self, responses: Sequence[Any], doc: Mapping[str, Any]) -> list[str]:
        if "choices" not in doc:
            raise TaskError("filter 'multi_choice_regex' needs a column 'choices' in the data; use 'regex' without one")
        texts = [self._loosened(choice.strip()) for choice in doc["choices"]]
        letters = [chr(ord("A") + i) for i in range(len(texts))]
        answer = {text: f"({letter})" for text, letter in zip(texts, letters, strict=True)}
        # Longest first: alternation is leftmost-wins, so a choice must not hide a longer one that starts with it.
        by_text = re.compile("|".join(sorted((re.escape(text) for text in texts), key=len, reverse=True)))
        by_letter = re.compile(rf":[\s]*({'|'.join(letters)})")
        letter_answer = {letter: f"({letter})" for letter in letters}
        out = []
        for response in (r if isinstance(r, str) else "" for r in responses):
            match = self._find(self.regex, response, {})
            match = match or self._find(by_text, self._loosened(response), answer)
            match = match or self._find(by_letter, response, letter_answer)
            out.append(match or self.fallback)
        return out

    def _find(self, regex: re.Pattern[str], text: str, answers: Mapping[str, str]) -> str:
        found = regex.findall(text)
        if not found:
            return ""
        match = found[self.group_select]
        if isinstance(match, tuple):
            match = next((group for group in match if group), "")
        match = match.strip()
        return answers.get(match, match)

    def _loosened(self, text: str) -> str:
        for pattern in self.regexes_to_ignore:
            text = re.sub(pattern, "", text)
        if self.ignore_case:
            text = text.lower()
        return text.translate(_punctuation()) if self.ignore_punctuation else text


class WhitespaceFilter(ResponseFilter):
    """``remove_whitespace``: strip each response."""

    def one(self, response: str) -> str:
        return response.strip()


class LowercaseFilter(ResponseFilter):
    """``lowercase``."""

    def one(self, response: str) -> str:
        return response.lower()


class UppercaseFilter(ResponseFilter):
    """``uppercase``."""

    def one(self, response: str) -> str:
        return response.upper()


class MapFilter(ResponseFilter):
    """``map``: look each response up in ``mapping_dict``; ``default_value`` where it is not there."""

    def __init__(self, mapping_dict: dict[Any, Any] | None = None, default_value: Any = None) -> None:
        self.mapping_dict = mapping_dict or {}
        self.default_value = default_value

    def one(self, response: Any) -> Any:
        return self.mapping_dict.get(response, self.default_value)


class TakeFirstFilter(ResponseFilter):
    """``take_first``: the first response of each sample, no longer in a list."""

    def apply(self, resps: Sequence[Any], docs: Docs) -> list[Any]:
        return [responses[0] if responses else None for responses in resps]


class TakeKFilter(ResponseFilter):
    """``take_first_k``: the first ``k`` responses."""

    def __init__(self, k: int) -> None:
        self.k = k

    def apply(self, resps: Sequence[Any], docs: Docs) -> list[Any]:
        if resps and len(resps[0]) < self.k:
            raise TaskError(f"filter 'take_first_k' needs {self.k} responses a sample, got {len(resps[0])}: raise 'repeats'")
        return [responses[: self.k] for responses in resps]


class MajorityVoteFilter(ResponseFilter):
    """``majority_vote``: the most frequent response, in a list of one; the earliest wins a tie."""

    def apply(self, resps: Sequence[Any], docs: Docs) -> list[Any]:
        return [[Counter(responses).most_common(1)[0][0]] for responses in resps]


class SpanFilter(ResponseFilter):
    """``format_span``: named entities (``PER: a, b $$ LOC: c``) as ``per: a $ per: b $ loc: c``."""

    _LABELS: ClassVar[dict[str, str]] = {
        **{"person": "PER", "location": "LOC", "organization": "ORG", "counties": "LOC", "places": "LOC", "people": "PER"},
        **{"persons": "PER", "company": "ORG", "country": "LOC", "continent": "LOC", "time": "DATE", "date": "DATE"},
        **{"per": "PER", "loc": "LOC", "org": "ORG"},
    }
    _ENTITIES = re.compile(r"\b(PER|LOC|ORG|DATE):\s*([^$]+)")

    def one(self, response: str) -> str:
        text = response.lower()
        for label, tag in self._LABELS.items():
            text = re.sub(rf"\b{label}\s*:", f"{tag}:", text)
        text = text.replace("$$", "$").rstrip("$").replace("\n", "$").strip()
        found = []
        for tag, values in self._ENTITIES.findall(text):
            entities = (value.strip() for value in values.split(","))
            found += [f"{tag.lower()}: {entity}" for entity in entities if entity.lower() != "none"]
        return " $ ".join(found)


class CustomFilter(ResponseFilter):
    """``custom``: a function ``filter_fn(resps, docs)`` of the task folder."""

    def __init__(self, filter_fn: Callable[[Sequence[Any], Docs], Iterable[Any]]) -> None:
        self.filter_fn = filter_fn

    def apply(self, resps: Sequence[Any], docs: Docs) -> Iterable[Any]:
        return self.filter_fn(resps, docs)


#: Filters by name. Task folders that register their own (``lm_eval.api.registry.register_filter``) add to it.
FILTERS = Registry(
    "filter",
    {
        name: f"{__name__}:{target.__name__}"
        for name, target in {
            "regex": RegexFilter,
            "regex_pos": PosFilter,
            "multi_choice_regex": MultiChoiceRegexFilter,
            "remove_whitespace": WhitespaceFilter,
            "lowercase": LowercaseFilter,
            "uppercase": UppercaseFilter,
            "map": MapFilter,
            "take_first": TakeFirstFilter,
            "take_first_k": TakeKFilter,
            "majority_vote": MajorityVoteFilter,
            "format_span": SpanFilter,
            "custom": CustomFilter,
        }.items()
    }
    | {"choice_letter": "evalkit.tasks.letter_answer:ChoiceLetterFilter"},
    TaskError,
)


class Pipeline:
    """A named chain of filter steps (`tasks.base.Filter`). Steps are made anew for every batch: they may keep state."""

    def __init__(self, name: str, steps: Sequence[tuple[str, Callable[[], Any]]]) -> None:
        self.name = name
        self._steps = tuple(steps)

    def apply(self, responses: Sequence[list[Any]], docs: Docs) -> list[Any]:
        """The answers, one a sample. Raises TaskError naming the step where a filter fails or loses samples."""
        current: Sequence[Any] = list(responses)
        for label, make in self._steps:
            try:
                current = list(make().apply(current, docs))
            except EvalkitError:
                raise
            except Exception as error:  # a task folder's own filter, or one given what it cannot take
                raise TaskError(f"filter {self.name!r}, step {label!r}: {type(error).__name__}: {error}") from error
            if len(current) != len(responses):
                raise TaskError(
                    f"filter {self.name!r}, step {label!r} gave {len(current)} answers for {len(responses)} samples"
                )
        return list(current)


def pipelines(filter_list: Sequence[FilterPipeline] | None, *, allow_code: bool) -> tuple[Pipeline, ...]:
    """The pipelines of a task; without any, ``take_first`` under the name ``none``.

    Raises TaskError for an unknown filter (with the nearest names) or for parameters that a filter does not take.
    """
    if filter_list is None:
        filter_list = [FilterPipeline(name="none", filter=[FilterStep(function="take_first")])]
    return tuple(
        Pipeline(entry.name, [_step(entry.name, step, allow_code) for step in entry.filter]) for entry in filter_list
    )


def _step(pipeline: str, step: FilterStep, allow_code: bool) -> tuple[str, Callable[[], Any]]:
    name = step.function
    target = FILTERS.get(name) if isinstance(name, str) else loaded(name, allow_code=allow_code)
    params = loaded(step.params, allow_code=allow_code)

    def make() -> Any:
        return target(**params)

    try:
        make()
    except (TypeError, ValueError, KeyError, re.error) as error:
        raise TaskError(f"filter {pipeline!r}, step {str(name)!r}: {error}") from error
    return str(name), make


@cache
def _punctuation() -> dict[int, None]:
    return {i: None for i in range(0x110000) if unicodedata.category(chr(i)).startswith("P")}
