import json

import pytest
from task_kit import TOOLS, ListTable, choice_config, config, make, table

from evalkit.errors import CodeRefused, DataError, TaskError, TemplateError, UsageError
from evalkit.types import content_hash


def ids(task):
    return [sample.id for sample in task.samples()]


def rows(*questions, **extra):
    return {"test": ListTable([{"question": q, "answer": "x", **extra} for q in questions])}


def test_samples_carry_document_target_choices_slices_and_cluster():
    cfg = choice_config(slices={"side": "{{'even' if label % 2 == 0 else 'odd'}}", "kind": "label"}, cluster="answer")
    sample = list(make(cfg).samples())[5]
    assert (sample.task, sample.index, sample.target) == ("t", 5, 1)
    assert sample.choices == ("c5a", "c5b", "c5c", "c5d")
    assert sample.slices == {"side": "odd", "kind": "1"}
    assert sample.cluster == "a5"
    assert sample.doc["question"] == "q5"


def test_slices_may_be_a_list_of_columns_and_an_empty_value_is_no_slice():
    data = {
        "test": ListTable([{"question": "q", "answer": "a", "lang": "de"}, {"question": "r", "answer": "a", "lang": None}])
    }
    assert [dict(s.slices) for s in make(config(slices=["lang"]), data).samples()] == [{"lang": "de"}, {}]


def test_ids_come_from_a_distinct_id_column():
    data = {"test": table(3, id=lambda i: f"item-{i}")}
    assert ids(make(config(), data)) == ["item-0", "item-1", "item-2"]
    numbers = {"test": table(3, id=lambda i: i * 10)}
    assert ids(make(config(), numbers)) == ["0", "10", "20"]


@pytest.mark.parametrize("value", [lambda i: "same", lambda i: [i], lambda i: None, lambda i: i / 2])
def test_an_id_column_that_is_no_key_is_not_used(value):
    task = make(config(), {"test": table(4, id=value)}, limit=1)
    assert len(ids(task)[0]) == 12


def test_without_ids_content_is_the_id_wherever_the_row_stands():
    first = ids(make(config(), rows("a", "b", "c")))
    assert ids(make(config(), rows("c", "a", "b"))) == [first[2], first[0], first[1]]
    assert first[0] == content_hash({"question": "a", "answer": "x"}, size=6)
    assert ids(make(config(), rows("a", "b", "a", "a"))) == [first[0], first[1], f"{first[0]}-2", f"{first[0]}-3"]


def test_sample_id_names_a_column_or_a_template():
    assert ids(make(config(sample_id="answer"), limit=2)) == ["a0", "a1"]
    assert ids(make(config(sample_id="{{answer}}/{{label}}"), limit=2)) == ["a0/0", "a1/1"]
    assert ids(make(config(sample_id="label"), limit=6)) == ["0", "1", "2", "3", "0-2", "1-2"]


@pytest.mark.parametrize("options", [{}, {"limit": 3}, {"sample_ids": ("2", "0")}])
def test_ids_do_not_depend_on_the_selection(options):
    data = {"test": table(6, id=lambda i: "same" if i > 3 else str(i))}
    every = ids(make(config(), data))
    task = make(config(), data, **options)
    assert set(ids(task)) <= set(every)
    assert ids(task) == [every[s.index] for s in task.samples()]


@pytest.mark.parametrize(("limit", "n"), [(None, 10), (3, 3), (99, 10), (0.25, 3), (0.1, 1), (1.0, 1)])
def test_limit(limit, n):
    task = make(config(), limit=limit)
    assert (len(task), task.size, len(ids(task))) == (n, 10, n)


def test_samples_are_read_as_they_are_asked_for():
    data = {"test": table(1000)}
    task = make(config(), data, limit=5)
    assert data["test"].reads < 5
    list(task.samples())
    assert data["test"].reads < 12


def test_selecting_samples_by_id_or_position():
    data = {"test": table(6, id=lambda i: f"x{i}")}
    assert ids(make(config(), data, sample_ids=("x4", "1", "4"))) == ["x1", "x4"]
    numeric = {"test": table(6, id=lambda i: 5 - i)}  # an id wins over a position
    assert ids(make(config(), numeric, sample_ids=("5",))) == ["5"]
    assert [s.index for s in make(config(), numeric, sample_ids=("5",)).samples()] == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_ids": ("x9",)}, r"no sample 'x9'; \(did you mean"),
        ({"sample_ids": ("17",)}, "no sample '17'; positions are 0 to 5"),
        ({"sample_ids": ("1",), "limit": 2}, "give one of them"),
        ({"limit": 0}, "--limit must be above 0"),
        ({"limit": -2}, "--limit must be above 0"),
        ({"num_fewshot": -1}, "--num-fewshot must not be negative"),
    ],
)
def test_wrong_selections(options, message):
    with pytest.raises(UsageError, match=message):
        make(config(), {"test": table(6, id=lambda i: f"x{i}")}, **options)


@pytest.mark.parametrize(
    ("keys", "doc", "expected"),
    [
        # multiple_choice: the index of the right choice
        ({"output_type": "multiple_choice", "doc_to_choice": ["A", "B"], "doc_to_target": "gold"}, {"gold": 1}, 1),
        ({"output_type": "multiple_choice", "doc_to_choice": ["A", "B"], "doc_to_target": "gold"}, {"gold": "B"}, 1),
        ({"output_type": "multiple_choice", "doc_to_choice": ["A", "B"], "doc_to_target": "gold"}, {"gold": "C"}, "C"),
        ({"output_type": "multiple_choice", "doc_to_choice": ["A", "B"], "doc_to_target": "gold"}, {"gold": 1.0}, 1),
        ({"output_type": "multiple_choice", "doc_to_choice": ["A", "B"], "doc_to_target": "gold"}, {"gold": [0, 1]}, (0, 1)),
        ({"output_type": "multiple_choice", "doc_to_choice": ["A", "B"], "doc_to_target": 0}, {}, 0),
        # generation: the reference text
        ({"doc_to_target": "gold"}, {"gold": 7}, "7"),
        ({"doc_to_target": "{{gold}}"}, {"gold": ["a", "b"]}, ("a", "b")),
        ({"doc_to_target": "gold", "doc_to_choice": ["A", "B"]}, {"gold": 1}, "B"),
        ({"doc_to_target": None}, {}, None),
        # log-likelihoods: the text to score
        ({"output_type": "loglikelihood", "doc_to_target": " {{gold}}"}, {"gold": 3}, " 3"),
        ({"output_type": "loglikelihood_rolling", "doc_to_target": "gold"}, {"gold": "page"}, "page"),
    ],
)
def test_targets(keys, doc, expected):
    data = {"test": ListTable([{"question": "q", **doc}])}
    assert next(make(config(**keys), data).samples()).target == expected


def test_several_targets_are_decided_by_the_first_document():
    data = {"test": ListTable([{"question": "q", "gold": ["a", "b"]}, {"question": "r", "gold": "c"}])}
    task = make(config(doc_to_target="gold"), data)
    assert task.scoring.multiple_targets
    assert [s.target for s in task.samples()] == [("a", "b"), ("c",)]


def test_the_test_split_is_evaluated_else_the_validation_split():
    data = {"val": table(3, "v"), "test": table(4)}
    assert make(config(validation_split="val"), data).size == 4
    assert make(config(test_split=None, validation_split="val"), data).size == 3
    with pytest.raises(TaskError, match="names neither test_split nor validation_split"):
        make(config(test_split=None), data)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"test_split": "tset"}, DataError, "no split 'tset' .did you mean test"),
        ({"doc_to_image": "image"}, TaskError, "doc_to_image is set and evalkit evaluates text only"),
        ({"doc_to_audio": ["sound"]}, TaskError, "doc_to_audio"),
        ({"use_prompt": "promptsource:x"}, TaskError, "use_prompt is not supported"),
        ({"unsafe_code": True}, CodeRefused, "--allow-code"),
        ({"doc_to_text": None}, TaskError, "output_type generate_until needs doc_to_text"),
        ({"output_type": "multiple_choice"}, TaskError, "needs doc_to_choice"),
        ({"cluster": "passage"}, TaskError, "cluster names no column 'passage'"),
        ({"slices": {"topic": "subjct"}}, TaskError, "slice 'topic' names no column 'subjct'"),
        ({"sample_id": "key"}, TaskError, "sample_id names no column 'key'"),
        ({"doc_to_target": "{{anser}}"}, TemplateError, r"task t, first row of split 'test': .*did you mean answer"),
        ({"generation_kwargs": {"max_gen_toks": 0}}, TaskError, "max_gen_toks must be a number above 0, got 0"),
        ({"generation_kwargs": {"until": [3]}}, TaskError, "until must be text"),
        ({"generation_kwargs": {"temperature": "hot"}}, TaskError, "temperature must be a number from 0"),
    ],
)
def test_wrong_definitions(keys, error, message):
    with pytest.raises(error, match=message):
        make(config(**keys))


def test_no_rows_is_an_error():
    with pytest.raises(DataError, match="split 'test' has no rows"):
        make(config(), {"test": ListTable([])})


def test_a_template_error_names_task_sample_and_column():
    bad = {
        "test": ListTable([{"question": "q", "answer": "a", "id": "one"}, {"question": None, "answer": "b", "id": "two"}])
    }
    task = make(config(doc_to_text="{{question.strip()}}"), bad)
    first, second = task.samples()
    task.requests(first)
    with pytest.raises(TemplateError, match=r"task t, sample two: template '\{\{question.strip\(\)\}\}': .*strip"):
        task.requests(second)


def test_definition_and_data_hash():
    cfg = config(training_split="train", metadata={"version": 2}, generation_kwargs={"until": "\n"})
    task = make(cfg, num_fewshot=2)
    shown = json.loads(json.dumps(task.config))
    assert (shown["num_fewshot"], shown["doc_to_text"], task.version) == (2, "Q: {{question}}\nA:", "2")
    assert shown["generation_kwargs"]["until"] == ["\n"]
    assert "source" not in shown
    base = make(cfg)
    assert base.data_hash == make(cfg, limit=1).data_hash
    assert base.data_hash != task.data_hash  # the pool counts where it is used
    assert base.data_hash != make(cfg, {"test": table(11), "train": table(20, "train")}).data_hash


def test_the_data_package_satisfies_the_tools():
    load = pytest.importorskip("evalkit.data.load")
    assert all(hasattr(load, name) for name in vars(TOOLS))
