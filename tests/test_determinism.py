"""A prompt depends on the task, the sample and the seed; a number on those and the model. On nothing else."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import tiny_llama

import evalkit

N = 23
CHOICES = ["a heron", "the old quarry", "rain", "a bell"]


@pytest.fixture(autouse=True, scope="module")
def _own_folders(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        yield


@pytest.fixture(scope="module")
def hf(tmp_path_factory):
    return f"hf/{tiny_llama.checkpoint(tmp_path_factory.mktemp('llama'))}"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> Path:
    """Four tasks over one file; examples come from the evaluated rows themselves, the hard case."""
    folder = tmp_path_factory.mktemp("tasks")
    draw = random.Random(5)
    words = ["amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbour", "inlet", "juniper"]
    rows = []
    for i in range(N):
        text = " ".join(draw.choices(words, k=3 + i % 5))
        rows.append(
            {"q": f"({i}) {text}", "choices": CHOICES[: 2 + i % 3], "gold": i % 2, "kind": "xy"[i % 2], "story": i // 4}
        )
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
        "test_split": "test",
        "fewshot_split": "test",
        "num_fewshot": 3,
        "doc_to_text": "Q: {{q}}\nA:",
    }
    write = {"output_type": "generate_until", "generation_kwargs": {"until": ["\n"], "max_gen_toks": 6}}
    kinds = {
        "choose": {
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "doc_to_target": "gold",
            "slices": ["kind"],
            "cluster": "story",
            "metric_list": [{"metric": name} for name in ("acc", "acc_norm", "brier_score")],
        },
        "continue": {"output_type": "loglikelihood", "doc_to_target": " {{choices[gold]}}"},
        "read": {"output_type": "loglikelihood_rolling", "doc_to_target": "q", "num_fewshot": 0},
        "write": {**write, "doc_to_target": "{{choices[gold]}}", "scorers": ["exact_match", "token_f1"]},
        "own_draws": {
            **write,
            "doc_to_target": "{{choices[gold]}}",
            "fewshot_config": {"sampler": "per_sample"},
        },
    }
    for name, keys in kinds.items():
        (folder / f"{name}.yaml").write_text(json.dumps({"task": name, **common, **keys}))
    return folder


ALL = ("choose", "continue", "read", "write", "own_draws")


def run(tasks, model, names=ALL, **settings):
    done = evalkit.run(list(names), model, task_dirs=[tasks], store=False, **settings)
    assert done.status == "complete"
    return done


def asked(run) -> dict:
    """Every sample's prompts and requests, by task and sample."""
    return {
        (view.task, view.record.sample.id): [(q.key, q.prompt, q.continuation, q.repeat) for q in view.record.requests]
        for view in run.records()
    }


def scored(run) -> dict:
    """Every sample's values, by task and sample."""
    frame = run.to_pandas()
    values = frame.drop(columns=["filter", "status", "target", "answer", "cluster"])
    values = values.drop(columns=[c for c in values if c.startswith("slice.")])
    return {(row.pop("task"), row.pop("id")): row for row in values.fillna(-1.0).to_dict("records")}


def assert_same_numbers(run, other) -> None:
    one, two = ({(s.task, s.metric, s.filter, s.slice): s for s in r.summary()} for r in (run, other))
    assert one.keys() == two.keys()
    for name, s in one.items():
        t = two[name]
        assert (s.n, s.errors, s.unscored, s.notes, s.signature) == (t.n, t.errors, t.unscored, t.notes, t.signature)
        assert [s.value, s.stderr, *(s.ci or ())] == pytest.approx([t.value, t.stderr, *(t.ci or ())], abs=1e-5, rel=1e-5), (
            name
        )


@pytest.fixture(scope="module")
def mock_run(tasks):
    return run(tasks, "mock/echo")


@pytest.fixture(scope="module")
def hf_run(tasks, hf):
    done = run(tasks, hf, model_args={"dtype": "float32"})
    answers = {view.record.answer for view in done.records("write")}
    assert len(answers) > N // 2, "a model whose answers are all alike proves nothing"
    return done


@pytest.mark.parametrize("args", [{"shuffle": "1"}, {"shuffle": "2", "wave": "7"}, {"wave": "1"}])
def test_the_order_of_answers_changes_nothing(tasks, mock_run, args):
    other = run(tasks, "mock/echo", model_args=args)
    assert asked(other) == asked(mock_run)
    assert scored(other) == scored(mock_run)
    assert other.summary() == mock_run.summary()


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_batch_size_changes_nothing(tasks, hf, hf_run, batch_size):
    other = run(tasks, hf, model_args={"dtype": "float32"}, batch_size=batch_size)
    assert asked(other) == asked(hf_run)
    assert_same_numbers(other, hf_run)


def test_tasks_asked_alone_or_in_another_order_get_the_same(tasks, hf, hf_run):
    for names in (ALL[::-1], ("choose",), ("write",)):
        other = run(tasks, hf, names, model_args={"dtype": "float32"})
        assert asked(other) == {key: value for key, value in asked(hf_run).items() if key[0] in names}
        for name in names:
            for s in hf_run.summary():
                if s.task == name and s.slice is None:
                    assert other.value(name, s.metric) == pytest.approx(s.value, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("limit", [1, 5, 0.5, 1000])
@pytest.mark.parametrize("model", ["mock_run", "hf_run"])
def test_a_limit_takes_the_first_samples_as_they_are(tasks, hf, request, model, limit):
    whole = request.getfixturevalue(model)
    spec, args = ("mock/echo", {}) if model == "mock_run" else (hf, {"dtype": "float32"})
    part = run(tasks, spec, limit=limit, model_args=args)
    count = N if limit == 1000 else 12 if limit == 0.5 else limit
    expected = [view.record.sample.id for view in whole.records("choose")][:count]
    assert [view.record.sample.id for view in part.records("choose")] == expected
    whole_asked, whole_scored = asked(whole), scored(whole)
    assert asked(part) == {key: whole_asked[key] for key in asked(part)}
    for key, values in scored(part).items():
        assert values == pytest.approx(whole_scored[key], abs=1e-5, rel=1e-5)


def test_samples_may_be_named_in_any_order_by_position_or_id(tasks, mock_run):
    names = ("choose", "own_draws")
    ids = {name: [view.record.sample.id for view in mock_run.records(name)] for name in names}
    chosen = [17, 3, 11, 0]
    by_position = run(tasks, "mock/echo", names, samples={name: chosen for name in names})
    sorted_ = run(tasks, "mock/echo", names, samples={name: sorted(chosen) for name in names})
    by_id = run(tasks, "mock/echo", names, samples={name: [ids[name][i] for i in chosen] for name in names})
    assert {key[1] for key in asked(by_position)} == {ids["choose"][i] for i in chosen}
    assert asked(by_position) == asked(sorted_) == asked(by_id)
    assert by_position.summary() == sorted_.summary() == by_id.summary()
    whole = asked(mock_run)
    assert asked(by_position) == {key: whole[key] for key in asked(by_position)}


def shots(prompt: str) -> list[str]:
    """The questions of the examples in a prompt."""
    return [part.partition("\n")[0] for part in prompt.split("\n\n")][:-1]


def test_the_draw_is_shared_and_never_holds_the_sample_itself(mock_run):
    draws = {}
    for view in mock_run.records("write"):
        prompt = view.record.requests[0].prompt
        examples = shots(prompt)
        assert len(set(examples)) == 3
        assert f"Q: {view.record.sample.doc['q']}" not in examples
        draws[view.record.sample.doc["q"]] = tuple(examples)
    common = max(set(draws.values()), key=list(draws.values()).count)
    inside = {q for q in draws if f"Q: {q}" in common}
    assert len(inside) == 3
    assert all(draw == common for q, draw in draws.items() if q not in inside)
    for q in inside:  # the sample's place is taken by the next row of the draw; the others stay in order
        assert [e for e in draws[q] if e in common] == [e for e in common if e != f"Q: {q}"]
    assert len({draws[q][-1] for q in inside}) == 1


def test_examples_depend_on_the_seed_and_fewer_open_more(tasks, mock_run):
    def draw(**settings):
        (view, *_) = run(tasks, "mock/echo", ("write",), **settings).records()
        return shots(view.record.requests[0].prompt)

    three = draw()
    assert draw(num_fewshot=2) == three[:2]
    assert draw(num_fewshot=5)[:3] == three
    assert draw(seed=7) != three
    assert draw(seed=7) == draw(seed=7)


def test_drawn_samples_of_a_task_may_differ(mock_run):
    draws = {tuple(shots(view.record.requests[0].prompt)) for view in mock_run.records("own_draws")}
    assert len(draws) == N


def test_two_runs_of_hf_are_the_same(tasks, hf, hf_run):
    other = run(tasks, hf, model_args={"dtype": "float32"})
    assert asked(other) == asked(hf_run)
    assert_same_numbers(other, hf_run)
