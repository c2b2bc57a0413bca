"""Budgets, prices and the cache on the command line: what is said, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROWS = 30
TASK = """
task: say
dataset_path: json
dataset_kwargs: {data_files: {test: data.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{q}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 16}
metric_list: [{metric: exact_match}]
"""
ASKED = ("run", "--model", "mock/echo", "-M", "wave=5", "--tasks", "say.yaml")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"q": f"thing {i}"}) + "\n" for i in range(ROWS)))
    (tmp_path / "say.yaml").write_text(TASK)
    return tmp_path


def test_a_spent_budget_is_exit_5_with_the_way_on(evalkit):
    done = evalkit(*ASKED, "--price", "in=1000,out=1000", "--max-cost", "0.05")
    assert done.code == 5
    last = done.err.strip().splitlines()[-1]
    assert "the budget of --max-cost 0.05 is spent: $0.0" in last
    assert last.endswith("--max-cost MORE")
    assert "evalkit run --resume" in last
    assert "mock/echo: 1" in done.err and "cost $0.0" in done.err
    assert evalkit(*ASKED, "--price", "in=1000,out=1000", "--max-cost", "0.05").code == 5
    on = evalkit("run", "--resume", "latest", "--max-cost", "50")
    assert on.code == 0, on.err
    assert json.loads(evalkit("show", "latest", "--json").out)["usage"][0]["requests"] == ROWS


def test_a_run_file_has_the_same_settings(evalkit, place):
    (place / "suite.yaml").write_text(
        "model: mock/echo\ntasks: [say.yaml]\nprice: {in: 1, out: 2}\nmax_tokens_total: 20\n"
        "model_args: {wave: 5}\ncache: kept\n"
    )
    done = evalkit("run", "suite.yaml")
    assert done.code == 5
    assert "--max-tokens-total 20 is spent" in done.err
    assert (place / "kept" / "answers.sqlite").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--max-cost", "0"), "--max-cost"),
        (("--max-tokens-total", "-3"), "--max-tokens-total"),
        (("--price", "in=1"), "--price: output is missing: a price needs input and output"),
        (("--price", "2"), "--price: a price is written in=DOLLARS,out=DOLLARS"),
        (("--price", "jugde:in=1,out=1"), "--price names the role 'jugde'; this run has model"),
        (("--prices", "nowhere.yaml"), "price table nowhere.yaml cannot be read: No such file or directory"),
    ],
)
def test_bad_prices_and_budgets_are_one_line(evalkit, flags, message):
    done = evalkit(*ASKED, *flags)
    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("evalkit: error")]
    assert message in line


def test_a_budget_in_dollars_needs_the_price_of_a_hosted_model(evalkit, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    hosted = ("-M", "base_url=https://api.example.invalid/v1", "-M", "probe=false", "--tasks", "say.yaml")
    done = evalkit("run", "--model", "openai/mystery", *hosted, "--max-cost", "1")
    assert done.code == 2
    assert "--max-cost needs a price and that of openai/mystery is not known; give it with --price in=" in done.err
    assert "sk-0123456789" not in done.err


def test_the_dry_run_tells_what_it_may_cost(evalkit):
    done = evalkit(*ASKED, "--dry-run", "--price", "in=1,out=1000")
    assert done.code == 0
    assert "Cost at most" in done.out
    assert "$0.48" in done.out  # 30 answers of at most 16 tokens
    assert "every answer for as long as it may be" in done.err
    assert "Cost" not in evalkit(*ASKED, "--dry-run").out


def test_the_cache_is_shown_and_cleared(evalkit):
    assert "0 answers" in evalkit("cache").err
    assert evalkit(*ASKED, "--cache").code == 0
    again = evalkit(*ASKED, "--cache", "--new")
    assert f"{ROWS} answers from the cache" in again.err
    held = evalkit("cache")
    assert "mock/echo" in held.out and f"{ROWS} answers" in held.err
    assert json.loads(evalkit("cache", "--json").out)["models"] == {"mock/echo": ROWS}
    assert "0 answers" in evalkit("cache", "--clear").err
    assert "from the cache" not in evalkit(*ASKED, "--cache", "--new").err


def test_the_texts_that_metrics_encoded_are_shown_and_cleared(evalkit):
    import numpy as np

    from evalkit.encoder.disk import Disk, default_folder

    assert "0 encoded texts" in evalkit("cache").err
    store = Disk(default_folder())
    store.put({bytes([i] * 16): np.ones(3, dtype=np.float32) for i in range(4)}, "tiny-bert")
    store.close()
    held = evalkit("cache")
    assert "tiny-bert" in held.out and "4 encoded texts" in held.err
    assert json.loads(evalkit("cache", "--json").out)["encoded"]["models"] == {"tiny-bert": 4}
    assert "encoded" not in evalkit("cache", "--cache-dir", "elsewhere", "--clear").err
    assert "4 encoded texts" in evalkit("cache").err
    assert "0 encoded texts" in evalkit("cache", "--clear").err
    (default_folder() / "rows.sqlite").write_bytes(b"no database, but a longer text" * 99)
    broken = evalkit("cache")
    assert broken.code == 2 and "evalkit cache --clear removes it" in broken.err
    assert evalkit("cache", "--clear").code == 0
