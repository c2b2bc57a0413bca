"""From a name, a module or a function to a Model; wrong names and options give one helpful line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from evalkit.errors import ModelError
from evalkit.models.base import ModelOptions
from evalkit.models.callable import CallableModel
from evalkit.models.registry import load_model, models_listing


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("mok/echo", r"unknown model 'mok' \(did you mean mock"),
        ("mock/ecko", r"unknown model mock/ecko \(did you mean echo\?\)"),
        ("gpt2", "is not provider/name: write for example hf/gpt2"),
        ("mock", "write for example mock/NAME"),
        ("./here", "is a path; to load it with transformers write hf/./here"),
        (3, "cannot use a int as a model"),
    ],
)
def test_wrong_names(spec, says):
    with pytest.raises(ModelError, match=says):
        load_model(spec)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"shufle": "1"}, r"mock/echo has no option 'shufle' \(did you mean shuffle"),
        ({"shuffle": "x"}, "-M shuffle=x: expected a whole number of at least 0"),
        ({"rate": "2"}, "expected a number from 0 to 1"),
        ({"retryable": "perhaps"}, "expected true or false"),
        ({"wave": "0"}, "at least 1"),
    ],
)
def test_wrong_options(args, says):
    with pytest.raises(ModelError, match=says):
        load_model("mock/echo", ModelOptions(args=args))


def test_models_and_callables_pass_through():
    model = load_model("mock/echo")
    assert load_model(model) is model
    assert isinstance(load_model(str.upper), CallableModel)


def test_the_listing_names_every_model_and_loads_nothing_heavy():
    rows = {row.name: row for row in models_listing()}
    assert {"hf/…", "demo/smollm2", "mock/echo", "mock/scripted"} <= set(rows)
    assert all(row.summary for row in rows.values())
    assert "dtype" in {arg.name for arg in rows["hf/…"].args}
    code = (
        "import sys; from evalkit.models.registry import models_listing; models_listing(); "
        "print([m for m in ('torch', 'transformers', 'numpy', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
