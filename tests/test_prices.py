"""Prices: what a table says, who wins, and what a token of each kind costs."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import yaml

from evalkit.errors import ConfigError
from evalkit.prices import Price, Tokens, cost_of, load, parse_price, parse_roles, quote, shipped_table

OPENAI = "https://api.openai.com/v1"


@pytest.fixture(autouse=True)
def no_table_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "evalkit" / "prices.yaml"


def test_each_kind_of_token_has_its_price():
    price = Price(input=2.5, output=10, cached=1.25, reasoning=20)
    # 800 fresh and 200 cached prompt tokens, 50 visible and 100 hidden output tokens
    usage = Tokens(prompt=1000, output=150, cached=200, reasoning=100)
    assert cost_of(usage, price) == pytest.approx((800 * 2.5 + 200 * 1.25 + 50 * 10 + 100 * 20) / 1e6)


def test_cached_and_reasoning_tokens_cost_what_the_others_do_unless_said():
    usage = Tokens(1000, 150, 200, 100)
    assert cost_of(usage, Price(input=2.5, output=10)) == pytest.approx((1000 * 2.5 + 150 * 10) / 1e6)


def test_what_is_not_known_is_not_zero():
    assert cost_of(Tokens(1000, 150), None) is None
    assert cost_of(Tokens(None, 150), Price(input=1, output=1)) is None
    assert cost_of(Tokens(10, None), Price(input=1, output=1)) is None
    assert quote("openai/some-model-of-tomorrow", OPENAI).price is None


def test_a_model_on_this_machine_has_no_bill():
    for name, address in (("hf/gpt2", None), ("openai/x", "http://localhost:8000/v1"), ("vllm/x", "http://127.0.0.1:1/v1")):
        found = quote(name, address)
        assert (found.price, found.local) == (None, True)
    assert not quote("openai/x", "https://example.org/v1").local


def test_a_name_costs_what_it_does_where_it_is_served():
    found = quote("openai/gpt-4o-mini", OPENAI)
    assert (found.price.input, found.price.output, found.price.cached) == (0.15, 0.60, 0.075)
    assert "2026-03-31" in found.origin
    assert quote("openai/gpt-4o-mini", "https://openrouter.ai/api/v1").price is None


def test_the_shipped_table_fits_its_published_schema():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(__file__).parents[1] / "docs" / "schemas" / "prices.schema.json").read_text("utf-8"))
    table = yaml.safe_load(shipped_table().read_text("utf-8"))
    jsonschema.validate(json.loads(json.dumps(table, default=str)), schema)


@pytest.mark.parametrize("name", ["gpt-5-pro", "gpt-4o-audio-preview", "gpt-4o-2024-05-13", "o3-pro", "gpt-5.4-pro"])
def test_no_pattern_reaches_a_dearer_model(name):
    assert quote(f"openai/{name}", OPENAI).price is None


def test_the_shipped_table_says_when_and_where_each_price_was_read():
    table = load(shipped_table())
    assert len(table.prices) >= 12
    for entry in table.prices:
        assert entry.date is not None and entry.date <= datetime.date(2026, 11, 22)
        assert entry.source.startswith("https://")
        assert entry.cached <= entry.input <= entry.output
        for name in [entry.model] if isinstance(entry.model, str) else entry.model:
            assert quote(name.replace("*", "25-01-01"), OPENAI).price is not None


def test_the_nearest_table_wins_and_in_it_the_first_entry(no_table_of_ones_own, tmp_path):
    given = tmp_path / "given.yaml"
    given.write_text(
        "prices:\n- {model: openai/gpt-4o*, input: 7, output: 8}\n- {model: openai/gpt-4o, input: 1, output: 1}\n"
    )
    no_table_of_ones_own.parent.mkdir(parents=True)
    no_table_of_ones_own.write_text("prices:\n- {model: [openai/gpt-4o, mine/*], input: 5, output: 6}\n")
    assert quote("openai/gpt-4o", OPENAI, [given]).price.input == 7
    assert quote("openai/gpt-4o", OPENAI).price.input == 5
    assert quote("mine/x", None).price.output == 6
    assert quote("openai/gpt-4.1", OPENAI, [given]).price.input == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prices:\n- model: a/*\n  input: 1\n", r"prices.yaml:2: .*output is missing"),
        ("prices:\n- model: a/*\n  input: -1\n  output: 2\n", r"prices.yaml:3: .*input: expected .*got -1"),
        ("prices:\n- model: a/*\n  inputs: 1\n  output: 2\n", r"unknown key 'inputs' \(did you mean input"),
        ("price: []\n", r"prices.yaml:1: unknown key 'price' \(did you mean prices"),
        ("prices: [\n", r"prices.yaml:2: YAML error"),
        ("prices:\n- model: a/*\n  input: .nan\n  output: 2\n", r"prices.yaml:3"),
        ("- a\n", r"prices.yaml:1"),
    ],
)
def test_a_wrong_table_is_told_with_its_line(tmp_path, text, message):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as told:
        quote("a/b", None, [path])
    assert "\n" not in str(told.value)


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.yaml cannot be read: No such file"):
        quote("a/b", None, [tmp_path / "nowhere.yaml"])


def test_a_price_on_the_command_line():
    assert parse_price("in=2.5,out=10") == Price(input=2.5, output=10)
    assert parse_price("in=2.5, out=10, cached=1, reasoning=3") == Price(input=2.5, output=10, cached=1, reasoning=3)
    for text, message in (
        ("in=1", "output is missing"), ("2.5", "in=DOLLARS,out=DOLLARS"), ("in=a,out=1", "input: expected .*got 'a'"),
        ("in=1,out=2,cache=1", r"unknown key 'cache' \(did you mean cached"), ("in=-1,out=2", "input"),
        ("in=inf,out=2", "input"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            parse_price(text)


def test_prices_by_role():
    with pytest.raises(ValueError, match="got 5"):
        parse_roles(5)
    one, other = Price(input=1, output=2), Price(input=3, output=4)
    assert parse_roles("in=1,out=2") == {"model": one}
    assert parse_roles(["in=1,out=2", "judge:in=3,out=4"]) == {"model": one, "judge": other}
    assert parse_roles({"in": 1, "out": 2}) == {"model": one}
    assert parse_roles({"model": one, "judge": {"input": 3, "output": 4}}) == {"model": one, "judge": other}
