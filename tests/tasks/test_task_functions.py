"""Tasks whose folder brings code of its own, over real ``datasets``."""

import pytest
from task_kit import choice_config, config, prompts, table

import evalkit.data.load as tables
from evalkit.errors import CodeRefused, DataError, TaskError, TemplateError
from evalkit.tasks.base import PromptOptions
from evalkit.tasks.schema import FunctionRef
from evalkit.tasks.splits import custom_splits
from evalkit.tasks.task import build

CODE = """
def process_docs(dataset):
    return dataset.filter(lambda doc: doc["label"] != 3).map(lambda doc: {"question": doc["question"].upper()})

def fewshot_docs(dataset):
    return [dict(doc, question="list " + doc["question"]) for doc in dataset]

def drop_all(dataset):
    return dataset.filter(lambda doc: False)

def broken(dataset):
    raise KeyError("colour")

def text(doc):
    return "F " + doc["question"]

def target(doc):
    return doc["label"]

def choices(doc):
    return [c + "!" for c in doc["choices"]]

def failing(doc):
    return doc["nope"]

def samples():
    return [{"question": "given", "choices": ["x", "y"], "label": 1}]

def results(doc, results):
    return {"acc": 1.0}

def mean(items):
    return sum(items) / len(items)

def custom_dataset(rows=2, **kwargs):
    return {"test": [{"question": f"made {i}", "answer": "x"} for i in range(rows)]}

def about(doc):
    return "About " + doc["question"] + ". "

def reverse(resps, docs):
    return [[r[::-1] for r in responses] for responses in resps]

class Shout:
    def __init__(self, mark="!"):
        self.mark = mark

    def apply(self, resps, docs):
        return [[r.upper() + self.mark for r in responses] for responses in resps]

class LastRows:
    def __init__(self, docs, rnd=None):
        self.docs = docs

    def set_rnd(self, seed):
        self.seed = seed

    def sample(self, n, eval_doc=None):
        return self.docs[-n:]
"""


@pytest.fixture
def ref(tmp_path):
    (tmp_path / "helpers.py").write_text(CODE)
    return lambda name: FunctionRef(module="helpers", name=name, folder=tmp_path)


def built(cfg, allow_code=True, **options):
    data = {"test": tables.from_rows(table(8).rows), "train": tables.from_rows(table(8, "train").rows)}
    return build(cfg, data, PromptOptions(allow_code=allow_code, **options), tables=tables)


def test_process_docs_runs_on_a_dataset_for_both_splits(ref):
    task = built(config(process_docs=ref("process_docs"), training_split="train"), num_fewshot=6)
    assert task.size == 6
    assert [s.doc["question"] for s in task.samples()] == ["Q0", "Q1", "Q2", "Q4", "Q5", "Q6"]
    assert {part[3:8] for part in prompts(task)[0].split("\n\n")[:-1]} == {"TRAIN"}


def test_the_pool_may_have_processing_of_its_own_or_none(ref):
    keys = {"process_docs": ref("process_docs"), "fewshot_split": "train"}
    own = built(config(**keys, fewshot_config={"sampler": "first_n", "process_docs": ref("fewshot_docs")}), num_fewshot=1)
    assert prompts(own)[0].startswith("Q: list train0\n")
    none = built(config(**keys, fewshot_config={"sampler": "first_n", "process_docs": None}), num_fewshot=1)
    assert prompts(none)[0].startswith("Q: train0\n")


def test_fields_may_be_functions(ref):
    cfg = choice_config(
        doc_to_text=ref("text"), doc_to_target=ref("target"), doc_to_choice=ref("choices"), description=ref("about")
    )
    task = built(cfg)
    sample = list(task.samples())[2]
    requests = task.requests(sample)
    assert (requests[0].prompt, sample.target) == ("About q2. F q2", 2)
    assert [q.continuation for q in requests] == [f" c2{letter}!" for letter in "abcd"]


def test_examples_may_come_from_a_function_and_a_sampler_class(ref):
    listed = choice_config(fewshot_config={"samples": ref("samples")})
    assert prompts(built(listed, num_fewshot=1))[0] == "Q: given\nA: y\n\nQ: q0\nA:"
    sampled = choice_config(training_split="train", fewshot_config={"sampler": ref("LastRows")})
    for options in ({}, {"compat": "lm-eval"}):
        assert prompts(built(sampled, num_fewshot=1, **options))[0].startswith("Q: train7\n")


def test_filters_may_be_classes_and_functions(ref):
    steps = [
        {"function": ref("Shout"), "mark": "?"},
        {"function": "custom", "filter_fn": ref("reverse")},
        {"function": "take_first"},
    ]
    (pipeline,) = built(config(filter_list=[{"name": "mine", "filter": steps}])).filters
    assert pipeline.apply([["abc"]], [{}]) == ["?CBA"]


def test_scoring_functions_are_loaded(ref):
    metrics = [{"metric": "acc", "aggregation": ref("mean"), "higher_is_better": True}]
    plan = built(choice_config(process_results=ref("results"), metric_list=metrics)).scoring
    assert plan.process_results({}, []) == {"acc": 1.0}
    assert plan.metrics[0].aggregation([1, 2]) == 1.5


def test_changed_code_is_a_changed_definition(ref, tmp_path):
    cfg = config(doc_to_text=ref("text"))
    before = built(cfg).config["doc_to_text"]
    assert before["function"] == "helpers.text"
    (tmp_path / "helpers.py").write_text(CODE + "\n# changed\n")
    assert built(cfg).config["doc_to_text"] != before


def test_custom_datasets(ref):
    cfg = config(custom_dataset=ref("custom_dataset"), metadata={"rows": 3})
    splits = custom_splits(cfg, tables, allow_code=True)
    assert [row["question"] for row in splits["test"]] == ["made 0", "made 1", "made 2"]
    with pytest.raises(TaskError, match="has no custom_dataset"):
        custom_splits(config(), tables, allow_code=True)


@pytest.mark.parametrize("key", ["process_docs", "doc_to_text", "process_results"])
def test_no_code_runs_without_the_flag(ref, key):
    with pytest.raises(CodeRefused):
        built(config(**{key: ref("text")}), allow_code=False)


def test_failing_code_is_reported_with_where_it_was(ref):
    with pytest.raises(DataError, match=r"task t, split 'test': !function helpers.broken failed: KeyError: column 'colour'"):
        built(config(process_docs=ref("broken")))
    with pytest.raises(DataError, match=r"no rows after !function helpers.drop_all"):
        built(config(process_docs=ref("drop_all")))
    with pytest.raises(TemplateError, match=r"task t, .*doc_to_text: function failing raised KeyError: 'nope'"):
        prompts(built(config(doc_to_text=ref("failing"))))
