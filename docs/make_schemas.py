"""Write the JSON schemas of evalkit's file formats beside this file, for editors (`make schemas`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalkit.cli.settings import Settings
from evalkit.gating.judges import Calibration
from evalkit.gating.policy import json_schema as policy_schema
from evalkit.prices import Table
from evalkit.rubric.schema import Rubric
from evalkit.tasks.schema import json_schema

FOLDER = Path(__file__).resolve().parent / "schemas"


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> schema."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {
        "task.schema.json": json_schema(),
        "run-file.schema.json": {**dialect, **Settings.model_json_schema(), "title": "evalkit run file"},
        "prices.schema.json": {**dialect, **Table.model_json_schema(), "title": "evalkit price table"},
        "gate-policy.schema.json": {**dialect, **policy_schema(), "title": "evalkit gate policy"},
        "rubric.schema.json": {**dialect, **Rubric.model_json_schema(), "title": "evalkit rubric"},
        "calibration.schema.json": {**dialect, **Calibration.model_json_schema(), "title": "evalkit judge calibration"},
    }


def text(schema: dict[str, Any]) -> str:
    """The schema as it stands in its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (FOLDER / name).write_text(text(schema), encoding="utf-8")
