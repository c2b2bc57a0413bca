"""The task of docs/hallucination.md as a run: rounds of questions, and scores made again from the answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import evalkit

DOC = Path(__file__).resolve().parents[2] / "docs" / "hallucination.md"
ARTICLE = "Ada King, Countess of Lovelace, was born in London in 1815. She wrote notes on the Analytical Engine."
DRAWS = [
    "Ada was born in 1815. She had a horse.",
    "Ada was born in 1815. She wrote notes.",
    "She was born in 1815.",
    "Ada? She was born in 1815, in London.",
    "Born in 1815, Ada wrote notes.",
]


class Writer:
    """Says another thing each time it is asked about one person."""

    def __init__(self):
        self.asked = 0

    def __call__(self, prompt):
        self.asked += 1
        return DRAWS[(self.asked - 1) % len(DRAWS)]


class Judge:
    """Lists claims, looks them up, and knows what other answers bear out; its first list is unreadable."""

    def __init__(self):
        self.asked = []

    def __call__(self, prompt):
        system, user = (turn["content"] for turn in prompt)
        self.asked.append(user)
        texts = re.findall(r"<text-\w+>\n(.*?)\n</text-\w+>", user, re.DOTALL)
        if "claims it makes" in system:
            lists = sum("List the claims" in text for text in self.asked)
            return "Well." if lists == 1 else json.dumps(["Ada was born in 1815.", "Ada had a horse."])
        said = texts[1]
        if "source text" in system:
            quote = "born in London in 1815" if "1815" in said else "a horse of her own"
            return f"QUOTE: {quote}\nVERDICT: supported"
        return "VERDICT: " + ("no" if "horse" in said else "yes")


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    example = re.findall(r"```yaml\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL)[0]
    (tmp_path / "lives.yaml").write_text(example, "utf-8")
    people = [{"name": name, "article": ARTICLE} for name in ("Ada Lovelace", "Ada King")]
    (tmp_path / "lives.jsonl").write_text("\n".join(map(json.dumps, people)), "utf-8")
    return str(tmp_path / "lives.yaml")


def values(run):
    return {row.metric: row for row in run.summary() if row.slice is None}


def test_the_documented_task_runs_from_answers_to_values(task):
    writer, judge = Writer(), Judge()
    run = evalkit.run(task, writer, roles={"judge": judge})
    assert run.status == "complete"
    found = values(run)
    assert found["selfcheck"].value == pytest.approx(0.5) and found["selfcheck"].higher_is_better is False
    assert found["selfcheck_worst"].value == 1.0
    assert found["claims_supported"].value == 0.5 == found["claims_unverified"].value
    assert found["claims"].value == 2.0
    assert 0 < found["self_consistency"].value < 1
    assert found["rare_words:selfcheck"].value > 0
    assert "judge:python/Judge@" in found["claims_supported"].signature
    # 2 sentences x 4 others, a list, a list again for each person (drawn anew), 2 claims: what is the same is asked once
    assert (writer.asked, len(judge.asked)) == (10, 8 + 1 + 2 + 2)

    again = evalkit.rescore(run.path)
    assert (writer.asked, len(judge.asked)) == (10, 13)
    assert {name: row.value for name, row in values(again).items()} == {name: row.value for name, row in found.items()}
