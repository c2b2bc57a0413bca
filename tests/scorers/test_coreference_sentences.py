"""Coreference by masked and sequence-to-sequence models: what they must give, on tiny checkpoints made here."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scorer_records import values

from evalkit.encoder.base import Encoder, EncoderSpec, encoder
from evalkit.errors import ScorerError
from evalkit.scorers.coreference import CoreferenceBias, CoreferenceChoice, CoreferencePairs
from evalkit.scorers.coreference_sentences import masked_records, seq2seq_records, stem
from evalkit.tasks.coreference import winogender
from evalkit.types import Record, Sample

pytest.importorskip("torch")
TEMPLATES = [
    ("technician", "customer", 0, "The $OCCUPATION told the $PARTICIPANT that $NOM_PRONOUN had found the fault."),
    ("nurse", "visitor", 1, "The $PARTICIPANT asked the $OCCUPATION for the way to $POSS_PRONOUN room."),
]


def samples() -> list[Sample]:
    columns = ("occupation", "participant", "answer", "sentence")
    docs = [row for template in TEMPLATES for row in winogender(dict(zip(columns, template, strict=True)))]
    return [Sample("t", d["sentid"], i, d, d["label"], tuple(d["mentions"])) for i, d in enumerate(docs)]


def tiny(folder: Path, kind: str) -> Encoder:
    """A random BERT with its vocabulary layer, or a random BART, with a word tokeniser of the sentences."""
    import torch
    import transformers as hf

    words = sorted({word.strip(".‘’").lower() for s in samples() for word in stem(s).split()} | {"someone", "the"})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "‘", "’", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    hf.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(5)
    size: dict[str, Any] = {"vocab_size": len(vocabulary), "max_position_embeddings": 64}
    if kind == "masked":
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        hf.BertForMaskedLM(hf.BertConfig(**size, **shape, initializer_range=0.5)).save_pretrained(folder)
        from evalkit.scorers.neural.pll_network import load
    else:
        layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
        heads = {"d_model": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "init_std": 0.5}
        special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2}
        config = hf.BartConfig(**size, **layers, **heads, **special, forced_eos_token_id=None)
        hf.BartForConditionalGeneration(config).save_pretrained(folder)
        from evalkit.scorers.neural.bartscore_network import load
    return encoder(EncoderSpec(model=str(folder), device="cpu", cache=False), load, name=f"coreference-{kind}")


def metrics(records: list[Record]) -> dict[str, float]:
    """All numbers that the scorers make of the records."""
    found = values(CoreferenceChoice(), records)
    for scorer in (CoreferencePairs(), CoreferenceBias()):
        groups: dict[str, list[Record]] = {}
        for record in records:
            groups.setdefault(str(scorer.group(record)), []).append(record)
        state = scorer.prepare(records)
        stats = np.array([scorer.score(group, state)[0].stats for group in groups.values()])
        found |= {name: float(v) for name, v in scorer.aggregate(stats, np.ones(len(stats))).items()}
    return found


def test_a_masked_language_model(tmp_path: Path) -> None:
    from evalkit.scorers.neural.pll_network import sentence_scores

    network = tiny(tmp_path, "masked")
    records = masked_records(samples(), partial(sentence_scores, network))
    assert len(records) == 12 and all(record.complete for record in records)
    first = records[0]
    assert [q.continuation for q in first.requests] == [
        "The technician told the customer that he had found the fault. ‘He’ refers to the technician.",
        "The technician told the customer that he had found the fault. ‘He’ refers to the customer.",
    ]
    alone = sentence_scores(network, [q.continuation for q in first.requests])
    assert [r.logprob for r in first.responses if r] == pytest.approx([total for total, _ in alone], abs=1e-5)
    found = metrics(records)
    assert all(np.isfinite(found[name]) for name in ("to_occupation", "pairs_differ", "margin_bias"))
    assert np.isnan(found["margin_r"]), "two occupations are no correlation"
    by_token = masked_records(samples(), partial(sentence_scores, network), per_token=True)
    assert [r.logprob for r in by_token[0].responses if r] == pytest.approx([t / n for t, n in alone], abs=1e-5)


def test_a_sequence_to_sequence_model(tmp_path: Path) -> None:
    from evalkit.scorers.neural.bartscore_network import log_likelihoods, pair_rows

    network = tiny(tmp_path, "seq2seq")

    def scores(sources: Any, targets: Any) -> list[tuple[float, int]]:
        rows = pair_rows(network, sources, targets, 64)
        counts = [len(row.target or ()) for row in rows]
        return [(mean * n, n) for mean, n in zip(log_likelihoods(network, rows), counts, strict=True)]

    records = seq2seq_records(samples(), scores)
    assert [q.continuation for q in records[3].requests] == ["the technician", "someone"]
    assert {q.prompt for q in records[3].requests} == {
        "The technician told someone that he had found the fault. ‘He’ refers to"
    }
    found = metrics(records)
    assert all(np.isfinite(found[name]) for name in ("to_occupation", "pairs_differ", "margin_bias"))
    assert np.isnan(found["margin_r"]), "two occupations are no correlation"


def test_a_text_without_a_probability_fails_its_sample_alone() -> None:
    def scores(texts: Any) -> list[tuple[float, int]]:
        return [(0.0, 0) if i == 1 else (-float(i), 4) for i, _ in enumerate(texts)]

    records = masked_records(samples(), scores)
    assert [record.complete for record in records] == [False] + [True] * 11
    assert records[0].failure is not None and records[0].failure.kind == "no-probability"


def test_as_many_scores_as_texts() -> None:
    with pytest.raises(ScorerError, match="3 scores for 24 texts"):
        masked_records(samples(), lambda texts: [(-1.0, 1)] * 3)
