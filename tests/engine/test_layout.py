"""Layouts equal those that a plain walk over the texts gives."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.engine.base import ScoreJob
from evalkit.engine.layout import lay_out
from evalkit.engine.plan import Limits, Trie, plan

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=9)
JOBS = st.lists(st.builds(ScoreJob, TOKENS, TOKENS), min_size=1, max_size=25)
LIMITS = st.builds(
    lambda tokens, width, launch, rows, flat: Limits(tokens, min(tokens, width), launch, rows, flat),
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(0, 30),
    st.one_of(st.none(), st.integers(1, 3)),
    st.booleans(),
)


def walk(step, trie, jobs):
    """Token by token: ids, depths, each token's path (of tokens in the pass), its bin, and all that is scored."""
    rows = [trie.ids[begin:end].tolist() for begin, end in pairwise(trie.at)]
    owners = [trie.owners[begin:end].tolist() for begin, end in pairwise(trie.owned)]
    ids, depth, paths, bins, scored = [], [], [], [], []
    for number, bin in enumerate(step.bins):
        for segment in bin:
            known = {}  # a text's beginning -> where its last token stands
            for index in range(segment.first, segment.last):
                row, path = rows[index], []
                for at in range(step.start, min(len(row), segment.stop or len(row))):
                    text = tuple(row[: at + 1])
                    if text not in known:
                        known[text] = len(ids)
                        ids.append(row[at])
                        depth.append(at)
                        paths.append([*path, known[text]])
                        bins.append(number)
                    path.append(known[text])
                for job in owners[index]:
                    whole = [*jobs[job].context, *jobs[job].continuation]
                    for at in range(max(len(jobs[job].context) - 1, step.start), step.start + len(path)):
                        scored.append((path[at - step.start], whole[at + 1], job))
    return ids, depth, paths, bins, scored


def same(layout, step, trie, jobs):
    ids, depth, paths, bins, scored = walk(step, trie, jobs)
    assert layout.start == step.start
    assert layout.ids.tolist() == ids and layout.depth.tolist() == depth
    width = max(bins.count(bin) for bin in bins)
    sees = np.zeros((len(step.bins), width, width), dtype=bool)
    sees[:, np.arange(width), np.arange(width)] = True
    for token, path in enumerate(paths):
        row, column = divmod(int(layout.back[token]), width)
        assert row == bins[token] and column == bins[:token].count(row) and layout.cells[row, column] == token
        sees[row, column, layout.back[path] % width] = True
    assert layout.cells.shape == sees.shape[:2]
    assert np.array_equal(layout.sees, sees)
    for token, over in enumerate(layout.over):
        assert [token in path for path in paths] == [token <= other < over for other in range(len(ids))]
    assert list(zip(layout.where[layout.sources], layout.targets, layout.jobs, strict=True)) == scored
    assert layout.where.tolist() == sorted({source for source, _, _ in scored})


@settings(max_examples=300, deadline=None)
@given(JOBS, LIMITS)
def test_a_layout_is_what_a_walk_over_the_texts_gives(jobs, limits):
    trie = Trie(jobs)
    for step in plan(trie, limits):
        same(lay_out(step, trie), step, trie, jobs)


@pytest.mark.parametrize("limits", [Limits(120, 120, 0, flat=True), Limits(90, 30, 8)])
def test_so_it_is_for_longer_texts_with_kept_beginnings(limits):
    draw = np.random.default_rng(2)

    def text(size):
        return draw.integers(0, 50, size).tolist()

    jobs = []
    for preamble in (text(70), text(95)):
        for _ in range(12):
            context = preamble + text(int(draw.integers(3, 25)))
            jobs += [ScoreJob(context, text(size)) for size in (1, 1, 4)]
    jobs += [ScoreJob(jobs[0].context[:at], jobs[0].context[at : at + 2]) for at in range(1, 60, 7)]
    trie, starts = Trie(jobs), set()
    for step in plan(trie, limits):
        starts.add(step.start)
        same(lay_out(step, trie), step, trie, jobs)
    assert len(starts) > 1


def test_added_tokens_see_themselves_only_and_change_nothing_else():
    jobs = [ScoreJob([1, 2, 3], [4, 5]), ScoreJob([1, 2, 4], [4])]
    trie = Trie(jobs)
    (step,) = plan(trie, Limits(64, 64, 0, flat=True))
    layout = lay_out(step, trie)
    wide, count = layout.padded(9), len(layout.ids)
    assert np.array_equal(wide.sees[0, :count, :count], layout.sees[0])
    assert np.array_equal(wide.sees[0, count:], np.eye(9, dtype=bool)[count:])
    assert not wide.sees[0, :count, count:].any()
    assert np.array_equal(wide.ids[:count], layout.ids) and np.array_equal(wide.depth[:count], layout.depth)
    for name in ("where", "sources", "targets", "jobs"):
        assert np.array_equal(getattr(wide, name), getattr(layout, name))
