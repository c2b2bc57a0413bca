"""Tool calls against the Berkeley Function-Calling Leaderboard's ground truths, from data and from text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit import api
from evalkit.models.remote.chat import ChatEndpoint
from evalkit.runner.options import RunOptions
from evalkit.runner.prepare import ready_task, select
from evalkit.scorers.call_text import calls_in
from evalkit.scorers.tool_calls import ToolCalls, compared, fits, wanted_calls
from evalkit.types import Record, Request, Response, Sample

AREA = [{"triangle_area": {"base": [10], "height": [5], "unit": ["units", ""]}}]
TWO = [
    {"spotify.play": {"artist": ["Taylor Swift"], "duration": [20]}},
    {"spotify.play": {"artist": ["Maroon 5"], "duration": [15]}},
]


def record(answer: Any, target: Any, calls: list[Any] | None = None, doc: dict[str, Any] | None = None) -> Record:
    sample = Sample("t", "s", 0, doc or {}, target)
    response = Response("k", text=answer if isinstance(answer, str) else "", extra={"tool_calls": calls} if calls else {})
    return Record(sample, (Request("generate", "q"),), (response,), "none", answer)


def score(answer: Any, target: Any = AREA, calls: list[Any] | None = None) -> tuple[float | None, str]:
    found = ToolCalls().score_one(record(answer, target, calls))
    return found.value, str(found.detail.get("miss", ""))


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments, "id": "c"}


@pytest.mark.parametrize(
    ("arguments", "value", "miss"),
    [
        ({"base": 10, "height": 5}, 1.0, ""),
        ({"base": 10, "height": 5, "unit": "Units"}, 1.0, ""),
        ({"base": 10, "height": 5, "unit": "cm"}, 0.0, "value"),
        ({"base": 10}, 0.0, "missing"),
        ({"base": 10, "height": 5, "colour": "red"}, 0.0, "unexpected"),
        ({"base": "10", "height": 5}, 0.0, "value"),
        ({"base": 10.0, "height": 5}, 0.0, "value"),
        ({"base": True, "height": 5}, 0.0, "value"),
    ],
)
def test_one_call(arguments: dict[str, Any], value: float, miss: str) -> None:
    assert score("", calls=[call("triangle_area", **arguments)]) == (value, miss)


def test_the_reason_names_function_argument_and_what_was_allowed() -> None:
    found = ToolCalls().score_one(record("", AREA, [call("triangle_area", base=3, height=5)]))
    assert found.detail["why"] == "triangle_area: base is 3, not one of [10]"
    assert found.detail["calls"] == [[{"name": "triangle_area", "arguments": {"base": 3, "height": 5}}]]
    assert score("", calls=[call("circle_area", r=1)]) == (0.0, "name")
    assert score("", calls=[call("triangle_area", base=10, height=5)] * 2) == (0.0, "count")
    assert score("", calls=[{"name": "triangle_area", "arguments": "broken", "id": ""}]) == (0.0, "none")


def test_parallel_calls_come_in_any_order_and_each_counts_once() -> None:
    swift, maroon = (
        call("spotify_play", artist="taylor swift", duration=20),
        call("spotify_play", artist="Maroon 5", duration=15),
    )
    assert score("", TWO, [maroon, swift])[0] == 1.0
    assert score("", TWO, [swift, swift]) == (0.0, "value")
    loose = [{"f": {"a": [1, 2]}}, {"f": {"a": [1]}}]
    assert score("", loose, [call("f", a=1), call("f", a=2)])[0] == 1.0


def test_an_empty_target_wants_no_call() -> None:
    assert score("I cannot do that.", [])[0] == 1.0
    assert score("", [], [call("f")]) == (0.0, "count")


@pytest.mark.parametrize(
    ("value", "allowed", "right"),
    [
        (5, 5.0, True),
        (5.0, 5, False),
        (1, True, False),
        ("April 1, 2024", "april 1 2024", True),
        ("it's", 'it"s', True),
        ("2*x**2", "2x**2", True),
        ([1, 2], [1, 2], True),
        ([2, 1], [1, 2], False),
        (["New York"], ["new-york"], True),
        ({"a": 1}, {"a": [1, 2]}, True),
        ({"a": 3}, {"a": [1, 2]}, False),
        ({"a": 1}, {"a": [1], "b": ["", "x"]}, True),
        ({"a": 1}, {"a": [1], "b": ["x"]}, False),
        ({"a": 1, "c": 1}, {"a": [1]}, False),
        ([{"a": "X"}], [{"a": ["x"]}], True),
        ({"a": [1, 2]}, {"a": [[1, 2]]}, True),
        (None, None, True),
        (None, "", False),
    ],
)
def test_values(value: Any, allowed: Any, right: bool) -> None:
    assert fits(value, allowed) is right


@pytest.mark.parametrize(
    "text",
    [
        "[triangle_area(base=10, height=5)]",
        "triangle_area(base=10, height=5, unit='units')",
        "```python\n[triangle_area(base=10, height=5)]\n```",
        'I will call it:\n```json\n{"name": "triangle_area", "arguments": {"base": 10, "height": 5}}\n```',
        '{"name": "triangle_area", "parameters": {"base": 10, "height": 5}}',
        '{"triangle_area": {"base": 10, "height": 5}}',
        '[{"triangle_area": {"base": 10, "height": 5}}]',
        '{"function": {"name": "triangle_area", "arguments": "{\\"base\\": 10, \\"height\\": 5}"}}',
        '<tool_call>\n{"name": "triangle_area", "arguments": {"base": 10, "height": 5}}\n</tool_call>',
    ],
)
def test_calls_are_read_from_text(text: str) -> None:
    assert score(text) == (1.0, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no call",
        "x = f(1)",
        "f(",
        "[1, 2]",
        "f(**kw)",
        "lambda: 0",
        "(" * 5000,
        "-" * 40000 + "1",
        "[" * 60000,
        "import os",
    ],
)
def test_text_that_is_no_call_is_a_miss_not_an_error(text: str) -> None:
    assert calls_in(text) is None
    assert score(text) == (0.0, "none")


def test_python_values_are_read_and_never_run(tmp_path: Path) -> None:
    victim = tmp_path / "x"
    text = f"f(a=__import__('pathlib').Path({str(victim)!r}).touch(), b=true, c=[-1, x], d={{'k': None}}, e=1+1)"
    assert calls_in(text) == [
        ("f", {"a": text[4 : text.index(", b=")], "b": True, "c": [-1, "x"], "d": {"k": None}, "e": "1 + 1"})
    ]
    assert not victim.exists()
    assert calls_in("a.b.c(1, x=2)\ng()") == [("a.b.c", {"#1": 1, "x": 2}), ("g", {})]


def test_targets_are_read_in_any_form() -> None:
    for target in (AREA, tuple(AREA), AREA[0], json.dumps(AREA), str(AREA), (json.dumps(AREA[0]),)):
        assert wanted_calls(target) == [("triangle_area", {"base": [10], "height": [5], "unit": ["units", ""]})]
    for target in (None, 3, "text", [3], [{"f": 3}]):
        assert wanted_calls(target) is None
    assert ToolCalls().score_one(record("f()", "no")).stats is None
    column = ToolCalls(column="truth").score_one(record("f()", None, doc={"truth": [{"f": {}}]}))
    assert column.value == 1.0
    assert compared([("f", {})], [("f", {})]) is None


TASK = """
task: calls
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
doc_to_text: question
generation_kwargs: {tools: function, tool_choice: required, until: []}
scorers:
  - {name: tool_calls, column: ground_truth}
"""
ROWS = [
    {
        "question": "The area of a triangle of base 10 and height 5?",
        "function": [
            {
                "name": "geometry.area",
                "description": "Area of a triangle",
                "parameters": {"type": "dict", "properties": {"base": {"type": "float"}}, "required": ["base"]},
            }
        ],
        "ground_truth": [{"geometry.area": {"base": [10.0], "height": [5.0]}}],
    },
    {"question": "Hello", "function": "[]", "ground_truth": []},
]


def written(folder: Path) -> RunOptions:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "calls.yaml").write_text(TASK)
    model = lambda prompt: "[geometry.area(base=10, height=5)]"  # noqa: E731
    return RunOptions(tasks=(str(folder / "calls.yaml"),), model=model, output_dir=folder / "runs")


def test_a_task_of_tool_calls(tmp_path: Path) -> None:
    options = written(tmp_path)
    (config,) = select(options).tasks
    task = ready_task(config, options).task
    sample = next(task.samples())
    body = ChatEndpoint("m").call(task.requests(sample)[0]).body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["geometry_area"]
    assert body["tool_choice"] == "required"
    run = api.run(options=options)
    (summary,) = run.summary()
    assert (summary.metric, summary.value, summary.n) == ("tool_calls", 0.5, 2)
    (again,) = api.rescore(run.path).summary()
    assert again.value == 0.5


def test_the_example_of_the_docs_works(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "tasks.md").read_text("utf-8").partition("## Tool calls")[2]
    blocks = [block.partition("\n") for block in page.split("```")[1::2]]
    found = {language: text for language, _, text in blocks}
    (tmp_path / "weather_calls.yaml").write_text(found["yaml"])
    (tmp_path / "rows.jsonl").write_text(found["json"])
    for said, value in (("[weather(city='oslo')]", 1.0), ("[weather(city='Rome')]", 0.0)):
        options = RunOptions(tasks=(str(tmp_path / "weather_calls.yaml"),), model=lambda prompt, said=said: said)
        (summary,) = api.run(options=options, store=False).summary()
        assert summary.value == value
