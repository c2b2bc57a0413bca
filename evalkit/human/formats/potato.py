"""Potato: items as JSON Lines and a configuration for each annotator's server."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from evalkit.human.base import Study
from evalkit.human.formats.rows import OWN_CSV, asked, imported_with, points, put, rated_column, records, text_columns, words
from evalkit.human.layout import COMMENT, ITEM_ID
from evalkit.types import Json


def write(study: Study, folder: Path) -> list[str]:
    """``annotator_NN.jsonl`` and ``annotator_NN.yaml``: one small server a person, in this folder."""
    names = []
    for who in study.annotators:
        lines = [json.dumps(record) for record in records(study, who)]
        names.append(put(folder / f"{who}.jsonl", "".join(line + "\n" for line in lines)))
        names.append(put(folder / f"{who}.yaml", yaml.safe_dump(config(study, who), allow_unicode=True, sort_keys=False)))
    return [*names, put(folder / "README.txt", imported_with(study, "Potato", OWN_CSV))]


def config(study: Study, annotator: str) -> dict[str, Json]:
    """The configuration of one annotator's server. Texts are shown as text, and items stay in their order."""
    schemes: list[dict[str, Json]] = [
        {
            "annotation_type": "radio",
            "name": criterion.name,
            "description": asked(criterion),
            "labels": points(criterion),
            "sequential_key_binding": True,
            "label_requirement": {"required": True},
        }
        for criterion in study.rubric.criteria
    ]
    schemes.append({"annotation_type": "text", "name": COMMENT, "description": "Comment"})
    shown = [{"key": name, "type": "text", "label": name.replace("_", " ")} for name in text_columns(study)]
    return {
        "annotation_task_name": f"Study {study.id}",
        "task_description": words(study),
        "task_dir": ".",
        "data_files": [f"{annotator}.jsonl"],
        "item_properties": {"id_key": ITEM_ID, "text_key": rated_column(study)},
        "instance_display": {"layout": {"direction": "vertical"}, "fields": shown},
        "assignment_strategy": "fixed_order",
        "output_annotation_dir": f"output_{annotator}",
        "export_annotation_format": "jsonl",
        "annotation_schemes": schemes,
        "user_config": {"allow_all_users": True},
    }
