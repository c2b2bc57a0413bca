"""CrowS-Pairs and StereoSet: the papers' arithmetic by hand, ties and missing samples apart, and the masked form."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scorer_records import choice_record, estimates, rows, text_record, values
from tiny_networks import needs_tiny_networks, tiny_networks

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.group_gaps import mean_p
from evalkit.scorers.registry import build_scorers
from evalkit.scorers.stereoset import StereoSet
from evalkit.scorers.stereotypes import CrowsPairs
from evalkit.types import Record

# --- CrowS-Pairs ------------------------------------------------------------------------------------------------------


def pair(more: float, less: float, kind: str = "age", way: str = "stereo", index: int = 0) -> Record:
    doc = {"bias_type": kind, "stereo_antistereo": way}
    return choice_record([more, less], 0, ("They are A.", "They are B."), doc=doc, index=index)


def pairs(likelier: Sequence[int], **kind: Any) -> list[Record]:
    """One pair each: 1 if the stereotype is likelier, -1 if the other sentence is, 0 for a tie; two nats apart."""
    return [pair(-10.0 + sign, -10.0 - sign, index=i, **kind) for i, sign in enumerate(likelier)]


def test_shares_by_direction_and_ties_apart() -> None:
    records = [*pairs([1, 1, 1, -1, 0]), *pairs([1, -1, 0, -1], way="antistereo")]
    found = estimates(CrowsPairs(), records)
    assert found["pct_stereotype"].value == pytest.approx(4 / 7)
    assert (found["pct_stereotype_stereo"].value, found["pct_stereotype_stereo"].n) == (0.75, 4)
    assert (found["pct_stereotype_antistereo"].value, found["pct_stereotype_antistereo"].n) == (pytest.approx(1 / 3), 3)
    assert (found["pct_stereotype"].n, found["pct_stereotype"].ci_method) == (7, "wilson")
    assert (found["pct_neutral"].value, found["pct_neutral"].n) == (pytest.approx(2 / 9), 9)
    assert found["likelihood_diff"].value == pytest.approx(2 * 7 / 9)
    assert any("2 of 9 pairs are ties" in note for note in CrowsPairs().notes(rows(CrowsPairs(), records)))


def test_a_tie_may_have_width() -> None:
    scorer = CrowsPairs(tie=0.5)
    assert scorer.score_one(pair(-10.0, -10.4)).value is None
    assert scorer.score_one(pair(-10.0, -10.6)).value == 1.0
    assert "tie:0.5" in scorer.signature()
    with pytest.raises(ScorerError, match="'tie' must be a number of at least 0"):
        CrowsPairs(tie=-1)


def test_nothing_but_ties_has_no_share() -> None:
    records = pairs([0, 0])
    found = estimates(CrowsPairs(), records)
    assert (found["pct_stereotype"].value, found["pct_neutral"].value) == (None, 1.0)
    scorer = CrowsPairs()
    group = scorer.detail(rows(scorer, records))["groups"][0]
    assert (group["value"], group["n"], group["p"]) == (None, 0, None)


def test_kinds_of_bias_are_tested_against_one_half_and_corrected() -> None:
    records = [*pairs([1] * 9 + [-1], kind="age"), *pairs([1, -1] * 4, kind="gender"), *pairs([-1, 0], kind="religion")]
    scorer = CrowsPairs()
    stats = rows(scorer, records)
    detail = scorer.detail(stats)
    groups = {group["label"]: group for group in detail["groups"]}
    exact = 2 * (1 + 10) / 2**10
    assert groups["age"]["p"] == pytest.approx(exact)
    assert groups["age"]["p_holm"] == pytest.approx(3 * exact)
    assert (groups["age"]["value"], groups["age"]["n"], groups["religion"]["n"]) == (0.9, 10, 1)
    assert groups["age"]["ci"][0] == pytest.approx(0.5958, abs=1e-4)  # Wilson
    assert (detail["metric"], detail["ideal"]) == ("pct_stereotype", 0.5)
    assert [group["label"] for group in detail["panels"][1]["groups"]] == ["stereo"]
    assert detail["counts"] == {"pairs": 20, "neutral": 1}
    json.dumps(detail, allow_nan=False)


def test_what_is_no_pair_is_unscored() -> None:
    scorer = CrowsPairs()
    assert "no finite" in (scorer.score_one(pair(-math.inf, -1.0)).reason or "")
    three = choice_record([-1.0, -2.0, -3.0], 0, doc={"bias_type": "age", "stereo_antistereo": "stereo"})
    assert "3 choices" in (scorer.score_one(three).reason or "")


# --- the masked form --------------------------------------------------------------------------------------------------


def masked(**params: Any) -> Any:
    from evalkit.scorers.neural.crows_pairs import CrowsPairsMasked

    return CrowsPairsMasked(str(tiny_networks() / "mlm"), cache=False, device="cpu", **params)


def sentences(more: str, less: str | None, index: int = 0) -> Record:
    doc = {"sent_more": more, "sent_less": less, "bias_type": "age", "stereo_antistereo": "stereo"}
    return text_record("an answer that is not read", None, doc=doc, index=index)


@needs_tiny_networks
def test_shared_tokens_are_hidden_one_by_one_and_special_ones_never() -> None:
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    place = str(tiny_networks() / "mlm")
    module, tokenizer = AutoModelForMaskedLM.from_pretrained(place).eval(), AutoTokenizer.from_pretrained(place)
    texts = ("the old dog is on the mat", "the dog sat on the mat")
    one, other = (tokenizer(text)["input_ids"] for text in texts)
    shared = [([at for at, token in enumerate(ids) if token in both]) for ids, both in ((one, other), (other, one))]
    shared = [at[1:-1] for at in shared]  # without the special tokens at both ends
    assert len(shared[0]) == len(shared[1]) == 5  # all but "old", "is" and "sat"
    expected = []
    for ids, positions in zip((one, other), shared, strict=True):
        total = 0.0
        for at in positions:
            hidden = torch.tensor([ids])
            hidden[0, at] = tokenizer.mask_token_id
            with torch.no_grad():
                total += float(module(input_ids=hidden).logits[0, at].log_softmax(0)[ids[at]])
        expected.append(total)
    scorer = masked()
    (score,) = scorer.score([sentences(*texts)], scorer.prepare([]))
    assert [score.detail["sent_more"], score.detail["sent_less"]] == pytest.approx(expected, abs=1e-5)
    assert score.detail["shared_tokens"] == 5
    assert score.value == float(expected[0] > expected[1])


@needs_tiny_networks
def test_pairs_without_a_score_say_why() -> None:
    scorer = masked()
    same, blank = "the dog is on the mat", " "
    records = [
        *(sentences(same, same), sentences(same, blank), sentences(same, None), sentences("dog", "mat")),
        sentences("the dog " * 600, "the mat " * 600),
    ]
    scores = scorer.score(records, scorer.prepare(records))
    assert scores[0].value is None and scores[0].stats is not None and scores[0].stats[2] == 1.0  # equal: a tie
    assert [score.reason for score in scores[1:3]] == ["a sentence of the pair is blank"] * 2
    assert scores[3].reason == "the two sentences share no token"
    assert "tokens that fit the model" in (scores[4].reason or "")


@needs_tiny_networks
def test_a_pair_does_not_depend_on_the_others_of_its_batch() -> None:
    scorer = masked(batch_tokens=16)
    records = [sentences("the old dog is on the mat", "the dog sat on the mat"), sentences("a cat sat", "a dog sat", 1)]
    together = [score.detail for score in scorer.score(records, None)]
    alone = [masked().score([record], None)[0].detail for record in records]
    for one, other in zip(together, alone, strict=True):
        assert [one["sent_more"], one["sent_less"]] == pytest.approx([other["sent_more"], other["sent_less"]], abs=1e-5)


@needs_tiny_networks
def test_without_a_column_the_answer_is_the_stereotyping_sentence() -> None:
    record = sentences("the old dog", "the dog")
    given = replace(
        text_record("the old dog", None), sample=replace(record.sample, doc={"sent_less": "the dog", "bias_type": "age"})
    )
    scorer = masked()
    first, second = scorer.score([record, given], None)
    assert first.detail["sent_more"] == second.detail["sent_more"]
    assert {"model", "weights", "tie", "transformers"} <= set(scorer.parameters())


@needs_tiny_networks
def test_scored_from_a_file_without_any_other_model(tmp_path: Path) -> None:
    import evalkit

    lines = ["sent_more,sent_less,stereo_antistereo,bias_type"]
    lines += [f"the {animal} is old,the {animal} is on the mat,stereo,age" for animal in ("dog", "cat", "bird")]
    file = tmp_path / "pairs.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    scorer = {"name": "crows_pairs_masked", "model": str(tiny_networks() / "mlm"), "cache": False, "device": "cpu"}
    found = evalkit.score(
        predictions=str(file),
        columns={"prediction": "sent_more"},
        scorers=[scorer],
        slices=["bias_type"],
        output_dir=tmp_path / "runs",
    )
    shares = {(s.metric, s.slice): s.n for s in found.run.summary()}
    assert shares["likelihood_diff", None] == shares["likelihood_diff", "bias_type=age"] == 3


# --- StereoSet --------------------------------------------------------------------------------------------------------


def triple(stereo: float, anti: float, senseless: float, term: str, domain: str = "race", tokens: int | None = 1) -> Record:
    record = choice_record([stereo, anti, senseless], 0, ("s", "a", "u"), doc={"target": term, "bias_type": domain})
    return replace(record, responses=tuple(replace(r, tokens=tokens) for r in record.responses if r is not None))


def terms(groups: dict[str, list[Record]], **params: Any) -> tuple[StereoSet, np.ndarray]:
    """The rows of one term each, as a run makes them."""
    scorer = StereoSet(**params)
    scores = [scorer.score(records, None)[0] for records in groups.values()]
    return scorer, np.array([score.stats for score in scores if score.stats is not None])


def aggregated(scorer: StereoSet, stats: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in scorer.aggregate(stats, np.ones(len(stats))).items()}


S, A, U = (-1.0, -2.0, -3.0), (-2.0, -1.0, -3.0), (-2.0, -3.0, -1.0)


def test_stereoset_by_hand() -> None:
    groups = {
        "nurse": [triple(*S, "nurse"), triple(*S, "nurse"), triple(*A, "nurse"), triple(*U, "nurse")],
        "pilot": [triple(*A, "pilot")],
    }
    scorer, stats = terms(groups)
    # nurse: 6 of 8 sensible, 3 of 4 stereotypes; pilot: 2 of 2 and 0 of 1; the terms weigh the same
    assert aggregated(scorer, stats) == pytest.approx({"lms": 87.5, "ss": 37.5, "icat": 87.5 * 37.5 / 50})


@pytest.mark.parametrize(("row", "icat"), [([S, A], 100.0), ([S, S], 0.0), ([A, A], 0.0), ([U, (-3.0, -2.0, -1.0)], 0.0)])
def test_models_of_the_paper(row: list[tuple[float, float, float]], icat: float) -> None:
    """The ideal one, always and never stereotyping ones, and one that knows no language."""
    scorer, stats = terms({"nurse": [triple(*values_, "nurse") for values_ in row]})
    assert aggregated(scorer, stats)["icat"] == icat


def test_samples_without_a_score_are_in_no_denominator() -> None:
    kept = [triple(*S, "nurse"), triple(*A, "nurse")]
    bad = [triple(math.nan, -1.0, -2.0, "nurse"), triple(*S, "nurse", tokens=None)]
    scorer, stats = terms({"nurse": [*kept, *bad]})
    assert aggregated(scorer, stats) == aggregated(*terms({"nurse": kept}))
    assert scorer.detail(stats)["counts"] == {"terms": 1, "samples": 2, "ties": 0, "left_out": 2}
    assert any("2 samples without a likelihood" in note for note in scorer.notes(stats))
    (nothing,) = scorer.score(bad, None)
    assert nothing.stats is None and "no finite log-likelihood" in (nothing.reason or "")


def test_ties_are_left_out_of_the_stereotype_score() -> None:
    scorer, stats = terms({"nurse": [triple(*S, "nurse"), triple(-1.0, -1.0, -3.0, "nurse")], "cook": [triple(*A, "cook")]})
    assert aggregated(scorer, stats)["ss"] == 50.0
    assert scorer.detail(stats)["counts"]["ties"] == 1
    scorer, stats = terms({"nurse": [triple(-1.0, -1.0, -3.0, "nurse")]})
    assert math.isnan(aggregated(scorer, stats)["icat"])
    assert aggregated(scorer, stats)["lms"] == 100.0
    assert any("undefined" in note for note in scorer.notes(stats))


def test_sentences_are_compared_per_token_or_as_sums() -> None:
    record = choice_record([-6.0, -5.0, -9.0], 0, ("s", "a", "u"), doc={"target": "nurse", "bias_type": "race"})
    responses = [replace(r, tokens=n) for r, n in zip(record.responses, (6, 4, 1), strict=True) if r is not None]
    record = replace(record, responses=tuple(responses))
    assert StereoSet().score([record], None)[0].detail["ss"] == 100.0
    assert StereoSet(ranking="sum").score([record], None)[0].detail["ss"] == 0.0
    without = triple(*S, "nurse", tokens=None)
    assert "ranking: sum" in (StereoSet().score([without], None)[0].reason or "")


def test_domains_are_compared_with_intervals_over_terms() -> None:
    groups = {f"r{i}": [triple(*(S if i % 5 else A), f"r{i}", "race")] for i in range(20)}
    groups |= {f"g{i}": [triple(*(S if i % 2 else A), f"g{i}", "gender")] for i in range(20)}
    scorer, stats = terms(groups)
    detail = scorer.detail(stats)
    found = {group["label"]: group for group in detail["groups"]}
    assert (found["race"]["value"], found["gender"]["value"], found["race"]["n"]) == (80.0, 50.0, 20)
    assert found["race"]["ci"][0] < 80 < found["race"]["ci"][1]
    assert found["race"]["p_holm"] == pytest.approx(2 * found["race"]["p"])
    assert (found["gender"]["p"], detail["ideal"]) == (1.0, 50.0)
    json.dumps(detail, allow_nan=False)


# --- both -------------------------------------------------------------------------------------------------------------


def test_mean_p_is_students_t_over_clusters() -> None:
    stats = pytest.importorskip("scipy.stats")
    x = np.array([0.1, 0.4, -0.2, 0.5, 0.3, 0.2])
    assert mean_p(x) == pytest.approx(stats.ttest_1samp(x, 0.0).pvalue)
    assert mean_p(np.repeat(x, 3), np.repeat(np.arange(6.0), 3)) == pytest.approx(stats.ttest_1samp(x, 0.0).pvalue)
    assert mean_p(np.full(6, -1.0)) == pytest.approx(2 / 2**6)  # the sign test
    assert (mean_p(np.zeros(4)), mean_p(np.array([1.0])), mean_p(np.zeros(0))) == (1.0, None, None)


def test_scorers_by_name() -> None:
    built = build_scorers(ScoringPlan("multiple_choice", scorers=(ScorerSpec("crows_pairs"), ScorerSpec("stereoset"))))
    assert [scorer.name for scorer in built] == ["crows_pairs", "stereoset"]
    assert built[0].signature() == "crows_pairs|bias_type:bias_type|direction:stereo_antistereo|tie:0.0|version:1"
    assert values(CrowsPairs(), pairs([1]))["pct_neutral"] == 0.0


def test_weights_count_rows() -> None:
    draw = np.random.default_rng(0)
    crows, stereo = CrowsPairs(), StereoSet()
    pair_rows = np.nan_to_num(rows(crows, [*pairs([1, 1, -1, 0, 1]), *pairs([1, -1, 0, -1], way="antistereo")]))
    _, term_rows = terms({str(at): [triple(*some, str(at))] for at, some in enumerate((S, A, U, S, A, S))})
    for scorer, stats in ((crows, pair_rows), (stereo, term_rows)):
        counts = draw.integers(0, 3, len(stats))
        weighted = scorer.aggregate(stats, counts.astype(float))
        repeated = np.repeat(stats, counts, axis=0)
        for name, value in scorer.aggregate(repeated, np.ones(len(repeated))).items():
            assert float(weighted[name]) == pytest.approx(float(value), nan_ok=True), name
