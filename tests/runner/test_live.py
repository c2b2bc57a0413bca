"""The running value of the progress display: cheap scorers only, and never a network."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

from evalkit.runner.live import LiveScores
from evalkit.scorers.base import BaseScorer, MetricInfo, ScorerSpec, ScoringPlan
from evalkit.scorers.labelled import Labelled
from evalkit.scorers.neural.base import NeuralScorer
from evalkit.scorers.registry import SCORERS, build_scorers
from evalkit.tasks.filters import pipelines
from evalkit.types import Request, Response, Sample, Score


class Cheap(BaseScorer):
    name = "cheap"
    metrics = (MetricInfo("cheap", mean=True),)

    def score_one(self, record):
        return Score((1.0,), 1.0)


class Network(Cheap):
    name = "network"
    live = False

    def score_one(self, record):
        raise AssertionError("a network was loaded to show a running value")


def shown(*scorers):
    """The running value of a task with these scorers, once its only sample is answered."""
    task = SimpleNamespace(name="t", scorers=scorers, filters=pipelines(None, allow_code=False))
    live = LiveScores(SimpleNamespace(known=lambda key: False), [task])
    request = Request("generate_until", "p", key="k")
    live.planned(Sample("t", "s", 0, {}), (request,))
    live.answered("t", Response("k", text="a"))
    return live.value("t")


def test_a_network_is_passed_over_whatever_its_label():
    assert shown(Network(), Cheap()) == ("cheap", 1.0)
    assert shown(Labelled(Network(), "mine"), Cheap()) == ("cheap", 1.0)
    assert shown(Network()) is None


def test_every_scorer_with_a_network_and_every_foreign_script_says_so(tmp_path):
    for name in SCORERS.names():
        factory = SCORERS.get(name)
        made = getattr(import_module(factory.__module__), str(factory.__annotations__.get("return")), factory)
        if isinstance(made, type) and issubclass(made, NeuralScorer):
            assert made.live is False, name
    script = tmp_path / "own" / "own.py"
    script.parent.mkdir()
    script.write_text("")
    plan = ScoringPlan("generate_until", scorers=(ScorerSpec("evaluate", {"metric": str(script)}),), allow_code=True)
    assert [getattr(scorer, "live", True) for scorer in build_scorers(plan)] == [False]
