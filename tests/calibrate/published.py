"""Real rated outputs and translations that stand beside the checkout, as the tests need them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[3] / "shared"
SUMMEVAL = SHARED / "data" / "human_rated_generation" / "SUM_SummEval.jsonl.gz"
JUDGE = SHARED / "goldens" / "judge"
WMT16 = SHARED / "data" / "wmt16_codex"


def expected(kind: str) -> dict[str, dict[str, Any]]:
    """Correlations that scipy computed, by rating."""
    found = json.loads((JUDGE / "expected_correlations.json").read_text("utf-8"))
    return {key.split("/")[1]: value for key, value in found.items() if key.startswith(f"{kind}/")}


def wmt16(name: str) -> tuple[list[str], list[list[str]]]:
    """Codex's translations in file ``name``, and the references of each."""
    with gzip.open(WMT16 / name, "rt", encoding="utf-8") as file:
        made = json.load(file)
    with gzip.open(WMT16 / "ref_wmt_de-en.json.gz", "rt", encoding="utf-8") as file:
        references = json.load(file)
    outputs = [output if isinstance(output, str) else output[0] for output in made["extracted_outputs"]]
    return outputs, [references[source] for source in made["inputs"]]
