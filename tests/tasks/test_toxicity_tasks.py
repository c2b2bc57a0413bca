"""Toxicity tasks: evalkit's identity prompts and their balance, and RealToxicityPrompts' rows in either form."""

from __future__ import annotations

import gzip
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.errors import DataError
from evalkit.resources import builtin_dir
from evalkit.tasks.load import TaskLibrary

FOLDER = builtin_dir("tasks") / "toxicity"
RTP = Path(__file__).resolve().parents[3] / "shared" / "data" / "toxicity" / "rtp_sample_perspective_scores.jsonl.gz"


def prompts() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / "identity_prompts.jsonl").read_text("utf-8").splitlines()]


def run(task: str, data: Path | None = None, **options: Any) -> evalkit.Run:
    given = {} if data is None else {"data": {task: str(data)}}
    return evalkit.run(task, "mock/echo", store=False, **given, **options)


def test_every_template_has_every_group_once() -> None:
    rows = prompts()
    assert len(rows) == 460 and len({row["id"] for row in rows}) == 460 and len({row["prompt"] for row in rows}) == 460
    cells = Counter((row["template"], row["axis"], row["group"]) for row in rows)
    assert set(cells.values()) == {1}
    assert len({row["template"] for row in rows}) == 20 and len({(row["axis"], row["group"]) for row in rows}) == 23
    assert min(Counter(row["axis"] for row in rows).values()) == 2 * 20


def test_prompts_of_a_template_differ_in_the_group_only() -> None:
    for template in {row["template"] for row in prompts()}:
        own = [row["prompt"] for row in prompts() if row["template"] == template]
        words = [set(text.casefold().rstrip(",:").split()) for text in own]
        shared = set.intersection(*words)
        assert all(len(each - shared) <= 3 for each in words), template  # "a Black person", "an atheist"
        assert all(text[0].isupper() and text == text.strip() for text in own)


def test_articles_agree() -> None:
    for row in prompts():
        words = row["prompt"].casefold().split()
        for word, after in itertools.pairwise(words):
            assert word != "a" or after[0] not in "aeiou", row["prompt"]
            assert word != "an" or after[0] in "aeiou", row["prompt"]


GENERATED = sorted([*FOLDER.glob("identity_prompts*.yaml"), *FOLDER.glob("real_toxicity_prompts*.yaml")])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_task_warns_of_its_content(path: Path) -> None:
    (config,) = TaskLibrary(cache=False).resolve([str(path)]).tasks
    assert config.content_warning and config.ability and config.licence


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_k_of_a_task_is_in_the_names_of_its_metrics(path: Path) -> None:
    (config,) = TaskLibrary(cache=False).resolve([str(path)]).tasks
    (toxicity,) = [entry for entry in config.scorers if entry.name == "toxicity"]
    k = toxicity.params["k"]
    assert max([k] if isinstance(k, int) else k) == config.repeats
    assert config.generation_kwargs is not None and config.generation_kwargs["do_sample"] is True


def test_the_warning_is_in_the_manifest_but_not_in_what_is_hashed() -> None:
    found = run("identity_prompts_lexical", limit=23)
    entry = found.manifest["tasks"]["identity_prompts_lexical"]
    assert "insulting" in entry["definition"]["content_warning"]
    assert "content_warning" not in entry["config"]


def test_identity_prompts_offline() -> None:
    found = {s.metric: s for s in run("identity_prompts_lexical", limit=50).summary() if s.slice is None}
    assert found["listed_words_gap"].n == 46  # two whole templates
    assert found["listed_words_gap"].value == 0.0 and found["listed_words_gap"].higher_is_better is False
    detail = found["listed_words_gap"].detail
    assert len(detail["religion: means"]["groups"]) == 6 and detail["gender: against the rest"]["ideal"] == 0.0
    assert found["expected_max_listed_words@5"].detail["k"] == "5"


def test_real_toxicity_prompts_in_either_form(tmp_path: Path) -> None:
    pytest.importorskip("profanity_check", reason="the extra 'profanity' is not installed")
    rows = [
        {"prompt": {"text": "You are a", "toxicity": 0.1}},
        {"prompt": {"text": "What a damned", "toxicity": 0.7}},
        {"prompt": {"text": "Who knows", "toxicity": None}},
    ]
    nested = tmp_path / "nested.jsonl"
    nested.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = run("real_toxicity_prompts_lexical", nested)
    slices = {s.slice for s in found.summary() if s.slice}
    assert slices == {"prompt=not toxic", "prompt=toxic", "prompt=unknown"}
    whole = {s.metric: s for s in found.summary() if s.slice is None}
    assert whole["expected_max_profanity@25"].detail["k"] == "25"
    assert whole["expected_max_profanity@5"].value == pytest.approx(
        whole["expected_max_profanity@25"].value
    )  # echo: all alike
    plain = tmp_path / "plain.jsonl"
    plain.write_text(json.dumps({"prompt": "You are a"}) + "\n", encoding="utf-8")
    assert {s.slice for s in run("real_toxicity_prompts_lexical", plain).summary() if s.slice} == {"prompt=unknown"}


@pytest.mark.skipif(not RTP.is_file(), reason="no shared RealToxicityPrompts sample")
def test_texts_that_perspective_calls_toxic_are_mostly_flagged() -> None:
    pytest.importorskip("profanity_check", reason="the extra 'profanity' is not installed")
    from evalkit.classifiers.base import classifier

    lexical = classifier("profanity")
    texts = [json.loads(line)["text"] for line in gzip.decompress(RTP.read_bytes()).decode("utf-8").splitlines()]
    flagged = [lexical.value(v) >= lexical.threshold for v in lexical.classify(texts)]  # type: ignore[operator]
    assert len(texts) == 993 and round(100 * sum(flagged) / len(flagged), 1) == 80.5


def test_rescoring_refuses_a_column_that_the_run_has_not(tmp_path: Path) -> None:
    done = evalkit.run("identity_prompts_lexical", "mock/echo", limit=23, output_dir=str(tmp_path))
    before = done.manifest["tasks"]
    asked = {"name": "group_gap", "classifier": "wordlist", "group": "grupo", "label": "again"}
    with pytest.raises(DataError, match=r"reads the column 'grupo', which the data has not \(did you mean group"):
        evalkit.rescore(done.path, [asked])
    found = evalkit.rescore(done.path, [{**asked, "group": "group"}])  # the refused one has not stayed with the run
    assert before != found.manifest["tasks"] and {s.scorer for s in found.summary()} == {"toxicity", "group_gap", "again"}
