"""What a judge's comparisons come to: win rates, what its order and length preferences are, systems on one scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from evalkit.calibrate.pairs import FIRST, SECOND, TASK, pair_name
from evalkit.runner.run import Run
from evalkit.scorers.base import BaseScorer, MetricInfo
from evalkit.scorers.estimate import estimate
from evalkit.scorers.judge.pairwise import STATS, JudgePairwise
from evalkit.stats.means import Array, cluster_codes
from evalkit.stats.rating_systems import Comparisons, Rating, bradley_terry, elo, win_matrix
from evalkit.types import Json

#: Systems from which on a scale says more than their win rates do.
SCALED = 3
#: What can be said of all pairs together; a win rate is always one of two systems.
_OVERALL = ("n", "failed", "flip_rate", "first_slot", "ties", "as_longest")


@dataclass(frozen=True, slots=True)
class Figure:
    """A share with its 95 % interval; ``None`` where it is not defined. ``n`` counts what it rests on."""

    value: float | None
    ci: tuple[float, float] | None = None
    n: int = 0


@dataclass(frozen=True, slots=True)
class PairFigures:
    """One pair of systems. Win rates are those of ``first``; ``failed`` pairs have no verdict and are in no number.

    ``longest`` and ``shortest`` are the win rates that a judge would give who looks at length alone, and ``as_longest`` how
    often the real one and the first of them name the same winner where both name one.
    """

    first: str
    second: str
    n: int
    failed: int
    win_rate: Figure
    win_rate_lc: Figure
    flip_rate: Figure | None
    first_slot: Figure
    ties: Figure
    longest: Figure
    shortest: Figure
    as_longest: Figure


@dataclass(frozen=True, slots=True)
class PairReport:
    """All that one run of comparisons says. ``scales`` are there from three systems on: Bradley-Terry and Elo."""

    run: Run
    judge: Mapping[str, Json]
    systems: tuple[str, ...]
    pairs: tuple[PairFigures, ...]
    overall: PairFigures
    wins: Sequence[Sequence[float | None]]
    scales: Mapping[str, Sequence[Rating]]
    failures: Mapping[str, int]
    notes: tuple[str, ...]
    canaries: Sequence[Mapping[str, Json]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Json]:
        """Everything, as JSON."""
        return {
            "run": str(self.run.path),
            "status": self.run.status,
            "judge": dict(self.judge),
            "systems": list(self.systems),
            "pairs": [asdict(pair) for pair in self.pairs],
            "overall": {name: value for name, value in asdict(self.overall).items() if name in _OVERALL},
            "trivial_judges": {"random": 0.5, "constant": 0.5},
            "win_matrix": [list(row) for row in self.wins],
            "scales": {name: [asdict(rating) for rating in ratings] for name, ratings in self.scales.items()},
            "failures": dict(self.failures),
            "canaries": list(self.canaries),
            "usage": self.run.manifest.get("usage", []),
            "notes": list(self.notes),
        }

    def flat(self) -> list[dict[str, Json]]:
        """One row a pair, for CSV."""
        return [_flat(pair) for pair in self.pairs]


@dataclass(frozen=True, slots=True)
class _Judged:
    """The pairs that have a verdict: who stood in them, their statistics, and the item they belong to."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    stats: Array
    items: tuple[str, ...]
    failures: Counter[tuple[str, str]]
    reasons: Counter[str]


def pair_report(
    run: Run, systems: Sequence[str], notes: Sequence[str] = (), *, replicates: int = 500, seed: int = 0
) -> PairReport:
    """The figures of a run over pairs of ``systems``; intervals draw whole items."""
    judged, scorer = _read(run), _scorer(run)
    names = list(dict.fromkeys([*zip(judged.first, judged.second, strict=True), *judged.failures]))
    pairs = tuple(_figures(scorer, judged, first, second) for first, second in names)
    items = cluster_codes(np.array(judged.items))[0] if judged.items else np.zeros(0, dtype=np.int64)
    codes = {system: code for code, system in enumerate(systems)}
    found = Comparisons(
        tuple(systems),
        np.array([codes[name] for name in judged.first], dtype=np.int64),
        np.array([codes[name] for name in judged.second], dtype=np.int64),
        judged.stats[:, 0] if len(judged.stats) else np.zeros(0),
        items,
    )
    wins, played = win_matrix(found)
    matrix = [[float(w / p) if p else None for w, p in zip(*row, strict=True)] for row in zip(wins, played, strict=True)]
    scales: dict[str, Sequence[Rating]] = {}
    if len(systems) >= SCALED:
        scales = {
            "bradley_terry": bradley_terry(found, replicates=replicates, seed=seed),
            "elo": elo(found, replicates=replicates, seed=seed),
        }
    summary = next((s for s in run.summary() if s.metric == "win_rate" and s.slice is None), None)
    detail = {} if summary is None else summary.detail
    said = [] if summary is None else [note for note in summary.notes if "canaries" in note]
    if len(set(judged.items)) < 2 and judged.items:
        said.append("a single item: no interval can be given")
    role = run.manifest["roles"].get("judge", {})
    return PairReport(
        run=run,
        judge={"name": role.get("name"), "fingerprint": role.get("fingerprint"), "signature": scorer_signature(run)},
        systems=tuple(systems),
        pairs=pairs,
        overall=_figures(scorer, judged, None, None),
        wins=matrix,
        scales=scales,
        failures=dict(judged.reasons),
        notes=(*notes, *said),
        canaries=detail.get("canaries", []),
    )


def scorer_signature(run: Run) -> str | None:
    """How the verdicts were had: rubric, judge, mode, orders, tie rule."""
    return next((s.signature for s in run.summary()), None)


def _scorer(run: Run) -> JudgePairwise:
    (definition,) = run.manifest["tasks"][TASK]["definition"]["scorers"]
    return JudgePairwise(**{key: value for key, value in definition.items() if key != "name"})


def _read(run: Run) -> _Judged:
    rows: list[tuple[str, str, tuple[float, ...], str]] = []
    failures: Counter[tuple[str, str]] = Counter()
    reasons: Counter[str] = Counter()
    for view in run.records(TASK):
        doc, score = view.record.sample.doc, view.scores.get("judge_pairwise")
        if score is None or score.stats is None:
            failures[doc[FIRST], doc[SECOND]] += 1
            failure = view.record.failure
            reasons[failure.message if failure else (score.reason if score else None) or "not answered"] += 1
            continue
        rows.append((doc[FIRST], doc[SECOND], score.stats, view.record.sample.cluster or view.record.sample.id))
    first, second, stats, items = zip(*rows, strict=True) if rows else ((), (), (), ())
    table = np.array(stats, dtype=np.float64) if rows else np.zeros((0, STATS))
    return _Judged(first, second, table, items, failures, reasons)


def _figures(scorer: JudgePairwise, judged: _Judged, first: str | None, second: str | None) -> PairFigures:
    """Of one pair, or of all together, whose win rates say nothing but whose order and length preferences do."""
    chosen = [
        at
        for at, names in enumerate(zip(judged.first, judged.second, strict=True))
        if first is None or names == (first, second)
    ]
    stats = judged.stats[chosen] if chosen else np.zeros((0, STATS))
    items = np.array([judged.items[at] for at in chosen])
    failed = judged.failures.total() if first is None else judged.failures[first, str(second)]
    own = {metric.name: _figure(scorer, metric, stats, items) for metric in scorer.metrics}
    win, gap = stats[:, 0], stats[:, 4] - stats[:, 5]
    longest = 0.5 + 0.5 * np.sign(gap)
    both = (win != 0.5) & (gap != 0)
    same = np.where(both, (win > 0.5) == (gap > 0), np.nan).astype(np.float64)
    shares = {"ties": win == 0.5, "longest": longest, "shortest": 1 - longest, "as_longest": same}
    found = {name: _share(values.astype(np.float64), items) for name, values in shares.items()}
    return PairFigures(
        first=first or "all",
        second=second or "pairs",
        n=len(stats),
        failed=failed,
        win_rate=own["win_rate"],
        win_rate_lc=own["win_rate_lc"],
        flip_rate=own.get("flip_rate"),
        first_slot=own["first_slot"],
        **found,
    )


def _figure(scorer: BaseScorer, metric: MetricInfo, stats: Array, items: Any) -> Figure:
    if not len(stats):
        return Figure(None)
    found = estimate(scorer, metric, stats, items)
    return Figure(found.value, found.ci, found.n)


def _share(values: Array, items: Any) -> Figure:
    return _figure(BaseScorer(), MetricInfo("share", low=0.0, high=1.0, mean=True), values[:, None], items)


def _flat(pair: PairFigures) -> dict[str, Json]:
    row: dict[str, Json] = {"pair": pair_name(pair.first, pair.second)}
    for name, value in asdict(pair).items():
        if isinstance(value, dict):
            low, high = value["ci"] or (None, None)
            row |= {name: value["value"], f"{name}_low": low, f"{name}_high": high}
        else:
            row[name] = value
    return row
