"""BLEURT: the PyTorch port's numbers on tiny checkpoints, the original's truncation, every layout of a checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from scorer_records import rows, text_record
from tiny_networks import needs_tiny_networks, tiny_networks, tiny_numbers

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.neural.bleurt import Bleurt, bleurt_scores
from evalkit.scorers.neural.bleurt_network import SentencePieces, WordPieces, lengths_kept
from evalkit.scorers.registry import build_scorers

pytestmark = needs_tiny_networks
TOLERANCE = 5e-6
STYLES = ("bleurt_base", "bleurt20")


def golden() -> tuple[list[str], list[str]]:
    """Candidates and references, the last pair too long for the networks."""
    numbers = tiny_numbers()["bleurt"]
    return (
        [*numbers["candidates"], numbers["long_candidate"]],
        [*numbers["references"], numbers["long_reference"]],
    )


def scores(candidates: Any, references: Any, model: Any = "bleurt_base", **params: Any) -> list[float]:
    return bleurt_scores(candidates, references, str(tiny_networks() / model), **{"cache": False, "device": "cpu", **params})


def scorer(model: Any = "bleurt_base", **params: Any) -> Bleurt:
    return Bleurt(str(tiny_networks() / model), **{"cache": False, "device": "cpu", **params})


def copied(tmp_path: Path, style: str = "bleurt_base") -> Path:
    return Path(shutil.copytree(tiny_networks() / style, tmp_path / "copy"))


@pytest.mark.parametrize("style", STYLES)
def test_the_ports_numbers(style: str) -> None:
    assert scores(*golden(), style) == pytest.approx(tiny_numbers()["bleurt"][style], abs=TOLERANCE)


@pytest.mark.parametrize("style", STYLES)
def test_batches_change_nothing(style: str) -> None:
    candidates, references = golden()
    together = scores(candidates, references, style)
    assert scores(candidates[::-1], references[::-1], style, batch_tokens=1)[::-1] == pytest.approx(together, abs=1e-6)


@pytest.mark.parametrize("style", STYLES)
def test_other_dtypes_are_near(style: str) -> None:
    assert scores(*golden(), style, dtype="bf16") == pytest.approx(scores(*golden(), style), abs=0.1)


@pytest.mark.parametrize(
    ("reference", "candidate", "most", "kept"),
    [
        (3, 4, 7, (3, 4)),
        (5, 5, 9, (5, 4)),  # equal: the candidate loses one (Hugging Face's longest_first would take it from the other)
        (5, 5, 8, (4, 4)),
        (10, 3, 8, (5, 3)),
        (3, 10, 8, (3, 5)),
        (200, 7, 125, (118, 7)),
        (0, 9, 5, (0, 5)),
    ],
)
def test_the_longer_text_loses_its_end(reference: int, candidate: int, most: int, kept: tuple[int, int]) -> None:
    assert lengths_kept(reference, candidate, most) == kept


def test_max_length_is_that_of_the_whole_pair() -> None:
    whole = scores(["a dog"], ["the cat sat on the mat"], max_length=7)
    assert whole == scores(["a dog"], ["the cat"], max_length=7)
    assert scores(["a dog"], ["the cat"], max_length=7) == pytest.approx(scores(["a dog"], ["the cat"]), abs=1e-6)


@pytest.mark.parametrize("style", STYLES)
def test_special_tokens_in_a_text_are_text(style: str) -> None:
    folder = tiny_networks() / style
    tokenizer = SentencePieces(str(folder / "spm.model")) if style == "bleurt20" else WordPieces(str(folder), None)
    spelled, blank = tokenizer.ids(["[SEP][CLS]", "  "])
    assert spelled and not {tokenizer.cls, tokenizer.sep} & set(spelled)
    assert blank == []


def test_a_vocabulary_file_and_pickled_tensors_are_enough(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = copied(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer.json").unlink()
    assert scores(*golden(), folder) == pytest.approx(tiny_numbers()["bleurt"]["bleurt_base"], abs=TOLERANCE)


def test_a_plain_sequence_classifier_with_one_label(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(tmp_path)
    weights = load_file(folder / "model.safetensors")
    named = {name.replace("bleurt.", "bert.", 1): tensor for name, tensor in weights.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    del config["embedding_size"]
    config |= {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    assert scores(*golden(), folder) == pytest.approx(tiny_numbers()["bleurt"]["bleurt_base"], abs=TOLERANCE)


def test_the_originals_gelu_is_a_choice_that_the_signature_names() -> None:
    port, original = scores(*golden()), scores(*golden(), gelu="tanh")
    assert original != pytest.approx(port, abs=1e-5)
    assert original == pytest.approx(port, abs=1e-3)
    assert scores(*golden(), gelu="erf") == port  # what this checkpoint's configuration says
    assert "gelu:config" in scorer().signature() and "gelu:tanh" in scorer(gelu="tanh").signature()


def test_several_references_and_several_answers() -> None:
    answers, references = ["the lazy dog", "a cat"], ("the quick brown fox", "a bird sat on the mat")
    single = [[scores([a], [r])[0] for r in references] for a in answers]
    record = text_record(answers, references)
    best, mean = rows(scorer(), [record])[0, 0], rows(scorer(references="mean"), [record])[0, 0]
    assert best == pytest.approx(sum(map(max, single)) / 2, abs=1e-6)
    assert mean == pytest.approx(sum(map(sum, single)) / 4, abs=1e-6)
    assert scores(answers[:1], [references]) == pytest.approx([max(single[0])], abs=1e-6)


def test_records_blank_and_cut_texts_are_counted_and_missing_ones_unscored() -> None:
    candidates, references = golden()
    records = [text_record(c, r, index=i) for i, (c, r) in enumerate(zip(candidates, references, strict=True))]
    records += [text_record("a dog", None, index=5), text_record({"no": "text"}, "a dog", index=6)]
    measured = scorer()
    found = measured.score(records, measured.prepare(records))
    assert [score.value for score in found[:5]] == pytest.approx(tiny_numbers()["bleurt"]["bleurt_base"], abs=TOLERANCE)
    assert found[2].detail == {"blank": True} and found[4].detail["cut"] > 0
    assert measured.detail(rows(measured, records[:5])) == {"truncated": 1, "blank": 1}
    assert "no reference" in str(found[5].reason) and "not text" in str(found[6].reason)
    assert measured.score([], None) == []


def test_a_task_may_ask_for_it_and_its_signature_pins_the_number(tmp_path: Path) -> None:
    model = str(tiny_networks() / "bleurt_base")
    (built,) = build_scorers(ScoringPlan("generate_until", scorers=(ScorerSpec("bleurt", {"model": model}),)))
    parts = built.signature().split("|")
    assert parts[0] == "bleurt" and {"dtype:float32", "references:max", "model:bleurt_base", "version:1"} <= set(parts)
    other = copied(tmp_path, "bleurt20").rename(tmp_path / "bleurt_base")
    assert scorer(other).signature() != built.signature()
    assert [(m.low, m.high, m.higher_is_better) for m in built.metrics] == [(None, None, True)]


def test_a_tensorflow_checkpoint_is_told_which_model_to_use_instead(tmp_path: Path) -> None:
    for name, instead in (("bleurt-base-512", "bleurt-base-512"), ("mine", "BLEURT-20-D12")):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("saved_model.pb", "bert_config.json", "bleurt_config.json", "vocab.txt"):
            (folder / file).write_text("{}")
        with pytest.raises(ScorerError, match=f"TensorFlow checkpoint.*lucadiliello/{instead}"):
            Bleurt(str(folder)).signature()


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    for other in ("bart", "mlm", "comet_regression"):
        with pytest.raises(ScorerError, match=r"is not a BLEURT checkpoint .*: found .*\.(json|txt|yaml)"):
            scores(["a"], ["b"], other)
    folder = copied(tmp_path)
    for name in ("vocab.txt", "tokenizer.json"):
        (folder / name).unlink()
    with pytest.raises(ScorerError, match="with its tokeniser"):
        scores(["a"], ["b"], folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ScorerError, match="is not JSON"):
        scores(["a"], ["b"], folder)


def test_a_checkpoint_without_its_output_layer_is_not_filled_with_random_numbers(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(tmp_path)
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.startswith("classifier")}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ScorerError, match=r"all its weights \(no classifier.bias\)"):
        scores(["a"], ["b"], folder)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"references": "best"}, "'references' must be one of max, mean"),
        ({"gelu": "relu"}, "'gelu' must be one of config, erf, tanh"),
        ({"max_length": 3}, "'max_length' must be a whole number of at least 5"),
        ({"dtype": "half"}, "'dtype' is 'half'"),
    ],
)
def test_slips_in_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ScorerError, match=message):
        scorer(**params)


def test_lists_of_different_lengths() -> None:
    with pytest.raises(ScorerError, match="2 candidates but 1 references"):
        scores(["a", "b"], ["c"])
    with pytest.raises(ScorerError, match="candidate 1 has no reference"):
        scores(["a", "b"], ["c", []])
