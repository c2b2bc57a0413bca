"""BLEU, chrF and TER against numbers that sacrebleu 2.6.0 computed, and against sacrebleu itself."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scorer_records import rows, text_record, values

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan, pinned
from evalkit.scorers.labelled import Labelled
from evalkit.scorers.ngram.corpus import Corpus, corpus_scores
from evalkit.scorers.registry import build_scorer

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "golden_ngram.json"


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.is_file():
        pytest.skip("the golden numbers are not beside the checkout")
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def texts(golden):
    pairs = golden["pairs"]
    return [pair["hypothesis"] for pair in pairs], [pair["references"] for pair in pairs]


def yes(text):
    return text == "True"


def bleu_options(key):
    """The options that a key of the golden BLEU numbers names."""
    parts = key.split("|")
    named = dict(part.split("=") for part in parts if "=" in part)
    options = {
        "tokenize": named.get("tok", parts[1]),
        "lowercase": yes(named.get("lc")),
        "effective_order": yes(named.get("eff")),
    }
    if "order" in named:
        return {**options, "max_ngram_order": int(named["order"])}
    options["smooth_method"] = next(part for part in parts if part in ("exp", "floor", "add-k", "none") and part != parts[1])
    amount = next((part for part in parts if re.fullmatch(r"[\d.]+", part)), None)
    return options if amount is None else {**options, "smooth_value": float(amount)}


def test_bleu_corpus_sentences_and_signatures_are_sacrebleus(golden):
    hypotheses, references = texts(golden)
    for key, wanted in golden["sacrebleu"]["BLEU"].items():
        found = corpus_scores("bleu", hypotheses, references, **bleu_options(key))
        if key.startswith("sentence"):
            assert found.sentences == pytest.approx(wanted, abs=1e-6), key
        elif isinstance(wanted, float):
            assert found.score == pytest.approx(wanted, abs=1e-6), key
        else:
            assert found.score == pytest.approx(wanted["score"], abs=1e-6), key
            assert found.signature == wanted["signature"]
            assert found.stats[:, 2:6].sum(axis=0).tolist() == wanted["counts"]
            assert found.stats[:, 6:10].sum(axis=0).tolist() == wanted["totals"]


def test_chrf_and_ter_are_sacrebleus(golden):
    hypotheses, references = texts(golden)
    for key, wanted in golden["sacrebleu"]["chrF"].items():
        nc, nw, beta, space, eps, lowercase = re.fullmatch(
            r"nc=(\d)\|nw=(\d)\|beta=(\d)\|space=(\w+)\|eps=(\w+)\|lc=(\w+)", key
        ).groups()
        found = corpus_scores(
            "chrf", hypotheses, references, char_order=int(nc), word_order=int(nw), beta=int(beta),
            whitespace=yes(space), eps_smoothing=yes(eps), lowercase=yes(lowercase),
        )  # fmt: skip
        assert found.score == pytest.approx(wanted["corpus"], abs=1e-6), key
        assert found.sentences == pytest.approx(wanted["sentence"], abs=1e-6), key
        assert found.signature == wanted["signature"]
    for key, wanted in golden["sacrebleu"]["TER"].items():
        norm, no_punct, asian, case = re.fullmatch(r"norm=(\w+)\|nopunct=(\w+)\|asian=(\w+)\|case=(\w+)", key).groups()
        found = corpus_scores(
            "ter", hypotheses, references, normalized=yes(norm), no_punct=yes(no_punct), asian_support=yes(asian),
            case_sensitive=yes(case),
        )  # fmt: skip
        assert found.score == pytest.approx(wanted["corpus"], abs=1e-6), key
        assert found.sentences == pytest.approx(wanted["sentence"], abs=1e-6), key
        assert found.signature == wanted["signature"]


def test_samples_may_have_different_numbers_of_references(golden):
    wanted = golden["sacrebleu"]["multi_reference"]
    references = [[text for text in line if text is not None] for line in zip(*wanted["reference_streams"], strict=True)]
    assert len({len(line) for line in references}) > 1
    for name, key in (("bleu", "BLEU"), ("chrf", "chrF"), ("ter", "TER")):
        found = corpus_scores(name, wanted["hypotheses"], references)
        assert found.score == pytest.approx(wanted[key], abs=1e-6)
        assert found.signature.startswith("nrefs:var|")
    assert corpus_scores("bleu", wanted["hypotheses"], references).signature == wanted["BLEU_signature"]


def test_the_lectures_table_of_sentence_scores(golden):
    pairs = {pair["name"]: pair for pair in golden["pairs"]}
    chosen = [pairs[name] for name in ("readme_fox", "readme_weather", "readme_conference")]
    bleu = scorer("bleu", smooth_method="none")
    scores = bleu.score([text_record(p["hypothesis"], p["references"][0], index=i) for i, p in enumerate(chosen)], None)
    assert [round(score.value) for score in scores] == [47, 0, 54]


def scorer(name, **params):
    return build_scorer(ScorerSpec(name, params), ScoringPlan("generate_until"))


WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog.", "ran,", "Über", "猫", "(hi)", ""]


def corpus(seed=0, n=40):
    rng = np.random.default_rng(seed)

    def text():
        return " ".join(rng.choice(WORDS, rng.integers(0, 9)))

    return [text() for _ in range(n)], [[text() for _ in range(rng.integers(1, 4))] for _ in range(n)]


def resampled(engine, stats, weights):
    """The scores sacrebleu computes from whole totals, one row of weights after the other."""
    return [engine._compute_score_from_stats((w @ stats).tolist()).score for w in weights]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bleu", {}),
        ("bleu", {"effective_order": True, "max_ngram_order": 6}),
        ("bleu", {"smooth_method": "add-k", "smooth_value": 0.5, "tokenize": "char"}),
        ("bleu", {"smooth_method": "floor"}),
        ("chrf", {}),
        ("chrf", {"eps_smoothing": True, "beta": 3}),
        ("chrf++", {"lowercase": True}),
        ("ter", {}),
    ],
)
def test_many_weightings_at_once_equal_sacrebleu_one_by_one(name, options):
    hypotheses, references = corpus()
    found = scorer(name, **options)
    stats = found.measure(hypotheses, references).stats
    rng = np.random.default_rng(1)
    weights = np.concatenate([rng.integers(0, 3, (30, len(stats))), np.eye(len(stats))]).astype(float)
    by_weight = found.aggregate(stats, weights)[name]
    assert by_weight == pytest.approx(resampled(found.engine, stats[:, :-1], weights), abs=1e-9)


def test_records_and_texts_give_the_same(golden):
    hypotheses, references = corpus(3, 12)
    records = [text_record(h, tuple(r), index=i) for i, (h, r) in enumerate(zip(hypotheses, references, strict=True))]
    for name in ("bleu", "chrf", "chrf++", "ter"):
        found = scorer(name)
        wanted = corpus_scores(name, hypotheses, references)
        assert np.array_equal(rows(found, records), wanted.stats)
        assert values(found, records)[name] == wanted.score
        scores = found.score(records, None)
        assert [score.value for score in scores] == wanted.sentences.tolist()
        assert [found.score([record], None)[0] for record in records] == list(scores)  # chunks change nothing


def test_sentence_bleu_uses_the_effective_order():
    (score,) = scorer("bleu").score([text_record("hello", "hello")], None)
    assert score.value == pytest.approx(100.0)
    assert values(scorer("bleu"), [text_record("hello", "hello")])["bleu"] == 0.0
    assert values(scorer("bleu", effective_order=True), [text_record("hello", "hello")])["bleu"] == pytest.approx(100.0)


def test_several_answers_count_with_their_mean():
    (score,) = scorer("ter").score([text_record(["a b", "a c"], "a b")], None)
    assert score.stats == (0.5, 2.0, 1.0)
    assert score.value == 25.0


def test_what_cannot_be_scored_is_unscored_in_its_place():
    records = [text_record(None, "a"), text_record("a", "a"), text_record("a", None), text_record("", "a")]
    scores = scorer("chrf").score(records, None)
    assert [score.stats is None for score in scores] == [True, False, True, False]
    assert scores[3].value == 0.0


def test_signatures_hold_sacrebleus_and_what_it_leaves_out():
    one, two = ([text_record("a", ("a",) * n)] for n in (1, 2))
    bleu = scorer("bleu", smooth_method="floor", smooth_value=0.001, max_ngram_order=2)
    assert bleu.signature() == (
        "bleu|case:mixed|eff:no|tok:13a|smooth:floor[0.00]|version:2.6.0|max_ngram_order:2|smooth_value:0.001"
    ).replace("2.6.0", version())
    assert pinned(scorer("ter"), rows(scorer("ter"), two)).startswith("ter|nrefs:2|case:lc|tok:tercom|")
    assert pinned(scorer("ter"), np.zeros((0, 1))) == scorer("ter").signature()
    labelled = Labelled(scorer("chrf", beta=3), "mine")
    assert pinned(labelled, rows(scorer("chrf"), one)) == (
        f"chrf|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version()}|beta:3|label:mine"
    )


def version():
    from importlib.metadata import version

    return version("sacrebleu")


def test_bleus_detail_is_what_sacrebleu_prints_beside_it():
    from sacrebleu.metrics import BLEU

    hypotheses, references = corpus(5)
    found = corpus_scores("bleu", hypotheses, [golds[:1] for golds in references])
    wanted = BLEU(force=True).corpus_score(hypotheses, [[golds[0] for golds in references]])
    detail = Corpus("bleu").detail(found.stats)
    assert detail["precisions"][:1] == pytest.approx(wanted.precisions[:1])
    assert detail["brevity_penalty"] == pytest.approx(wanted.bp)
    assert (detail["answer_tokens"], detail["reference_tokens"]) == (wanted.sys_len, wanted.ref_len)
    assert Corpus("ter").detail(np.ones((1, 3))) == {}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bleu", {"tokenize": "13b"}, r"no tokenizer '13b' \(did you mean 13a\?\)"),
        ("bleu", {"tokenize": 5}, r"no tokenizer '5'; it has 13a"),
        ("bleu", {"smooth_method": "log"}, "'smooth_method' must be one of exp, floor"),
        ("bleu", {"smooth_value": 0}, "'smooth_value' must be a number above 0"),
        ("bleu", {"max_ngram_order": 0}, "'max_ngram_order' must be a whole number of at least 1"),
        ("chrf", {"char_order": "six"}, "'char_order' must be a whole number"),
        ("chrf", {"word_order": -1}, "'word_order' must be a whole number of at least 0"),
        ("chrf", {"beta": -1}, "'beta' must be a number above 0"),
    ],
)
def test_wrong_options_are_refused_in_one_line(name, options, message):
    with pytest.raises(ScorerError, match=message) as refused:
        scorer(name, **options).signature()
    assert "\n" not in str(refused.value)


def test_a_tokenizer_that_cannot_be_fetched_says_so(monkeypatch, tmp_path):
    from sacrebleu.tokenizers import tokenizer_spm

    def offline(url, path):
        raise OSError("no route\nto host")

    monkeypatch.setattr(tokenizer_spm, "SACREBLEU_DIR", str(tmp_path))
    monkeypatch.setattr(tokenizer_spm, "download_file", offline)
    with pytest.raises(
        ScorerError, match=r"'flores200' needs a model that sacrebleu downloads.*no route to host"
    ) as refused:
        scorer("bleu", tokenize="flores200").signature()
    assert "\n" not in str(refused.value)
