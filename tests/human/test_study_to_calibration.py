"""From runs to blind sheets to ratings to `judge calibrate` and `metrics validate`: nothing else than was rated."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

import evalkit
from evalkit.cli.app import main
from evalkit.errors import DataError

N = 40
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: rows.jsonl}}}}
test_split: test
sample_id: id
output_type: generate_until
doc_to_text: "Summarise: {{{{source}}}}"
doc_to_target: "{{{{reference}}}}"
generation_kwargs: {{until: []}}
"""


def level(text: object) -> int:
    """What an output is worth, 1 to 5: it says so itself; words that were shuffled are worth 1."""
    found = re.search(r"Quality (\d) it is", str(text))
    return int(found.group(1)) if found else 1


def writer(name: str, worst: int) -> Callable[[str], str]:
    def model(prompt: str) -> str:
        drawn = random.Random(f"{name} {prompt}")
        words = ["rain", "hills", "people", "old", "songs", "rivers", "dawn", "home"]
        return f"Quality {drawn.randint(worst, worst + 2)} it is, {' '.join(drawn.sample(words, 8))}."

    return model


def judge(prompt: Any) -> str:
    return f"VERDICT: {level(prompt)}"


def preferring(prompt: Any) -> str:
    found = [int(one) for one in re.findall(r"Quality (\d) it is", str(prompt))]
    return "VERDICT: " + ("tie" if len(found) < 2 or found[0] == found[1] else "A" if found[0] > found[1] else "B")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems' runs of two tasks that share ids, judged by somebody who is always right."""
    work = tmp_path_factory.mktemp("work")
    rows = [{"id": f"doc-{i:02d}", "source": f"Document {i}.", "reference": f"Quality 4 it is, {i}."} for i in range(N)]
    (work / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("news", "mail"):
        (work / f"{name}.yaml").write_text(TASK.format(name=name))
    run(work, "weak", 1, "news")
    run(work, "strong", 3, "news")
    return work


def run(work: Path, name: str, worst: int, *tasks: str, folder: str = "runs", salt: str = "") -> evalkit.Run:
    scorers = [{"judge": "summarisation", "score_mode": "argmax"}, "chrf"]
    return evalkit.run(
        [str(work / f"{task}.yaml") for task in tasks], writer(name + salt, worst), scorers=scorers, roles={"judge": judge},
        name=name, output_dir=work / folder, new=True,
    )  # fmt: skip


def study(work: Path, out: str, rubric: str, folder: str = "runs", n: int = N) -> Path:
    """Exported, filled in by annotators who see what an output is worth, imported."""
    found = work / out
    options = {"n": n, "annotators": 2, "overlap": 10, "seed": 3, "output_dir": work / folder}
    evalkit.export_study(["weak", "strong"], rubric, out=found, **options)
    for path in found.glob("annotator_*.xlsx"):
        book = openpyxl.load_workbook(path)
        sheet = book["Ratings"]
        names = [cell.value for cell in sheet[1]]
        for row in sheet.iter_rows(min_row=2):
            cells = dict(zip(names, row, strict=True))
            if "output" in cells:
                for name in cells.keys() & {"fluency", "coherence", "relevance", "factuality"}:
                    cells[name].value = level(cells["output"].value)
            else:
                gap = level(cells["output_A"].value) - level(cells["output_B"].value)
                cells["preference"].value = "A" if gap > 0 else "B" if gap < 0 else "tie"
        book.save(path)
    done = evalkit.import_ratings(found, sorted(found.glob("annotator_*.xlsx")))
    assert not done.errors
    return found


@pytest.fixture(scope="module")
def rated(place: Path) -> Path:
    return study(place, "study", "summarisation")


def test_a_judge_that_is_right_agrees_wholly(place, rated, capsys):
    command = ["judge", "calibrate", "--judge-run", "weak", "--judge-run", "strong", "--human", f"{rated}/"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--output-dir", str(place / "runs"), "--replicates", "0", "--json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)["criteria"]
    assert sorted(found) == ["coherence", "factuality", "fluency", "relevance"]
    for one in found.values():
        assert one["levels"]["segment"]["spearman"]["value"] == pytest.approx(1) and one["outputs"] == 2 * N
        assert one["agreement"]["alpha_interval"]["value"] == pytest.approx(1)


def test_metrics_are_held_against_the_same_outputs_by_both_ways(place, rated):
    runs = [evalkit.open_run(name, output_dir=place / "runs") for name in ("weak", "strong")]
    alone = evalkit.validate_metrics(rated, ["chrf"], replicates=0)
    by_runs = evalkit.validate_metrics(rated / "ratings_long.csv", ["chrf"], runs=runs, replicates=0)
    reported = evalkit.study_report(rated, runs=runs)
    for criterion in ("fluency", "factuality"):
        one = alone.find("chrf", criterion, "segment")
        two = by_runs.find("chrf", criterion, "segment")
        assert one.n == two.n == 2 * N
        row = next(
            r for r in reported.correlations if (r.criterion, r.metric, r.level.name) == (criterion, "chrf", "segment")
        )
        assert row.label == "chrf"
        assert f"{criterion} (judge)" in {r.label for r in reported.correlations}
        values = [x.coefficients["spearman"].value for x in (one, two, row.level)]
        assert values == pytest.approx([values[0]] * 3, abs=1e-9)


def test_ids_that_two_tasks_share_are_told_apart(place):
    for name, worst in (("weak", 1), ("strong", 3)):
        run(place, name, worst, "news", "mail", folder="two")
    both = study(place, "both", "summarisation/fluency", "two", 2 * N)
    runs = [evalkit.open_run(name, output_dir=place / "two") for name in ("weak", "strong")]
    for task in ("news", "mail"):
        found = evalkit.calibrate_judge(runs, both, task=task, replicates=0)
        assert found.criteria["fluency"].outputs == 2 * N
        assert found.criteria["fluency"].agreement["alpha_interval"]["value"] == pytest.approx(1)
        assert any(f"{2 * N} of {4 * N} rated outputs are not among the judged" in note for note in found.notes)


def test_a_run_made_anew_is_not_what_people_rated(place, rated):
    again = run(place, "weak", 1, "news", folder="again", salt="!")
    other = evalkit.open_run("strong", output_dir=place / "runs")
    found = evalkit.calibrate_judge([again, other], rated, replicates=0)
    assert found.criteria["fluency"].outputs == N
    assert any("are not what the judge saw" in note for note in found.notes)
    with pytest.raises(DataError, match="people rated other answers"):
        evalkit.calibrate_judge(again, rated, replicates=0)
    with pytest.raises(DataError, match=r"rated outputs of weak are other texts in .*name the run that people rated"):
        evalkit.study_report(rated, runs=[again, other])
    with pytest.raises(DataError, match="name the run that people rated"):
        evalkit.validate_metrics(rated / "ratings_long.csv", ["chrf"], runs=[again, other])


@pytest.mark.parametrize("names", [("weak", "strong"), ("strong", "weak")])
def test_pairs_are_compared_from_the_same_side(place, names):
    """People rated weak against strong; a judge may have been given them the other way about, and under other names."""
    folder = place / "pairs"
    found = folder if folder.exists() else study(place, "pairs", "preference")
    settings = evalkit.GivenOptions(output_dir=place / "runs", name="_".join(names))
    judged = evalkit.judge_pairs(
        {f"the {name}": evalkit.open_run(name, output_dir=place / "runs") for name in names},
        model=preferring,
        settings=settings,
    )
    calibrated = evalkit.calibrate_judge(judged.run, found, replicates=0)
    one = calibrated.criteria["win_rate"]
    assert one.outputs == N and one.levels["segment"]["spearman"]["value"] == pytest.approx(1)
    assert one.agreement["alpha_interval"]["value"] == pytest.approx(1)
    assert calibrated.systems == (" vs ".join(f"the {name}" for name in names),)


@pytest.mark.parametrize("name", ["weak", "strong"])
def test_a_run_compared_with_a_column_is_taken_from_its_own_side(place, name):
    """The pairs are called weak vs strong whichever of the two the judged run is."""
    found = place / "pairs" if (place / "pairs").exists() else study(place, "pairs", "preference")
    other = evalkit.open_run("strong" if name == "weak" else "weak", output_dir=place / "runs")
    written = {view.record.sample.id: view.record.answer for view in other.records()}
    rows = [json.loads(line) | {"other": "?"} for line in (place / "rows.jsonl").read_text().splitlines()]
    folder = place / f"against_{name}"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row | {"other": written[row["id"]]}) for row in rows))
    (folder / "news.yaml").write_text(TASK.format(name="news"))
    judged = evalkit.run(
        str(folder / "news.yaml"), writer(name, {"weak": 1, "strong": 3}[name]), roles={"judge": preferring}, name=name,
        scorers=[{"name": "judge_pairwise", "against": "other", "score_mode": "argmax"}], output_dir=folder / "runs",
    )  # fmt: skip
    one = evalkit.calibrate_judge(judged, found, replicates=0).criteria["win_rate"]
    assert one.outputs == N and one.agreement["alpha_interval"]["value"] == pytest.approx(1)


def test_what_has_no_ratings_says_how_to_get_them(place, tmp_path, capsys):
    evalkit.export_study(["weak", "strong"], "summarisation", out=tmp_path / "new", n=10, output_dir=place / "runs")
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "judge",
                "calibrate",
                "--judge-run",
                "weak",
                "--human",
                str(tmp_path / "new"),
                "--output-dir",
                str(place / "runs"),
            ]
        )
    assert ended.value.code == 2
    assert "has no ratings yet (ratings_long.csv); evalkit human import" in capsys.readouterr().err
