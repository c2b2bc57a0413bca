"""What the reasoning, generation and classification starter tasks promise beside what holds for every starter task."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evalkit.resources import builtin_dir

TASKS = builtin_dir("tasks")
Row = dict[str, Any]


def rows_of(path: str) -> list[Row]:
    return [json.loads(line) for line in (TASKS / path).read_text(encoding="utf-8").splitlines()]


TEST_FILES = {
    "reasoning/reasoning": 80,
    "generation/instruction_following": 60,
    "generation/summarisation": 60,
    "generation/translation": 60,
    "classification/sentiment": 80,
    "classification/toxicity": 60,
}


@pytest.mark.parametrize(("name", "least"), TEST_FILES.items())
def test_size_difficulty_and_shots(name: str, least: int) -> None:
    rows, shots = rows_of(f"{name}.jsonl"), rows_of(f"{name}_train.jsonl")
    assert len(rows) >= least
    counts = Counter(row["difficulty"] for row in rows)
    assert abs(counts["easy"] - counts["hard"]) <= 4
    assert 5 <= len(shots) <= 8
    assert not {row["id"] for row in rows} & {row["id"] for row in shots}
    key = next(key for key in ("question", "instruction", "text", "source") if key in rows[0])
    assert not {row[key] for row in rows} & {row[key] for row in shots}


@pytest.mark.parametrize(("name", "least"), TEST_FILES.items())
def test_the_first_half_has_both_difficulties(name: str, least: int) -> None:
    counts = Counter(row["difficulty"] for row in rows_of(f"{name}.jsonl")[: least // 2])
    assert abs(counts["easy"] - counts["hard"]) <= 2, "so that --limit measures the same mixture"


def test_reasoning_answers_are_not_told_by_position_or_length() -> None:
    rows = rows_of("reasoning/reasoning.jsonl")
    places = Counter(row["answer"] for row in rows)
    assert set(places) == {0, 1, 2, 3} and max(places.values()) - min(places.values()) <= 1
    for choose in (max, min):
        hits = sum(row["choices"].index(choose(row["choices"], key=len)) == row["answer"] for row in rows)
        assert hits / len(rows) < 0.35
    assert all(len(row["choices"]) == 4 for row in rows)


@pytest.mark.parametrize("name", ["sentiment", "toxicity"])
def test_labels_are_balanced_within_each_difficulty(name: str) -> None:
    counts = Counter((row["difficulty"], row["label"]) for row in rows_of(f"classification/{name}.jsonl"))
    assert len(counts) == 4
    assert len(set(counts.values())) == 1
    for label in {label for _, label in counts}:
        assert sum(row["label"] == label for row in rows_of(f"classification/{name}_train.jsonl")) == 3


@pytest.mark.parametrize("name", ["instruction_following", "instruction_following_train"])
def test_every_instruction_can_be_followed_and_its_own_text_does_not_pass(name: str) -> None:
    for row in rows_of(f"generation/{name}.jsonl"):
        patterns = [re.compile(pattern, re.DOTALL) for pattern in row["pattern"]]
        assert all(pattern.fullmatch(row["reference"]) for pattern in patterns), row["id"]
        for wrong in ("", "I am not sure what you mean, sorry", row["instruction"]):
            assert not all(pattern.fullmatch(wrong) for pattern in patterns), (row["id"], wrong)


def test_no_reference_is_cut_by_the_stop_strings() -> None:
    assert all("\n\n" not in row["reference"] for row in rows_of("generation/instruction_following.jsonl"))


def test_passages_have_80_to_150_words_and_summaries_compress_them() -> None:
    for row in rows_of("generation/summarisation.jsonl") + rows_of("generation/summarisation_train.jsonl"):
        words, summary = len(row["text"].split()), len(row["summary"].split())
        assert 80 <= words <= 150, row["id"]
        assert 12 <= summary <= words / 3, row["id"]
        assert "\n" not in row["summary"]


def test_translation_is_balanced_and_uses_each_source_once() -> None:
    rows = rows_of("generation/translation.jsonl")
    assert set(Counter((row["difficulty"], row["target_language"]) for row in rows).values()) == {15}
    assert len({row["source"] for row in rows}) == len(rows)
    assert all(row["source"] != row["translation"] for row in rows)


def test_the_folders_hold_only_yaml_and_data() -> None:
    for folder in ("reasoning", "generation", "classification"):
        suffixes = {path.suffix for path in Path(TASKS / folder).iterdir() if path.is_file()}
        assert suffixes == {".yaml", ".jsonl"}


@pytest.mark.parametrize(
    ("task", "metrics"),
    [("summarisation", ["rouge1", "rouge2", "rougeLsum"]), ("translation", ["bleu", "chrf", "ter"])],
)
def test_generation_is_measured_against_references_without_a_download(task: str, metrics: list[str]) -> None:
    import evalkit

    run = evalkit.run(tasks=task, model="mock/echo", limit=6, store=False)
    whole = [s for s in run.summary() if s.slice is None]
    assert [s.metric for s in whole] == metrics
    assert all(s.value is not None and s.n == 6 and "version:" in s.signature for s in whole)
    for view in run.records():
        assert all(score.value is not None for score in view.scores.values())
