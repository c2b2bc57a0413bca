"""``evalkit classifier``: the tables, the JSON, the CSV, and one line for bad input."""

from __future__ import annotations

import csv
import io
import json

import pytest


@pytest.fixture
def labelled(tmp_path):
    rows = [
        {
            "text": f"you {'moron' if i % 5 < 2 else 'friend'}",
            "label": "toxic" if i % 3 == 0 else "fine",
            "who": "women" if i % 2 else "men",
            "functionality": f"f{i % 2}",
            "s": (i * 7 % 20) / 20,
        }
        for i in range(60)
    ]
    path = tmp_path / "labelled.jsonl"
    lines = [*rows, {"text": "no label", "label": None, "s": 0.1}, {"text": None, "label": "toxic", "s": None}]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
    return str(path)


def test_the_tables_say_what_was_read_and_how_sure_it_is(evalkit, labelled):
    done = evalkit("classifier", "evaluate", "--data", labelled, "--classifier", "wordlist", "--groups", "who")
    assert done.code == 0, done.err
    assert "60 texts, 20 positive (label is toxic; text: text, label: label, groups: who" in done.err
    assert "wordlist" in done.err and "1 row without a label left out" in done.err
    assert "1 text unscored, in none of the numbers: there is no text" in done.err
    lines = done.out.splitlines()
    assert lines[0] == "At threshold 0.5" and lines[1].split() == ["Metric", "Value", "95%", "CI", "n", "Range", "Meaning"]
    overall = {line.split()[0]: line for line in lines[3 : lines.index("")]}
    assert {"accuracy", "precision", "recall", "f1", "auc", "average_precision", "fpr", "bias_score"} <= set(overall)
    assert "0 to 1, ideal 0" in overall["fpr"] and "[" in overall["auc"]
    assert any(line.startswith("women") for line in lines) and "Accuracy by functionality" in lines


def test_json_csv_and_a_file(evalkit, labelled, tmp_path):
    command = ("classifier", "evaluate", "--data", labelled, "--scores", "s", "--positive", "fine", "--replicates", "20")
    told = json.loads(evalkit(*command, "--json", "--threshold", "0.4", "--output", str(tmp_path / "out" / "c.csv")).out)
    assert (told["data"]["texts"], told["data"]["positive"], told["threshold"]) == (60, 40, 0.4)
    assert told["data"]["unscored"] == {"the score is missing": 1}
    assert [figure["metric"] for figure in told["overall"]][:2] == ["accuracy", "precision"]
    assert told["meaning"]["fnr"]["ideal"] == 0
    printed = evalkit(*command, "--csv", "--threshold", "0.4").out
    assert printed == (tmp_path / "out" / "c.csv").read_text("utf-8")
    first = next(csv.DictReader(io.StringIO(printed)))
    assert (first["part"], first["metric"], first["n"]) == ("overall", "accuracy", "60")


def test_options_of_the_classifier(evalkit, labelled, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("friend\n", encoding="utf-8")
    command = ("classifier", "evaluate", "--data", labelled, "--classifier", "wordlist", "--json", "--replicates", "0")
    told = json.loads(evalkit(*command, "--classifier-arg", f"path={words}").out)
    assert {f["metric"]: f["value"] for f in told["overall"]}["recall"] == pytest.approx(12 / 20)
    assert evalkit(*command, "--classifier-arg", "path").err.startswith("evalkit: error: --classifier-arg is key=value")


def test_about_says_what_it_is_and_what_it_can_not_do(evalkit):
    done = evalkit("classifier", "about", "wordlist")
    assert done.code == 0 and "threshold  0.5" in done.out and "No figures are kept" in done.err
    pytest.importorskip("profanity_check", reason="alt-profanity-check is not installed (extra: profanity)")
    done = evalkit("classifier", "about", "profanity")
    assert "HateCheck" in done.out and "0.468" in done.out and "identity words raise its score" in done.err
    told = json.loads(evalkit("classifier", "about", "profanity", "--json").out)
    assert told["threshold"] == 0.5 and told["figures"][0]["auc"] == 0.843


def test_bad_input_is_one_line(evalkit, labelled):
    done = evalkit("classifier", "evaluate", "--data", labelled, "--scores", "ss")
    assert (done.code, done.err.strip()) == (2, f"evalkit: error: {labelled}: no column 'ss' (did you mean s?)")
    done = evalkit("classifier", "evaluate", "--data", labelled)
    assert done.code == 2 and "name a classifier" in done.err
    done = evalkit("classifier", "evaluate", "--data", labelled, "--classifier", "wordlists")
    assert done.code == 2 and "did you mean wordlist" in done.err
    assert evalkit("classifier", "about", "nothing").code == 2


def test_help_names_the_commands(evalkit):
    out = evalkit("classifier", "--help").out
    assert "evaluate" in out and "about" in out
