import pytest
from task_kit import ListTable, choice_config, config, make, prompts, table

from evalkit.errors import DataError, TaskError
from evalkit.tasks.fewshot import LmEvalDraw, lm_eval_sampler
from evalkit.types import Sample


def shots(prompt: str) -> list[str]:
    """The questions of the examples in a text prompt."""
    return [part.split("\n")[0].removeprefix("Q: ") for part in prompt.split("\n\n")[:-1]]


def test_all_samples_share_one_draw_that_depends_on_task_and_seed():
    cfg = config(training_split="train")
    drawn = {tuple(shots(p)) for p in prompts(make(cfg, num_fewshot=4))}
    assert len(drawn) == 1
    assert drawn == {tuple(shots(p)) for p in prompts(make(cfg, num_fewshot=4))}
    assert drawn != {tuple(shots(p)) for p in prompts(make(cfg, num_fewshot=4, seed=5))}
    assert drawn != {tuple(shots(p)) for p in prompts(make(config(training_split="train", task="other"), num_fewshot=4))}


def test_fewer_shots_are_the_start_of_more():
    cfg = config(training_split="train")
    three, five = (shots(prompts(make(cfg, num_fewshot=n))[0]) for n in (3, 5))
    assert five[:3] == three


def test_a_sample_in_the_draw_gets_the_next_row_instead():
    data = {"test": table(12)}
    drawn = [shots(p) for p in prompts(make(config(), data, num_fewshot=3))]
    for i, examples in enumerate(drawn):
        assert f"q{i}" not in examples
        assert len(set(examples)) == 3
    common = max(drawn, key=drawn.count)
    assert sum(examples != common for examples in drawn) == 3
    for examples in drawn:  # the others keep their order, one more comes at the end
        assert [e for e in examples if e in common] == [e for e in common if e in examples]


def test_copies_of_a_sample_are_left_out_too():
    rows = [{"question": "same", "answer": "x"}] * 6 + [{"question": f"q{i}", "answer": "y"} for i in range(3)]
    data = {"test": ListTable([{"question": "same", "answer": "x"}]), "train": ListTable(rows)}
    task = make(config(training_split="train"), data, num_fewshot=3)
    assert sorted(shots(prompts(task)[0])) == ["q0", "q1", "q2"]


def test_prompts_do_not_depend_on_limit_or_order():
    cfg = config(training_split="train")
    for options in ({}, {"compat": "lm-eval"}):
        full = prompts(make(cfg, num_fewshot=2, **options))
        assert prompts(make(cfg, num_fewshot=2, limit=4, **options)) == full[:4]
        task = make(cfg, num_fewshot=2, **options)
        backwards = [task.requests(sample)[0].prompt for sample in reversed(list(task.samples()))]
        assert backwards == full[::-1]


def test_per_sample_draws_differ_but_are_stable():
    cfg = config(training_split="train", fewshot_config={"sampler": "per_sample"})
    full = prompts(make(cfg, num_fewshot=2))
    assert len({tuple(shots(p)) for p in full}) > 5
    assert prompts(make(cfg, num_fewshot=2, limit=3)) == full[:3]


def test_first_n_takes_the_first_rows():
    cfg = config(training_split="train", fewshot_config={"sampler": "first_n"})
    assert {tuple(shots(p)) for p in prompts(make(cfg, num_fewshot=3))} == {("train0", "train1", "train2")}
    own = config(fewshot_split="test", fewshot_config={"sampler": "first_n"})
    assert shots(prompts(make(own, num_fewshot=2))[0]) == ["q1", "q2"]


def test_listed_examples_and_indices():
    rows = [{"question": "one", "answer": "1"}, {"question": "two", "answer": "2"}]
    cfg = config(fewshot_config={"sampler": "first_n", "samples": rows})
    assert shots(prompts(make(cfg, num_fewshot=2))[0]) == ["one", "two"]
    fixed = config(training_split="train", fewshot_config={"fewshot_indices": [7, 3, 9]})
    assert shots(prompts(make(fixed, num_fewshot=2))[0]) == ["train7", "train3"]
    with pytest.raises(TaskError, match="fewshot_indices"):
        make(config(training_split="train", fewshot_config={"fewshot_indices": [70]}), num_fewshot=1)


@pytest.mark.parametrize(
    ("keys", "source"),
    [
        ({"training_split": "train", "validation_split": "val"}, "tr"),
        ({"validation_split": "val"}, "va"),
        ({}, "te"),
        ({"training_split": "train", "fewshot_split": "val"}, "va"),
        ({"fewshot_split": "val", "fewshot_config": {"split": "train"}}, "tr"),
    ],
)
def test_where_examples_come_from(keys, source):
    data = {"train": table(9, "tr"), "val": table(9, "va"), "test": table(9, "te")}
    drawn = shots(prompts(make(config(**keys), data, num_fewshot=2))[0])
    assert {name[:2] for name in drawn} == {source}


def test_too_few_examples_is_one_clear_error():
    task = make(config(), {"test": table(3)}, num_fewshot=3)
    with pytest.raises(TaskError, match="3 few-shot examples are asked for and the pool of 3 rows gives 2"):
        prompts(task)
    with pytest.raises(TaskError, match=r"unknown few-shot sampler 'frist_n' .did you mean first_n"):
        make(config(fewshot_config={"sampler": "frist_n"}), num_fewshot=1)
    with pytest.raises(DataError, match="no split 'dev'"):
        make(config(fewshot_split="dev"), num_fewshot=1)


def test_the_pool_is_only_read_when_shots_are_asked_for():
    data = {"test": table(3), "train": table(50)}
    prompts(make(config(training_split="train"), data))
    assert data["train"].reads == 0


# Positions that lm_eval.api.samplers.ContextSampler (0.4.13) draws, seed 1234, from 30 rows.
WITHOUT_DOC = [[24, 14, 3], [0, 2, 29], [25, 18, 1], [21, 22, 2]]
WITH_DOC = [
    *([24, 14, 3], [2, 29, 25], [1, 21, 22], [24, 11, 7], [0, 25, 11], [19, 15, 14]),
    *([2, 5, 22], [27, 0, 16], [28, 7, 2], [17, 29, 14], [19, 21, 2], [18, 1, 8]),
]
#: With copies in the pool it must draw again for some (rows 1, 3, 5, ... are equal).
WITH_COPIES = [
    *(["same", "same", "row 210"], ["row 04", "row 22", "row 00"], ["row 00", "same", "same"]),
    *(["row 22", "row 00", "row 08"], ["row 08", "same", "same"], ["row 08", "row 00", "row 210"]),
    *(["row 04", "row 08", "same"], ["row 210", "row 22", "row 26"], ["row 210", "row 00", "same"]),
    *(["row 210", "row 26", "row 08"], ["row 22", "row 00", "same"], ["row 22", "row 00", "row 04"]),
]


def test_lm_eval_draws():
    pool = [{"q": f"row {i}"} for i in range(30)]
    one = lm_eval_sampler(pool, 3, 1234)
    assert [list(one(None)) for _ in range(4)] == WITHOUT_DOC
    one = lm_eval_sampler(pool, 3, 1234)
    assert [list(one(pool[i])) for i in range(12)] == WITH_DOC


def test_lm_eval_draws_again_where_copies_leave_too_few():
    pool = [{"q": "same" if i % 2 else f"row {i % 4}{i}"} for i in range(12)]
    one = lm_eval_sampler(pool, 3, 1234)
    assert [[pool[p]["q"] for p in one(pool[i])] for i in range(12)] == WITH_COPIES


def test_lm_eval_draws_can_be_asked_for_in_any_order():
    pool = [{"q": f"row {i}"} for i in range(30)]
    draw = LmEvalDraw(lm_eval_sampler(pool, 3, 1234), 3, pool.__getitem__)
    samples = [Sample("t", str(i), i, pool[i]) for i in range(12)]
    assert list(draw.positions(samples[7], 7)) == WITH_DOC[7]
    assert [list(draw.positions(sample, i)) for i, sample in enumerate(samples)] == WITH_DOC


def test_lm_eval_passes_the_document_only_where_both_splits_are_named_alike():
    # None == None counts: a validation task with a training pool draws n + 1 (and so other rows than a test task).
    data = {"train": table(30, "tr"), "dev": table(4, "de")}
    choices = {"test_split": None, "validation_split": "dev", "training_split": "train"}
    drawn = shots(prompts(make(config(**choices), data, num_fewshot=3, compat="lm-eval"))[1])
    assert drawn == [f"tr{i}" for i in WITH_DOC[1]]
    named = {"test_split": "dev", "training_split": "train"}
    drawn = shots(prompts(make(config(**named), data, num_fewshot=3, compat="lm-eval"))[1])
    assert drawn == [f"tr{i}" for i in WITHOUT_DOC[1]]


def test_lm_eval_draws_follow_the_selected_samples():
    cfg = config(training_split="train")
    data = {"test": table(10), "train": table(30, "tr")}
    task = make(cfg, data, num_fewshot=3, compat="lm-eval", sample_ids=("4", "7"))
    assert [shots(p) for p in prompts(task)] == [[f"tr{i}" for i in row] for row in WITHOUT_DOC[:2]]


def test_shots_may_read_differently_from_the_question():
    cfg = choice_config(
        training_split="train",
        fewshot_config={
            "sampler": "first_n",
            "doc_to_text": "Ex {{question}}",
            "doc_to_target": "{{answer}}",
            "target_delimiter": " -> ",
            "fewshot_delimiter": "\n###\n",
        },
    )
    assert prompts(make(cfg, num_fewshot=1))[0] == "Ex train0 -> a0\n###\nQ: q0\nA:"


def test_a_broken_example_names_its_row():
    rows = [{"question": "x", "answer": "y", "choices": ["a"], "label": 9}]
    data = {"test": table(2), "train": ListTable(rows)}
    task = make(choice_config(training_split="train"), data, num_fewshot=1)
    with pytest.raises(
        Exception, match=r"task t, sample \w+: few-shot example \(row 0 of train\): answer 9 is not the index"
    ):
        prompts(task)
