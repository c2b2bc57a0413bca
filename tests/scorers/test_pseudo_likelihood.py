"""Pseudo-log-likelihood: the numbers of mlm-scoring and minicons, every family's own head, what becomes of odd texts."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scorer_records import estimates, rows, text_record, values
from tiny_networks import needs_tiny_networks, tiny_networks, tiny_numbers

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.neural.pll_network import sentence_rows, sentence_scores, token_scores
from evalkit.scorers.neural.pseudo_likelihood import PseudoLikelihood, pll_scores
from evalkit.scorers.registry import build_scorers

pytestmark = needs_tiny_networks
QUIET: dict[str, Any] = {"cache": False, "device": "cpu"}
LONG = "the dog is on the mat " * 30


def golden() -> dict[str, Any]:
    found: dict[str, Any] = tiny_numbers()["pll"]
    return found


def mlm() -> str:
    return str(tiny_networks() / "mlm")


def scorer(**params: Any) -> PseudoLikelihood:
    return PseudoLikelihood(mlm(), **{**QUIET, **params})


def close(expected: Any) -> Any:
    """5e-6, or as near as float32 gets for sums of about a hundred."""
    return pytest.approx(expected, abs=5e-6, rel=1.2e-7)


@pytest.mark.parametrize(
    ("variant", "name", "minicons"),
    [("original", "pll", "minicons_original"), ("within_word_l2r", "pll_word_l2r", "minicons_within_word_l2r")],
)
def test_numbers_of_other_packages(variant: str, name: str, minicons: str) -> None:
    found = pll_scores(golden()["sentences"], mlm(), variant, **QUIET)
    assert [tokens for _, tokens in found] == golden()["n_tokens"]
    assert [total for total, _ in found] == close(golden()[name])
    assert [total for total, _ in found] == pytest.approx(golden()[minicons], abs=5e-6, rel=2e-7)


def test_each_token() -> None:
    encoder = scorer().encoder()
    texts = ["kindergartens opened", "kindergartens opened"]
    first, again = token_scores(encoder, sentence_rows(encoder, texts), texts)
    assert first == again == close(golden()["per_token_first"])


def test_batches_and_order_change_nothing() -> None:
    sentences = golden()["sentences"]
    one = pll_scores(sentences[::-1], mlm(), batch_tokens=1, **QUIET)[::-1]
    assert [total for total, _ in one] == close(golden()["pll"])


def test_many_sentences_are_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.scorers.neural import pll_network

    monkeypatch.setattr(pll_network, "_IDS_AT_ONCE", 100)
    assert [total for total, _ in pll_scores(golden()["sentences"], mlm(), **QUIET)] == close(golden()["pll"])


def masked_lm(kind: str, folder: Path) -> str:
    """A tiny network of another family, its weights random, with the tokeniser of the tiny XLM-R."""
    import torch
    import transformers as t

    shutil.copytree(tiny_networks() / "xlmr", folder)
    size = len(t.AutoTokenizer.from_pretrained(folder))
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    common = {"vocab_size": size, "max_position_embeddings": 64, "pad_token_id": 1, "type_vocab_size": 1}
    torch.manual_seed(0)
    config: Any = {
        "roberta": lambda: t.RobertaConfig(**small, **common),
        "distilbert": lambda: t.DistilBertConfig(
            vocab_size=size, dim=16, n_layers=1, n_heads=2, hidden_dim=16, pad_token_id=1, max_position_embeddings=64
        ),
        "electra": lambda: t.ElectraConfig(**small, **common, embedding_size=8),
        "albert": lambda: t.AlbertConfig(**small, **common, embedding_size=8),
        "deberta-v2": lambda: t.DebertaV2Config(**small, **common, relative_attention=True, pos_att_type=["p2c", "c2p"]),
        "deberta-v2-new": lambda: t.DebertaV2Config(**small, **common, legacy=False),
        "mpnet": lambda: t.MPNetConfig(**small, vocab_size=size, max_position_embeddings=64),
        "modernbert": lambda: t.ModernBertConfig(**small, vocab_size=size, max_position_embeddings=64, pad_token_id=1),
        "xlm": lambda: t.XLMConfig(
            vocab_size=size, emb_dim=16, n_layers=1, n_heads=2, max_position_embeddings=64, pad_index=1
        ),
    }[kind]()
    t.AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    "kind", ["roberta", "distilbert", "electra", "albert", "deberta-v2", "deberta-v2-new", "mpnet", "modernbert", "xlm"]
)
def test_every_family_gives_what_its_whole_logits_say(kind: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    model, texts = masked_lm(kind, tmp_path / kind), ["the dog is on the mat.", "a cat"]
    module, tokenizer = AutoModelForMaskedLM.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    expected = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"][0]
        total = 0.0
        for at in range(1, len(ids) - 1):
            masked = ids.clone()
            masked[at] = tokenizer.mask_token_id
            with torch.no_grad():
                total += module(input_ids=masked[None]).logits[0, at].log_softmax(-1)[ids[at]].item()
        expected.append(total)
    assert [total for total, _ in pll_scores(texts, model, **QUIET)] == pytest.approx(expected, abs=2e-5)


def test_the_three_metrics() -> None:
    sums, tokens = np.array(golden()["pll"]), np.array(golden()["n_tokens"])
    records = [text_record(text, None, index=i) for i, text in enumerate(golden()["sentences"])]
    found = values(scorer(), records)
    assert found["pll"] == pytest.approx(float((sums / tokens).mean()), abs=5e-6)
    assert found["pll_sum"] == pytest.approx(float(sums.mean()), abs=5e-6)
    assert found["pseudo_perplexity"] == pytest.approx(math.exp(-sums.sum() / tokens.sum()), rel=1e-6)
    assert {m.name: (m.higher_is_better, m.headline) for m in scorer().metrics} == {
        "pll": (True, True),
        "pll_sum": (True, False),
        "pseudo_perplexity": (False, True),
    }
    (first, *_) = scorer().score(records, None)
    assert first.value == pytest.approx(sums[0] / tokens[0])
    assert first.detail["pseudo_perplexity"] == pytest.approx(math.exp(-sums[0] / tokens[0]))
    whole = estimates(scorer(), records * 5)
    assert whole["pll"].ci is not None and whole["pseudo_perplexity"].ci is not None


def test_several_answers_count_with_their_mean() -> None:
    texts = golden()["sentences"][:2]
    single = [rows(scorer(), [text_record(text, None)])[0] for text in texts]
    assert rows(scorer(), [text_record(texts, None)])[0, :3] == pytest.approx((single[0][:3] + single[1][:3]) / 2)


def test_blank_answers_are_unscored_and_break_nothing() -> None:
    records = [text_record(text, None, index=i) for i, text in enumerate(["a", "  \n", "a", {"no": "text"}])]
    measured = scorer()
    found = measured.score(records, measured.prepare(records))
    assert [score.value is None for score in found] == [False, True, False, True]
    assert "blank" in str(found[1].reason) and "not text" in str(found[3].reason)
    assert pll_scores(["", "a"], mlm(), **QUIET)[0] == (0.0, 0)
    assert measured.score([], None) == []


def test_long_answers_are_cut_and_counted_or_left_out() -> None:
    records = [text_record(LONG, None), text_record("a", None, index=1)]
    cut = scorer()
    found = cut.score(records, None)
    assert found[0].detail["tokens"] == 126 and found[0].detail["cut"] == 54
    assert cut.detail(rows(cut, records)) == {"truncated": 1, "blank": 0}
    left = scorer(too_long="unscored").score(records, None)
    assert left[0].stats is None and "182 tokens, more than the 128 that fit" in str(left[0].reason)
    assert left[1].value == found[1].value
    assert "too_long:truncate" in cut.signature()


def test_words_of_a_text_that_was_cut() -> None:
    (whole,) = pll_scores([LONG + "kindergartens"], mlm(), "within_word_l2r", **QUIET)
    assert whole[1] == 126


def test_outer_white_space_is_no_part_of_a_sentence() -> None:
    assert pll_scores(["a cat"], mlm(), **QUIET) == pll_scores(["  a cat\n"], mlm(), **QUIET)


def test_scores_of_given_sentences() -> None:
    encoder = scorer().encoder()
    assert [t for t, _ in sentence_scores(encoder, golden()["sentences"], "within_word_l2r")] == close(
        golden()["pll_word_l2r"]
    )
    assert sentence_scores(encoder, []) == sentence_scores(encoder, [], "within_word_l2r") == []


def test_a_task_may_ask_for_it_and_its_signature_pins_the_number() -> None:
    (built,) = build_scorers(ScoringPlan("generate_until", scorers=(ScorerSpec("pll", {"model": mlm()}),)))
    assert {"pll", "model:mlm", "variant:original", "dtype:float32", "version:1"} <= set(built.signature().split("|"))


@pytest.mark.parametrize("other", ["bart", "bleurt_base", "comet_regression"])
def test_a_checkpoint_of_something_else(other: str) -> None:
    with pytest.raises(ScorerError, match=r"is not a masked language model .*found "):
        pll_scores(["a"], str(tiny_networks() / other), **QUIET)


def test_an_encoder_without_its_prediction_layer_is_not_filled_with_random_numbers(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_networks() / "mlm", tmp_path / "encoder"))
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.startswith("cls.")}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ScorerError, match=r"with all its weights \(no cls.predictions"):
        pll_scores(["a"], str(folder), **QUIET)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"variant": "l2r"}, "'variant' must be one of original, within_word_l2r"),
        ({"too_long": "raise"}, "'too_long' must be one of truncate, unscored"),
        ({"model": ""}, "'model' must be a hub id or a directory"),
    ],
)
def test_slips_in_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ScorerError, match=message):
        PseudoLikelihood(**{"model": mlm(), **params})
