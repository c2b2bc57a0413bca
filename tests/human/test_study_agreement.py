"""Agreement of SummEval's twelve systems as others computed it, by the functions that the report calls; and its size."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from evalkit.human.agreement import CriterionAgreement, agreement_of, criteria_agreement
from evalkit.human.results import Answer, Answers, from_ratings, table
from evalkit.human.study_report import report_of
from evalkit.ratings.base import Rating

SHARED = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "judge"
CRITERIA = ("coherence", "consistency", "fluency", "relevance")

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="SummEval's single ratings are not here")

#: Beside the file: what the packages statsmodels, scikit-learn and irrCAC gave for the experts.
EXPERTS = {
    "fleiss": (0.1605, 0.5361, 0.4066, 0.1386),
    "kappa": (0.5791, 0.8993, 0.7401, 0.5006),
    "ac1": (0.1953, 0.8469, 0.7789, 0.2319),
}


def ratings(who: str) -> list[Rating]:
    rows = [json.loads(line) for line in (SHARED / "summeval_raters12.jsonl").open()]
    return [
        Rating(f"{who}{i}", row["doc"], row["system"], criterion, float(value))
        for row in rows
        for i, given in enumerate(row[who])
        for criterion, value in zip(CRITERIA, given, strict=True)
    ]


@pytest.fixture(scope="module", params=["expert", "turker"])
def who(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def answers(who) -> Answers:
    return from_ratings(ratings(who))


@pytest.fixture(scope="module")
def found(answers) -> dict[str, CriterionAgreement]:
    return {row.criterion: row for row in criteria_agreement(answers)}


def test_every_golden_coefficient(who, answers, found):
    expected = json.loads((SHARED / "expected_correlations.json").read_text())["agreement_summeval12"]
    for name, values in expected["experts" if who == "expert" else "turkers"].items():
        for criterion in CRITERIA:
            got = getattr(found[criterion], "ac2" if name.startswith("ac2") else name).value
            assert got == pytest.approx(values[criterion], abs=0.5e-4 + 1e-9), (name, criterion)
    # all four criteria as if they were one: units are criteria of outputs
    pooled = [Answer(a.annotator, a.item, f"{a.system}/{a.criterion}", "all", a.value) for a in answers.answers]
    systems = list(dict.fromkeys(a.system for a in pooled))
    whole = agreement_of("all", table(pooled, answers.annotators, systems), (1, 2, 3, 4, 5))
    want = expected["experts" if who == "expert" else "turkers"]["alpha_interval"]["pooled"]
    assert whole.alpha_interval.value == pytest.approx(want, abs=0.5e-4 + 1e-9)


def test_the_experts_kappas_and_ac1(who, found):
    if who != "expert":
        pytest.skip("known for the experts only")
    for name, values in EXPERTS.items():
        for criterion, value in zip(CRITERIA, values, strict=True):
            got = getattr(found[criterion], name)
            assert getattr(got, "value", got) == pytest.approx(value, abs=0.5e-4 + 1e-9), (name, criterion)


def test_the_commonest_value_stands_beside(who, found):
    if who == "expert":
        assert found["fluency"].commonest == 5
        assert found["fluency"].share == pytest.approx(0.804, abs=5e-4)
        assert found["fluency"].outputs == 1200


def test_intervals_hold_their_value(found):
    for row in found.values():
        for one in (row.alpha_nominal, row.alpha_ordinal, row.alpha_interval, row.ac1, row.ac2, row.percent):
            assert one.ci[0] < one.value < one.ci[1]


def test_all_ratings_of_summeval_are_reported_in_seconds():
    whole = [*ratings("expert"), *ratings("turker")]
    start = time.process_time()
    report = report_of(from_ratings(whole))
    assert len(report.to_dict()["systems"]) == 48 and len(report.differences) == 4 * 66
    assert time.process_time() - start < 20
