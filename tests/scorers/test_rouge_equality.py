"""ROUGE equals the rouge-score package to the last bit, whoever counts: goldens, random texts, hypothesis."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from evalkit.scorers.ngram.rouge import rouge_scores
from evalkit.scorers.ngram.rouge_lcs import lcs_length, lcs_positions, positions

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "golden_ngram.json"
TYPES = [*(f"rouge{n}" for n in range(1, 10)), "rougeL", "rougeLsum"]


def backends():
    try:
        import rouge_score_rs  # noqa: F401
    except ImportError:
        return ["python"]
    return ["python", "rust"]


@pytest.fixture(scope="module")
def originals():
    return {stem: RougeScorer(TYPES, use_stemmer=stem) for stem in (False, True)}


@pytest.mark.parametrize("backend", ["python", "rouge-score", *backends()[1:]])
@pytest.mark.parametrize("stem", [False, True])
def test_the_golden_numbers(backend, stem):
    if not GOLDEN.is_file():
        pytest.skip("the golden numbers are not beside the checkout")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    pairs, wanted = golden["pairs"], golden["rouge_score"][f"stemmer={stem}"]
    types = list(wanted["identical"])
    found = rouge_scores(
        [pair["hypothesis"] for pair in pairs], [pair["references"] for pair in pairs], types, use_stemmer=stem,
        backend=backend,
    )  # fmt: skip
    for pair, result in zip(pairs, found, strict=True):
        for kind in types:
            assert result[kind] == pytest.approx(wanted[pair["name"]][kind], abs=1e-6), (pair["name"], kind)
    multi = golden["rouge_score"]["score_multi"]
    if multi["stemmer"] == stem:
        (result,) = rouge_scores([multi["prediction"]], [multi["targets"]], list(multi["result"]), use_stemmer=stem)
        for kind, values in multi["result"].items():
            assert result[kind] == pytest.approx(values, abs=1e-6)


WORDS = [
    *("the", "cat", "sat", "running", "runs", "easily", "a-b", "3.5", "flies", "generously", "U.S.", "Café", "猫"),
    *("happily", "dying", "ties", "skies", "news", "organization"),
]


def random_text(rng, size):
    """Few different words, so that subsequences are ambiguous; line breaks anywhere, doubled ones too."""
    words = rng.sample(WORDS, rng.randint(1, 6)) if rng.random() < 0.7 else WORDS
    return "".join(rng.choice(words) + rng.choice([" ", " ", "\n", ". ", "\n\n", "-"]) for _ in range(rng.randint(0, size)))


@pytest.mark.parametrize("stem", [False, True])
def test_random_texts_give_the_same_bits(stem, originals):
    rng = random.Random(7)
    pairs = [(random_text(rng, size), random_text(rng, size)) for size in (4, 12, 30) for _ in range(500)]
    wanted = [originals[stem].score(reference, answer) for answer, reference in pairs]
    for backend in backends():
        found = rouge_scores([a for a, _ in pairs], [[b] for _, b in pairs], TYPES, use_stemmer=stem, backend=backend)
        for pair, result, original in zip(pairs, found, wanted, strict=True):
            assert {k: tuple(v) for k, v in result.items()} == {k: tuple(v) for k, v in original.items()}, (backend, pair)


@pytest.mark.parametrize("backend", backends())
def test_of_several_references_the_first_best_counts_by_type(backend, originals):
    rng = random.Random(8)
    answers = [random_text(rng, 15) for _ in range(100)]
    references = [[random_text(rng, 15) for _ in range(rng.randint(1, 4))] for _ in answers]
    found = rouge_scores(answers, references, TYPES, backend=backend)
    averaged = rouge_scores(answers, references, ["rouge1"], multi_reference="mean", backend=backend)
    for answer, golds, result, mean in zip(answers, references, found, averaged, strict=True):
        wanted = originals[False].score_multi(golds, answer)
        assert {k: tuple(v) for k, v in result.items()} == {k: tuple(v) for k, v in wanted.items()}
        each = [originals[False].score(gold, answer)["rouge1"] for gold in golds]
        for part in ("precision", "recall", "fmeasure"):
            assert getattr(mean["rouge1"], part) == pytest.approx(sum(getattr(e, part) for e in each) / len(each), abs=1e-15)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.booleans())
def test_any_text_at_all(answer, reference, stem):
    (result,) = rouge_scores([answer], [[reference]], TYPES, use_stemmer=stem, backend="python")
    wanted = _ORIGINALS[stem].score(reference, answer)
    assert {k: tuple(v) for k, v in result.items()} == {k: tuple(v) for k, v in wanted.items()}


_ORIGINALS = {stem: RougeScorer(TYPES, use_stemmer=stem) for stem in (False, True)}


@settings(max_examples=150, deadline=None)
@given(
    st.text("abc \n", max_size=40),
    st.text("abcd \n", max_size=40),
)
def test_few_words_many_ways_to_align(answer, reference):
    (result,) = rouge_scores([answer], [[reference]], TYPES, backend="python")
    wanted = _ORIGINALS[False].score(reference, answer)
    assert {k: tuple(v) for k, v in result.items()} == {k: tuple(v) for k, v in wanted.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=100), st.lists(st.sampled_from("abcd"), max_size=100))
def test_the_subsequence_read_out_is_rouge_scores(reference, answer):
    from rouge_score.rouge_scorer import lcs_ind

    masks = positions(reference)
    found = lcs_positions(masks, len(reference), answer)
    wanted = lcs_ind(reference, answer)
    assert [i for i in range(len(reference)) if found >> i & 1] == wanted
    assert lcs_length(masks, len(reference), answer) == len(wanted)


def test_sentences_may_be_split_for_the_summary_level():
    answer, reference = "The dog barked. It ran away! Fast?", "It ran away. The dog barked."
    (split,) = rouge_scores([answer], [[reference]], ["rougeL", "rougeLsum"], split_sentences=True)
    wanted = _ORIGINALS[False].score("It ran away.\nThe dog barked.", "The dog barked.\nIt ran away!\nFast?")
    assert split == {kind: tuple(wanted[kind]) for kind in ("rougeL", "rougeLsum")}
    assert split["rougeLsum"].recall == 1.0 > split["rougeL"].recall


@pytest.mark.parametrize("stem", [False, True])
def test_the_unicode_tokenizer_works_with_the_original_too(stem):
    rng = random.Random(9)
    answers, references = ([random_text(rng, 12) for _ in range(50)] for _ in range(2))
    found, wanted = (
        rouge_scores(
            answers, [[r] for r in references], TYPES, tokenizer="unicode", use_stemmer=stem, backend=backend
        )
        for backend in ("python", "rouge-score")
    )  # fmt: skip
    assert found == wanted
