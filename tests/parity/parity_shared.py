"""Shared benchmark data in the columns of its hub data set, for the comparison on a real model. Standard library only."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read(path: Path) -> Iterator[Row]:
    """Rows of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def shared(task: str, folder: Path) -> dict[str, list[Row]]:
    """The shared copy of a benchmark in its hub columns, by split. ``folder`` holds the data sets."""
    if task.startswith("mmlu_"):
        return {
            split: _shared_mmlu(folder / "mmlu" / f"{split}.jsonl.gz", task.removeprefix("mmlu_"))
            for split in ("dev", "test")
        }
    return _SHARED[task](folder)


def _shared_mmlu(path: Path, subject: str) -> list[Row]:
    keys = ("question", "subject", "choices")
    return [
        {**{key: row[key] for key in keys}, "answer": "ABCD".index(row["answer"])}
        for row in read(path)
        if row["subject"] == subject
    ]


def _shared_arc(folder: Path) -> dict[str, list[Row]]:
    rows = [
        {
            "question": row["query"].removeprefix("Question: "),
            "choices": {"text": row["choices"], "label": list("ABCDE")[: len(row["choices"])]},
            "answerKey": "ABCDE"[row["gold"]],
        }
        for row in read(folder / "arc" / "arc_easy.jsonl.gz")
    ]
    return {"train": rows[1000:1100], "validation": rows[1100:1200], "test": rows[:1000]}


def _shared_hellaswag(folder: Path) -> dict[str, list[Row]]:
    rows = []
    for row in read(folder / "hellaswag" / "hellaswag_val.jsonl.gz"):
        activity, _, context = row["ctx"].partition(": ")
        first, stop, second = context.rpartition(". ")
        columns = {"activity_label": activity, "ctx_a": first + stop.rstrip(), "ctx_b": second}
        rows.append({**columns, "endings": row["endings"], "label": str(row["gold"])})
    return {"train": rows[1000:1100], "validation": rows[:1000]}


def _shared_gsm8k(folder: Path) -> dict[str, list[Row]]:
    rows = list(read(folder / "gsm8k" / "test.jsonl.gz"))
    return {"train": rows[1000:], "test": rows[:1000]}


def _shared_lambada(folder: Path) -> dict[str, list[Row]]:
    return {
        "test": [
            {"text": f"{row['context']} {row['continuation']}"}
            for row in read(folder / "lambada" / "lambada_openai.jsonl.gz")
        ]
    }


def _shared_winogrande(folder: Path) -> dict[str, list[Row]]:
    rows = []
    for row in read(folder / "winogrande" / "winogrande.jsonl.gz"):
        first, second = (text.split(" ") for text in row["context_options"])
        start = next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
        prefix = " ".join(first[:start])
        options = {"option1": " ".join(first[start:]), "option2": " ".join(second[start:])}
        text = f"{prefix} _ {row['continuation']}" if prefix else f"_ {row['continuation']}"
        rows.append({"sentence": text, **options, "answer": str(row["gold"] + 1)})
    return {"train": rows[1000:], "validation": rows[:1000]}


def _shared_wikitext(folder: Path) -> dict[str, list[Row]]:
    """Documents for the rolling task, made of lambada's passages; the second does not fit a window of 2,048 tokens."""
    texts = [row["text"] for row in _shared_lambada(folder)["test"][500:540]]
    pages = ["\n".join(texts[:2]), "\n".join(texts[2:34]), "\n".join(texts[34:37]), texts[37]]
    rows = [{"page": f" {page} \n"} for page in pages]
    return {"train": rows, "validation": rows, "test": rows}


_SHARED: dict[str, Callable[[Path], dict[str, list[Row]]]] = {
    "arc_easy": _shared_arc,
    "hellaswag": _shared_hellaswag,
    "gsm8k": _shared_gsm8k,
    "lambada_openai": _shared_lambada,
    "winogrande": _shared_winogrande,
    "wikitext": _shared_wikitext,
}
