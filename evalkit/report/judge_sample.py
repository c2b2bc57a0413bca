"""A judge's verdicts on one sample as plain text: who gave what, how sure, and in which words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evalkit.types import Json


def verdict_text(detail: Mapping[str, Json]) -> str | None:
    """The verdicts in a score's detail, a line each with the judge's words below; ``None`` where it holds none."""
    verdicts = detail.get("verdicts")
    if not isinstance(verdicts, list) or not verdicts or not all(isinstance(one, Mapping) for one in verdicts):
        return None
    return "\n".join(line for one in verdicts for line in (_pair(one) if "first" in one else _rating(one)))


def _rating(one: Mapping[str, Json]) -> Iterator[str]:
    for criterion, entry in one.items():
        if isinstance(entry, Mapping):
            yield f"{one.get('judge', 'judge')}, {criterion}: {_value(entry)}{_shares(entry)}"
            yield from _words(entry)


def _pair(one: Mapping[str, Json]) -> Iterator[str]:
    order = "answer first" if one["first"] == "answer" else "other text first"
    chosen = {1.0: "the first text wins", 0.0: "the second text wins", 0.5: "a tie"}.get(one.get("value"), _value(one))  # type: ignore[arg-type]
    yield f"{order}: {chosen}"
    yield from _words(one)


def _value(entry: Mapping[str, Json]) -> str:
    value = entry.get("value")
    if isinstance(value, int | float):
        return f"{value:.4g}"
    return str({"error": "no verdict could be read", "refusal": "refused"}.get(str(entry.get("state")), "no verdict"))


def _shares(entry: Mapping[str, Json]) -> str:
    shares = entry.get("shares")
    if not isinstance(shares, Mapping):
        return ""
    told = ", ".join(f"{label} {share:.0%}" for label, share in shares.items() if share >= 0.005)
    return f" ({told})" if told else ""


def _words(entry: Mapping[str, Json]) -> Iterator[str]:
    for text in (entry.get("reason"), entry.get("reply")):
        if text:
            yield "\n".join(f"    {line}" for line in str(text).splitlines())
