"""Does a judge earn its place? Its scores held against people's, and its means corrected by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from evalkit.calibrate.columns import Columns
from evalkit.calibrate.judge_agreement import agreement
from evalkit.calibrate.judge_bias import bias, order_effects, trivial
from evalkit.calibrate.judge_corrected import corrected, selection_doubts
from evalkit.calibrate.judge_human import Joined, criteria_of, joined, rated_keys, read_human, systems_of
from evalkit.calibrate.judge_run import Judged, read_judged
from evalkit.calibrate.judge_same import of_these_texts, oriented
from evalkit.calibrate.judge_words import Use, verdict
from evalkit.errors import DataError
from evalkit.ratings.base import Rating
from evalkit.ratings.outputs import rated_texts
from evalkit.runner.run import Run
from evalkit.runner.store import find_run
from evalkit.stats import levels
from evalkit.stats.levels import REPLICATES
from evalkit.types import Json


@dataclass(frozen=True, slots=True)
class CriterionCalibration:
    """One criterion of a judge against people; every entry is JSON, see docs/judge-calibration.md.

    ``levels`` are coefficients by level, ``corrected`` a row a system and a pair of systems, ``use`` and ``says`` the
    verdict.
    """

    criterion: str
    human: str
    items: int
    outputs: int
    systems: int
    low: float | None
    high: float | None
    use: Use
    says: list[str]
    levels: dict[str, dict[str, Json]]
    agreement: dict[str, Json]
    bias: dict[str, Json]
    trivial: dict[str, Json]
    corrected: list[dict[str, Json]]
    doubts: list[str]


@dataclass(frozen=True, slots=True)
class JudgeCalibration:
    """What `calibrate_judge` found: ``criteria`` by the judge's metric. ``runs`` are what was judged."""

    runs: tuple[Judged, ...]
    systems: tuple[str, ...]
    human: str
    raters: int
    criteria: Mapping[str, CriterionCalibration]
    order: Mapping[str, Json]
    counts: Mapping[str, int]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Json]:
        """Everything as JSON."""
        first = self.runs[0]
        return {
            "judge": first.signature,
            "scorer": first.scorer,
            "task": first.task,
            "rubric": first.rubric,
            "models": first.detail.get("judges") or first.detail.get("judge"),
            "runs": [run.path.name for run in self.runs],
            "systems": list(self.systems),
            "human": {"ratings": self.human, "raters": self.raters},
            "verdicts": dict(self.counts),
            "criteria": {name: asdict(found) for name, found in self.criteria.items()},
            "order": dict(self.order),
            "notes": list(self.notes),
        }

    def flat(self) -> list[dict[str, Json]]:
        """The corrected table: a row a criterion and system (or pair of systems)."""
        rows = []
        for name, found in self.criteria.items():
            for row in found.corrected:
                line: dict[str, Json] = {"criterion": name, "system": row["system"], "less": row.get("less")}
                for kind in ("judge", "human", "corrected"):
                    told = row[kind] or {"value": None, "ci": None}
                    low, high = told["ci"] or (None, None)
                    line |= {kind: told["value"], f"{kind}_low": low, f"{kind}_high": high}
                rows.append(line | {key: row.get(key) for key in ("judged", "rated", "weight", "reason")})
        return rows


def calibrate_judge(
    runs: str | Path | Run | Sequence[str | Path | Run],
    human: str | Path | Sequence[Rating],
    *,
    criteria: Sequence[str] = (),
    mapped: Mapping[str, str] | None = None,
    systems: Sequence[str] = (),
    task: str | None = None,
    scorer: str | None = None,
    columns: Columns | Mapping[str, str | Sequence[str]] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    output_dir: str | Path = "runs",
) -> JudgeCalibration:
    """Hold the judge of ``runs`` against people's ratings of the same outputs.

    Args:
        runs: a run that a judge scored, its directory or name, or ``latest``; several where people rated several systems.
        human: a tidy table of ratings, a study's folder, a file of rated outputs, or ratings in memory. ``item`` is the
            sample's id, ``system`` the run's name or model.
        criteria: of the judge, or of the people; all that both have by default.
        mapped: the judge's name of a criterion -> the people's, where they differ.
        systems: what each run is called in the ratings, in order.
        task: which judge, where the runs have several.
        scorer: the same.
        columns: what is where in a file of rated outputs; see `Columns`.
        replicates: bootstrap draws an interval; 0 for none.
        seed: of the bootstrap.
        output_dir: where runs are looked for by name.

    Raises:
        DataError: no judge, no ratings, nothing that both rated, runs of different judges.
        UsageError: a criterion or system that is not there.
    """
    given = [runs] if isinstance(runs, str | Path | Run) else list(runs)
    paths = [one.path if isinstance(one, Run) else find_run(str(one), Path(output_dir)) for one in given]
    judged = [read_judged(path, task=task, scorer=scorer) for path in paths]
    other = next((run for run in judged if run.signature != judged[0].signature), None)
    if other is not None:
        raise DataError(f"{other.path.name} has another judge than {judged[0].path.name}: {other.signature}")
    told = Columns.of(columns) if columns is not None else None
    ratings = tuple(read_human(human, told) if isinstance(human, str | Path) else human)
    if not ratings:
        raise DataError(f"{human}: no ratings")
    shown = {} if isinstance(human, tuple | list) else rated_texts(Path(str(human)))
    ratings = oriented(judged, ratings, shown)
    known, guessed = systems_of(judged, ratings, systems)
    ratings, changed = of_these_texts(judged, known, ratings, shown)
    pairs = criteria_of(judged, ratings, criteria, mapped or {})
    tables = {metric: joined(judged, known, ratings, metric, person) for metric, person in pairs.items()}
    found = {metric: _criterion(data, judged[0].pairwise, replicates, seed) for metric, data in tables.items()}
    return JudgeCalibration(
        tuple(judged),
        tuple(dict.fromkeys(name for data in tables.values() for name in data.systems)),
        str(human) if isinstance(human, str | Path) else "ratings in memory",
        len({rating.annotator for rating in ratings}),
        found,
        order_effects(np.concatenate([run.orders for run in judged])),
        _counts(judged),
        (*guessed, *changed, *_lost(judged, known, ratings), *([] if criteria else _unmatched(ratings, pairs))),
    )


def _criterion(data: Joined, pairwise: bool, replicates: int, seed: int) -> CriterionCalibration:
    rows = data.rated
    if not len(rows):
        raise DataError(f"the judge gave no verdict on {data.metric} for any rated item")
    items, systems = [data.items[i] for i in rows], [data.systems[i] for i in rows]
    paired, _ = levels.rated(data.judge[rows], data.human[rows], items, systems)
    present = ["segment"] + ["summary"] * (len(set(items)) < len(items)) + ["system"] * (len(set(systems)) > 1)
    found: dict[str, Json] = {
        "items": len(set(items)),
        "levels": {name: _level(paired, name, replicates, seed) for name in present},
        "agreement": agreement(data, replicates, seed),
        "bias": bias(data, replicates, seed),
        "trivial": trivial(data, present, pairwise, seed),
    }
    use, says = verdict(found)
    return CriterionCalibration(
        data.metric,
        data.criterion,
        outputs=len(rows),
        systems=len(set(systems)),
        low=data.low,
        high=data.high,
        use=use,
        says=says,
        corrected=corrected(data),
        doubts=selection_doubts(data),
        **found,
    )


def _level(rows: levels.Rated, name: str, replicates: int, seed: int) -> dict[str, Json]:
    found = levels.agreement(rows, name, replicates=replicates, seed=seed)
    return {
        key: {"value": a.value, "ci": None if a.ci is None else list(a.ci), "used": a.used, "reason": a.reason}
        for key, a in found.coefficients.items()
    }


def _counts(runs: Sequence[Judged]) -> dict[str, int]:
    """Verdicts asked for, unreadable and refused, on samples that have a score; and samples that have none."""
    found = {key: sum(int(run.detail.get(key) or 0) for run in runs) for key in ("verdicts", "failed", "refused")}
    nothing = (np.isnan(np.stack(list(run.values.values()))).all(axis=0) for run in runs)
    return found | {"unscored": sum(int(none.sum()) for none in nothing)}


def _lost(runs: Sequence[Judged], systems: Sequence[str | None], ratings: Sequence[Rating]) -> list[str]:
    """Rated outputs that no judge saw."""
    keys = {(rating.item, rating.system) for rating in ratings}
    unseen = keys.difference(*(rated_keys(run, system, keys) for run, system in zip(runs, systems, strict=True)))
    return (
        [f"{len(unseen)} of {len(keys)} rated outputs are not among the judged samples and were left out"] if unseen else []
    )


def _unmatched(ratings: Sequence[Rating], pairs: Mapping[str, str]) -> list[str]:
    """People's criteria that no criterion of the judge is held against."""
    left = [name for name in dict.fromkeys(rating.criterion for rating in ratings) if name not in pairs.values()]
    return [f"people's {', '.join(left)}: the judge has nothing of that name (--map JUDGE=HUMAN)"] if left else []
