"""Log-likelihoods out of replies that echo their prompt: which positions are the continuation's, and what they sum to.

Two shapes: OpenAI's ``logprobs`` with ``echo`` (``tokens``, ``token_logprobs``, ``top_logprobs``, ``text_offset``) and
vLLM's ``prompt_logprobs``. Where the prompt was sent as token ids, positions are counted. Where it was sent as text, the
texts of the tokens must add up to the prompt, or the split is refused: a wrong one would be a wrong number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.models.remote.wire import Unreadable, bad, list_at, mapping_at

_UNDECODED = "\ufffd"  # what stands for the bytes of a character that is cut over several tokens


@dataclass(frozen=True, slots=True)
class Position:
    """A token of a prompt: its text, its log-probability and that of the likeliest token in its place."""

    text: str
    logprob: Any
    best: Any
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """A scored stretch."""

    logprob: float
    is_greedy: bool
    tokens: int


def positions_of(choice: Mapping[str, Any], ids: Sequence[int] | None = None) -> list[Position]:
    """The prompt's tokens as the server scored them, and after them those it generated, where it gives them too.

    Raises Unreadable: ``no-logprobs`` where prompts are not scored, ``bad-reply`` for lists that do not fit each other.
    """
    if isinstance(choice.get("prompt_logprobs"), list):
        return [_of_prompt(entry, None if ids is None or i >= len(ids) else ids[i])
                for i, entry in enumerate(choice["prompt_logprobs"])]  # fmt: skip
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping) or not isinstance(logprobs.get("token_logprobs"), list):
        raise _not_scored()
    values = logprobs["token_logprobs"]
    texts = list_at(logprobs.get("tokens"), "logprobs.tokens")
    top = list_at(logprobs.get("top_logprobs"), "logprobs.top_logprobs")
    offsets = logprobs.get("text_offset")
    if not isinstance(offsets, list) or len(offsets) != len(values):
        offsets = [None] * len(values)
    if not len(values) == len(texts) == len(top):
        raise bad(f"has {len(texts)} tokens, {len(values)} log-probabilities and {len(top)} sets of the likeliest")
    return [
        Position(str(text), value, _best(likeliest), offset if isinstance(offset, int) else None)
        for text, value, likeliest, offset in zip(texts, values, top, offsets, strict=True)
    ]


def counted(positions: Sequence[Position], context: int, continuation: int, generated: int) -> Sum:
    """The sum over ``continuation`` tokens after ``context`` ones, of a prompt that was sent as token ids.

    Up to ``generated`` more may follow. Raises Unreadable where the server made another number of tokens of it.
    """
    extra = len(positions) - context - continuation
    if not 0 <= extra <= generated:
        raise _not_scored() if len(positions) <= generated else Unreadable(
            "bad-split", f"the server scored {len(positions)} tokens of a prompt of {context + continuation}"
        )  # fmt: skip
    return summed(positions[context : context + continuation])


def after(positions: Sequence[Position], context: str, continuation: str) -> Sum:
    """The sum over the tokens of ``continuation``, of the prompt ``context + continuation`` that was sent as text."""
    start = _start([p.text for p in positions], [p.offset for p in positions], context, continuation)
    if context and len(positions) == 1 and positions[0].logprob is None:
        start = 1  # one token in all, whose text `prompt_logprobs` does not tell
    if start is None:
        whole = "".join(p.text for p in positions)
        raise _not_scored() if continuation not in whole and not _undecoded(whole) else Unreadable(
            "bad-split",
            "the server's tokens do not show where the continuation begins (one spans the join, or a character is cut over "
            "several): name its tokenizer with -M tokenizer=",
        )  # fmt: skip
    if start == len(positions):
        raise Unreadable(
            "empty-continuation", "no tokens left to score: the tokenizer merges the continuation into the context"
        )
    return summed(positions[start:])


def summed(positions: Sequence[Position]) -> Sum:
    """Natural-log probability over all positions. Raises Unreadable for one that has none, and for an infinite sum."""
    if any(p.logprob is None for p in positions):
        raise Unreadable(
            "no-context",
            "the first token has no log-probability: nothing stands before it, and the server puts nothing there; name its "
            "tokenizer with -M tokenizer=, whose beginning-of-text token is then sent",
        )
    values = [_number(p.logprob) for p in positions]
    total = math.fsum(values)
    if not math.isfinite(total):
        raise Unreadable("not-finite", f"the server's log-probability is {total}")
    return Sum(total, all(v >= _number(p.best) for v, p in zip(values, positions, strict=True)), len(values))


def _start(texts: Sequence[str], offsets: Sequence[int | None], context: str, continuation: str) -> int | None:
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


def _by_offsets(texts: Sequence[str], offsets: Sequence[int | None], context: str, continuation: str) -> int | None:
    """By offsets into the prompt that are true of every token whose text is known; a beginning token may shift them."""
    if not texts or None in offsets:
        return None
    whole, places = context + continuation, [offset for offset in offsets if offset is not None]
    for shift in {0, len(texts[0])}:
        true = all(
            whole.startswith(text, place - shift)
            for text, place in zip(texts, places, strict=True)
            if place >= shift and not _undecoded(text)
        )
        if true:
            return next((i for i, place in enumerate(places) if place - shift == len(context)), None)
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


def _best(likeliest: Any) -> Any:
    """The highest log-probability of a position, ``None`` where it has none (the first token)."""
    if likeliest is None:
        return None
    values = [_number(value) for value in mapping_at(likeliest, "top_logprobs[]").values()]
    return max(values, default=None)


def _of_prompt(entry: Any, token: int | None) -> Position:
    """A position of ``prompt_logprobs``: the prompt's token and the likeliest, by token id; the prompt's own comes first."""
    if entry is None:
        return Position("", None, None)
    table = mapping_at(entry, "prompt_logprobs[]")
    own = table.get(str(token)) if token is not None else next(iter(table.values()), None)
    if own is None:
        raise bad(f"has no log-probability of the prompt's token {token}")
    values = [_number(mapping_at(value, "prompt_logprobs[]").get("logprob")) for value in table.values()]
    return Position(str(own.get("decoded_token") or ""), own.get("logprob"), max(values))


def _number(value: Any) -> float:
    """A log-probability. Servers write minus infinity as a very low number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:
        raise bad(f"has the log-probability {value!r}")
    return float(value)


def _not_scored() -> Unreadable:
    return Unreadable(
        "no-logprobs",
        "the server does not score prompts (it ignores echo with logprobs): it cannot run log-likelihood tasks",
    )
