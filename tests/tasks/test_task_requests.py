import pytest
from task_kit import ListTable, choice_config, config, make, table

from evalkit.errors import TemplateError
from evalkit.tasks.generation import generation_params


def first(task):
    return task.requests(next(task.samples()))


def test_multiple_choice_asks_for_every_choice():
    requests = first(make(choice_config()))
    assert [(q.kind, q.prompt, q.continuation, q.slot, q.repeat) for q in requests] == [
        ("loglikelihood", "Q: q0\nA:", f" c0{letter}", slot, 0) for slot, letter in enumerate("abcd")
    ]
    assert {(q.task, q.key) for q in requests} == {("t", "")}


@pytest.mark.parametrize("keys", [{"metric_list": [{"metric": "acc_mutual_info"}]}, {"scorers": ["acc_mutual_info"]}])
def test_mutual_information_asks_for_the_choices_alone_too(keys):
    requests = first(make(choice_config(**keys)))
    assert [(q.prompt, q.continuation, q.slot) for q in requests[4:]] == [
        ("", f" c0{letter}", 4 + slot) for slot, letter in enumerate("abcd")
    ]


def test_loglikelihood_has_no_delimiter():
    cfg = config(output_type="loglikelihood", doc_to_text="The", doc_to_target="{{answer}}")
    (request,) = first(make(cfg))
    assert (request.kind, request.prompt, request.continuation) == ("loglikelihood", "The", "a0")


def test_rolling_scores_the_target_and_takes_no_shots():
    data = {"test": table(2), "train": table(3)}
    cfg = config(output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="answer", training_split="train")
    task = make(cfg, data, num_fewshot=2)
    (request,) = first(task)
    assert (request.kind, request.prompt, request.continuation, task.num_fewshot) == ("loglikelihood_rolling", "a0", "", 0)


def test_a_list_cannot_be_scored_as_text():
    with pytest.raises(TemplateError, match="must give the text to score"):
        first(make(config(output_type="loglikelihood", doc_to_target="choices")))


def test_generation_repeats():
    task = make(config(repeats=3))
    requests = first(task)
    assert [(q.kind, q.repeat, q.slot) for q in requests] == [("generate", k, 0) for k in range(3)]
    assert task.repeats == 3
    assert make(choice_config(repeats=3)).repeats == 1  # a log-likelihood has one value


@pytest.mark.parametrize(("in_file", "asked", "expected"), [(None, None, 0), (2, None, 2), (2, 5, 5), (0, 5, 0), (2, 0, 0)])
def test_number_of_shots(in_file, asked, expected):
    cfg = config(training_split="train", num_fewshot=in_file)
    task = make(cfg, num_fewshot=asked)
    assert task.num_fewshot == expected
    assert first(task)[0].prompt.count("Q:") == expected + 1


GREEDY = {"temperature": 0.0, "do_sample": False, "max_gen_toks": 256, "until": ["\n\n"]}


@pytest.mark.parametrize(
    ("kwargs", "overrides", "changed"),
    [
        (None, None, {}),
        ({}, None, {}),
        ({"until": "x"}, None, {"until": ["x"]}),
        ({"until": []}, None, {"until": []}),
        ({"max_new_tokens": 5, "max_tokens": 6}, None, {"max_gen_toks": 5}),
        ({"max_gen_toks": "7"}, None, {"max_gen_toks": 7}),
        ({"temperature": 0.5}, None, {"temperature": 0.5, "do_sample": True}),
        ({"temperature": 0.5, "do_sample": False}, None, {}),
        (
            {"do_sample": True, "temperature": "0.5", "top_p": 0.9},
            None,
            {"temperature": 0.5, "do_sample": True, "top_p": 0.9},
        ),
        ({"max_gen_toks": 9}, {"max_tokens": 3}, {"max_gen_toks": 3}),
        (None, {"max_new_tokens": 3}, {"max_gen_toks": 3}),
        ({"until": ["a"]}, {"until": ["b"], "seed": 1}, {"until": ["b"], "seed": 1}),
    ],
)
def test_generation_parameters(kwargs, overrides, changed):
    assert generation_params("t", kwargs, "\n\n", overrides) == {**GREEDY, **changed}


def test_sampling_without_a_temperature_leaves_it_to_the_model():
    assert "temperature" not in generation_params("t", {"do_sample": True}, "\n", None)


def test_a_temperature_that_the_task_overrules_is_said(caplog):
    generation_params("t", {"do_sample": False}, "\n", {"temperature": 0.7})
    assert "no effect" in caplog.text


def test_requests_carry_the_parameters():
    task = make(config(generation_kwargs={"until": ["\n"]}), generation={"max_gen_toks": 8})
    (request,) = first(task)
    assert dict(request.params) == {**GREEDY, "until": ["\n"], "max_gen_toks": 8}


def test_metrics_and_scorers_become_the_scoring_plan():
    cfg = config(
        metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True}],
        scorers=["rouge", {"name": "bleu", "lowercase": True}],
        target_delimiter="",
    )
    plan = make(cfg).scoring
    (metric,) = plan.metrics
    assert (metric.metric, metric.aggregation, metric.higher_is_better) == ("exact_match", "mean", True)
    assert metric.params == {"ignore_case": True}
    assert [(s.name, s.params) for s in plan.scorers] == [("rouge", {}), ("bleu", {"lowercase": True})]
    assert (plan.output_type, plan.target_delimiter, plan.process_results) == ("generate_until", "", None)
    assert make(config()).scoring.metrics == ()


def test_a_task_in_its_own_language_needs_no_escape():
    data = {"test": ListTable([{"question": "Où est-ce? 東京", "answer": "là"}])}
    assert first(make(config(), data))[0].prompt == "Q: Où est-ce? 東京\nA:"
