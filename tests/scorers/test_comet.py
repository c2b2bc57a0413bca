"""COMET against numbers that unbabel-comet 2.2.7 gave over the same checkpoints, and what a reader is told beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comet_checkpoints import comet_variants
from scorer_records import estimates, rows, text_record, values
from tiny_networks import needs_tiny_networks, tiny_networks, tiny_numbers

from evalkit.encoder.base import release, watched
from evalkit.errors import ScorerError
from evalkit.scorers.neural.comet.scorer import Comet, comet_scores, comet_verdicts
from evalkit.types import Record

pytestmark = needs_tiny_networks
TOLERANCE = 5e-6
SPANS = {  # of the long translation: how many there are, and the first
    "unite": (15, (4, 9, "major", 0.722933)),
    "no reference": (15, (4, 9, "major", 0.706327)),
    "no source": (13, (4, 9, "major", 0.75615)),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    yield
    release()


def checkpoint(name: str) -> str:
    return str(tiny_networks() / f"comet_{name}")


def texts() -> tuple[list[str], list[str], list[str]]:
    """Translations, sources, references of the golden numbers: one empty, one far too long."""
    data = tiny_numbers()["comet"]["data"]
    return [d["mt"] for d in data], [d["src"] for d in data], [d["ref"] for d in data]


def judged(name: str, *lists: Any, **settings: Any) -> list[float]:
    return comet_scores(*lists, model=checkpoint(name), device="cpu", **settings)


def record(mt: Any, src: str | None = "der hund", ref: Any = "the dog is big", index: int = 0) -> Record:
    return text_record(mt, ref, doc={"source": src}, index=index)


@pytest.mark.parametrize("name", ["regression", "regression_ln", "referenceless", "kiwi", "unified", "xcomet"])
def test_the_original_packages_scores(name: str) -> None:
    expected = tiny_numbers()["comet"][name]
    assert judged(name, *texts()) == pytest.approx(expected["scores"], abs=TOLERANCE)
    records = [record(mt, src, ref, i) for i, (mt, src, ref) in enumerate(zip(*texts(), strict=True))]
    assert values(Comet(checkpoint(name), device="cpu"), records)["comet"] == pytest.approx(
        expected["system"], abs=TOLERANCE
    )


@pytest.mark.parametrize("name", ["unified", "xcomet"])
def test_the_original_packages_scores_without_references(name: str) -> None:
    expected = tiny_numbers()["comet"][name]["no_ref_scores"]
    mts, srcs, _ = texts()
    assert judged(name, mts, srcs) == pytest.approx(expected, abs=TOLERANCE)
    scorer = Comet(checkpoint(name), references="none", device="cpu")
    scores = scorer.score([record(mt, src, None) for mt, src in zip(mts, srcs, strict=True)], None)
    assert [score.value for score in scores] == pytest.approx(expected, abs=TOLERANCE)


def test_the_original_packages_error_spans() -> None:
    expected = tiny_numbers()["comet"]["xcomet"]
    mts, srcs, refs = texts()
    for found, text, spans, mqm in zip(
        comet_verdicts(mts, srcs, refs, checkpoint("xcomet"), device="cpu"),
        mts,
        expected["error_spans"],
        expected["mqm"],
        strict=True,
    ):
        assert found.mqm == pytest.approx(mqm, abs=TOLERANCE)
        assert found.spans is not None
        assert [(s.start, s.end, s.severity) for s in found.spans] == [(s["start"], s["end"], s["severity"]) for s in spans]
        assert [s.confidence for s in found.spans] == pytest.approx([s["confidence"] for s in spans], abs=TOLERANCE)
        assert all(s.text == text[s.start : s.end] for s in found.spans)  # the original decodes tokens: "<s> the dog is"


@pytest.mark.parametrize(
    ("name", "reads", "expected"),
    [  # unbabel-comet 2.2.7, transformers 4.57.6, one segment a batch
        ("bert_cls", "src ref", [0.204865, 0.291279, 0.169383, 0.29341, 0.140826]),
        ("bert_max", "src ref", [0.19225, 0.03921, 0.317063, -0.030245, 0.062468]),
        ("bert_qe", "src", [0.51818, 0.530234, 0.780886, 0.947512, 0.611464]),
        ("bert_unite", "src ref", [0.565859, 0.544385, 0.58354, 0.636418, 0.615227]),
        ("bert_unite", "src", [0.564611, 0.524582, 0.546202, 0.636447, 0.592178]),
        ("bert_unite", "ref", [0.572464, 0.568047, 0.715902, 0.63636, 0.665119]),
        ("rembert_kiwi", "src", [0.48282, 0.479318, 0.43609, 0.449441, 0.427788]),
        ("minilm_kiwi", "src", [0.638917, 0.643757, 0.682163, 0.620897, 0.548466]),
        ("xlmr_ref", "ref", [-0.715739, -0.946519, -0.909829, -0.809875, -0.816319]),
    ],
)
def test_other_encoders_poolings_and_segments(name: str, reads: str, expected: list[float]) -> None:
    mts, srcs, refs = texts()
    model = str(comet_variants() / name)
    own = {"encoder": str(comet_variants() / "minilm")} if name == "minilm_kiwi" else {}
    found = comet_scores(mts, srcs if "src" in reads else None, refs if "ref" in reads else None, model, device="cpu", **own)
    assert found == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(("mode", "source", "reference"), [("unite", 1, 1), ("no reference", 1, 0), ("no source", 0, 1)])
def test_word_heads_of_unified_models_give_spans_too(mode: str, source: int, reference: int) -> None:
    mts, srcs, refs = texts()
    found = comet_verdicts(
        mts, srcs if source else None, refs if reference else None, str(comet_variants() / "bert_unite"), device="cpu"
    )
    count, (start, end, severity, confidence) = SPANS[mode]
    spans = found[3].spans or ()
    assert len(spans) == count
    assert (spans[0].start, spans[0].end, spans[0].severity) == (start, end, severity)
    assert spans[0].confidence == pytest.approx(confidence, abs=TOLERANCE)
    assert found[0].spans == () and found[0].mqm is None


@pytest.mark.parametrize("name", ["regression_ln", "xcomet"])
def test_a_score_does_not_depend_on_its_batch(name: str) -> None:
    mts, srcs, refs = texts()
    alone = [judged(name, [mt], [src], [ref], cache=False)[0] for mt, src, ref in zip(mts, srcs, refs, strict=True)]
    release()
    assert judged(name, mts, srcs, refs, cache=False) == pytest.approx(alone, abs=1e-6)
    release()
    assert judged(name, mts, srcs, refs, cache=False, batch_tokens=1) == pytest.approx(alone, abs=1e-6)


def test_what_systems_share_is_encoded_once() -> None:
    mts, srcs, refs = texts()
    seen: list[tuple[int, int]] = []
    with watched(lambda what, done, total: seen.append((done, total))):
        judged("regression", mts, srcs, refs)
        other = [*mts[:-1], "another translation"]
        begun = len(seen)
        judged("regression", other, srcs, refs)
    distinct = len({*mts, *srcs, *refs})
    assert seen[0] == (0, distinct)
    assert seen[begun] == (distinct - 1, distinct)  # of the second system only its own text was left to do


def test_rows_on_disk_serve_the_next_process() -> None:
    mts, srcs, refs = texts()
    first = judged("unified", mts, srcs, refs)
    release()
    seen: list[tuple[int, int]] = []
    with watched(lambda what, done, total: seen.append((done, total))):
        assert judged("unified", mts, srcs, refs) == first
    assert seen[0][0] == seen[0][1] > 0


def test_several_references_and_answers() -> None:
    one = judged("regression", ["the dog", "the dog"], ["der hund"] * 2, ["a dog", "the cat sat"])
    both = ("a dog", "the cat sat")
    model = checkpoint("regression")
    mean = Comet(model, device="cpu").score([record("the dog", ref=both)], None)[0]
    most = Comet(model, references="max", device="cpu").score([record("the dog", ref=both)], None)[0]
    assert mean.value == pytest.approx(sum(one) / 2) and most.value == pytest.approx(max(one))
    assert judged("regression", ["the dog"], ["der hund"], [both]) == pytest.approx([sum(one) / 2])
    answers = Comet(model, device="cpu").score([record(["the dog", "a cat"], ref="a dog")], None)[0]
    assert answers.value == pytest.approx(
        np.mean(judged("regression", ["the dog", "a cat"], ["der hund"] * 2, ["a dog"] * 2))
    )


def test_models_without_references_ignore_them() -> None:
    scorer = Comet(checkpoint("kiwi"), device="cpu")
    with_one, without = scorer.score([record("the dog"), record("the dog", ref=None)], None)
    assert with_one.value == without.value is not None
    assert scorer.columns == ("source",) and "reads:src|" in scorer.signature()
    assert Comet(str(comet_variants() / "xlmr_ref"), source=None).columns == ()


def test_what_is_missing_is_unscored_not_zero() -> None:
    scorer = Comet(checkpoint("regression"), device="cpu")
    no_source, no_reference, fine = scorer.score([record("x", src=None), record("x", ref=None), record("x")], None)
    assert no_source.stats is None and no_source.reason == "the sample has no source (column 'source')"
    assert no_reference.stats is None and "no reference" in str(no_reference.reason)
    assert fine.stats is not None


def test_copies_empty_blank_and_cut_texts_are_counted() -> None:
    scorer = Comet(checkpoint("xcomet"), device="cpu")
    records = [record("der hund"), record(" "), record("the dog", src=""), record("the dog " * 200), record("the dog")]
    scores = scorer.score(records, scorer.prepare(records))
    stats = np.array([score.stats for score in scores])
    assert scorer.detail(stats) | {"warning": ""} == {
        "truncated": 1,
        "blank": 2,
        "copies": 1,
        "empty": 1,
        "warning": "",
    }
    assert scores[0].detail["copies_source"] is True and scores[3].detail["cut"] > 0
    notes = "; ".join(scorer.notes(stats))
    assert "1 equal to the source" in notes and "2 with a blank text" in notes and "sparsemax" in notes


def test_xcomet_counts_its_errors() -> None:
    mts, srcs, refs = texts()
    scorer = Comet(checkpoint("xcomet"), device="cpu")
    records = [record(*each, i) for i, each in enumerate(zip(mts, srcs, refs, strict=True))]
    found = values(scorer, records)
    assert found["comet_mqm"] == pytest.approx(np.mean(tiny_numbers()["comet"]["xcomet"]["mqm"]))
    assert (found["comet_errors"], found["comet_minor"], found["comet_major"]) == (0.2, 0.2, 0)
    (first, *_) = scorer.score(records, None)
    assert first.detail["errors"] == [
        {"text": "the dog is", "start": 0, "end": 10, "severity": "minor", "confidence": pytest.approx(0.81178, abs=1e-5)}
    ]
    assert set(first.detail["readings"]) == {"src", "ref", "src+ref"}
    direction = {metric.name: metric.higher_is_better for metric in scorer.metrics}
    assert direction["comet"] and direction["comet_mqm"] and not direction["comet_errors"]
    assert [metric.name for metric in scorer.metrics if metric.headline] == ["comet"]


def test_the_interval_is_that_of_the_mean() -> None:
    mts, srcs, refs = texts()
    scorer = Comet(checkpoint("regression"), device="cpu")
    records = [record(*each, i) for i, each in enumerate(zip(mts, srcs, refs, strict=True))]
    found = estimates(scorer, records)["comet"]
    scores = rows(scorer, records)[:, 0]
    assert found.value == pytest.approx(scores.mean())
    assert found.stderr == pytest.approx(scores.std(ddof=1) / np.sqrt(5))


def test_half_precision_stays_near() -> None:
    for name in ("regression", "xcomet"):
        exact = judged(name, *texts())
        assert judged(name, *texts(), dtype="bf16") == pytest.approx(exact, abs=0.1)


def test_the_signature_pins_the_number() -> None:
    model = checkpoint("regression")
    parts = dict(part.split(":", 1) for part in Comet(model).signature().split("|")[1:])
    assert parts["model"] == "comet_regression" and parts["class"] == "regression_metric" and parts["reads"] == "src+ref"
    assert parts["mix"] == "sparsemax" and parts["references"] == "mean" and parts["source"] == "source"
    assert parts["encoder"].startswith("xlmr@") and len(parts["weights"]) == 12 and parts["dtype"] == "float32"
    others = [
        Comet(model, references="max"),
        Comet(model, dtype="bf16"),
        Comet(model, layer_transformation="softmax"),
        Comet(checkpoint("regression_ln")),
        Comet(checkpoint("unified")),
        Comet(checkpoint("unified"), references="none"),
        Comet(checkpoint("unified"), source=None),
        Comet(model, encoder=str(comet_variants() / "xlmr")),
    ]
    assert len({scorer.signature() for scorer in (Comet(model), *others[:-1])}) == len(others)
    # the same files under another path are the same encoder
    assert others[-1].signature() == Comet(model).signature()
    assert Comet(str(Path(model) / "checkpoints" / "model.ckpt")).signature() == Comet(model).signature()


def test_the_mix_of_layers_can_be_set_right() -> None:
    soft = judged("kiwi", *texts()[:2], layer_transformation="softmax")
    assert soft != pytest.approx(judged("kiwi", *texts()[:2]), abs=1e-3)
    scorer = Comet(checkpoint("kiwi"), layer_transformation="softmax", device="cpu")
    assert not any("sparsemax" in note for note in scorer.notes(rows(scorer, [record("the dog")])))


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ScorerError, match="2 translations but 1 sources"):
        judged("regression", ["a", "b"], ["a"], ["a", "b"])
    with pytest.raises(ScorerError, match="2 translations but 3 references"):
        judged("regression", ["a", "b"], ["a", "b"], ["a", "b", "c"])
    assert judged("regression", [], [], []) == []
