"""Plans: every scored token once, after exactly its own text, and no shared token computed twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.engine.base import ScoreJob
from evalkit.engine.layout import lay_out
from evalkit.engine.plan import Limits, Trie, plan

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=9)
JOBS = st.lists(st.builds(ScoreJob, TOKENS, TOKENS), max_size=25)
LIMITS = st.builds(
    lambda tokens, width, launch, rows, flat: Limits(tokens, min(tokens, width), launch, rows, flat),
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(0, 30),
    st.one_of(st.none(), st.integers(1, 3)),
    st.booleans(),
)


def follow(jobs, limits):
    """Run the plan on paper: which text each job's tokens were scored after, and the number of tokens computed."""
    trie, kept, computed, scored = Trie(jobs), [], 0, {}
    for step in plan(trie, limits):
        layout = lay_out(step, trie)
        assert step.start == layout.start <= len(kept)
        assert layout.ids.size <= max(limits.tokens, 1) or len(layout.cells) == 1
        assert not limits.rows or len(layout.cells) <= limits.rows
        assert not limits.flat or (layout.cells == np.arange(len(layout.ids))).all()
        assert (layout.cells.ravel()[layout.back] == np.arange(len(layout.ids))).all()
        base = kept[: step.start]
        width = layout.cells.shape[1]
        for source, target, job in zip(layout.sources, layout.targets, layout.jobs, strict=True):
            row, column = divmod(int(layout.back[layout.where[source]]), width)
            seen = layout.cells[row, np.nonzero(layout.sees[row, column])[0]]
            assert list(layout.depth[seen]) == list(range(step.start, step.start + len(seen)))
            scored.setdefault(int(job), []).append((tuple(base + layout.ids[seen].tolist()), int(target)))
        computed += len(layout.ids)
        if step.keep:
            assert len(layout.cells) == 1
            kept = base + layout.ids.tolist()
    return trie, computed, scored


@settings(max_examples=300, deadline=None)
@given(JOBS, LIMITS)
def test_every_token_is_scored_once_after_its_own_text(jobs, limits):
    _, _, scored = follow(jobs, limits)
    assert sorted(scored) == list(range(len(jobs)))
    for index, job in enumerate(jobs):
        whole = (*job.context, *job.continuation)
        wanted = [(whole[:at], whole[at]) for at in range(len(job.context), len(whole))]
        assert sorted(scored[index]) == sorted(wanted)


@settings(max_examples=200, deadline=None)
@given(JOBS, st.integers(1, 30))
def test_without_a_price_on_passes_no_token_is_computed_twice(jobs, tokens):
    """Up to the short beginnings of all texts, which are repeated where that is cheaper than to look at them."""
    trie, computed, _ = follow(jobs, Limits(tokens, tokens, 0))
    rows = [trie.ids[begin:end].tolist() for begin, end in pairwise(trie.at)]
    distinct = {tuple(row[: at + 1]) for row in rows for at in range(len(row))}
    assert computed == len(distinct)


def test_the_price_of_a_pass_makes_short_beginnings_be_repeated():
    jobs = [ScoreJob([1, 2, at, at + 1, at + 2], [3]) for at in range(10, 50, 3)]
    _, cheap, _ = follow(jobs, Limits(20, 10, 100))
    _, dear, _ = follow(jobs, Limits(20, 10, 0))
    assert dear == 2 + 14 * 3 < cheap <= 14 * 5


def test_passes_and_bins_are_nearly_full():
    draw = np.random.default_rng(0)
    jobs = [ScoreJob(draw.integers(0, 9999, int(size)).tolist(), [1]) for size in draw.integers(20, 200, 300)]
    trie = Trie(jobs)
    layouts = [lay_out(step, trie) for step in plan(trie, Limits(768, 256, 64))]
    total = sum(len(layout.ids) for layout in layouts)
    assert total <= len(trie.ids)
    assert len(layouts) < 1.2 * total / 768
    assert sum(layout.cells.size for layout in layouts) < 1.1 * total


def test_of_eight_thousand_requests_the_shared_beginning_is_kept_once():
    draw = np.random.default_rng(0)
    shared = draw.integers(0, 9999, 600).tolist()
    texts = [shared + draw.integers(0, 9999, 80).tolist() for _ in range(2000)]
    jobs = [ScoreJob(text, [choice]) for text in texts for choice in range(4)]
    steps = list(plan(Trie(jobs), Limits(768, 256, 64)))
    assert sum(step.keep for step in steps) == 1


def test_no_jobs_are_no_steps():
    assert list(plan(Trie([]), Limits(8, 8, 0))) == []
