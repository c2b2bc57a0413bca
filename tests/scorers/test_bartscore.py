"""BARTScore: the authors' numbers on a tiny checkpoint, each model's own labels, directions, weights of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from scorer_records import rows, text_record, values
from tiny_networks import needs_tiny_networks, tiny_networks, tiny_numbers

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.neural.bartscore import BartScore, bartscore_scores
from evalkit.scorers.registry import build_scorers

pytestmark = needs_tiny_networks
TOLERANCE = 5e-6
QUIET: dict[str, Any] = {"cache": False, "device": "cpu"}
SENTENCES = ["the dog is on the mat.", "a cat", "the quick brown fox and the lazy dog", "hello world"]


def golden() -> dict[str, Any]:
    found: dict[str, Any] = tiny_numbers()["bartscore"]
    return found


def bart() -> str:
    return str(tiny_networks() / "bart")


def read_then_written(sources: Any, targets: Any, model: str | None = None, **params: Any) -> list[float]:
    found = bartscore_scores(targets, None, sources, model or bart(), directions=["faithfulness"], **{**QUIET, **params})
    return found["faithfulness"]


def test_the_authors_numbers() -> None:
    numbers = golden()
    assert read_then_written(numbers["sources"], numbers["targets"]) == pytest.approx(numbers["src_to_tgt"], abs=TOLERANCE)
    found = bartscore_scores(numbers["targets"], numbers["sources"], model=bart(), **QUIET)
    assert found["precision"] == pytest.approx(numbers["src_to_tgt"], abs=TOLERANCE)
    assert found["recall"] == pytest.approx(numbers["tgt_to_src"], abs=TOLERANCE)
    means = [(a + b) / 2 for a, b in zip(found["precision"], found["recall"], strict=True)]
    assert found["f"] == pytest.approx(means, abs=1e-9)


def test_weights_from_a_state_dict() -> None:
    numbers, weights = golden(), str(tiny_networks() / "bart" / "bart.pth")
    texts = numbers["sources"], numbers["targets"]
    assert read_then_written(*texts, weights=weights) == pytest.approx(numbers["para_src_to_tgt"], abs=TOLERANCE)
    assert read_then_written(*texts) == pytest.approx(numbers["src_to_tgt"], abs=TOLERANCE)  # and the other way round
    assert "state_dict:" in BartScore(bart(), weights=weights).signature()


def test_rows_kept_on_disk_belong_to_their_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path))
    monkeypatch.delenv("EVALKIT_ENCODER_CACHE", raising=False)
    numbers = golden()
    weights = str(tiny_networks() / "bart" / "bart.pth")
    for _ in range(2):
        for given, expected in ((None, "src_to_tgt"), (weights, "para_src_to_tgt")):
            found = read_then_written(numbers["sources"], numbers["targets"], weights=given, cache=True)
            assert found == pytest.approx(numbers[expected], abs=TOLERANCE)


def test_batches_change_nothing() -> None:
    numbers = golden()
    one = read_then_written(numbers["sources"], numbers["targets"], batch_tokens=1)
    assert one == pytest.approx(numbers["src_to_tgt_batch5"], abs=TOLERANCE)


def test_several_references() -> None:
    numbers, references = golden(), ("a cat", "the dog")
    for how in ("max", "mean"):
        # the original's multi_ref_score reads the source and writes each reference
        found = bartscore_scores(
            ["the dog is big"], [references], model=bart(), directions="recall", references=how, **QUIET
        )
        assert found["recall"] == pytest.approx(numbers[f"multi_{how}"][:1], abs=TOLERANCE)
    single = [bartscore_scores(["the dog is big"], [r], model=bart(), **QUIET)["f"][0] for r in references]
    best = bartscore_scores(["the dog is big"], [references], model=bart(), references="max", **QUIET)
    assert best["f"] == pytest.approx([max(single)], abs=1e-6)  # F of one reference, not of two halves


def seq2seq(kind: str, folder: Path) -> str:
    """A tiny network of another family, its weights random, with the tokeniser of the tiny XLM-R."""
    import torch
    import transformers

    shutil.copytree(tiny_networks() / "xlmr", folder)
    size = len(transformers.AutoTokenizer.from_pretrained(folder))
    small = {"d_model": 16, "decoder_attention_heads": 2, "encoder_attention_heads": 2, "max_position_embeddings": 64}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    special = {"vocab_size": size, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    torch.manual_seed(0)
    if kind == "t5":
        start = {**special, "decoder_start_token_id": 1}
        config = transformers.T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, **start)
        module = transformers.T5ForConditionalGeneration(config)
    elif kind == "mbart":
        module = transformers.MBartForConditionalGeneration(transformers.MBartConfig(**small, **layers, **special))
    else:
        start = {**special, "decoder_start_token_id": 2}
        module = transformers.M2M100ForConditionalGeneration(transformers.M2M100Config(**small, **layers, **start))
    module.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("kind", ["bart", "t5", "mbart", "m2m_100"])
def test_any_seq2seq_model_as_it_would_be_trained(kind: str, tmp_path: Path) -> None:
    """The mean log-probability is minus the loss that the model itself computes from the target as labels."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model = bart() if kind == "bart" else seq2seq(kind, tmp_path / kind)
    module, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    expected = []
    for source, target in zip(SENTENCES, SENTENCES[1:] + SENTENCES[:1], strict=True):
        read, written = (tokenizer(text, return_tensors="pt") for text in (source, target))
        with torch.no_grad():
            expected.append(-module(input_ids=read["input_ids"], labels=written["input_ids"]).loss.item())
    assert read_then_written(SENTENCES, SENTENCES[1:] + SENTENCES[:1], model) == pytest.approx(expected, abs=TOLERANCE)


def test_a_model_that_does_not_say_where_its_decoder_starts(tmp_path: Path) -> None:
    import json

    folder = Path(seq2seq("m2m_100", tmp_path / "m2m"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "decoder_start_token_id": None}))
    with pytest.raises(ScorerError, match="decoder_start_token_id"):
        read_then_written(["a"], ["b"], str(folder))


def test_records_by_direction() -> None:
    numbers = golden()
    records = [
        text_record(target, "the dog is big", doc={"article": source}, index=i)
        for i, (source, target) in enumerate(zip(numbers["sources"], numbers["targets"], strict=True))
    ]
    scorer = BartScore(bart(), ["f", "faithfulness"], source="article", **QUIET)
    assert scorer.columns == ("article",)
    assert [m.name for m in scorer.metrics] == ["bartscore_faithfulness", "bartscore_f"]
    assert all(m.high == 0 and m.higher_is_better for m in scorer.metrics)
    found = rows(scorer, records)
    assert found[:, 0] == pytest.approx(numbers["src_to_tgt"], abs=TOLERANCE)
    assert values(scorer, records)["bartscore_faithfulness"] == pytest.approx(sum(numbers["src_to_tgt"]) / 5, abs=TOLERANCE)
    assert scorer.detail(found) == {"truncated": 1, "blank": 2}
    (first, *_) = scorer.score(records, None)
    assert first.value == found[0, 0] and first.detail["bartscore_f"] == found[0, 1]


def test_only_faithfulness_reads_the_source_and_only_the_others_need_a_reference() -> None:
    faithful = BartScore(bart(), "faithfulness", **QUIET)
    with_source = text_record("a cat", None, doc={"source": "the cat is on the mat"})
    without = text_record("a cat", "the cat", doc={"source": None})
    kept, lost = faithful.score([with_source, without], None)
    assert kept.value is not None and "column 'source' is empty" in str(lost.reason)
    assert BartScore(bart()).columns == ()
    lost, kept = BartScore(bart(), **QUIET).score([with_source, without], None)
    assert kept.value is not None and "no reference" in str(lost.reason)


def test_several_answers_count_with_their_mean() -> None:
    scorer = BartScore(bart(), ["precision"], **QUIET)
    single = [rows(scorer, [text_record(a, "the cat")])[0, 0] for a in ("a cat", "a dog")]
    assert rows(scorer, [text_record(["a cat", "a dog"], "the cat")])[0, 0] == pytest.approx(sum(single) / 2, abs=1e-6)


def test_long_texts_are_cut_where_the_parameter_says() -> None:
    scorer = BartScore(bart(), ["recall"], max_length=8, **QUIET)
    (score,) = scorer.score([text_record("the dog is on the mat", "hi")], None)
    assert score.detail["cut"] > 0 and "max_length:8" in scorer.signature()


def test_a_task_may_ask_for_it() -> None:
    spec = ScorerSpec("bartscore", {"model": bart(), "directions": ["faithfulness"], "source": "text"})
    (built,) = build_scorers(ScoringPlan("generate_until", scorers=(spec,)))
    parts = set(built.signature().split("|"))
    assert {"bartscore", "model:bart", "directions:faithfulness", "source:text", "dtype:float32"} <= parts
    assert not any(part.startswith("references") for part in parts)  # nothing that the number does not depend on


@pytest.mark.parametrize("other", ["mlm", "xlmr", "bleurt_base", "comet_regression"])
def test_a_checkpoint_of_something_else(other: str) -> None:
    with pytest.raises(ScorerError, match=r"is not a sequence-to-sequence model .*found "):
        read_then_written(["a"], ["b"], str(tiny_networks() / other))


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    import torch

    state = torch.load(tiny_networks() / "bart" / "bart.pth", weights_only=True)
    cases = {
        "lack": {k: v for k, v in state.items() if "fc1" not in k},
        "have a strange": {**state, "head": torch.zeros(1)},
        "have another shape of": {**state, "final_logits_bias": torch.zeros(1, 2)},
    }
    for message, wrong in cases.items():
        torch.save(wrong, tmp_path / "wrong.pth")
        with pytest.raises(ScorerError, match=f"do not fit .*{message}"):
            read_then_written(["a"], ["b"], weights=str(tmp_path / "wrong.pth"))
    (tmp_path / "text.pth").write_text("no tensors")
    with pytest.raises(ScorerError, match="no PyTorch state dict"):
        read_then_written(["a"], ["b"], weights=str(tmp_path / "text.pth"))
    torch.save({"model": print}, tmp_path / "code.pth")  # a pickle that names a function is not run
    with pytest.raises(ScorerError, match="no PyTorch state dict"):
        read_then_written(["a"], ["b"], weights=str(tmp_path / "code.pth"))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"directions": ["recal"]}, "no direction 'recal' .did you mean recall"),
        ({"directions": []}, "'directions' is empty"),
        ({"references": "min"}, "'references' must be one of max, mean"),
        ({"weights": "nowhere.pth"}, "no file nowhere.pth"),
        ({"max_length": 0}, "'max_length' must be a whole number"),
    ],
)
def test_slips_in_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ScorerError, match=message):
        BartScore(bart(), **params)


def test_missing_texts_and_different_lengths() -> None:
    with pytest.raises(ScorerError, match="needs references"):
        bartscore_scores(["a"], model=bart())
    with pytest.raises(ScorerError, match="needs sources"):
        bartscore_scores(["a"], ["b"], model=bart(), directions="faithfulness")
    with pytest.raises(ScorerError, match="2 candidates but 1 sources"):
        read_then_written(["a"], ["b", "c"])
    with pytest.raises(ScorerError, match="1 candidates but 2 references"):
        bartscore_scores(["a"], ["b", "c"], model=bart())
