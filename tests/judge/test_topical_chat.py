"""G-Eval-3.5 on Topical-Chat: 20 real sampled replies an item, parsed and correlated, against the published table.

Chiang and Lee (EMNLP Findings 2023), "auto-CoT, score only"; the values to six digits were computed with scipy.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from evalkit.scorers.judge.verdict import first_digit, read_verdict
from evalkit.stats.levels import agreement, rated

JUDGE = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "judge"
pytestmark = pytest.mark.skipif(not JUDGE.is_dir(), reason="the golden files are not beside this checkout")

SCALES = {"naturalness": (1, 3), "coherence": (1, 3), "engagingness": (1, 3), "groundedness": (0, 1)}


@pytest.fixture(scope="module")
def items() -> dict[str, list[dict]]:
    found = defaultdict(list)
    with (JUDGE / "topicalchat_geval35_responses.jsonl").open() as file:
        for line in file:
            item = json.loads(line)
            found[item["dim"]].append(item)
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, dict]:
    found = json.loads((JUDGE / "expected_correlations.json").read_text())
    return {dimension: found[f"geval35_topicalchat/{dimension}"] for dimension in SCALES}


def theirs(reply: str) -> float:
    """Their policy wholly: the first digit, and 0 for a reply without one."""
    return first_digit(reply) or 0.0


def level(items: list[dict], scores: list[float], name: str):
    rows, _ = rated(
        np.array(scores),
        np.array([item["human"] for item in items]),
        [item["doc"] for item in items],
        [item["system"] for item in items],
    )
    return agreement(rows, name, replicates=0)


def coefficients(found) -> list[float]:
    return [round(found.coefficients[name].value, 6) for name in ("pearson", "spearman", "kendall")]


@pytest.mark.parametrize("dimension", SCALES)
def test_the_papers_parser_gives_the_papers_values(items, dimension):
    for item in items[dimension]:
        assert [theirs(reply) for reply in item["responses"]] == item["parsed"]


@pytest.mark.parametrize("dimension", SCALES)
def test_their_means_correlate_as_published_in_every_cell(items, expected, dimension):
    rows, wanted = items[dimension], expected[dimension]
    scores = [float(np.mean([theirs(reply) for reply in row["responses"]])) for row in rows]
    segment, summary = level(rows, scores, "segment"), level(rows, scores, "summary")
    assert segment.n == wanted["n"] and summary.items == wanted["items"]
    assert coefficients(segment) == wanted["sample"]
    assert coefficients(summary) == wanted["summary"]
    assert summary.coefficients["pearson"].used == wanted["items_used"]


@pytest.mark.parametrize("dimension", SCALES)
def test_our_reader_agrees_with_theirs_but_where_theirs_reads_what_is_no_verdict(items, dimension):
    """List numbers ("1. Engagingness: 2"), halves ("2.5") and quoted digits are not taken for a score here."""
    low, high = SCALES[dimension]
    points = {str(i): float(i) for i in range(low, high + 1)}
    same = other = unread = 0
    for item in items[dimension]:
        for reply in item["responses"]:
            found = read_verdict(reply, points)
            unread += found.value is None
            same += found.value == theirs(reply)
            other += found.value is not None and found.value != theirs(reply)
    replies = same + other + unread
    assert same / replies > 0.98
    assert other / replies < 0.006 and unread / replies < 0.015
