"""The files derived from a run: safe, strict, and readable by what reads lm-eval's."""

from __future__ import annotations

import csv
import gzip
import json
import math
import shlex
import tracemalloc

import pandas as pd
import pytest
from fakerun import FakeRun, choice_view, fake_run, manifest, summaries
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import StoreError
from evalkit.report import strict
from evalkit.report.base import command
from evalkit.report.export import export_all, export_results, export_samples, export_summary
from evalkit.report.tables import cell, csv_file, escape, unescape


def no_constants(name):
    raise AssertionError(f"{name} is not JSON")


def load(text):
    return json.loads(text, parse_constant=no_constants)


def test_export_all_writes_every_file_whole_and_leaves_nothing_else(tmp_path):
    paths = export_all(fake_run(tmp_path))
    names = {"results.json", "summary.csv", "usage.csv", "samples.jsonl.gz", "samples.csv", "report.html"}
    assert {p.name for p in paths} == names == {p.name for p in tmp_path.iterdir()}
    assert all(p.stat().st_size > 0 for p in paths)


def test_a_run_without_directory_says_so():
    with pytest.raises(StoreError, match="store=False"):
        export_all(fake_run(None))


def test_results_json_has_the_keys_of_lm_eval(tmp_path):
    document = load(export_results(fake_run(tmp_path)).read_text("utf-8"))
    metals = document["results"]["metals"]
    assert (metals["alias"], metals["acc,none"], metals["acc_stderr,none"], metals["sample_len"]) == (
        "metals",
        0.75,
        0.0563,
        60,
    )
    assert document["results"]["sums"]["exact_match_stderr,strict-match"] == "N/A"
    assert document["groups"]["science"]["acc,none"] == document["results"]["science"]["acc,none"] == 0.62
    assert document["group_subtasks"] == {"science": ["metals", "planets"]}
    assert document["n-shot"]["sums"] == 5
    assert document["higher_is_better"]["prose"] == {"word_perplexity": False}
    assert document["n-samples"]["metals"] == {"original": 122, "effective": 61}
    assert document["config"]["model"] == "demo/smollm2"
    assert document["config"]["fewshot_seed"] == 1234
    assert document["date"] == 1795322919.0
    assert document["total_evaluation_time_seconds"] == "83.2"


def test_results_json_carries_every_summary_and_the_command(tmp_path):
    text = export_results(fake_run(tmp_path)).read_text("utf-8")
    own = load(text)["evalkit"]
    assert len(own["summaries"]) == len(summaries())
    assert own["summaries"][1]["ci"] == [0.63, 0.84]
    assert own["summaries"][7]["stderr"] is None
    assert "-M 'api_key=***'" in own["command"]


def test_the_command_to_reproduce_says_everything_that_was_chosen(tmp_path):
    run = fake_run(tmp_path)
    run.manifest["config"] |= {
        "samples": {"sums": [1, 2]},
        "fewshot_as_multiturn": False,
        "scorers": ["rouge"],
    }
    words = shlex.split(command(run))
    assert words[:8] == ["evalkit", "run", "--model", "demo/smollm2", "-M", "dtype=float32", "-M", "api_key=***"]
    assert words[words.index("--samples") + 1] == '{"sums": [1, 2]}'
    assert words[words.index("--gen-kwargs") + 1] == "temperature=0"
    assert "--no-fewshot-as-multiturn" in words and "--apply-chat-template" not in words


def test_results_are_strict_json_when_a_value_is_not_a_number(tmp_path):
    run = fake_run(tmp_path)
    run.manifest["model"]["scale"] = float("nan")
    assert load(export_results(run).read_text("utf-8"))["evalkit"]["model"]["scale"] is None


def test_sample_lines_have_the_keys_of_lm_eval_and_the_status(tmp_path):
    path, _ = export_samples(fake_run(tmp_path))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [load(line) for line in file]
    first, failed, sums = lines[0], lines[7], [line for line in lines if line["task"] == "sums"]
    assert len(lines) == 106
    keys = {
        "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
        "target_hash",
    }  # fmt: skip
    assert keys <= first.keys()
    assert first["arguments"]["gen_args_1"] == {"arg_0": "Question: Which metal is number 0?\nAnswer:", "arg_1": " iron"}
    assert first["resps"][0] == [[-1.0, True]]
    assert first["filtered_resps"][1] == [-4.0, False]
    assert (first["acc"], first["metrics"], first["target"], first["status"]) == (1.0, ["acc", "acc_norm"], "copper", "ok")
    assert (failed["status"], failed["metrics"], failed["error"]["kind"]) == ("error", [], "timeout")
    assert sums[0]["doc"]["weight"] is None
    assert sums[2]["arguments"]["gen_args_0"]["arg_0"][0] == {"role": "system", "content": "Be brief."}
    assert (sums[4]["status"], sums[4]["exact_match"]) == ("unscored", None)
    assert sums[4]["scores"]["exact_match"]["unscored"] == "no number in the answer"


def test_sample_files_are_the_same_bytes_every_time(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        export_samples(fake_run(tmp_path / name))
    assert (tmp_path / "a/samples.jsonl.gz").read_bytes() == (tmp_path / "b/samples.jsonl.gz").read_bytes()


def test_samples_csv_reads_back_in_pandas(tmp_path):
    _, path = export_samples(fake_run(tmp_path))
    table = pd.read_csv(path)
    assert len(table) == 106
    assert table[table.task == "metals"]["score:acc"].sum() == 16
    assert table[table.status == "error"]["error"].tolist() == ["timeout: no answer in 60 s"]
    assert "'=HYPERLINK(1)" in table["answer"].tolist()
    assert table["answer"].tolist()[:2] == ["copper", "iron"]


def test_summary_csv_has_a_row_for_every_summary(tmp_path):
    with export_summary(fake_run(tmp_path)).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(summaries())
    assert rows[3]["slice"] == "subject=chemistry"
    assert rows[5]["notes"] == "cannot be told from chance (0.2500)"
    assert rows[6]["notes"] == "1 unscored; 25.0% of generations cut at the length limit; 1 prompt truncated"


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("=1+1", "'=1+1"), ("+cmd", "'+cmd"), ("-2+3", "'-2+3"), ("@SUM(A1)", "'@SUM(A1)"), ("\tx", "'\tx"), ("\rx", "'\rx"),
        ("'=1", "''=1"), ("-5", "-5"), ("+1.5e3", "+1.5e3"), ("it's", "it's"),
        ("'quoted'", "'quoted'"), ("", ""), ("a=b", "a=b"),
    ],
)  # fmt: skip
def test_cells_are_never_formulas_and_numbers_stay_numbers(given_, expected):
    assert escape(given_) == expected
    assert unescape(expected) == given_


@given(st.text(st.sampled_from("'=+-@\t\r1a.")))
def test_escaping_is_reversible(text):
    assert unescape(escape(text)) == text


@given(st.one_of(st.none(), st.floats(), st.integers(), st.text(), st.lists(st.floats())))
def test_no_cell_starts_a_formula(value):
    text = cell(value)
    if isinstance(text, str):
        assert not text.startswith(("=", "@", "\t", "\r"))


def test_csv_survives_quotes_newlines_and_broken_characters(tmp_path):
    with csv_file(tmp_path / "x.csv", ["a"]) as rows:
        rows.writerow(['one "two",\nthree'])
        rows.writerow(["half \ud83d"])
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        assert [row["a"] for row in csv.DictReader(file)] == ['one "two",\nthree', "half \\ud83d"]


@given(
    st.recursive(st.none() | st.floats() | st.text() | st.booleans(), lambda s: st.lists(s) | st.dictionaries(st.text(), s))
)
def test_strict_json_keeps_what_json_can_hold(value):
    def expected(v):
        if isinstance(v, float):
            return v if math.isfinite(v) else None
        if isinstance(v, list):
            return [expected(x) for x in v]
        return {k: expected(x) for k, x in v.items()} if isinstance(v, dict) else v

    assert load(strict.dumps(value)) == expected(value)


def test_strict_json_writes_half_a_character_as_an_escape():
    assert json.loads(strict.dumps({"text": "\ud83d"})) == {"text": "\ud83d"}


def test_a_failed_export_leaves_the_old_file(tmp_path):
    run = fake_run(tmp_path)
    export_samples(run)
    before = (tmp_path / "samples.csv").read_bytes()

    def broken(task=None):
        yield run.views[0]
        raise OSError(28, "No space left on device")

    run.records = broken
    with pytest.raises(OSError, match="No space left"):
        export_samples(run)
    assert (tmp_path / "samples.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_memory_stays_flat_in_the_number_of_samples(tmp_path):
    class Endless(FakeRun):
        def records(self, task=None):
            return (choice_view("metals", i) for i in range(self.size))

    def peak(size):
        run = Endless(tmp_path, [], summaries(), manifest())
        run.size = size
        tracemalloc.start()
        export_samples(run)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(3000) < 1.5 * peak(300) + 200_000


@given(
    st.recursive(
        st.none() | st.floats() | st.integers() | st.text() | st.booleans(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s) | st.tuples(s),
    )
)
def test_a_document_is_hashed_as_lm_eval_hashes_it(value):
    assert strict.indented(value) == json.dumps(strict.plain(value), indent=2, ensure_ascii=False)
