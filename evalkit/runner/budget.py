"""The account of a run: what each role and task took, and when its budget is spent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from evalkit.errors import ConfigError
from evalkit.models.base import Model
from evalkit.models.settings import max_tokens_of
from evalkit.prices import Price, Quote, Tokens, cost_of, parse_roles, quote
from evalkit.runner.journal import Journal
from evalkit.runner.options import RunOptions
from evalkit.runner.usage import CACHED, USAGE, Usage, estimated_tokens, restored, tokens_of
from evalkit.types import Json, Request, Response

#: Answers from which on their mean foretells the next ones.
_ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Budget:
    """What a whole run may spend, over all its executions and models; None: whatever it takes."""

    max_cost: float | None = None
    max_tokens: int | None = None


class Foreseen(NamedTuple):
    """What requests are expected to take."""

    tokens: float = 0.0
    cost_usd: float = 0.0


@dataclass(slots=True)
class Account:
    """Usage by role and task, and the sums that the budget is compared with."""

    quotes: Mapping[str, Quote] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    rows: dict[tuple[str, str], Usage] = field(default_factory=dict)
    tokens: int = 0
    cost_usd: float = 0.0

    def restore(self, stored: Mapping[str, Any] | None, journal: Journal, counting: Collection[str] | None = None) -> None:
        """Take up a run again: what its manifest kept, and what its journal holds beyond that (all, after a kill).

        The budget is of what all roles took, or those of ``counting``.
        """
        for row in (stored or {}).get("rows", ()):
            self._row(row["role"], row["task"]).__iadd__(restored(row["usage"]))
        for role, task, response in journal.asked((stored or {}).get("upto", 0)):
            self._row(role, task).add(response)
        counted = [usage for (role, _), usage in self.rows.items() if counting is None or role in counting]
        self.tokens = sum(usage.tokens for usage in counted)
        self.cost_usd = sum(usage.cost_usd for usage in counted)

    def priced(self, request: Request, response: Response) -> Response:
        """The response with its cost; where the server told no tokens and money or tokens are counted, with estimates."""
        price = self._price(request.role)
        if (price is None and self.budget.max_tokens is None) or response.extra.get(CACHED):
            return response
        tokens = tokens_of(response)
        if response.error is None and (tokens.prompt is None or tokens.output is None):
            response = _estimated(request, response)
            tokens = tokens_of(response)
        cost = cost_of(tokens, price) if response.cost_usd is None else response.cost_usd
        return response if cost is None else replace(response, cost_usd=cost)

    def add(self, request: Request, response: Response) -> None:
        """Count what was journalled."""
        usage = self._row(request.role, request.task)
        before = usage.tokens
        usage.add(response)
        self.tokens += usage.tokens - before
        if response.cost_usd is not None and not response.extra.get(CACHED):
            self.cost_usd += response.cost_usd

    def reached(self) -> str | None:
        """Which limit is spent, in words; None while there is something left.

        What is in flight when a limit is reached is still waited for and comes on top: at most one answer a connection.
        """
        limit = self.budget.max_cost
        if limit is not None and self.cost_usd >= limit:
            return f"the budget of --max-cost {limit:g} is spent: ${self.cost_usd:.4f}"
        tokens = self.budget.max_tokens
        if tokens is not None and self.tokens >= tokens:
            return f"the budget of --max-tokens-total {tokens} is spent: {self.tokens} tokens"
        return None

    def foreseen(self, request: Request) -> Foreseen:
        """What an answer will take: as the task's answers so far on average, else as much as it may."""
        usage = self.rows.get((request.role, request.task))
        if usage is not None and usage.requests - usage.failed >= _ENOUGH:
            return Foreseen(usage.tokens / usage.requests, usage.cost_usd / usage.requests)
        prompt = estimated_tokens(request.prompt) + estimated_tokens(request.continuation)
        output = max_tokens_of(request.params) if request.kind == "generate" else 0
        cost = cost_of(Tokens(prompt, output), self._price(request.role))
        return Foreseen(prompt + output, cost or 0.0)

    def room(self, more: Foreseen) -> bool:
        """Whether so much more stays within the budget."""
        cost, tokens = self.budget.max_cost, self.budget.max_tokens
        return (cost is None or self.cost_usd + more.cost_usd <= cost) and (
            tokens is None or self.tokens + more.tokens <= tokens
        )

    def short(self) -> str:
        """That the budget is not spent, but what is left does not cover the next request; in words."""
        if self.budget.max_cost is not None:
            spent = f"of --max-cost {self.budget.max_cost:g} ${self.cost_usd:.4f} is spent"
        else:
            spent = f"of --max-tokens-total {self.budget.max_tokens} {self.tokens} are spent"
        return f"{spent}, and what is left may not be enough for the next request"

    def stored(self, upto: int) -> Json:
        """For the manifest: rows by role and task, true up to this position of the journal."""
        rows = [{"role": role, "task": task, "usage": usage.stored()} for (role, task), usage in self.rows.items()]
        return {"upto": upto, "rows": rows}

    def public(self, names: Mapping[str, str]) -> list[dict[str, Json]]:
        """One row a role and task, for readers; ``names`` are the models by role."""
        return [
            {"role": role, "model": names.get(role), "task": task, **usage.public(priced=self._price(role) is not None)}
            for (role, task), usage in self.rows.items()
        ]

    def _price(self, role: str) -> Price | None:
        found = self.quotes.get(role)
        return None if found is None else found.price

    def _row(self, role: str, task: str) -> Usage:
        usage = self.rows.get((role, task))
        if usage is None:
            usage = self.rows[(role, task)] = Usage()
        return usage


def quotes_of(options: RunOptions, models: Mapping[str, Model]) -> dict[str, Quote]:
    """What is known of the price of each role's model: ``--price``, ``--prices``, the user's table, the shipped one.

    Raises ConfigError where ``--max-cost`` is to be kept with a model whose price is not known, and for a wrong table.
    """
    try:
        given = parse_roles(options.price) if options.price else {}
    except ValueError as error:
        raise ConfigError(f"price: {error}") from error
    if unknown := given.keys() - models.keys():
        raise ConfigError(f"--price names the role {min(unknown)!r}; this run has {', '.join(models)}")
    files = [options.prices] if options.prices else []
    found = {}
    for role, model in models.items():
        facts = model.describe()
        base = facts.get("base_url")
        if role in given:
            found[role] = Quote(given[role], origin="--price")
        else:
            listed = quote(model.name, None if base is None else str(base), files)
            found[role] = _halved(listed) if facts.get("batch_api") else listed
        if found[role].price is None and not found[role].local and options.max_cost is not None:
            flag = "--price " + ("" if role == "model" else f"{role}:") + "in=...,out=..."
            raise ConfigError(
                f"--max-cost needs a price and that of {model.name} is not known; give it with {flag} (USD per 1M tokens)"
            )
    return found


def _halved(listed: Quote) -> Quote:
    """A listed price through the batch API, which asks half of it."""
    if listed.price is None:
        return listed
    half = {
        name: value / 2
        for name in ("input", "output", "cached", "reasoning")
        if (value := getattr(listed.price, name)) is not None
    }
    return replace(listed, price=listed.price.model_copy(update=half), origin=f"{listed.origin}, half of it in batches")


def _estimated(request: Request, response: Response) -> Response:
    prompt = response.prompt_tokens
    if prompt is None:
        prompt = estimated_tokens(request.prompt) + (
            0 if response.tokens is not None else estimated_tokens(request.continuation)
        )
    output = estimated_tokens(response.text or "") if response.tokens is None else response.tokens
    extra = {**response.extra, USAGE: {**(response.extra.get(USAGE) or {}), "estimated": True}}
    return replace(response, prompt_tokens=prompt, tokens=output, extra=extra)
