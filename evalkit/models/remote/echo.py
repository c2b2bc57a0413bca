"""Log-likelihoods out of replies that echo their prompt: which positions are the continuation's, and what they sum to.

Two shapes: OpenAI's ``logprobs`` with ``echo`` (``tokens``, ``token_logprobs``, ``top_logprobs``, ``text_offset``) and
vLLM's ``prompt_logprobs``. Where the prompt was sent as token ids, positions are counted. Where it was sent as text, the
texts of the tokens must add up to the prompt, or the split is refused: a wrong one would be a wrong number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.models.remote.wire import Unreadable, bad, list_at, log_probability, mapping_at

_UNDECODED = "\ufffd"  # what stands for the bytes of a character that is cut over several tokens


@dataclass(frozen=True, slots=True)
class Echoed:
    """A prompt's tokens as the server scored them, and after them those it generated, where it gives them too.

    ``logprob`` and ``best`` give a position's log-probability and that of the likeliest token in its place; only those
    that are summed are ever read.
    """

    texts: Sequence[str]
    logprob: Callable[[int], Any]
    best: Callable[[int], float | None]
    offsets: Sequence[Any] | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class Sum:
    """A scored stretch."""

    logprob: float
    is_greedy: bool
    tokens: int


def echoed(choice: Mapping[str, Any], ids: Sequence[int] | None = None) -> Echoed:
    """A choice's scores, of a prompt that was sent as ``ids`` (or as text).

    Raises Unreadable: ``no-logprobs`` where prompts are not scored, ``bad-reply`` for lists that do not fit each other.
    """
    if isinstance(choice.get("prompt_logprobs"), list):
        return _of_prompt(choice["prompt_logprobs"], ids)
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping) or not isinstance(logprobs.get("token_logprobs"), list):
        raise not_scored()
    values = logprobs["token_logprobs"]
    texts = list_at(logprobs.get("tokens"), "logprobs.tokens")
    top = list_at(logprobs.get("top_logprobs"), "logprobs.top_logprobs")
    if not len(values) == len(texts) == len(top):
        raise bad(f"has {len(texts)} tokens, {len(values)} log-probabilities and {len(top)} sets of the likeliest")
    if not all(isinstance(text, str) for text in texts):
        raise bad("has tokens that are no text")
    offsets = logprobs.get("text_offset")
    fit = isinstance(offsets, list) and len(offsets) == len(values) and all(isinstance(place, int) for place in offsets)
    return Echoed(texts, values.__getitem__, lambda i: _best(top[i]), offsets if fit else None)


def counted(given: Echoed, context: int, continuation: int, generated: int) -> Sum:
    """The sum over ``continuation`` tokens after ``context`` ones, of a prompt that was sent as token ids.

    Up to ``generated`` more may follow. Raises Unreadable where the server made another number of tokens of it.
    """
    sent = context + continuation
    if not 0 <= len(given) - sent <= generated:
        if len(given) <= generated:
            raise not_scored()
        raise Unreadable("bad-split", f"the server scored {len(given)} tokens of a prompt of {sent}")
    return _summed(given, context, sent)


def after(given: Echoed, count: int, context: str, continuation: str) -> Sum:
    """The sum over the tokens of ``continuation``, of the prompt ``context + continuation`` that was sent as text.

    The prompt's tokens are the first ``count``.
    """
    texts = given.texts[:count]
    start = _start(texts, given.offsets and given.offsets[:count], context, continuation)
    if context and count == 1 and given.logprob(0) is None:
        start = 1  # one token in all, whose text `prompt_logprobs` does not tell
    if start is None:
        whole = "".join(texts)
        if continuation not in whole and not _undecoded(whole):
            raise not_scored()
        raise Unreadable(
            "bad-split",
            "the server's tokens do not show where the continuation begins (one spans the join, or a character is cut over "
            "several): name its tokenizer with -M tokenizer=",
        )
    if start == count:
        raise Unreadable("empty-continuation", "no tokens left to score: the continuation is merged into the context")
    return _summed(given, start, count)


def whole(given: Echoed, count: int, text: str) -> Sum:
    """The sum over all ``count`` tokens of ``text``, but for one that the server put before it."""
    extra = 0
    if count and given.logprob(0) is None:
        first = given.texts[0]
        extra = int("".join(given.texts[1:count]) == text or (first != "" and not text.startswith(first)))
    return _summed(given, extra, count)


def _summed(given: Echoed, start: int, stop: int) -> Sum:
    """Natural-log probability over a stretch. Raises Unreadable for a token that has none, and for an infinite sum."""
    values = [given.logprob(i) for i in range(start, stop)]
    if None in values:
        raise Unreadable(
            "no-context",
            "the first token has no log-probability: nothing stands before it, and the server puts nothing there; name its "
            "tokenizer with -M tokenizer=, whose beginning-of-text token is then sent",
        )
    numbers = [log_probability(value) for value in values]
    total = math.fsum(numbers)
    if not math.isfinite(total):
        raise Unreadable("not-finite", f"the server's log-probability is {total}")
    greedy = all(value >= log_probability(given.best(i)) for i, value in enumerate(numbers, start))
    return Sum(total, greedy, len(numbers))


def _start(texts: Sequence[str], offsets: Sequence[int] | None, context: str, continuation: str) -> int | None:
    """The first token of the continuation: from the end, by offsets, then from the beginning; ``None`` if none is sure.

    A token that spans the join is none: how many tokens the context has by itself, only the tokenizer knows.
    """
    start, left = len(texts), len(continuation)
    while start and left > 0:
        start -= 1
        left -= len(texts[start])
    if left == 0 and "".join(texts[start:]) == continuation:
        while not continuation[:1].isascii() and start > 1 and not texts[start - 1]:
            start -= 1  # the first bytes of a character that the next token completes
        return start
    found = _by_offsets(texts, offsets, context, continuation)
    return _from_beginning(texts, context) if found is None else found


def _by_offsets(texts: Sequence[str], offsets: Sequence[int] | None, context: str, continuation: str) -> int | None:
    """By offsets into the prompt that are true of every token whose text is known; a beginning token may shift them."""
    if not texts or offsets is None:
        return None
    prompt = context + continuation
    for shift in {0, len(texts[0])}:
        true = all(
            prompt.startswith(text, place - shift)
            for text, place in zip(texts, offsets, strict=True)
            if place >= shift and not _undecoded(text)
        )
        if true:
            return next((i for i, place in enumerate(offsets) if place - shift == len(context)), None)
    return None


def _from_beginning(texts: Sequence[str], context: str) -> int | None:
    """The token after those that make up the context, perhaps behind a beginning token."""
    for first in (0, 1):
        size, at = 0, first
        while at < len(texts) and size < len(context):
            size += len(texts[at])
            at += 1
        if size == len(context) and context and "".join(texts[first:at]) == context:
            return at
    return None


def _undecoded(text: str) -> bool:
    return _UNDECODED in text or text.startswith("bytes:")


def _best(likeliest: Any) -> float | None:
    """The highest log-probability of a position, ``None`` where it has none (the first token)."""
    if likeliest is None:
        return None
    return max((log_probability(value) for value in mapping_at(likeliest, "top_logprobs[]").values()), default=None)


def _of_prompt(entries: Sequence[Any], ids: Sequence[int] | None) -> Echoed:
    """The shape of vLLM's ``prompt_logprobs``: for each token the prompt's own and then the likeliest, by token id."""

    def table(i: int) -> Mapping[str, Any]:
        return mapping_at(entries[i], "prompt_logprobs[]")

    def own(i: int) -> Mapping[str, Any]:
        found = table(i).get(str(ids[i])) if ids is not None else next(iter(table(i).values()), None)
        if found is None:
            raise bad(f"has no log-probability of the prompt's token {i}")
        return mapping_at(found, "prompt_logprobs[]")

    def logprob(i: int) -> Any:
        return None if entries[i] is None else own(i).get("logprob")

    def best(i: int) -> float | None:
        return max(log_probability(mapping_at(value, "prompt_logprobs[]").get("logprob")) for value in table(i).values())

    if ids is not None:  # counted, so that texts are not looked at
        return Echoed([""] * len(entries), logprob, best)
    texts = ["" if entry is None else str(own(i).get("decoded_token") or "") for i, entry in enumerate(entries)]
    return Echoed(texts, logprob, best)


def not_scored() -> Unreadable:
    return Unreadable(
        "no-logprobs",
        "the server does not score prompts (it ignores echo with logprobs): it cannot run log-likelihood tasks",
    )
