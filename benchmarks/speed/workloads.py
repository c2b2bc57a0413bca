"""What is measured: lm-eval task files over local data, and the requests that they make.

Every workload is a YAML task file in lm-eval's format, which both programs read; its data is the benchmarks' own, from a
folder of local copies. Prompts are those of lm-eval's tasks of the same names.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, Any]

#: MMLU subjects in the data's order: the first is the one asked alone.
SUBJECTS = (
    "astronomy",
    "business_ethics",
    "clinical_knowledge",
    "college_biology",
    "college_chemistry",
    "college_medicine",
    "computer_security",
    "econometrics",
    "formal_logic",
    "world_religions",
)
_UNTIL = ["Question:", "</s>", "<|im_end|>"]  # of lm-eval's gsm8k


@dataclass(frozen=True, slots=True)
class Workload:
    """``limit`` samples of each of ``tasks``.

    ``batches`` are the sizes that lm-eval is tried with, on ``trial`` samples of each task and ``trial_tokens`` new
    tokens; workloads of one ``tune`` name share the outcome. ``whole``: whole commands are measured, not only the
    inference. ``alone``: lm-eval is not run.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    limit: int
    tune: str
    batches: tuple[int, ...] = (1, 4, 8, 16, 32)
    trial: int = 24
    max_tokens: int = 0
    whole: bool = False
    first: bool = False
    alone: bool = False

    @property
    def samples(self) -> int:
        return self.limit * len(self.tasks)


_MMLU = tuple(f"mmlu_{subject}" for subject in SUBJECTS)
_MIX = ("lambada_openai", "arc_easy", "winogrande", "piqa")
_LETTERS = (1, 2, 4, 8, 16)
_TEXTS = (8, 16, 30)

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("hellaswag", "HellaSwag 0-shot, 200", ("hellaswag",), 200, "hellaswag"),
        Workload("mmlu-1", "MMLU 5-shot letters, 1 subject x 100", _MMLU[:1], 100, "mmlu", _LETTERS, 16),
        Workload("mmlu-10", "MMLU 5-shot letters, 10 subjects x 20", _MMLU, 20, "mmlu", _LETTERS, 2),
        Workload("gsm8k-64", "GSM8K 5-shot, 30, 64 new tokens", ("gsm8k_64",), 30, "gsm8k", _TEXTS, 30, 64),
        Workload("gsm8k-256", "GSM8K 5-shot, 30, 256 new tokens", ("gsm8k_256",), 30, "gsm8k", _TEXTS, 30, 256),
        Workload("mix", "LAMBADA + ARC-easy + Winogrande + PIQA, 200 each", _MIX, 200, "mix", trial=16),
        Workload("mix-process", "the same as whole processes", _MIX, 200, "mix", trial=16, whole=True),
        Workload("first-forward", "start to first pass, HellaSwag", ("hellaswag",), 200, "hellaswag", first=True),
        Workload("linear-50", "HellaSwag, 50", ("hellaswag",), 50, "hellaswag", alone=True),
        Workload("linear-100", "HellaSwag, 100", ("hellaswag",), 100, "hellaswag", alone=True),
    )
}


def quick(workload: Workload) -> Workload:
    """A tenth of the samples and fewer sizes, to see that everything works."""
    return replace(workload, limit=max(workload.limit // 10, 3), batches=workload.batches[1:3], trial=2)


def missing(data: Path, workload: Workload) -> str:
    """Why ``workload`` cannot be measured with the data in ``data``; empty where it can."""
    files = [data / file for task in workload.tasks for file in _FILES[_family(task)]]
    absent = [str(file) for file in files if not file.is_file()]
    return f"no {absent[0]}" if absent else ""


def write_tasks(data: Path, workload: Workload, folder: Path) -> None:
    """The workload's task files and their data, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in workload.tasks:
        family = _family(task)
        rows, shots = _rows(data, family, task)
        files = {"test": str(_table(folder / f"{task}.jsonl", rows))}
        if shots:
            files["train"] = str(_table(folder / f"{task}-shots.jsonl", shots))
        made = {"task": task, "dataset_path": "json", "dataset_kwargs": {"data_files": files}, "test_split": "test"}
        if shots:
            made |= {"fewshot_split": "train", "num_fewshot": len(shots), "fewshot_config": {"sampler": "first_n"}}
        own = dict(_TASKS[family])
        if family == "mmlu":
            subject = task.removeprefix("mmlu_").replace("_", " ")
            own["description"] = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
        if family == "gsm8k":
            own["generation_kwargs"] = {**own["generation_kwargs"], "max_gen_toks": int(task.removeprefix("gsm8k_"))}
        (folder / f"{task}.yaml").write_text(yaml.safe_dump(made | own, allow_unicode=True), encoding="utf-8")


def requests(job: Row) -> list[list[Row]]:
    """For each of the first ``limit`` samples of each of ``tasks`` (task files) its requests, as evalkit makes them."""
    from evalkit.runner.options import RunOptions
    from evalkit.runner.prepare import ready_task, select

    options = RunOptions(tasks=job["tasks"], model=None, limit=job["limit"])
    tasks = [ready_task(config, options).task for config in select(options).tasks]
    return [
        [{"prompt": q.prompt, "rest": q.continuation, "params": dict(q.params)} for q in task.requests(sample)]
        for task in tasks
        for sample in task.samples()
    ]


def _family(task: str) -> str:
    return task.split("_")[0]


def _read(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _table(path: Path, rows: list[Row]) -> Path:
    """Rows as a JSON-lines file. Left alone where it is the same, since lm-eval's cache goes by its date."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


def _rows(data: Path, family: str, task: str) -> tuple[list[Row], list[Row]]:
    """A task's rows, and those of its examples."""
    tables = [list(_read(data / file)) for file in _FILES[family]]
    if family == "mmlu":
        subject = task.removeprefix("mmlu_")
        test, dev = ([row for row in table if row["subject"] == subject] for table in tables)
        return test, dev
    return (tables[0][:-5], tables[0][-5:]) if family == "gsm8k" else (tables[0], [])


_FILES = {
    "hellaswag": ("hellaswag/hellaswag_val.jsonl.gz",),
    "mmlu": ("mmlu/test.jsonl.gz", "mmlu/dev.jsonl.gz"),
    "gsm8k": ("gsm8k/test.jsonl.gz",),
    "lambada": ("lambada/lambada_openai.jsonl.gz",),
    "arc": ("arc/arc_easy.jsonl.gz",),
    "winogrande": ("winogrande/winogrande.jsonl.gz",),
    "piqa": ("piqa/piqa.jsonl.gz",),
}
_ACC = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
_NORM = {**_ACC, "metric": "acc_norm"}
_CHOICE = {"output_type": "multiple_choice", "doc_to_target": "gold", "doc_to_choice": "choices"}

#: By family: how the local copies' columns become lm-eval's prompts.
_TASKS: dict[str, Row] = {
    "hellaswag": {**_CHOICE, "doc_to_text": "ctx", "doc_to_choice": "endings", "metric_list": [_ACC, _NORM]},
    "mmlu": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\n"
        "Answer:",
        "doc_to_choice": ["A", "B", "C", "D"],
        "doc_to_target": "{{['A', 'B', 'C', 'D'].index(answer)}}",
        "metric_list": [_ACC],
    },
    "gsm8k": {
        "output_type": "generate_until",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "answer",
        "generation_kwargs": {"until": _UNTIL, "do_sample": False, "temperature": 0.0},
        "metric_list": [{**_ACC, "metric": "exact_match"}],
    },
    "lambada": {
        "output_type": "loglikelihood",
        "doc_to_text": "context",
        "doc_to_target": "{{' ' + continuation}}",
        "metric_list": [{"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False}, _ACC],
    },
    "arc": {**_CHOICE, "doc_to_text": "{{query}}\nAnswer:", "metric_list": [_ACC, _NORM]},
    "winogrande": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{gold}}",
        "doc_to_choice": "context_options",
        "doc_to_target": "continuation",
        "metric_list": [_ACC],
    },
    "piqa": {**_CHOICE, "doc_to_text": "{{query.strip()}}\nAnswer:", "metric_list": [_ACC, _NORM]},
}
