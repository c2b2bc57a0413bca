"""Embedding similarity: sentence-transformers' numbers, by hand through transformers, and what a reader is told."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import evalkit
from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.neural.base import dtype_of
from evalkit.scorers.neural.embedding import EmbeddingSimilarity
from evalkit.scorers.registry import build_scorer
from evalkit.types import Record, Sample

#: Each answer is nearer to its first reference than to its second, and that one nearer than the third.
ORDERED = [
    (
        "A man is eating food.",
        ["A man is eating a meal.", "A man is riding a horse.", "The stock market fell by 3 percent."],
    ),
    (
        "How do I reset my password?",
        ["I forgot my password, how to change it?", "How do I open an account?", "The cat sleeps."],
    ),
    ("The film was terrible.", ["It was an awful movie.", "The film was wonderful.", "Bananas are rich in potassium."]),
]


def record(answer, target, filter_="none"):
    return Record(Sample("t", "1", 0, {}, target), filter=filter_, answer=answer)


def scorer(folder, **more):
    return EmbeddingSimilarity(str(folder), device="cpu", cache=False, **more)


def values(folder, pairs, **more):
    return [score.value for score in scorer(folder, **more).score([record(*pair) for pair in pairs], None)]


def by_hand(folder, first, second, pooling="mean", most=256):
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    model.eval()
    vectors = []
    for text in (first, second):
        given = tokenizer(text.strip(), return_tensors="pt", truncation=True, max_length=most)
        with torch.inference_mode():
            states = model(**given).last_hidden_state[0]
        vectors.append({"mean": states.mean(0), "cls": states[0], "max": states.amax(0)}[pooling])
    return float(torch.nn.functional.cosine_similarity(*vectors, dim=0))


def test_meaning_orders_the_references(minilm):
    pairs = [(answer, reference) for answer, references in ORDERED for reference in references]
    found = np.array(values(minilm, pairs)).reshape(len(ORDERED), 3)
    assert (found[:, 0] > found[:, 1]).all() and (found[:, 1] > found[:, 2]).all()
    assert (found[:, 2] < 0.2).all()


def test_equal_to_a_direct_computation(minilm):
    pairs = [(answer, reference) for answer, references in ORDERED for reference in references]
    pairs += [
        ("", "A text."),
        ("word " * 400, "A text about words. " * 30),
        ("naïve café", "東京 😀"),
        ("the same", " the same "),
    ]
    expected = [by_hand(minilm, *pair) for pair in pairs]
    np.testing.assert_allclose(values(minilm, pairs), expected, atol=1e-6)
    np.testing.assert_allclose(values(minilm, pairs, batch_tokens=64), expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_every_pooling_on_any_encoder(pooling, name, request):
    folder = request.getfixturevalue(name)
    pairs = [("the cat sat on the mat", "paris"), ("a dog", "the quick brown fox jumps over the lazy dog")]
    expected = [by_hand(folder, *pair, pooling=pooling, most=38) for pair in pairs]
    np.testing.assert_allclose(values(folder, pairs, pooling=pooling), expected, atol=1e-6)


def test_the_nearest_reference_counts_and_several_answers_with_their_mean(bert):
    one, other = values(bert, [("the cat", "paris"), ("the cat", "the dog")])
    both, same, repeats = values(
        bert, [("the cat", ("paris", "the dog")), ("the cat", "the cat"), (["the cat", "paris"], "the cat")]
    )
    assert both == pytest.approx(max(one, other), abs=1e-6)
    assert same == pytest.approx(1.0, abs=1e-6)
    assert repeats == pytest.approx((1 + one) / 2, abs=1e-6)


def test_what_cannot_be_scored_is_unscored_with_its_reason(bert):
    scores = scorer(bert).score([record(None, "x"), record("a", None), record("a", "a")], None)
    assert [s.stats is None for s in scores] == [True, True, False]
    assert "not text" in scores[0].reason and "no reference" in scores[1].reason
    assert scorer(bert).score([], None) == []


def test_cut_and_blank_texts_are_counted_for_the_sample_and_for_the_reader(bert):
    one = scorer(bert)
    scores = one.score([record("the cat " * 40, "a"), record(" ", "a"), record("a", "b"), record("", "the dog " * 30)], None)
    assert [s.detail for s in scores] == [{"cut": 42}, {"blank": True}, {}, {"cut": 22, "blank": True}]
    stats = np.array([s.stats for s in scores])
    assert one.detail(stats) == {"truncated": 2, "blank": 2}
    assert list(one.notes(stats)) == ["2 with text cut at the network's length", "2 with a blank text"]
    assert list(one.notes(stats[2:3])) == []
    assert one.aggregate(stats, np.ones(4))["embedding_similarity"] == pytest.approx(stats[:, 0].mean())


def test_the_signature_pins_what_moves_the_number_and_not_where_it_ran(minilm):
    plain = EmbeddingSimilarity(str(minilm)).signature()
    assert plain.startswith("embedding_similarity|dtype:float32|max_tokens:256|model:model|pooling:mean|transformers:")
    for same in ({"device": "cpu"}, {"batch_tokens": 64}, {"cache": False}, {"dtype": "fp32"}, {"pooling": "mean"}):
        assert EmbeddingSimilarity(str(minilm), **same).signature() == plain
    for other in ({"dtype": "bf16"}, {"pooling": "cls"}, {"max_tokens": 128}):
        assert EmbeddingSimilarity(str(minilm), **other).signature() != plain


def as_sentence_transformers(folder, to, pooling, **more):
    shutil.copytree(folder, to)
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    modules += [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}, *more.pop("modules", [])]
    (to / "1_Pooling").mkdir()
    (to / "modules.json").write_text(json.dumps(modules))
    (to / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    for name, content in more.items():
        (to / f"{name}.json").write_text(json.dumps(content))
    return to


def test_a_folder_of_sentence_transformers_is_followed(bert, tmp_path):
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    folder = as_sentence_transformers(
        bert,
        tmp_path / "own",
        pooling,
        sentence_bert_config={"max_seq_length": 6, "do_lower_case": True},
        config_sentence_transformers={"prompts": {"query": "the dog: "}, "default_prompt_name": "query"},
    )
    (found,) = values(folder, [("THE cat sat on the mat", "Paris")])
    expected = by_hand(bert, "the dog: the cat sat on the mat", "the dog: paris", "cls", 6)
    assert found == pytest.approx(expected, abs=1e-6)
    signature = scorer(folder).signature()
    assert "lower:True|max_tokens:6" in signature and "pooling:cls|prompt:the dog: " in signature


@pytest.mark.parametrize(
    ("pooling", "modules", "words"),
    [
        ({"pooling_mode_lasttoken": True}, [], "pools by pooling_mode_lasttoken; embedding_similarity knows mean, cls, max"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, [], "pools by cls and mean"),
        ({}, [], "pools by nothing"),
        ({"pooling_mode_mean_tokens": True}, [{"path": "2_Dense", "type": "x.models.Dense"}], "has a Dense module"),
    ],
)
def test_what_is_not_computed_is_refused(bert, tmp_path, pooling, modules, words):
    folder = as_sentence_transformers(bert, tmp_path / "own", pooling, modules=modules)
    with pytest.raises(ScorerError, match=words):
        scorer(folder).signature()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model": ""}, "'model' must be a hub id or a directory"),
        ({"model": "x/y", "dtype": "fp8"}, "'dtype' is 'fp8', which is no dtype"),
        ({"model": "x/y", "pooling": "sum"}, "'pooling' must be one of mean, cls, max, not 'sum'"),
        ({"model": "x/y", "batch_tokens": 0}, "'batch_tokens' must be a whole number of at least 1"),
        ({}, "needs the parameter 'model'"),
        ({"model": "x/y", "layers": 3}, "has no parameter 'layers'"),
    ],
)
def test_wrong_parameters_are_one_line(params, words):
    with pytest.raises(ScorerError, match=words):
        build_scorer(ScorerSpec("embedding_similarity", params), ScoringPlan("generate_until"))


def test_dtypes_have_the_usual_names():
    assert [dtype_of(n) for n in ("fp32", "bf16", "torch.float16")] == ["float32", "bfloat16", "float16"]


def test_in_a_run_the_reader_is_told_of_all_of_it(bert, tmp_path):
    rows = [{"q": "the cat", "a": "the cat"}, {"q": "", "a": "paris"}, {"q": "the dog " * 40, "a": "the dog"}]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "near.yaml").write_text(f"""
task: near
dataset_path: json
dataset_kwargs: {{data_files: {{test: data.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
scorers: [{{name: embedding_similarity, model: {bert}, device: cpu}}]
""")
    told = []

    class Told(evalkit.Progress):
        def working(self, what, done, total):
            told.append((what, done, total))

    run = evalkit.run(
        tasks=str(tmp_path / "near.yaml"), model=lambda prompt: prompt, output_dir=str(tmp_path / "runs"), progress=Told()
    )
    (summary,) = run.summary()
    assert (summary.metric, summary.n, summary.ci is not None) == ("embedding_similarity", 3, True)
    assert summary.detail == {"truncated": 1, "blank": 1}
    assert summary.notes[-2:] == ("1 with text cut at the network's length", "1 with a blank text")
    assert told[0] == ("embedding", 0, 5) and told[-1] == ("embedding", 5, 5)
    (score,) = [v.scores["embedding_similarity"] for v in run.records() if v.record.sample.doc["a"] == "paris"]
    assert score.detail == {"blank": True}
