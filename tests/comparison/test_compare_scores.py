"""Two runs over the same samples: differences, flips, slices, groups, clusters, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml
from comparison_runs import N, make_run, make_scores, rows, write_task

import evalkit
from evalkit.comparison.base import ERROR, LeftOut
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.load import load_scores
from evalkit.errors import UsageError
from evalkit.stats.difference import paired_difference


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def base(tmp_path_factory, task):
    return make_scores(tmp_path_factory.mktemp("runs"), task, "base", range(10))


@pytest.fixture(scope="module")
def cand(tmp_path_factory, task):
    # 0, 1 are right now; 30, 31, 32 are wrong now
    return make_scores(tmp_path_factory.mktemp("runs"), task, "cand", [*range(2, 10), 30, 31, 32])


def whole(found):
    return [c for c in found if c.slice is None]


def test_a_metric_is_compared_pair_by_pair(base, cand):
    (c,) = whole(compare_scores(base, cand))
    assert (c.task, c.filter, c.scorer, c.metric.name, c.key) == (
        "sums", "none", "exact_match", "exact_match", "sums exact_match",
    )  # fmt: skip
    assert (c.baseline, c.system) == ("base", "cand")
    assert (c.baseline_value, c.system_value, c.n) == (30 / 40, 29 / 40, 40)
    assert (c.gained, c.lost, c.left_out) == (2, 3, LeftOut())
    expected = paired_difference(np.repeat([0.0, 1.0], [10, 30]), np.array([1.0] * 2 + [0.0] * 8 + [1.0] * 27 + [0.0] * 3))
    assert c.test.value == pytest.approx(-1 / 40)
    assert c.test.interval(0.9) == pytest.approx(expected.interval(0.9))
    assert c.test.p_worse() == pytest.approx(expected.p_worse())
    assert c.signature == "exact_match|version:1" or c.signature.startswith("exact_match|")


def test_a_run_equals_itself(base):
    for c in compare_scores(base, base):
        assert (c.test.value, c.gained, c.lost, c.flips, c.left_out) == (0.0, 0, 0, (), LeftOut())


def test_flips_come_worst_first_and_lead_to_the_report(base, cand):
    (c,) = whole(compare_scores(base, cand))
    assert [f.id for f in c.flips] == ["q030", "q031", "q032", "q000", "q001"]
    assert [(f.baseline, f.system) for f in c.flips] == [(1.0, 0.0)] * 3 + [(0.0, 1.0)] * 2
    assert c.flips[0].report == "report.html#samples?task=sums&s=q030"


def test_without_a_report_there_is_no_link(base, cand):
    (c,) = whole(compare_scores(base, replace(cand, path=None)))
    assert {f.report for f in c.flips} == {None}


def test_slices_are_compared_apart_also_samples_without_one(base, cand):
    found = {c.slice: c for c in compare_scores(base, cand)}
    assert list(found) == [None, "topic=small", "topic=(none)", "topic=large"]
    assert [c.n for c in found.values()] == [40, 16, 8, 16]
    small, large = found["topic=small"], found["topic=large"]
    assert (small.gained, small.lost, large.gained, large.lost) == (2, 0, 0, 3)
    assert [f.id for f in large.flips] == ["q030", "q031", "q032"]
    assert sum(c.n for name, c in found.items() if name) == found[None].n
    assert [c.slice for c in compare_scores(base, cand, slices=False)] == [None]
    assert len(compare_scores(base, cand, slices=["topic"])) == 4


def test_unknown_names_are_told_with_the_nearest(base, cand):
    with pytest.raises(UsageError, match=r"slice 'topik'.*did you mean topic"):
        compare_scores(base, cand, slices=["topik"])
    with pytest.raises(UsageError, match=r"slice 'passage'.*there are topic"):
        compare_scores(base, cand, cluster_by="passage")
    with pytest.raises(UsageError, match=r"task or group 'sum'.*did you mean sums"):
        compare_scores(base, cand, tasks=["sum"])
    with pytest.raises(UsageError, match=r"metric 'exact_mach'.*did you mean exact_match"):
        compare_scores(base, cand, metrics=["exact_mach"])


def test_failed_samples_are_left_out_and_counted(tmp_path, task, base):
    system = make_scores(tmp_path, task, "broken", range(10), broken=[0, 20, 21])
    found = {c.slice: c for c in compare_scores(base, system)}
    c = found[None]
    assert (c.n, c.left_out) == (37, LeftOut(system_errors=3, pairs=3))
    assert (c.baseline_value, c.system_value) == (28 / 37, 28 / 37)
    assert found["topic=large"].left_out == LeftOut(system_errors=2, pairs=2)
    assert c.flips == ()
    (c,) = whole(compare_scores(system, base))
    assert c.left_out == LeftOut(baseline_errors=3, pairs=3)


def test_failed_samples_can_count_as_wrong(tmp_path, task, base):
    system = make_scores(tmp_path, task, "broken", range(10), broken=[0, 20, 21])
    (c,) = whole(compare_scores(base, system, errors_as_wrong=True))
    assert (c.n, c.lost, c.system_value, c.left_out) == (40, 2, 28 / 40, LeftOut())
    assert c.notes == ("3 failed or unscored samples count as 0",)
    (c,) = whole(compare_scores(system, base, errors_as_wrong=True))
    assert (c.n, c.left_out) == (37, LeftOut(baseline_errors=3, pairs=3)), "what the baseline lacks is in no pair"


def test_samples_in_another_order_pair_by_id(tmp_path, cand, base):
    order = list(reversed(rows()))
    system = make_scores(tmp_path, write_task(tmp_path / "t", data=order), "mixed", [*range(2, 10), 30, 31, 32])
    assert system.tasks["sums", "none"].ids[0] == "q039"
    first, second = (whole(compare_scores(base, other))[0] for other in (cand, system))
    assert (second.gained, second.lost, second.test.value) == (first.gained, first.lost, first.test.value)
    assert [f.id for f in second.flips] == [f.id for f in first.flips]
    assert [c.n for c in compare_scores(base, system)] == [40, 16, 8, 16]


def test_samples_of_one_run_only_are_counted(tmp_path, base):
    less = make_scores(tmp_path, write_task(tmp_path / "t", data=rows()[:39] + rows(50)[49:]), "less")
    found = {c.slice: c for c in compare_scores(base, less, min_overlap=0.9)}
    assert found[None].n == 39
    assert found[None].left_out == LeftOut(baseline_only=1, system_only=1)
    assert found["topic=(none)"].left_out == LeftOut(baseline_only=1, system_only=1)
    assert found["topic=small"].left_out == LeftOut()


def test_clusters_of_the_task_are_drawn_whole(tmp_path):
    task = write_task(tmp_path / "t", cluster="passage")
    a, b = (make_scores(tmp_path, task, name, wrong) for name, wrong in (("a", ()), ("b", [0, 1, 2, 3, 20])))
    (c,) = whole(compare_scores(a, b))
    assert (c.test.n, c.test.units, c.test.method) == (40, 10, "t-clustered")
    x = np.array([0.0 if i in (0, 1, 2, 3, 20) else 1.0 for i in range(N)])
    expected = paired_difference(np.ones(N), x, clusters=np.arange(N) // 4, low=0.0, high=1.0)
    assert c.test.stderr == pytest.approx(expected.stderr)


def test_clusters_can_be_a_slice(tmp_path):
    task = write_task(tmp_path / "t", slices=["topic", "passage"])
    a, b = (make_scores(tmp_path, task, name, wrong) for name, wrong in (("a", ()), ("b", [0, 1])))
    (c,) = whole(compare_scores(a, b, cluster_by="passage", slices=False))
    assert c.test.units == 10
    (c,) = whole(compare_scores(a, b, cluster_by="topic", slices=False))
    assert c.test.units == 2 + 8, "a sample without a label is a cluster of its own"


def test_where_lower_is_better_gains_are_downwards(tmp_path):
    texts = ["one two three four", "five six seven", "eight nine ten", "yes no"]
    systems = {
        "a": ["one two three", "five six", "eight", "yes no"],
        "b": ["one two three four", "five six seven", "ten", "no no"],
    }
    done = evalkit.score(systems, texts, scorers=["wer"], output_dir=tmp_path)
    (c,) = compare_scores(*(load_scores(run.path) for run in done.runs.values()))
    assert c.metric.higher_is_better is False
    assert (c.gained, c.lost) == (2, 1)
    assert c.flips[0].system > c.flips[0].baseline, "worst first"
    assert c.test.value == pytest.approx(c.system_value - c.baseline_value)


def test_corpus_metrics_are_compared_by_their_totals(tmp_path):
    import sacrebleu

    golds = [f"the cat number {i} sat on the mat of house {i % 7}" for i in range(60)]
    a = [g.replace("mat", "rug") if i % 3 else g for i, g in enumerate(golds)]
    b = [g.replace("sat", "lay") if i % 2 else g for i, g in enumerate(golds)]
    done = evalkit.score({"a": a, "b": b}, golds, scorers=["bleu"], output_dir=tmp_path)
    (c,) = compare_scores(*(load_scores(run.path) for run in done.runs.values()))
    assert c.baseline_value == pytest.approx(sacrebleu.corpus_bleu(a, [golds]).score, abs=1e-9)
    assert c.system_value == pytest.approx(sacrebleu.corpus_bleu(b, [golds]).score, abs=1e-9)
    assert c.test.method == "bootstrap"
    low, high = c.test.interval(0.95)
    assert low < c.test.value < high
    same = compare_scores(*(load_scores(done.runs[name].path) for name in "ab"), seed=0)
    assert same[0].test.interval(0.95) == (low, high), "the same draws each time"


def test_group_scorers_pair_by_group(tmp_path):
    keys = {"output_type": "multiple_choice", "doc_to_choice": ["yes", "no"], "doc_to_target": "yes"}
    scorers = ["acc", {"name": "pair_consistency", "group": "passage"}]
    task = write_task(tmp_path / "t", **keys, scorers=scorers)
    paths = [
        evalkit.run(tasks=str(task), model=model, output_dir=tmp_path, name=model).path
        for model in ("mock/uniform", "mock/echo")
    ]
    found = [c for c in compare_scores(*map(load_scores, paths)) if c.scorer == "pair_consistency"]
    assert [(c.slice, c.n, c.test.units) for c in found] == [(None, 10, 10)] * 2
    flips = [f for c in found for f in c.flips]
    assert flips and {f.id for f in flips} <= {f"p{i}" for i in range(10)}
    assert {f.report for f in flips} == {None}


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Two tasks of 40 and 10 samples, and groups that weigh them by size and equally."""
    folder = tmp_path_factory.mktemp("group")
    small = [{**row, "id": f"s{i}"} for i, row in enumerate(rows(10))]
    write_task(folder)
    write_task(folder, "few", small)
    for name, by_size in (("sized", True), ("equal", False)):
        rule = {"metric": "exact_match", "aggregation": "mean", "weight_by_size": by_size}
        (folder / f"{name}.yaml").write_text(
            yaml.safe_dump({"group": name, "task": ["sums", "few"], "aggregate_metric_list": [rule]})
        )
    runs = tmp_path_factory.mktemp("runs")
    return [
        load_scores(make_run(runs, ["sized", "equal"], name, wrong, task_dirs=[folder]))
        for name, wrong in (("a", ()), ("b", [0, 1, 2]))
    ]


def test_groups_pool_the_samples_of_their_tasks(grouped):
    a, b = grouped
    found = {c.task: c for c in whole(compare_scores(a, b))}
    assert list(found) == ["sums", "few", "sized", "equal"]
    sized, equal = found["sized"], found["equal"]
    assert (sized.n, sized.lost, len(sized.flips)) == (50, 6, 6)
    assert sized.test.value == pytest.approx(-6 / 50)
    assert equal.test.value == pytest.approx((-3 / 40 - 3 / 10) / 2)
    assert equal.system_value == pytest.approx((37 / 40 + 7 / 10) / 2)
    assert equal.test.stderr > sized.test.stderr
    assert equal.detail == {"members": ["sums", "few"], "weight_by_size": False}
    assert {f.task for f in equal.flips} == {"sums", "few"}


def test_a_group_needs_its_tasks(grouped):
    a, b = grouped
    assert [c.task for c in whole(compare_scores(a, b, tasks=["sums"]))] == ["sums"]
    assert [c.task for c in whole(compare_scores(a, b, tasks=["equal"]))] == ["sums", "few", "equal"]
    less = replace(b, tasks={key: scores for key, scores in b.tasks.items() if key[0] != "few"})
    found = {c.task: c for c in whole(compare_scores(a, less))}
    assert found["equal"].notes == ("without few: no exact_match in both runs",)


def test_nothing_in_common_has_no_value(base):
    key = ("sums", "none")
    scores = base.tasks[key]
    measured = tuple(
        replace(m, stats=np.full_like(m.stats, np.nan), status=np.full_like(m.status, ERROR)) for m in scores.measured
    )
    broken = replace(base, tasks={key: replace(scores, measured=measured)})
    c = compare_scores(base, broken)[0]
    assert (c.test, c.baseline_value, c.system_value, c.n) == (None, None, None, 0)
    assert c.left_out == LeftOut(system_errors=40, pairs=40)


def test_the_python_api_takes_runs_paths_and_scores(tmp_path, base, cand):
    found = evalkit.compare(base, cand, slices=False)
    assert [(c.system, c.test.value) for c in found] == [("cand", pytest.approx(-1 / 40))]
    again = evalkit.compare(base.path, evalkit.open_run(cand.path), "run:base", output_dir=base.path.parent, slices=False)
    assert [c.system for c in again] == ["cand", base.manifest["id"] + " (2)"], "the same run twice is told apart"
    assert again[0].test.value == found[0].test.value
    unstored = evalkit.score(["yes"], ["yes"], scorers=["exact_match"], store=False).run
    assert evalkit.compare(unstored, unstored)[0].n == 1
