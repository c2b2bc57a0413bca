import pytest
from task_kit import ListTable, choice_config, make

from evalkit.errors import DataError, TaskError
from evalkit.tasks.transforms import TRANSFORMS


def one(name, doc):
    (made,) = TRANSFORMS.get(name)(doc)
    return made


def test_hellaswag():
    doc = {
        "activity_label": "Cooking [header] eggs",
        "ctx_a": "A woman [title] Boil.",
        "ctx_b": "then she",
        "endings": ["[step] eats  it", " waits [title] Sits ", "runs"],
        "label": "2",
    }
    made = one("hellaswag", doc)
    # as lm-eval's process_docs of hellaswag gives them
    assert made["query"] == "Cooking eggs: A woman. Boil. Then she"
    assert made["choices"] == [" eats it", "waits. Sits", "runs"]
    assert made["gold"] == 2
    assert one("hellaswag", {**doc, "label": ""})["gold"] is None


def test_winogrande():
    doc = {"sentence": "Ann asked Bea because _ was late.", "option1": "Ann", "option2": "Bea", "answer": "2"}
    made = one("winogrande", doc)
    assert made["contexts"] == ["Ann asked Bea because Ann", "Ann asked Bea because Bea"]
    assert (made["continuation"], made["gold"]) == ("was late.", 1)


def test_winogrande_as_a_task():
    row = {"sentence": "Ann asked Bea because _ was late.", "option1": "Ann", "option2": "Bea", "answer": "2"}
    cfg = choice_config(transform="winogrande", doc_to_text="gold", doc_to_choice="contexts", doc_to_target="continuation")
    task = make(cfg, {"test": ListTable([row])})
    sample = next(task.samples())
    assert sample.target == 1
    assert [(q.prompt, q.continuation) for q in task.requests(sample)] == [
        ("Ann asked Bea because Ann", " was late."),
        ("Ann asked Bea because Bea", " was late."),
    ]


def test_wikitext():
    page = '= Title = \n The cat \'s 1 @,@ 000 well @-@ fed kin ( two ) said : " hi " , at 5 @.@ 5 \N{DEGREE SIGN} C . \n'
    made = one("wikitext", {"page": page})
    assert made["text"] == '= Title =\nThe cat\'s 1,000 well-fed kin (two) said: "hi", at 5.5\N{DEGREE SIGN}C.\n'
    assert made["page"] == page


def test_truthfulqa_gen():
    doc = {"question": " Why? ", "correct_answers": ["Yes", " ", "No. "], "incorrect_answers": ["Maybe"]}
    made = one("truthfulqa_gen", doc)
    assert made["question"] == "Why?"
    assert made["correct_answers"] == ["Yes.", "No.", "I have no comment."]
    assert made["incorrect_answers"] == ["Maybe."]
    assert one("truthfulqa_gen", made)["correct_answers"] == made["correct_answers"]


def test_a_transform_may_drop_and_multiply_rows():
    TRANSFORMS.add("halves", lambda doc: [{**doc, "label": k} for k in range(2)] if doc["question"] == "keep" else [])
    rows = [{"question": q, "choices": ["a", "b"], "label": 0} for q in ("keep", "drop", "keep")]
    task = make(choice_config(transform="halves"), {"test": ListTable(rows)})
    assert (task.size, [s.target for s in task.samples()]) == (4, [0, 1, 0, 1])
    with pytest.raises(DataError, match="split 'test' has no rows after halves"):
        make(choice_config(transform="halves"), {"test": ListTable(rows[1:2])})


def test_errors_name_the_transform_and_the_column():
    with pytest.raises(TaskError, match=r"unknown transform 'helaswag' .did you mean hellaswag"):
        make(choice_config(transform="helaswag"))
    with pytest.raises(DataError, match=r"task t, split 'test': hellaswag failed: .*column 'activity_label'"):
        make(choice_config(transform="hellaswag"))
