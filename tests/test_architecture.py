"""The layers hold: a module imports only from lower ones, and within a layer only through a kind's ``base.py``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "evalkit"
LAYERS = {
    "types": 0, "jsonlines": 0, "errors": 0, "resources": 0, "secrets": 0, "figures": 0,
    "registry": 1, "stats": 1, "cache": 1, "rubric": 1, "yamlmodel": 1,
    "prices": 1, "onednn": 1, "digest": 1, "quiet": 1, "hub": 1,
    "tasks": 2, "data": 2, "models": 2, "scorers": 2, "engine": 2, "encoder": 2, "classifiers": 2,
    "runner": 3, "ratings": 3,
    "comparison": 4, "human": 4, "calibrate": 4, "importers": 4,
    "gating": 5, "report": 5,
    "api": 6, "cli": 7, "pytest_plugin": 7, "__main__": 8, "__init__": 8,
}  # fmt: skip


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__") if name != "evalkit.__init__" else name, ast.parse(path.read_text("utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from evalkit.a import b` may name a module or a thing in one.
            folder = ROOT / node.module.replace(".", "/")
            for name in (alias.name for alias in node.names):
                module = (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()
                yield f"{node.module}.{name}" if module else node.module


def kind(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_part_has_a_layer() -> None:
    assert {kind(name) for name, _ in modules()} <= LAYERS.keys()


def test_imports_point_downwards() -> None:
    wrong = []
    for name, tree in modules():
        for target in imported(tree):
            if not target.startswith("evalkit.") or name == "evalkit.__init__":
                continue
            here, there = kind(name), kind(target)
            same_layer = LAYERS[here] == LAYERS[there] and here != there
            if LAYERS[there] > LAYERS[here] or (same_layer and LAYERS[here] >= 2 and not target.endswith(".base")):
                wrong.append(f"{name} imports {target}")
    assert not wrong, wrong


def test_the_lowest_layer_is_standard_library_only() -> None:
    import sys

    for name, tree in modules():
        if LAYERS[kind(name)] == 0:
            foreign = [t for t in imported(tree) if t.split(".")[0] not in {*sys.stdlib_module_names, "evalkit"}]
            assert not foreign, f"{name} imports {foreign}"


def test_no_python_in_the_folders_of_definitions() -> None:
    for folder in ("tasks", "judges", "reports", "gates"):
        assert not list((ROOT / folder).rglob("*.py")), f"{folder}/ is not a package; its code belongs in evalkit/"


def test_modules_and_functions_stay_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        assert text.count("\n") <= 500, f"{path.name} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 80, f"{path.name}: {node.name} has {length} lines"
