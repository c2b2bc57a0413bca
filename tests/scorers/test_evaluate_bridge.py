"""Metrics of the evaluate library as scorers: shapes of results, inputs, permission, being offline."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scorer_records import estimates, text_record

import evalkit
from evalkit.errors import CodeRefused, ScorerError
from evalkit.runner.prepare import scorer_spec
from evalkit.scorers.base import Scorer, ScoringPlan
from evalkit.scorers.registry import build_scorers
from evalkit.types import Record

pytest.importorskip("evaluate")

SCRIPT = """
import datasets
import evaluate
{imports}

class {name}(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description="d", citation="c", inputs_description="i", features={features}
        )

    def _compute(self, predictions, {arguments}):
{body}
"""
TEXTS = 'datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})'
LISTS = (
    'datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Sequence(datasets.Value("string"))})'
)


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all tests: Python looks for the copied scripts where it found the first of them."""
    import evaluate.config

    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_EVALUATE_CACHE", "HF_METRICS_CACHE", "HF_MODULES_CACHE"):
            patch.setattr(evaluate.config, name, str(folder / name))
        yield


def script(
    folder: Path, name: str, body: str, features: str = TEXTS, arguments: str = "references", imports: str = ""
) -> str:
    """A metric script on disk; the class's name is the file's in camel case."""
    path = folder / name / f"{name}.py"
    path.parent.mkdir()
    inner = textwrap.indent(textwrap.dedent(body), " " * 8)
    named = "".join(part.capitalize() for part in name.split("_"))
    path.write_text(SCRIPT.format(name=named, features=features, arguments=arguments, body=inner, imports=imports), "utf-8")
    return str(path.parent)


def scorer(item: str | dict[str, Any], allow_code: bool = True) -> Scorer:
    (made,) = build_scorers(ScoringPlan("generate_until", scorers=(scorer_spec(item),), allow_code=allow_code))
    return made


def records(n: int = 4, **doc: Any) -> list[Record]:
    return [text_record(f"answer {i % 2}", f"answer {i % 3}", doc=doc, index=i) for i in range(n)]


def test_a_list_with_one_number_a_sample_gets_an_interval(tmp_path: Path) -> None:
    path = script(tmp_path, "per_item", "return {'hit': [float(p == r) for p, r in zip(predictions, references)]}")
    made = scorer(f"evaluate:{path}")
    found = estimates(made, records(12))
    assert list(found) == ["evaluate:per_item/hit"]
    hit = found["evaluate:per_item/hit"]
    assert hit.value == pytest.approx(4 / 12) and hit.ci is not None and hit.n == 12


def test_a_single_number_has_no_interval_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.scorers.estimate.bootstrap", lambda *a, **k: pytest.fail("there is nothing to resample"))
    body = "return {'outer': {'length': sum(map(len, predictions)), 'all': {'x': 0.5}}, 'hash': 'abc', 'parts': [1, 2]}"
    made = scorer(f"evaluate:{script(tmp_path, 'nested_one', body)}")
    found = estimates(made, records(5))
    assert {name: e.value for name, e in found.items()} == {
        "evaluate:nested_one/outer/length": 40.0,
        "evaluate:nested_one/outer/all/x": 0.5,
    }
    assert all(e.ci is None and e.stderr is None and e.n == 5 for e in found.values())
    state = made.prepare(records(5))
    stats = np.array([s.stats for s in made.score(records(5), state)])
    part = made.aggregate(stats[:3], np.ones(3))
    assert np.isnan(part["evaluate:nested_one/outer/length"])  # of a slice it is not known
    detail = json.loads(json.dumps(made.detail(stats), allow_nan=False))
    assert detail["further results"] == {"hash": "abc", "parts": "[1, 2]"}
    assert "no interval" in detail["metrics"]["evaluate:nested_one/outer/length"]
    assert made.notes(stats) == ["one number for all samples, so no interval: outer/length, outer/all/x"]
    again = scorer(f"evaluate:{tmp_path / 'nested_one'}")
    again.recall(detail)  # type: ignore[attr-defined]
    assert again.metrics == made.metrics


def test_references_are_wrapped_and_options_passed_on(tmp_path: Path) -> None:
    body = "return {'n': [len(r) * scale for r in references]}"
    path = script(tmp_path, "wrapped_refs", body, LISTS, "references, scale=1")
    made = scorer(f"evaluate:{path}:scale=3")
    several = [text_record("a", ["b", "c"], index=0), text_record("a", "b", index=1)]
    assert estimates(made, several)["evaluate:wrapped_refs/n"].value == pytest.approx(4.5)
    assert "scale:3" in made.signature()


def test_several_references_where_one_is_asked_for_are_unscored(tmp_path: Path) -> None:
    path = script(tmp_path, "one_ref", "return {'one': [1.0 for _ in references]}")
    made = scorer(f"evaluate:{path}")
    several = [text_record("a", ["b", "c"], index=0), text_record("a", "b", index=1)]
    left, kept = made.score(several, made.prepare(several))
    assert left.stats is None and "2" in str(left.reason) and kept.stats == (1.0,)


def test_numbers_are_read_from_text(tmp_path: Path) -> None:
    features = 'datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")})'
    path = script(tmp_path, "int_gap", "return {'gap': [abs(p - r) for p, r in zip(predictions, references)]}", features)
    made = scorer(f"evaluate:{path}")
    given = [text_record(" 4", "1", index=0), text_record("four", "1", index=1)]
    first, second = made.score(given, made.prepare(given))
    assert first.stats == (3.0,) and second.reason == "predictions: 'four' is no int"


def test_further_inputs_come_from_columns(tmp_path: Path) -> None:
    features = TEXTS.replace('"predictions"', '"sources": datasets.Value("string"), "predictions"')
    path = script(tmp_path, "with_source", "return {'s': [len(s) for s in sources]}", features, "references, sources")
    made = scorer(f"evaluate:{path}:sources=src")
    assert getattr(made, "columns", ()) == ("src",)
    assert estimates(made, records(3, src="four"))["evaluate:with_source/s"].value == 4.0


def test_random_scripts_repeat(tmp_path: Path) -> None:
    body = "return {'r': [random.random() + np.random.rand() for _ in predictions]}"
    path = script(tmp_path, "draws_lots", body, imports="import random\nimport numpy as np")
    one, two = (estimates(scorer(f"evaluate:{path}"), records(6))["evaluate:draws_lots/r"].value for _ in range(2))
    other = estimates(scorer(f"evaluate:{path}:seed=1"), records(6))["evaluate:draws_lots/r"].value
    assert one == two != other


def test_a_script_that_fails_leaves_its_metric_without_values(tmp_path: Path) -> None:
    made = scorer(f"evaluate:{script(tmp_path, 'breaks_down', 'raise ValueError(chr(10) + str(len(references)))')}")
    (score, *_) = made.score(records(2), made.prepare(records(2)))
    assert score.stats is None and score.reason == "evaluate:breaks_down failed: ValueError: 2"


def test_code_needs_permission_wherever_it_lies(tmp_path: Path) -> None:
    path = script(tmp_path, "local_code", "return {}")
    for name in ("rouge", path):
        with pytest.raises(CodeRefused, match="--allow-code"):
            scorer(f"evaluate:{name}", allow_code=False)


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    path = script(tmp_path, "needs_more", "return {}", imports="import no_such_package_at_all")
    made = scorer(f"evaluate:{path}")
    with pytest.raises(ScorerError, match=r"needs a package: .*no_such_package_at_all"):
        made.prepare(records(1))


def test_offline_the_local_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import evaluate.config

    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", True)
    made = scorer("evaluate:no_such_metric_here")
    with pytest.raises(ScorerError, match=r"cannot be reached; download the folder .*evaluate:/path/to/no_such_metric_here"):
        made.prepare(records(1))


def test_a_path_without_a_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScorerError, match=r"no metric script at .*gone\.py"):
        scorer(f"evaluate:{tmp_path / 'gone'}")


def test_a_changed_script_changes_the_signature(tmp_path: Path) -> None:
    path = script(tmp_path, "will_change", "return {'x': 1}")
    before = scorer(f"evaluate:{path}").signature()
    file = Path(path) / "will_change.py"
    file.write_text(file.read_text("utf-8") + "\n# another\n", "utf-8")
    assert scorer(f"evaluate:{path}").signature() != before


def test_two_systems_are_compared_by_their_stored_scores(tmp_path: Path) -> None:
    path = script(tmp_path, "by_length", "return {'each': [len(p) for p in predictions], 'sum': 7}")
    systems = {"one": ["a", "bb", "ccc"], "two": ["aa", "bbb", "ccccc"]}
    done = evalkit.score(
        systems, ["x", "y", "z"], scorers=[f"evaluate:{path}"], allow_code=True, output_dir=str(tmp_path / "runs")
    )
    found = {c.metric: c for c in done.comparisons}
    each, once = found["evaluate:by_length/each"], found["evaluate:by_length/sum"]
    assert each.result is not None and each.result.difference == pytest.approx(4 / 3)
    assert once.result is None


@pytest.mark.parametrize(
    ("item", "params"),
    [
        ("evaluate:rouge", {"metric": "rouge"}),
        ("evaluate:rouge:use_stemmer=true,seed=3", {"metric": "rouge", "use_stemmer": True, "seed": 3}),
        ("evaluate:glue:mrpc", {"metric": "glue", "config": "mrpc"}),
        ("evaluate:glue:mrpc:label=x", {"metric": "glue", "config": "mrpc", "label": "x"}),
        ({"name": "evaluate:rouge", "seed": 1}, {"metric": "rouge", "seed": 1}),
    ],
)
def test_names_on_the_command_line(item: Any, params: dict[str, Any]) -> None:
    spec = scorer_spec(item)
    assert spec.name == "evaluate" and dict(spec.params) == params
