"""From tasks to keyed requests, lazily, with the samples written down on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from evalkit.errors import ModelError
from evalkit.models.base import ChatModel, Model, TokenizingModel
from evalkit.models.settings import max_tokens_of
from evalkit.prices import Price, Tokens, cost_of
from evalkit.runner.store import RunStore
from evalkit.runner.usage import estimated_tokens
from evalkit.tasks.base import Task
from evalkit.types import OutputType, Request, RequestKind, Sample, keyed

_KIND: dict[OutputType, RequestKind] = {
    "multiple_choice": "loglikelihood",
    "loglikelihood": "loglikelihood",
    "loglikelihood_rolling": "loglikelihood_rolling",
    "generate_until": "generate",
}


def check_capabilities(tasks: Sequence[Task], model: Model, *, chat: bool) -> None:
    """Refuse at once what the model cannot do, before anything is paid for."""
    for task in tasks:
        kind = _KIND[task.output_type]
        if kind not in model.capabilities.kinds:
            can = ", ".join(sorted(model.capabilities.kinds)) or "nothing"
            why = f" ({reason})" if (reason := model.capabilities.why_not.get(kind)) else ""
            raise ModelError(
                f"{task.name} needs {kind} requests and {model.name} can only do {can}{why}; leave this task out"
            )
    if chat and not model.capabilities.chat:
        raise ModelError(f"--apply-chat-template: {model.name} has no chat template")


def sample_requests(task: Task, model: Model) -> Iterator[tuple[Sample, tuple[Request, ...]]]:
    """The task's samples, each with its requests and their keys."""
    chat = model if isinstance(model, ChatModel) else None
    fingerprint = model.fingerprint
    for sample in task.samples():
        yield sample, tuple([keyed(q, fingerprint) for q in task.requests(sample, chat)])


def planned(
    tasks: Sequence[Task],
    model: Model,
    store: RunStore,
    watch: Callable[[Sample, tuple[Request, ...]], None] | None = None,
) -> Iterator[Request]:
    """Every request of every task, in order; each sample is stored as it passes (and shown to ``watch``).

    After a restart the samples that are already stored are not written again: a task's order never changes. Where the
    disk spoilt some of them, all of the task are written anew.
    """
    for task in tasks:
        log = store.samples(task.name)
        if log.damaged:
            log.clear()
        stored = len(log)
        for position, (sample, requests) in enumerate(sample_requests(task, model)):
            if position >= stored:
                log.append(sample, requests)
            if watch is not None:
                watch(sample, requests)
            yield from requests
        log.close()


@dataclass(slots=True)
class TaskPlan:
    """What a task will ask: the numbers of ``--dry-run``.

    ``estimated``: the model cannot count tokens, so those of the context are guessed from its length. ``cost_usd_at_most``
    takes every answer for as long as it may be, and nothing for cached; None where there is no price. ``form`` is that of a
    multiple-choice task which is asked in another one than by log-likelihoods; ``unsure``: a server that turns out not to
    score given texts is asked in letter form instead. ``scorers_ask``: about how many requests scorers make of each role on
    top, before any reply has to be asked for again.
    """

    task: str
    n_shot: int
    samples: int = 0
    requests: int = 0
    distinct: int = 0
    context_tokens: int | None = None
    generated_tokens_at_most: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    estimated: bool = False
    cost_usd_at_most: float | None = None
    form: str | None = None
    unsure: bool = False
    scorers_ask: dict[str, int] = field(default_factory=dict)


def forecast(tasks: Sequence[Task], model: Model, price: Price | None = None) -> list[TaskPlan]:
    """Requests, tokens and cost a task, with no call to the model. What scorers will ask their models is not among them."""
    seen: set[str] = set()
    plans = []
    for task in tasks:
        plan = TaskPlan(task.name, task.num_fewshot)
        scored = 0
        for _, requests in sample_requests(task, model):
            plan.samples += 1
            plan.requests += len(requests)
            fresh = [q for q in requests if q.key not in seen]
            seen.update(q.key for q in fresh)
            plan.distinct += len({q.key for q in fresh})
            plan.kinds.update(q.kind for q in requests)
            plan.generated_tokens_at_most += sum(max_tokens_of(q.params) for q in fresh if q.kind == "generate")
            scored += sum(estimated_tokens(q.continuation) for q in fresh)
            if isinstance(model, TokenizingModel):
                plan.context_tokens = (plan.context_tokens or 0) + sum(model.count_tokens([q.prompt for q in fresh]))
            else:
                plan.context_tokens = (plan.context_tokens or 0) + sum(estimated_tokens(q.prompt) for q in fresh)
                plan.estimated = True
        read = (plan.context_tokens or 0) + scored
        plan.cost_usd_at_most = cost_of(Tokens(read, plan.generated_tokens_at_most), price)
        plans.append(plan)
    return plans
