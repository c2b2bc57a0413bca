"""What every starter task's data must be: clean, balanced, of two difficulties and free of template near-duplicates.

The checks run over every data file of the starter tasks (all of `tasks/` but `benchmarks/` and `bias/`, whose sets are made
of minimal pairs), whoever wrote them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.resources import builtin_dir
from evalkit.scorers.registry import build_scorers
from evalkit.tasks.load import TaskLibrary
from evalkit.tasks.schema import TaskConfig
from evalkit.tasks.scoring import scoring_plan
from evalkit.tasks.transforms import TRANSFORMS

TASKS = builtin_dir("tasks")
OTHERS = {"benchmarks", "bias", "toxicity"}
FILES = sorted(path for path in TASKS.rglob("*.jsonl") if not OTHERS & set(path.parts))
Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def library() -> TaskLibrary:
    return TaskLibrary(cache=False)


def starter_configs() -> list[TaskConfig]:
    library = TaskLibrary(cache=False)
    paths = [e.path for e in library.listing() if e.kind == "task" and e.path and not OTHERS & set(e.path.parts)]
    return list(library.resolve([str(path) for path in paths]).tasks)


STARTERS = starter_configs()


def data_file(config: TaskConfig, split: str) -> Path:
    assert config.source is not None
    return config.source.parent / config.dataset_kwargs["data_files"][split]


# --- near-duplicates ------------------------------------------------------------------------------------------------


def strings(value: Any) -> Iterator[str]:
    """All texts inside a row's value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def word_ngrams(texts: Iterable[str], size: int = 4) -> set[tuple[str, ...]]:
    found = set()
    for text in texts:
        words = re.findall(r"\w+", re.sub(r"\d+", "0", text.lower()))  # another number does not make another story
        found |= {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
    return found


def near_duplicates(rows: list[Row], share: float = 0.5) -> list[tuple[str, str, float]]:
    """Pairs of items that share more than ``share`` of the smaller one's word 4-grams.

    A text that two rows hold in the same column word for word (a passage with several questions) is one text shown
    twice, not a template: only its first row counts it.
    """
    seen: set[tuple[str, str]] = set()
    grams = []
    for row in rows:
        fresh = [(key, text) for key, value in row.items() for text in strings(value) if (key, text) not in seen]
        long = {(key, text) for key, text in fresh if len(text.split()) > 40}
        seen |= long
        grams.append((str(row["id"]), word_ngrams(text for _, text in fresh)))
    found = []
    for i, (first, a) in enumerate(grams):
        for second, b in grams[:i]:
            smaller = min(len(a), len(b))
            if smaller and len(a & b) / smaller > share:
                found.append((second, first, len(a & b) / smaller))
    return found


def test_the_near_duplicate_check_finds_templates_and_leaves_real_items_alone() -> None:
    stories = [
        {"id": "a", "question": "Tom has 5 red apples and buys 7 more. How many apples does he have?"},
        {"id": "b", "question": "Tom has 9 red apples and buys 4 more. How many apples does he have?"},
        {"id": "c", "question": "A train with 8 carriages has 60 seats in each. How many people can sit?"},
    ]
    assert [pair[:2] for pair in near_duplicates(stories)] == [("a", "b")]


def test_a_shared_passage_is_no_duplicate_but_a_copied_question_is() -> None:
    passage = " ".join(f"word{i}" for i in range(60))
    rows = [
        {"id": "a", "passage": passage, "question": "Where did the old man go after lunch?"},
        {"id": "b", "passage": passage, "question": "Why was nobody surprised by the noise?"},
        {"id": "c", "passage": passage, "question": "Where did the old man go after dinner?"},
    ]
    assert [pair[:2] for pair in near_duplicates(rows[1:])] == []
    assert ("a", "c") in [pair[:2] for pair in near_duplicates(rows, share=0.1)]


# --- every data file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_data_files_are_clean(path: Path) -> None:
    rows = rows_of(path)
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids), "ids must be unique"
    assert all(re.fullmatch(r"[a-z]+[a-z0-9]*", name) for name in ids), "ids are letters and digits"
    assert len({tuple(row) for row in rows}) == 1, "every row has the same columns in the same order"
    for row in rows:
        assert all(text == text.strip() and text for text in strings(row)), f"{row['id']}: empty text or stray white space"
        for value in row.values():
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                assert len(set(value)) == len(value), f"{row['id']}: the same text twice in a list"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_item_is_a_near_duplicate_of_another(path: Path) -> None:
    assert near_duplicates(rows_of(path)) == []


# --- every starter task ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", STARTERS, ids=lambda config: config.task)
def test_a_starter_task_says_what_it_is(config: TaskConfig) -> None:
    assert config.summary and "\n" not in config.summary
    assert config.ability
    assert config.licence == "Apache-2.0"
    assert config.version != "Yaml"
    assert "difficulty" in config.slices


@pytest.mark.parametrize("config", STARTERS, ids=lambda config: config.task)
def test_a_starter_task_has_enough_items_of_two_difficulties(config: TaskConfig) -> None:
    split = config.test_split or config.validation_split
    assert split is not None
    rows = rows_of(data_file(config, split))
    assert 50 <= len(rows) <= 300
    counts = Counter(row["difficulty"] for row in rows)
    assert set(counts) == {"easy", "hard"}
    assert min(counts.values()) >= len(rows) / 4


@pytest.mark.parametrize("config", STARTERS, ids=lambda config: config.task)
def test_examples_for_few_shot_prompts_are_not_among_the_items(config: TaskConfig) -> None:
    if config.training_split is None:
        return
    items, examples = (rows_of(data_file(config, s)) for s in (config.test_split or "", config.training_split))
    assert near_duplicates([*items, *examples]) == []


@pytest.mark.parametrize("config", [c for c in STARTERS if c.output_type == "multiple_choice"], ids=lambda c: c.task)
def test_right_answers_are_balanced(config: TaskConfig) -> None:
    rows = rows_of(data_file(config, config.test_split or ""))
    column = str(config.doc_to_target).strip("{} ")
    counts = Counter(row[column] for row in rows)
    fair = len(rows) / len(counts)
    assert all(abs(count - fair) <= max(1, 0.1 * fair) for count in counts.values()), counts


# --- this half's tasks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), [("knowledge", "choices"), ("reading", "choices"), ("grammar", "sentences")])
def test_multiple_choice_items_are_well_formed(name: str, options: str) -> None:
    rows = rows_of(TASKS / name / f"{name}.jsonl")
    sizes = {len(row[options]) for row in rows}
    assert sizes == ({2} if name == "grammar" else {4})
    positions = Counter(row["answer"] for row in rows)
    assert set(positions) == set(range(min(sizes)))
    assert max(positions.values()) - min(positions.values()) <= 1


@pytest.mark.parametrize("name", ["knowledge", "reading"])
def test_the_right_choice_cannot_be_told_by_its_length(name: str) -> None:
    rows = rows_of(TASKS / name / f"{name}.jsonl")
    longest = sum(max(row["choices"], key=len) == row["choices"][row["answer"]] for row in rows)
    assert longest / len(rows) < 0.4


def test_grammar_covers_ten_phenomena_equally() -> None:
    counts = Counter(row["phenomenon"] for row in rows_of(TASKS / "grammar/grammar.jsonl"))
    assert counts == dict.fromkeys(counts, 10)
    assert len(counts) == 10


def test_reading_passages_have_the_promised_length_and_questions() -> None:
    rows = rows_of(TASKS / "reading/reading.jsonl")
    passages = {row["passage_id"]: row["passage"] for row in rows}
    assert len(passages) == len({row["passage"] for row in rows}) == 25
    assert all(60 <= len(text.split()) <= 120 for text in passages.values())
    assert {*Counter(row["passage_id"] for row in rows).values()} == {3, 4}


@pytest.mark.parametrize("name", ["arithmetic", "arithmetic_train"])
def test_arithmetic_solutions_add_up(name: str) -> None:
    for row in rows_of(TASKS / f"arithmetic/{name}.jsonl"):
        steps = re.findall(r"(\d[\d +*/-]+) = (\d+)\.", row["solution"])
        assert " ".join(f"{left} = {right}." for left, right in steps) == row["solution"], row["id"]
        assert steps[-1][1] == row["answer"], row["id"]
        for left, right in steps:
            assert eval(left) == int(right), (row["id"], left)  # digits and operators only, as matched above


def test_no_number_is_the_answer_to_many_sums() -> None:
    counts = Counter(row["answer"] for row in rows_of(TASKS / "arithmetic/arithmetic.jsonl"))
    assert max(counts.values()) <= 3


# --- groups and standard benchmarks ---------------------------------------------------------------------------------

BENCHMARKS = [
    "hellaswag",
    "arc_easy",
    "arc_challenge",
    "gsm8k",
    "winogrande",
    "piqa",
    "boolq",
    "lambada_openai",
    "triviaqa",
    "truthfulqa_mc1",
    "truthfulqa_mc2",
    "truthfulqa_gen",
    "wikitext",
]


def test_the_library_has_no_broken_files(library: TaskLibrary) -> None:
    assert library.warnings == []


def test_quickstart_runs_every_kind_of_request_a_demo_should_show(library: TaskLibrary) -> None:
    selection = library.resolve(["quickstart"])
    assert {task.output_type for task in selection.tasks} == {"multiple_choice", "generate_until"}
    assert selection.warnings == ()


def test_standard_benchmarks_have_the_names_people_know(library: TaskLibrary) -> None:
    selection = library.resolve(BENCHMARKS)
    assert [task.task for task in selection.tasks] == BENCHMARKS
    assert selection.warnings == ()
    for task in selection.tasks:
        assert task.summary and task.ability and task.version != "Yaml", task.task


def test_mmlu_has_57_subjects_in_four_weighted_groups(library: TaskLibrary) -> None:
    selection = library.resolve(["mmlu"])
    groups = {group.group: group for group in selection.groups}
    assert {name: len(group.leaves) for name, group in groups.items()} == {
        "mmlu": 57,
        "mmlu_stem": 19,
        "mmlu_other": 13,
        "mmlu_social_sciences": 12,
        "mmlu_humanities": 13,
    }
    assert all(entry.weight_by_size for group in groups.values() for entry in group.aggregate_metric_list)
    assert len({task.description for task in selection.tasks}) == 57


def test_blimp_has_67_paradigms_that_count_alike(library: TaskLibrary) -> None:
    selection = library.resolve(["blimp"])
    assert len(selection.groups[0].leaves) == 67
    assert not selection.groups[0].aggregate_metric_list[0].weight_by_size


def test_built_in_tasks_need_no_code(library: TaskLibrary) -> None:
    assert not list(TASKS.rglob("*.py"))
    assert not [path for path in TASKS.rglob("*") if path.is_file() and b"!function" in path.read_bytes()]


def test_built_in_tasks_name_scorers_and_transforms_that_exist(library: TaskLibrary) -> None:
    names = [entry.name for entry in library.listing() if entry.kind == "task"]
    for config in library.resolve(names).tasks:
        plan = scoring_plan(
            config, allow_code=False, multiple_inputs=config.task == "winogrande", multiple_targets=config.task == "triviaqa"
        )
        assert build_scorers(plan), config.task
        assert config.transform is None or TRANSFORMS.get(config.transform)
