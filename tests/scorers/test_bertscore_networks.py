"""BERTScore on networks of many families: the leading space of byte-level BPE, and which layers' states are compared.

The networks are tiny and random, made here; what is expected is computed the slow way, pair by pair.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from evalkit.encoder.base import checkpoint
from evalkit.errors import ScorerError
from evalkit.scorers.neural.bertscore import bertscore_pairs
from evalkit.scorers.neural.bertscore_layers import keep_layers
from evalkit.scorers.neural.bertscore_tables import baseline, best_layer, layer_table, table_name

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
SMALL = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
#: More words than one, so that most tokens are inside of a text.
CANDIDATE, REFERENCE = "the thin cat is in the hat", "is the hat thin"


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa whose byte-level vocabulary has `the` and ` the` as tokens of their own."""
    from tokenizers.pre_tokenizers import ByteLevel

    folder = tmp_path_factory.mktemp("tiny") / "roberta-tiny"
    merges = [("t", "h"), ("th", "e"), ("Ġ", "t"), ("Ġt", "h"), ("Ġth", "e"), ("i", "s"), ("Ġ", "is"), ("i", "n")]
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet()), *(a + b for a, b in merges)]
    torch.manual_seed(5)
    config = transformers.RobertaConfig(**SMALL, max_position_embeddings=66, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    model = transformers.RobertaModel(config)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.normal_(0, 1)
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(vocabulary)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "RobertaTokenizer", "model_max_length": 64}), "utf-8"
    )
    return folder


def slow(states: Any, others: Any, weights: list[int]) -> float:
    """The mean over weighted tokens of the best cosine with any token of the other side, one by one."""
    best = [max(float(torch.cosine_similarity(a, b, dim=0)) for b in others) for a in states]
    return sum(x * w for x, w in zip(best, weights, strict=True)) / sum(weights)


def expected(folder: Path, layers: int, lead: str) -> tuple[float, float]:
    """Precision and recall of the pair with ``lead`` before both texts, specials without weight."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    found = []
    for text in (CANDIDATE, REFERENCE):
        ids = tokenizer(lead + text)["input_ids"]
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layers][0].double()
        found.append((states, [0, *[1] * (len(ids) - 2), 0]))
    (a, wa), (b, wb) = found
    return slow(a, b, wa), slow(b, a, wb)


def test_the_first_word_of_roberta_keeps_its_leading_space(roberta: Path) -> None:
    """Under transformers 5 bert-score encodes `the` at the start of a text like a word's middle; that moves the number."""
    found = bertscore_pairs([CANDIDATE], [REFERENCE], model=str(roberta), num_layers=2, device="cpu", cache=False)
    spaced, bare = expected(roberta, 2, " "), expected(roberta, 2, "")
    assert (found.precision[0], found.recall[0]) == pytest.approx(spaced, abs=2e-6)
    assert abs(spaced[0] - bare[0]) > 1e-3


def test_the_package_loses_the_leading_space(roberta: Path) -> None:
    pytest.importorskip("bert_score")
    found = bertscore_pairs(
        [CANDIDATE], [REFERENCE], model=str(roberta), num_layers=2, device="cpu", cache=False, backend="bert-score"
    )
    assert found.precision[0] == pytest.approx(expected(roberta, 2, "")[0], abs=2e-6)


def build(family: str) -> Any:
    """A random network of a family, with three layers."""
    t = transformers
    decoder = {"d_model": 16, "encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 2}
    decoder |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "vocab_size": 300}
    short = {"vocab_size": 300, "n_layers": 3, "n_heads": 2}
    makers = {
        "bert": lambda: t.BertModel(t.BertConfig(**SMALL)),
        "electra": lambda: t.ElectraModel(t.ElectraConfig(**SMALL, embedding_size=16)),
        "albert": lambda: t.AlbertModel(t.AlbertConfig(**SMALL, embedding_size=8)),
        "distilbert": lambda: t.DistilBertModel(t.DistilBertConfig(**short, dim=16, hidden_dim=24)),
        "deberta-v2": lambda: t.DebertaV2Model(t.DebertaV2Config(**SMALL)),
        "mpnet": lambda: t.MPNetModel(t.MPNetConfig(**SMALL)),
        "xlm": lambda: t.XLMModel(t.XLMConfig(**short, emb_dim=16)),
        "xlnet": lambda: t.XLNetModel(t.XLNetConfig(vocab_size=300, d_model=16, n_layer=3, n_head=2, d_inner=24)),
        "modernbert": lambda: t.ModernBertModel(t.ModernBertConfig(**SMALL, pad_token_id=0)),
        "bart": lambda: t.BartModel(t.BartConfig(**decoder)).encoder,
        "mbart": lambda: t.MBartModel(t.MBartConfig(**decoder)).encoder,
        "t5": lambda: t.T5EncoderModel(t.T5Config(vocab_size=300, d_model=16, d_ff=24, num_layers=3, num_heads=2, d_kv=8)),
    }
    torch.manual_seed(1)
    return makers[family]().eval()


#: Families with a norm after the stack, which the last layer's hidden state has and those before it have not.
NORMED = ("mbart", "t5", "modernbert")
FAMILIES = ("bert", "electra", "albert", "distilbert", "deberta-v2", "mpnet", "xlm", "xlnet", "bart", *NORMED)


@cache
def hidden(family: str) -> tuple[Any, ...]:
    with torch.no_grad():
        return tuple(build(family)(IDS, attention_mask=MASK, output_hidden_states=True).hidden_states)


IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 0, 0, 0]])
MASK = torch.tensor([[1] * 6, [1, 1, 1, 0, 0, 0]])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layers_after_the_chosen_one_are_dropped(family: str, layers: int) -> None:
    module = keep_layers(build(family), layers, family)
    with torch.no_grad():
        states = module(input_ids=IDS, attention_mask=MASK)[0]
    kept = MASK.bool()
    wanted = hidden(family)[layers]
    if family in NORMED and layers < 3:
        assert not torch.allclose(states[kept], wanted[kept], atol=1e-4)
    else:
        assert torch.allclose(states[kept], wanted[kept], atol=1e-5)


def test_networks_whose_layers_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ScorerError, match=r"tiny \(Linear\) is no encoder"):
        keep_layers(torch.nn.Linear(2, 2), 1, "tiny")


def test_encoder_decoders_give_their_encoder(tmp_path: Path) -> None:
    from evalkit.scorers.neural.bertscore_layers import loader

    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=300, d_model=16, d_ff=24, num_layers=2, num_heads=2, d_kv=8)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    from evalkit.encoder.base import EncoderSpec

    class Named:
        """A tokeniser is beside the point here."""

        @staticmethod
        def from_pretrained(*_: Any, **__: Any) -> None:
            return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers, "AutoTokenizer", Named)
        place = checkpoint(str(tmp_path / "t5"))
        module, _ = loader(place, 1)(EncoderSpec(place.source))
    assert type(module).__name__ == "T5EncoderModel" and len(module.encoder.block) == 1


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ("roberta-large", 17),
        ("FacebookAI/roberta-large", 17),
        ("/models/deberta-xlarge-mnli", 40),
        ("bert-base-uncased", 9),
        ("google/bert_uncased_L-6_H-768_A-12", 5),
        ("t5-base", 11),
    ],
)
def test_the_packages_table_of_layers(model: str, layer: int) -> None:
    assert best_layer(model) == layer and table_name(model) in layer_table()


def test_unknown_models_need_a_layer() -> None:
    with pytest.raises(ScorerError, match=r"no best layer for 'roberta-lage' \(did you mean roberta-large.*give num_layers"):
        best_layer("roberta-lage")


def test_the_packages_baselines() -> None:
    found = baseline("roberta-large", "en", 17)
    assert (found.precision, found.recall, found.f1) == pytest.approx((0.8315, 0.8315, 0.8312), abs=5e-5)
    assert baseline("FacebookAI/roberta-large", "en", 17) == found
    with pytest.raises(
        ScorerError, match="no rescaling baseline for roberta-large in language 'de'; for this model it has en"
    ):
        baseline("roberta-large", "de", 17)
    with pytest.raises(ScorerError, match="no row for layer 99"):
        baseline("roberta-large", "en", 99)
