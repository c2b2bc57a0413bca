"""Code of task folders: never without leave, always from beside the YAML, with stand-ins for lm-eval's own modules."""

import pickle
import sys
from pathlib import Path

import pytest

from evalkit.errors import CodeRefused, TaskError
from evalkit.tasks import functions
from evalkit.tasks.filters import FILTERS
from evalkit.tasks.schema import FunctionRef


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, spec: str):
    module, _, name = spec.rpartition(".")
    return functions.load(FunctionRef(module=module, name=name, folder=folder), allow_code=True)


def test_code_is_refused_without_leave_and_is_not_run(tmp_path):
    path = write(tmp_path / "utils.py", "raise SystemExit('it ran')\n")
    ref = FunctionRef(module="utils", name="clean", folder=tmp_path)
    with pytest.raises(CodeRefused, match=rf"{path}: .*clean\(\).*--allow-code"):
        functions.load(ref, allow_code=False)
    functions.source_hash(ref)


def test_two_folders_may_each_have_a_module_of_one_name(tmp_path):
    for folder in ("a", "b"):
        write(tmp_path / folder / "utils.py", f"def name():\n    return {folder!r}\n")
    assert [load(tmp_path / folder, "utils.name")() for folder in ("a", "b")] == ["a", "b"]
    assert "utils" not in sys.modules


def test_a_dotted_module_is_a_path_below_the_folder(tmp_path):
    write(tmp_path / "deep" / "er" / "m.py", "def f():\n    return 1\n")
    assert load(tmp_path, "deep.er.m.f")() == 1


def test_modules_import_their_neighbours_in_every_style_also_late(tmp_path):
    write(tmp_path / "common.py", "A = 1\n")
    write(tmp_path / "prompts" / "__init__.py", "from .inner import C\n")
    write(tmp_path / "prompts" / "inner.py", "C = 3\n")
    write(
        tmp_path / "utils.py",
        """
import common
import prompts.inner
from common import A
from . import common as again
from .common import A as B
from prompts import C

def f():
    from prompts.inner import C as late
    return [common.A, A, again.A, B, C, prompts.inner.C, late, common is again]
""",
    )
    assert load(tmp_path, "utils.f")() == [1, 1, 1, 1, 3, 3, 3, True]
    assert not {"common", "prompts"} & set(sys.modules)


def test_the_standard_library_and_installed_packages_win_over_a_neighbour(tmp_path):
    write(tmp_path / "json.py", "raise RuntimeError('the wrong one')\n")
    write(tmp_path / "yaml.py", "raise RuntimeError('the wrong one')\n")
    write(tmp_path / "utils.py", "import json, yaml\ndef f():\n    return json.dumps(yaml.safe_load('a: 1'))\n")
    assert load(tmp_path, "utils.f")() == '{"a": 1}'


def test_lm_eval_is_a_stand_in_and_its_tasks_are_those_of_the_folder(tmp_path):
    root = tmp_path / "lm_eval" / "tasks"
    write(root / "__init__.py", "raise RuntimeError('the harness itself')\n")
    write(root / "one" / "utils.py", "def base():\n    return 'one'\n")
    write(
        root / "two" / "utils.py",
        """
import lm_eval.tasks.one.utils as first
from lm_eval import utils
from lm_eval.api.metrics import mean
from lm_eval.tasks.one.utils import base
from lm_eval.utils import weighted_f1_score
from ..one import utils as above

def f():
    from lm_eval.tasks import one
    return [first.base(), base(), one.utils.base(), above.base(), mean([1, 2]), utils.weighted_f1_score is weighted_f1_score]
""",
    )
    assert load(root / "two", "utils.f")() == ["one", "one", "one", "one", 1.5, True]
    assert load(root / "two", "lm_eval.tasks.one.utils.base")() == "one"
    assert not [name for name in sys.modules if name.partition(".")[0] == "lm_eval"]


def test_a_copy_of_some_tasks_under_another_name_finds_its_own(tmp_path):
    write(tmp_path / "mine" / "one" / "utils.py", "X = 1\n")
    write(tmp_path / "mine" / "two" / "utils.py", "from lm_eval.tasks.one.utils import X\ndef f():\n    return X\n")
    assert load(tmp_path / "mine" / "two", "utils.f")() == 1


def test_a_registered_filter_can_be_named_by_task_files(tmp_path):
    write(
        tmp_path / "utils.py",
        """
from lm_eval.api.registry import register_filter
from lm_eval.filters.extraction import Filter, RegexFilter

@register_filter("shout_for_test")
class Shout(RegexFilter):
    def apply(self, resps, docs):
        return [[text.upper() for text in texts] for texts in super().apply(resps, docs)]

class Own(Filter):
    def apply(self, resps, docs):
        return resps
""",
    )
    load(tmp_path, "utils.Own")
    shout = FILTERS.get("shout_for_test")(regex_pattern=r"is (\w+)")
    assert shout.apply([["it is so", "no"]], [{}]) == [["SO", "[INVALID]"]]


def test_a_module_runs_once_until_its_file_changes(tmp_path):
    path = write(tmp_path / "utils.py", "calls = []\ndef f():\n    calls.append(1)\n    return len(calls)\n")
    ref = FunctionRef(module="utils", name="f", folder=tmp_path)
    assert [load(tmp_path, "utils.f")(), load(tmp_path, "utils.f")()] == [1, 2]
    before = functions.source_hash(ref)
    path.write_text("def f():\n    return 'new'\n")
    assert load(tmp_path, "utils.f")() == "new"
    assert functions.source_hash(ref) != before


def test_functions_and_dataclasses_pickle_and_may_be_mapped_over_a_dataset(tmp_path):
    write(
        tmp_path / "utils.py",
        """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Doc:
    text: str

def process_docs(dataset):
    def one(doc):
        return {"text": Doc(doc["text"]).text + "!"}
    return dataset.map(one)
""",
    )
    assert pickle.loads(pickle.dumps(load(tmp_path, "utils.Doc")("x"))).text == "x"
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    mapped = load(tmp_path, "utils.process_docs")(datasets.Dataset.from_list([{"text": "a"}]))
    assert mapped[0] == {"text": "a!"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def clean_docs():\n    pass\n", r"utils\.py: no function 'clean_doc' \(did you mean clean_docs\?\)"),
        ("clean_doc = 3\n", r"utils\.py: 'clean_doc' is no function but int"),
        ("import no_such_package.inner\n", r"utils\.py: needs the Python package 'no_such_package', which is not installed"),
        ("import json.no_such_part\n", r"needs the Python module 'json.no_such_part', which the installed 'json' does not"),
        ("from lm_eval.api.task import Task\n", r"utils\.py: imports lm_eval\.api\.\w+|imports lm_eval"),
        ("raise ModuleNotFoundError('install x first')\n", r"utils\.py: install x first"),
        ("1 / 0\n", r"utils\.py: failed on import with ZeroDivisionError: division by zero"),
        ("def f(:\n", r"utils\.py: failed on import with SyntaxError"),
        ("import sys\nsys.exit('no tool')\n", r"utils\.py: failed on import with SystemExit: no tool"),
        ("import other\n", r"utils\.py: failed on import with AttributeError"),
    ],
)
def test_what_goes_wrong_is_one_line_that_names_the_file(tmp_path, source, message):
    write(tmp_path / "other.py", "None.x\n")
    write(tmp_path / "utils.py", source)
    with pytest.raises(TaskError, match=message) as caught:
        load(tmp_path, "utils.clean_doc")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TaskError, match=r"no file no_such_utils\.py and no module 'no_such_utils', named by !function"):
        load(tmp_path, "no_such_utils.f")
    with pytest.raises(TaskError, match=r"no file no_such_utils\.py"):
        functions.source_hash(FunctionRef(module="no_such_utils", name="f", folder=tmp_path))


def test_an_installed_module_is_used_where_there_is_no_file(tmp_path):
    assert load(tmp_path, "textwrap.dedent")("  x") == "x"
    assert functions.source_of(FunctionRef(module="email.message", name="Message", folder=tmp_path)).name == "message.py"
