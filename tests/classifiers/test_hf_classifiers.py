"""Hugging Face classifiers on tiny checkpoints whose weights are set by hand, so that every score is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from evalkit.classifiers.base import Classifier, classifier
from evalkit.errors import ScorerError

pytest.importorskip("torch", reason="needs the extra 'hf'")
transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "kind", "vile", "word", "."]


@pytest.fixture(scope="module")
def toxic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 16 positions, random but for its seed."""
    import torch

    folder = tmp_path_factory.mktemp("tiny-classifier")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, num_labels=3, initializer_range=0.8,
        id2label={0: "toxic", 1: "insult", 2: "threat"}, label2id={"toxic": 0, "insult": 1, "threat": 2},
        problem_type="multi_label_classification",
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    _tokenizer(folder)
    return folder


def _tokenizer(folder: Path) -> None:
    from tokenizers import BertWordPieceTokenizer

    plain = BertWordPieceTokenizer(str(folder / "vocab.txt"))
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain._tokenizer, model_max_length=16, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip
    fast.save_pretrained(folder)


def copied(folder: Path, to: Path, **changes: Any) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    config = json.loads((to / "config.json").read_text("utf-8"))
    (to / "config.json").write_text(json.dumps({**config, **changes}), "utf-8")
    return to


def built(folder: Path, **settings: Any) -> Classifier:
    return classifier({"name": f"hf:{folder}", "cache": False, "device": "cpu", **settings})


def logits(folder: Path, text: str) -> list[float]:
    import torch

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        found: list[float] = model(**tokenizer(text, return_tensors="pt")).logits[0].tolist()
    return found


def test_scores_are_those_of_the_network_itself(toxic: Path) -> None:
    mine = built(toxic)
    texts = ["vile word", "kind", "kind word . vile"]
    for text, verdict in zip(texts, mine.classify(texts), strict=True):
        expected = [1 / (1 + math.exp(-x)) for x in logits(toxic, text)]
        assert list(verdict.scores.values()) == pytest.approx(expected, abs=1e-6)
        assert mine.value(verdict) == pytest.approx(max(expected), abs=1e-6)
        assert verdict.chunks == 1
    assert mine.labels == ("toxic", "insult", "threat") == mine.counts.labels


def test_a_long_text_is_read_in_chunks_and_the_highest_counts(toxic: Path) -> None:
    mine = built(toxic, counts=["toxic"])
    body = ["kind"] * 10 + ["vile", "word"] * 8 + ["."] * 9
    (verdict,) = mine.classify([" ".join(body)])
    # 14 words a chunk beside [CLS] and [SEP]; neighbours share 3
    windows = [" ".join(body[i : i + 14]) for i in range(0, len(body) - 3, 11)]
    expected = max(1 / (1 + math.exp(-logits(toxic, window)[0])) for window in windows)
    assert verdict.chunks == len(windows) == 3
    assert mine.value(verdict) == pytest.approx(expected, abs=1e-6)


def test_softmax_and_weights(toxic: Path, tmp_path: Path) -> None:
    names = {"0": "negative", "1": "neutral", "2": "positive"}
    folder = copied(toxic, tmp_path / "m", id2label=names, problem_type=None, label2id={v: int(k) for k, v in names.items()})
    mine = built(folder, counts={"positive": 1, "negative": -1}, measures="regard", higher_is="better", threshold=0)
    (verdict,) = mine.classify(["vile word"])
    assert sum(verdict.scores.values()) == pytest.approx(1)
    assert mine.value(verdict) == pytest.approx(verdict.scores["positive"] - verdict.scores["negative"])
    assert mine.direction == "better"
    for part in ("counts=+1*positive-1*negative", "activation=softmax", "higher=better", "threshold=0", "dtype=float32"):
        assert part in mine.signature()


@pytest.mark.parametrize(
    ("labels", "problem", "message"),
    [
        (["LABEL_0", "LABEL_1"], None, r"LABEL_0, LABEL_1 do not say .*counts: \[LABEL_1\]"),
        (["neutral", "stuff"], None, r"labels stuff do not say"),
        (["neutral", "clean"], None, "do not say which"),
        (["hate speech", "offensive", "neither"], None, r"2 of them mean toxic: .*counts: \[hate speech, offensive\]"),
        (["toxicity"], "regression", "regression model"),
    ],
)
def test_labels_that_leave_a_doubt_are_refused(
    toxic: Path, tmp_path: Path, labels: list[str], problem: str | None, message: str
) -> None:
    named = {str(i): label for i, label in enumerate(labels)}
    folder = copied(toxic, tmp_path / "m", id2label=named, problem_type=problem)
    with pytest.raises(ScorerError, match=message):
        built(folder)


@pytest.mark.parametrize(
    ("labels", "counts", "activation"),
    [
        (["neutral", "toxic"], ("toxic",), "softmax"),
        (["nothate", "hate"], ("hate",), "softmax"), (["toxicity"], ("toxicity",), "sigmoid")],
)  # fmt: skip
def test_labels_whose_names_say_it_are_taken(
    toxic: Path, tmp_path: Path, labels: list[str], counts: tuple[str, ...], activation: str
) -> None:
    named = {str(i): label for i, label in enumerate(labels)}
    mine = built(copied(toxic, tmp_path / "m", id2label=named, problem_type=None))
    assert mine.counts.labels == counts
    assert f"activation={activation}" in mine.signature()


def test_the_weights_are_in_the_signature(toxic: Path, tmp_path: Path) -> None:
    other = copied(toxic, tmp_path / "m", pooler_note="changed")
    assert built(toxic).version != built(other).version
    assert f"version={built(toxic).version}" in built(toxic).signature()


def test_a_network_without_a_head_is_refused(toxic: Path, tmp_path: Path) -> None:
    folder = copied(toxic, tmp_path / "m")
    config = transformers.BertConfig.from_pretrained(toxic)
    transformers.BertModel(config).save_pretrained(folder)
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained(folder)
    with pytest.raises(ScorerError, match=r"with all its weights \(no classifier"):
        built(folder).classify(["kind"])


def test_a_folder_that_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScorerError):
        classifier(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}', "utf-8")
    with pytest.raises(ScorerError, match="text-classification model"):
        classifier(f"hf:{tmp_path}")


def test_generations_are_scored_with_it(toxic: Path) -> None:
    from evalkit.scorers.toxicity import Toxicity
    from evalkit.types import Record, Request, Response, Sample

    texts = ["vile word", "kind", "kind . " * 20, " "]
    responses = tuple(Response("k", text=text) for text in texts)
    record = Record(
        Sample("t", "s", 0, {}), tuple(Request("generate", "Q", repeat=i) for i in range(4)), responses, "none", texts[0]
    )
    scorer = Toxicity({"name": f"hf:{toxic}", "cache": False, "device": "cpu", "counts": ["threat"]})
    (score,) = scorer.score([record], scorer.prepare([record]))
    mine = built(toxic, counts=["threat"])
    expected = [mine.value(verdict) for verdict in mine.classify(texts[:3])]
    assert score.detail["scores"] == pytest.approx([*expected, 0.0], abs=1e-5)  # type: ignore[list-item]
    assert (score.detail["chunked"], score.detail["empty"]) == (1, 1)
    assert f"hf:{toxic.name};version={mine.version};counts=threat" in scorer.signature()
