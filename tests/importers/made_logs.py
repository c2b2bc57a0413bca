"""Small logs in the shapes that lm-eval 0.4.13 and inspect 0.3.285 write, made by hand."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DATE = "2026-11-22T14-02-03.391108"
ARGS = {"pretrained": "org/small", "dtype": "bfloat16"}


def choice_config(name: str = "quiz", **changes: Any) -> dict[str, Any]:
    """A multiple-choice task as lm-eval logs it: filled in, with the model's arguments among the metadata."""
    text, choice, target = "Q: {{question}}\nA:", "{{choices}}", "{{answer}}"
    fewshot = {"sampler": "default", "split": None, "doc_to_text": text, "doc_to_choice": choice, "doc_to_target": target}
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "quiz.jsonl"}},
        "test_split": "test",
        "doc_to_text": text,
        "doc_to_target": target,
        "doc_to_choice": choice,
        "unsafe_code": False,
        "description": "",
        "target_delimiter": " ",
        "fewshot_delimiter": "\n\n",
        "fewshot_config": {**fewshot, "fewshot_delimiter": "\n\n", "target_delimiter": " "},
        "num_fewshot": 0,
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
        ],
        "output_type": "multiple_choice",
        "repeats": 1,
        "should_decontaminate": False,
        "metadata": {"version": 1.0, **ARGS, "config_source": "/somewhere/quiz.yaml"},
        **changes,
    }


def choice_lines(docs: Iterable[Mapping[str, Any]], logprobs: Iterable[list[float]]) -> list[dict[str, Any]]:
    """Lines of a multiple-choice task; the metrics by lm-eval's rules."""
    lines = []
    for doc_id, (doc, found) in enumerate(zip(docs, logprobs, strict=True)):
        best = found.index(max(found))
        by_length = [value / len(choice) for value, choice in zip(found, doc["choices"], strict=True)]
        normed = by_length.index(max(by_length))
        prompt = f"Q: {doc['question']}\nA:"
        resps = [[[str(value), str(i == best)]] for i, value in enumerate(found)]
        lines.append(
            {
                "doc_id": doc_id,
                "doc": dict(doc),
                "target": str(doc["answer"]),
                "arguments": {f"gen_args_{i}": {"arg_0": prompt, "arg_1": f" {c}"} for i, c in enumerate(doc["choices"])},
                "resps": resps,
                "filtered_resps": [answers[0] for answers in resps],
                "filter": "none",
                "metrics": ["acc", "acc_norm"],
                "doc_hash": "0",
                "prompt_hash": "0",
                "target_hash": "0",
                "acc": float(best == doc["answer"]),
                "acc_norm": float(normed == doc["answer"]),
            }
        )
    return lines


def quiz(n: int = 8) -> tuple[list[dict[str, Any]], list[list[float]]]:
    """Questions and log-likelihoods; about half are answered right."""
    docs = [
        {"question": f"What is {i}?", "choices": ["one", "seventeen", "no"], "answer": i % 3, "subject": "ab"[i % 2]}
        for i in range(n)
    ]
    return docs, [[-2.0 - (i * 7 + k * 5) % 4 - 0.125 * k for k in range(3)] for i in range(n)]


def lm_eval_output(folder: Path, tasks: Mapping[str, tuple[dict[str, Any], list[dict[str, Any]]]], **changes: Any) -> Path:
    """A results file and the samples beside it; aggregates of numbers are means. Returns the results file."""
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    for name, (_, lines) in tasks.items():
        row: dict[str, Any] = {"name": name, "alias": name, "sample_len": len(lines)}
        values: dict[str, list[float]] = {}
        for line in lines:
            for metric in line["metrics"]:
                if isinstance(line[metric], int | float):
                    values.setdefault(f"{metric},{line['filter']}", []).append(line[metric])
        results[name] = row | {key: sum(found) / len(found) for key, found in values.items()}
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"samples_{name}_{DATE}.jsonl").write_text(text, encoding="utf-8")
    document = {
        "results": results,
        "group_subtasks": {name: [] for name in tasks},
        "configs": {name: config for name, (config, _) in tasks.items()},
        "versions": {name: config["metadata"]["version"] for name, (config, _) in tasks.items()},
        "n-shot": {name: config["num_fewshot"] for name, (config, _) in tasks.items()},
        "higher_is_better": {name: {"acc": True, "acc_norm": True} for name in tasks},
        "n-samples": {name: {"original": 100, "effective": len(lines)} for name, (_, lines) in tasks.items()},
        "config": {"model": "hf", "model_args": ARGS, "model_dtype": "torch.bfloat16", "limit": 8.0, "fewshot_seed": 1234},
        "git_hash": None,
        "date": 1795356078.5,
        "lm_eval_version": "0.4.13",
        "model_name": "org/small",
        "chat_template": None,
        "total_evaluation_time_seconds": "65.7",
    }
    for key, value in changes.items():
        document[key] = {**document[key], **value} if isinstance(value, Mapping) else value
    path = folder / f"results_{DATE}.json"
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
    return path


def inspect_sample(name: Any, epoch: int = 1, value: Any = "C", **changes: Any) -> dict[str, Any]:
    """A sample that one call answered."""
    question = f"Capital of {name}?"
    return {
        "id": name,
        "epoch": epoch,
        "input": question,
        "target": "Paris",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": question, "source": "input"},
            {"role": "assistant", "content": f"Paris ({epoch})", "source": "generate", "model": "mockllm/model"},
        ],
        "output": {
            "model": "mockllm/model",
            "choices": [{"message": {"role": "assistant", "content": f"Paris ({epoch})"}, "stop_reason": "stop"}],
            "completion": f"Paris ({epoch})",
            "usage": {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14},
            "time": 0.5,
        },
        "scores": {"match": {"value": value, "answer": "Paris"}},
        "metadata": {"continent": "Europe"},
        "model_usage": {"mockllm/model": {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14}},
        "working_time": 0.75,
        **changes,
    }


def failed_sample(name: Any, epoch: int = 1) -> dict[str, Any]:
    """A sample that ended in an error."""
    empty = {"model": "mockllm/model", "choices": [], "completion": ""}
    messages = inspect_sample(name, epoch)["messages"][:2]
    error = {"message": "RuntimeError('boom')", "traceback": "..."}
    return inspect_sample(name, epoch, scores={}, output=empty, messages=messages, model_usage={}, error=error)


def inspect_document(samples: list[dict[str, Any]], accuracy: float | None = None, **changes: Any) -> dict[str, Any]:
    """A finished log; ``changes`` go to its ``eval``."""
    metrics = [{"name": "inspect_ai/accuracy", "options": {}}, {"name": "inspect_ai/stderr", "options": {}}]
    names = list(dict.fromkeys(sample["id"] for sample in samples))
    score = {"name": "match", "scorer": "match", "params": {"location": "any"}, "metrics": {}}
    if accuracy is not None:
        score["metrics"] = {"accuracy": {"name": "accuracy", "value": accuracy}}
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "run_id": "r1",
            "eval_id": "e1",
            "created": "2026-11-22T14:01:07+00:00",
            "task": "capitals",
            "task_version": 2,
            "task_args": {"grade": "x"},
            "dataset": {"name": "capitals", "samples": len(names), "sample_ids": names, "shuffled": False},
            "model": "mockllm/model",
            "model_generate_config": {},
            "config": {"epochs": max((sample["epoch"] for sample in samples), default=1)},
            "packages": {"inspect_ai": "0.3.285"},
            "scorers": [{"name": "match", "options": {"location": "any"}, "metrics": metrics}],
            **changes,
        },
        "plan": {"name": "plan", "steps": [], "config": {"max_tokens": 20, "temperature": 0.5}},
        "results": {"total_samples": len(samples), "completed_samples": len(samples), "scores": [score]},
        "stats": {"started_at": "2026-11-22T14:01:07+00:00", "completed_at": "2026-11-22T14:01:09+00:00"},
        "samples": samples,
    }


def write_json_log(path: Path, document: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
    return path


def write_eval_log(path: Path, document: Mapping[str, Any], *, zstandard: bool = False) -> Path:
    """The same log as a zip: deflated, or packed with Zstandard as newer versions of inspect do."""
    header = {key: value for key, value in document.items() if key not in ("samples", "reductions")}
    parts = {f"samples/{s['id']}_epoch_{s['epoch']}.json": s for s in document["samples"]}
    if "reductions" in document:
        parts["reductions.json"] = document["reductions"]
    parts = {"_journal/start.json": {"version": 2}, **parts, "header.json": header}
    contents = {name: json.dumps(part, ensure_ascii=False).encode() for name, part in parts.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    if zstandard:
        path.write_bytes(_packed(contents))
    return path


def _packed(contents: Mapping[str, bytes]) -> bytes:
    """A zip whose files are packed with Zstandard, which Python's own module cannot write before 3.14."""
    import struct
    import zlib

    import pyarrow

    body, directory = b"", b""
    for name, content in contents.items():
        packed = pyarrow.compress(content, codec="zstd", asbytes=True)
        facts = struct.pack("<IIIHH", zlib.crc32(content), len(packed), len(content), len(name), 0)
        directory += struct.pack("<IHHHHHH", 0x02014B50, 63, 63, 0, 93, 0, 0) + facts
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name.encode()
        body += struct.pack("<IHHHHH", 0x04034B50, 63, 0, 93, 0, 0) + facts + name.encode() + packed
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(contents), len(contents), len(directory), len(body), 0)
    return body + directory + end
