"""Argilla 2: records as JSON Lines, the settings of a data set, and a script that logs them (it has no import of files)."""

from __future__ import annotations

import json
from pathlib import Path

from evalkit.human.base import Study
from evalkit.human.formats.rows import OWN_CSV, asked, imported_with, put, records, text_columns, words
from evalkit.human.layout import COMMENT, ITEM_ID, STUDY_ID
from evalkit.rubric.schema import Criterion
from evalkit.types import Json

#: Argilla's ratings are whole numbers from 0 to 10.
_RATINGS = {str(i) for i in range(11)}

#: Reads the two files beside it and needs no change. What it logs is data, never code.
_SCRIPT = '''\
"""Make one Argilla data set an annotator: python load.py (ARGILLA_API_URL and ARGILLA_API_KEY say where)."""
import json
import os
from pathlib import Path

import argilla as rg

here = Path(__file__).parent
told = json.loads((here / "settings.json").read_text("utf-8"))
client = rg.Argilla(api_url=os.environ["ARGILLA_API_URL"], api_key=os.environ["ARGILLA_API_KEY"])
kinds = {"rating": rg.RatingQuestion, "label": rg.LabelQuestion, "text": rg.TextQuestion}
for path in sorted(here.glob("annotator_*.jsonl")):
    settings = rg.Settings(
        guidelines=told["guidelines"],
        fields=[rg.TextField(**field) for field in told["fields"]],
        questions=[kinds[question.pop("type")](**question) for question in map(dict, told["questions"])],
        metadata=[rg.TermsMetadataProperty(name="study_id")],
    )
    dataset = rg.Dataset(name=f"{told['study_id']}_{path.stem}", settings=settings, client=client)
    dataset.create()
    dataset.records.log([json.loads(line) for line in path.read_text("utf-8").splitlines()])
'''


def write(study: Study, folder: Path) -> list[str]:
    """``annotator_NN.jsonl``, ``settings.json`` and ``load.py``."""
    names = [put(folder / "settings.json", json.dumps(settings(study), ensure_ascii=False, indent=1))]
    names.append(put(folder / "load.py", _SCRIPT))
    for who in study.annotators:
        lines = [json.dumps(_record(record)) for record in records(study, who)]
        names.append(put(folder / f"{who}.jsonl", "".join(line + "\n" for line in lines)))
    return [*names, put(folder / "README.txt", imported_with(study, "Argilla", OWN_CSV))]


def settings(study: Study) -> dict[str, Json]:
    """Fields and questions by the arguments of Argilla's classes; names in small letters, as it wants them."""
    questions: list[dict[str, Json]] = [_question(criterion) for criterion in study.rubric.criteria]
    questions.append({"type": "text", "name": COMMENT, "title": "Comment", "required": False})
    fields = [
        {"name": name.lower(), "title": name.replace("_", " "), "required": name.startswith("output"), "use_markdown": False}
        for name in text_columns(study)
    ]
    return {"study_id": study.id, "guidelines": words(study), "fields": fields, "questions": questions}


def _question(criterion: Criterion) -> dict[str, Json]:
    told = {"name": criterion.name, "title": criterion.shown, "description": asked(criterion), "required": True}
    if set(criterion.scale.points) <= _RATINGS:
        return {"type": "rating", **told, "values": [int(point) for point in criterion.scale.points]}
    return {"type": "label", **told, "labels": list(criterion.scale.points)}


def _record(record: dict[str, str]) -> dict[str, Json]:
    texts = {name.lower(): text for name, text in record.items() if name not in (ITEM_ID, STUDY_ID) and text}
    return {"id": record[ITEM_ID], **texts, STUDY_ID: record[STUDY_ID]}
