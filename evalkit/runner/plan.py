"""From tasks to keyed requests, lazily, with the samples written down on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from evalkit.errors import ModelError
from evalkit.models.base import ChatModel, Model, TokenizingModel
from evalkit.runner.store import RunStore
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
            raise ModelError(f"{task.name} needs {kind} requests and {model.name} can only do {can}{why}; leave this task out")
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
    """What a task will ask: the numbers of ``--dry-run``."""

    task: str
    n_shot: int
    samples: int = 0
    requests: int = 0
    distinct: int = 0
    context_tokens: int | None = None
    generated_tokens_at_most: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def forecast(tasks: Sequence[Task], model: Model) -> list[TaskPlan]:
    """Request and token counts a task, with no call to the model. Tokens only where the model can count them."""
    seen: set[str] = set()
    plans = []
    for task in tasks:
        plan = TaskPlan(task.name, task.num_fewshot)
        for _, requests in sample_requests(task, model):
            plan.samples += 1
            plan.requests += len(requests)
            fresh = [q for q in requests if q.key not in seen]
            seen.update(q.key for q in fresh)
            plan.distinct += len({q.key for q in fresh})
            plan.kinds.update(q.kind for q in requests)
            plan.generated_tokens_at_most += sum(int(q.params.get("max_gen_toks", 0)) for q in fresh)
            if isinstance(model, TokenizingModel):
                plan.context_tokens = (plan.context_tokens or 0) + sum(model.count_tokens([q.prompt for q in fresh]))
        plans.append(plan)
    return plans
