"""Checkpoints that know how much they know: folders of one small file, and a provider ``known/`` that answers by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.base import ModelOptions
from evalkit.models.mock import MockModel, fraction, prompt_text
from evalkit.models.registry import MODELS
from evalkit.types import Request, Response

CHOICES = ("A", "B", "C", "D")


class Known(MockModel):
    """Right on the share of items that its folder names: the same easy ones at every share, unless ``luck`` differs."""

    def __init__(self, folder: str, options: ModelOptions) -> None:
        path = Path(folder) / "known.json"
        if not path.is_file():
            raise ModelError(f"{folder} has no known.json")
        self._facts = json.loads(path.read_text())
        super().__init__(f"known/{folder}", self._say, identity=self._facts)

    def describe(self) -> Mapping[str, Any]:
        size = self._facts.get("parameters")
        return {**super().describe(), **({"parameters": size} if size else {})}

    def _say(self, request: Request) -> Response:
        text = prompt_text(request.prompt)
        item = Request("generate", text)
        right = fraction(item, self._facts.get("luck", "")) < self._facts["right"]
        gold = CHOICES.index(text.rpartition("gold ")[2][0])
        said = CHOICES[gold if right else (gold + 1) % 4]
        return Response(
            request.key, logprob=-1.0 if request.continuation.strip() == said else -5.0, is_greedy=False, tokens=1
        )


MODELS.add("known", Known)


def checkpoint(folder: Path, right: float, *, state: Mapping[str, Any] | None = None, **facts: Any) -> Path:
    """A checkpoint that gets the share ``right`` of all items right."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "known.json").write_text(json.dumps({"right": right, **facts}))
    if state is not None:
        (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def task(folder: Path, name: str = "letters", items: int = 200, **more: Any) -> str:
    """A multiple-choice task; the path of its file."""
    rows = [{"q": f"{name} {number}, gold {CHOICES[number % 4]}", "gold": number % 4} for number in range(items)]
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    content = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "q",
        "doc_to_choice": list(CHOICES),
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}],
        **more,
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(content))
    return str(path)
