"""``evalkit human export`` and `evalkit.export_study`: from runs and files to a folder of blind sheets."""

from __future__ import annotations

import csv
import io
import json
import stat
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openpyxl
import pytest
from made_pool import WORDS

import evalkit
from evalkit.cli.app import main
from evalkit.errors import DataError, RubricError, UsageError
from evalkit.human.export import open_pool
from evalkit.human.key import read_study
from evalkit.rubric.load import load_rubric


def words(prompt: str, salt: int, count: int = 14) -> str:
    return (
        " ".join(WORDS[(len(prompt) * 7 + at * salt + ord(prompt[-2])) % len(WORDS)] for at in range(count)).capitalize()
        + "."
    )


def zephyrnaught(prompt: str) -> str:
    return words(prompt, 5)


def quillfeather(prompt: str) -> str:
    if "number 3 " in prompt:
        raise RuntimeError("no answer here")
    return words(prompt, 11)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one task, the second with an item that failed and without the last two."""
    where = tmp_path_factory.mktemp("work")
    rows = [
        {
            "id": f"doc-{at:02d}",
            "source": f"The document number {at} tells of {WORDS[at]}.",
            "topic": "ab"[at % 2],
            "gold": "g",
        }
        for at in range(32)
    ]
    (where / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": "news",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
        "test_split": "test",
        "sample_id": "id",
        "slices": ["topic"],
        "output_type": "generate_until",
        "doc_to_text": "Summarise: {{source}}\n\n",
        "doc_to_target": "gold",
        "content_warning": "accidents are described",
        "generation_kwargs": {"until": ["\n\n"]},
    }
    (where / "news.yaml").write_text(json.dumps(task))
    for model, limit in ((zephyrnaught, None), (quillfeather, 30)):
        evalkit.run(
            [str(where / "news.yaml")],
            model,
            name=model.__name__,
            limit=limit,
            output_dir=where / "runs",
            max_error_rate=1.0,
        )
    return where


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run ``evalkit human export`` in the folder."""
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["evalkit", "human", "export", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=stop.value.code, out=out, err=err)

    return run


RUNS = ("zephyrnaught", "quillfeather", "--rubric", "summarisation")


def test_runs_become_a_folder_of_sheets(call: Any, tmp_path: Path) -> None:
    out = tmp_path / "study"
    done = call(*RUNS, "--n", "20", "--annotators", "3", "--overlap", "8", "--seed", "7", "--out", str(out))
    assert (done.code, done.out.strip()) == (0, str(out))
    assert "29 items can be rated" in done.err
    assert "left out: 2 not in the run of" in done.err and "left out: 1 not answered by" in done.err
    assert "20 items, 3 annotators, 81 rows (" in done.err
    sheets = [f"annotator_{at:02d}.{kind}" for at in (1, 2, 3) for kind in ("csv", "xlsx")]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [".gitignore", "README.txt", "guidelines.md", "key.json", *sheets]
    )
    assert stat.S_IMODE((out / "key.json").stat().st_mode) == 0o600
    assert "/key.json" in (out / ".gitignore").read_text().split()
    note = (out / "README.txt").read_text()
    assert (
        "To annotator 2: annotator_02.xlsx, annotator_02.csv, guidelines.md" in note and "KEEP key.json TO YOURSELF" in note
    )
    assert "Content warning: accidents are described." in (out / "guidelines.md").read_text()

    study = read_study(out)
    assert len(study.systems) == len(study.runs) == 2 and all((Path(run) / "run.json").is_file() for run in study.runs)
    assert study.warnings == ("accidents are described",)
    items = {row.first.item for row in study.rows if row.kind == "item"}
    assert len(items) == 20 and not items & {"doc-03", "doc-30", "doc-31"}
    for who in study.annotators:
        own = [row for row in study.rows if row.annotator == who]
        with (out / f"{who}.csv").open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
        book = openpyxl.load_workbook(out / f"{who}.xlsx")["Ratings"]
        assert [line["item_id"] for line in lines] == [row.id for row in own]
        assert [cell.value for cell in book["A"]][1:] == [row.id for row in own]
        assert [line["output"] for line in lines] == [row.first.text for row in own]
        assert all(line["context"].startswith("The document number") for line in lines)


def test_nothing_but_the_key_names_a_system(call: Any, tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert call(*RUNS, "--n", "10", "--format", "csv", "--out", str(out)).code == 0
    for path in out.iterdir():
        text = path.read_text("utf-8")
        assert path.name == "key.json" or not any(name in text for name in ("zephyr", "quill", "runs/", "doc-0"))


def test_the_same_command_gives_the_same_sheets(call: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert call(*RUNS, "--n", "12", "--seed", "3", "--out", str(tmp_path / name)).code == 0
    one, two = (sorted((tmp_path / name).glob("annotator_*")) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert replace(read_study(tmp_path / "one"), created="") == replace(read_study(tmp_path / "two"), created="")


def test_a_study_is_never_overwritten_by_accident(call: Any, tmp_path: Path) -> None:
    out = tmp_path / "study"
    wanted = (*RUNS, "--n", "12", "--out", str(out))
    assert call(*wanted, "--annotators", "4").code == 0
    refused = call(*wanted)
    assert refused.code == 2 and "holds a study already" in refused.err and "--force" in refused.err
    assert call(*wanted, "--annotators", "2", "--force").code == 0
    assert len(list(out.glob("annotator_*.xlsx"))) == 2
    sheet = out / "annotator_01.csv"
    blank = sheet.read_bytes()
    rows = list(csv.reader(io.StringIO(blank.decode("utf-8-sig"), newline="")))
    rows[3][-2] = "4"
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)
    refused = call(*wanted, "--force")
    assert refused.code == 2 and "annotator_01.csv holds ratings" in refused.err
    sheet.write_bytes(blank)
    book = openpyxl.load_workbook(out / "annotator_02.xlsx")
    book["Ratings"]["E4"] = 5
    book.save(out / "annotator_02.xlsx")
    assert "annotator_02.xlsx holds ratings" in call(*wanted, "--force").err
    (out / "annotator_02.xlsx").unlink()
    (out / "answers").mkdir()
    (out / "answers" / "annotator_01.jsonl").write_text("{}\n")
    assert "annotator_01.jsonl holds ratings" in call(*wanted, "--force").err


def test_a_folder_of_something_else_is_left_alone(call: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for more in ((), ("--force",)):
        done = call(*RUNS, "--out", str(tmp_path), *more)
        assert done.code == 2 and "not empty and holds no study" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("zephyrnaught", "--out", "s"), "no rubric given; --rubric says what is rated: correctness, "),
        (("zephyrnaught", "--rubric", "summarization", "--out", "s"), "did you mean summarisation"),
        (("zephyrnaught", "--rubric", "summarisation"), "no folder given; --out FOLDER"),
        (("--rubric", "summarisation", "--out", "s"), "nothing to rate: name one or more runs"),
        (("zephyrnought", "--rubric", "summarisation", "--out", "s"), "no run 'zephyrnought'"),
        (("zephyrnaught", "zephyrnaught", "--rubric", "summarisation", "--out", "s"), "is given twice"),
        ((*RUNS, "--n", "40", "--out", "s"), "--n 40: 29 items can be rated"),
        ((*RUNS, "--task", "newz", "--out", "s"), "no task|not every run has a task 'newz' (did you mean news?)"),
        ((*RUNS, "--filter", "strict", "--out", "s"), "has no filter 'strict'"),
        ((*RUNS, "--stratify", "topics", "--out", "s"), "no item has a slice 'topics' (did you mean topic?)"),
        ((*RUNS, "--column", "source=article", "--out", "s"), "without source (column 'article'): the data has id, source"),
        ((*RUNS, "--column", "sauce=source", "--out", "s"), "it is one of input, source, reference"),
        ((*RUNS, "--format", "ods", "--out", "s"), "--format 'ods': it is csv, xlsx, both"),
        ((*RUNS, "--delimiter", "!", "--out", "s"), "--delimiter '!': it is auto"),
        ((*RUNS, "--plan", "--win-rate", "0.4"), "--win-rate 0.4: it lies between 0.5 and 1"),
        (("zephyrnaught", "--rubric", "preference", "--out", "s"), "give the runs of two or more"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    call: Any, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = call(*arguments)
    assert done.code == 2, done.err
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("evalkit: error: ") and any(part in last for part in message.split("|")), last
    assert not (folder / "s").exists()


def test_pairs_of_two_runs(call: Any, tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert call("quillfeather", "zephyrnaught", "--rubric", "preference", "--n", "24", "--out", str(out)).code == 0
    study = read_study(out)
    assert study.form == "pairwise" and all(row.second is not None for row in study.rows)
    with (out / "annotator_01.csv").open(encoding="utf-8-sig", newline="") as file:
        line = next(csv.DictReader(file))
    assert list(line) == ["item_id", "study_id", "input", "output_A", "output_B", "preference", "comment"]
    assert line["input"].startswith("Summarise: The document number")


def test_one_criterion_alone(call: Any, tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert call("zephyrnaught", "--rubric", "summarisation/fluency", "--out", str(out)).code == 0
    assert read_study(out).rubric.names == ("fluency",)


def test_a_rubric_without_a_criterion_for_checks_is_told(call: Any, tmp_path: Path) -> None:
    done = call("zephyrnaught", "--rubric", "harmlessness", "--out", str(tmp_path / "one"))
    assert done.code == 0 and "no attention checks: no criterion" in done.err
    done = call("zephyrnaught", "--rubric", "harmlessness", "--check-on", "harmlessness", "--out", str(tmp_path / "two"))
    assert done.code == 0 and "no attention checks" not in done.err
    assert any(row.expected == {"harmlessness": 2.0} for row in read_study(tmp_path / "two").rows)


def test_a_plan_writes_nothing(call: Any, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = call(*RUNS, "--n", "20", "--annotators", "3", "--overlap", "8", "--plan")
    assert done.code == 0 and sorted(folder.rglob("*")) == before
    assert "0.5: 32, 0.3: 88, 0.2: 197, 0.1: 785" in done.out
    assert "8 of the 20 items are rated by all 3" in done.err
    told = json.loads(call(*RUNS, "--n", "20", "--plan", "--difference", "0.3", "--json").out)
    assert told["answers"][1]["needed"] == {"0.3": 88}
    assert len(told["minutes"]) == 3 and told["study"]["items"] == 20
    pairs = json.loads(call(*RUNS[:3], "preference", "--plan", "--win-rate", "60", "--json").out)
    assert {"60%": 194} in [line["needed"] for line in pairs["answers"]]


def test_json_says_what_was_written(call: Any, tmp_path: Path) -> None:
    told = json.loads(call(*RUNS, "--n", "20", "--out", str(tmp_path / "s"), "--json").out)
    assert {*told["files"]} | {".gitignore"} == {path.name for path in (tmp_path / "s").iterdir()}
    assert sum(told["rows"].values()) == sum(told["kinds"].values()) and sum(told["left_out"].values()) == 3


def test_files_of_outputs_can_be_rated_without_any_run(call: Any, tmp_path: Path) -> None:
    rows = [{"id": f"q{at}", "question": f"Why {WORDS[at]}?", "prediction": words("prompt", at + 2)} for at in range(20)]
    (tmp_path / "one.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows[4]["prediction"] = None  # type: ignore[assignment]
    (tmp_path / "two.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = ("-p", f"zeph={tmp_path}/one.jsonl", "-p", f"quill={tmp_path}/two.jsonl")
    lacking = call(*files, "--rubric", "helpfulness", "--out", str(tmp_path / "study"))
    assert (
        lacking.code == 2 and "without input: the data has id, question; name its column with --column input=" in lacking.err
    )
    done = call(*files, "--rubric", "helpfulness", "--column", "input=question", "--out", str(tmp_path / "study"))
    assert done.code == 0 and "left out: 1 without an output of quill" in done.err
    study = read_study(tmp_path / "study")
    assert study.systems == ("zeph", "quill")
    assert {row.first.input for row in study.rows} <= {row["question"] for row in rows}
    both = call(*files, "zephyrnaught", "--rubric", "helpfulness", "--out", str(tmp_path / "other"))
    assert both.code == 2 and "not of both" in both.err


@pytest.fixture(scope="module")
def odd_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of two tasks with the same ids, one of them with examples, repeats and one sample's data changed."""
    where = tmp_path_factory.mktemp("odd")
    for model in (zephyrnaught, quillfeather):
        tasks = []
        for name, more in (("news", {"repeats": 2}), ("olds", {"num_fewshot": 1})):
            rows = [
                {"id": f"doc-{at:02d}", "source": f"Text {at} of {name} tells {WORDS[at]}.", "gold": "g"} for at in range(12)
            ]
            if model is quillfeather and name == "olds":
                rows[7]["source"] += " And more."
            (where / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
            task = {
                "task": name,
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl", "train": f"{name}.jsonl"}},
                "test_split": "test",
                "fewshot_split": "train",
                "sample_id": "id",
                "output_type": "generate_until",
                "doc_to_text": "Summarise: {{source}}\n\n",
                "doc_to_target": "gold",
                "generation_kwargs": {"until": ["\n\n"], "do_sample": True, "temperature": 1.0},
                **more,
            }
            (where / f"{name}.yaml").write_text(json.dumps(task))
            tasks.append(str(where / f"{name}.yaml"))
        evalkit.run(tasks, model, name=model.__name__, output_dir=where / "runs", max_error_rate=1.0)
    return where


def test_items_of_several_tasks_are_told_apart_and_changed_data_is_left_out(odd_runs: Path, tmp_path: Path) -> None:
    runs = [evalkit.open_run(name, output_dir=odd_runs / "runs") for name in ("zephyrnaught", "quillfeather")]
    rubric = load_rubric("helpfulness")
    pool = open_pool(runs, rubric)
    assert "news/doc-03" in pool.items and "olds/doc-03" in pool.items and "olds/doc-07" not in pool.items
    assert pool.left_out == {"whose data differs between the runs": 1}
    assert any("several answers; the first one" in note for note in pool.notes), pool.notes
    assert any("the prompt with 1 examples" in note for note in pool.notes)
    assert all(len({output.input for output in outputs}) == 1 for outputs in pool.items.values())
    one = open_pool(runs, rubric, tasks=["news"], columns={"input": "source"})
    assert "doc-03" in one.items and one.items["doc-03"][0].input == "Text 3 of news tells council."
    study = evalkit.export_study(runs, rubric, out=tmp_path / "study", n=12, annotators=1)
    tasks = [row.first.task for row in study.rows if row.kind == "item"]
    assert {tasks.count("news"), tasks.count("olds")} == {12}


def test_the_python_api(folder: Path, tmp_path: Path) -> None:
    runs = [evalkit.open_run(name, output_dir=folder / "runs") for name in ("zephyrnaught", "quillfeather")]
    study = evalkit.export_study(runs, "summarisation", out=tmp_path / "study", n=10, annotators=2, overlap=4, seed=1)
    assert read_study(tmp_path / "study") == study
    with pytest.raises(UsageError, match="holds a study already"):
        evalkit.export_study(runs, "summarisation", out=tmp_path / "study")
    with pytest.raises(RubricError):
        evalkit.export_study(runs, "nonsense", out=tmp_path / "other")
    with pytest.raises(DataError, match="given twice"):
        evalkit.export_study([runs[0], runs[0]], "summarisation", out=tmp_path / "other")
    assert not (tmp_path / "other").exists()
