"""A small summarisation task with a judge, and mock judges whose every request is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from evalkit.models.base import Capabilities
from evalkit.models.mock import MockModel, prompt_text
from evalkit.types import Failure, Request, Response

CRITERIA = ("fluency", "coherence", "relevance", "factuality")

TASK = {
    "task": "sums",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "generate_until",
    "sample_id": "id",
    "doc_to_text": "{{source}}\n{{summary}}",
    "doc_to_target": "{{summary}}",
    "generation_kwargs": {"until": []},
    "num_fewshot": 0,
}


def rows(n: int) -> list[dict[str, Any]]:
    """Documents; the mock writer repeats the last line of its prompt, so that ``summary`` is what it writes."""
    return [
        {"id": f"s{i}", "source": f"Document {i}. Rain fell.", "summary": f"rain {i}", "other": "snow"} for i in range(n)
    ]


def write_task(
    folder: Path, scorers: Sequence[Any], data: Sequence[Mapping[str, Any]] | None = None, name: str = "sums"
) -> str:
    """The path of a task file over ``data`` (5 documents by default)."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (data or rows(5))), "utf-8")
    config = {**TASK, "task": name, "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}, "scorers": list(scorers)}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return str(path)


class Asked(MockModel):
    """A mock model that keeps every request, in the order in which it answered."""

    def __init__(self, name: str, answer: Callable[[Request], Response], **more: Any) -> None:
        self.seen: list[Request] = []

        def kept(request: Request) -> Response:
            self.seen.append(request)
            return answer(request)

        super().__init__(name, kept, **more)

    @property
    def prompts(self) -> list[str]:
        return [prompt_text(request.prompt) for request in self.seen]


def writer() -> Asked:
    """A model under test that says the last line of its prompt."""

    def answer(request: Request) -> Response:
        return Response(request.key, text=prompt_text(request.prompt).rpartition("\n")[2], tokens=2, finish="stop")

    return Asked("acme/writer-7b", answer)


def weighing(shares: Sequence[float] = (0.1, 0.1, 0.2, 0.2, 0.3), name: str = "acme/scales") -> Asked:
    """A judge whose labels 1 to 5 always have these probabilities."""

    def answer(request: Request) -> Response:
        return Response(request.key, logprob=math.log(shares[int(request.continuation) - 1]), is_greedy=False, tokens=1)

    return Asked(name, answer)


def saying(reply: Callable[[Request], str | Failure], name: str = "acme/talker", **more: Any) -> Asked:
    """A judge that writes what ``reply`` gives, or fails so; it can score no given text."""

    def answer(request: Request) -> Response:
        said = reply(request)
        if isinstance(said, Failure):
            return Response(request.key, error=said)
        return Response(request.key, text=said, tokens=said.count(" ") + 1, prompt_tokens=100, finish="stop")

    model = Asked(name, answer, **more)
    model.capabilities = Capabilities(kinds=frozenset({"generate"}), chat=True)
    return model


def argmax(rubric: str = "summarisation/coherence", **more: Any) -> dict[str, Any]:
    return {"judge": rubric, "score_mode": "argmax", "canaries": False, **more}
