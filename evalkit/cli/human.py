"""``evalkit human``: evaluation by people, from blind sheets to agreement."""

from __future__ import annotations

import typer

from evalkit.cli import human_export, human_import, human_report, human_serve

app = typer.Typer(
    name="human", no_args_is_help=True, rich_markup_mode=None, help="Blind rating sheets out, validated ratings back."
)
app.command("export")(human_export.export)
app.command("import")(human_import.import_sheets)
app.command("report")(human_report.report)
app.command("serve")(human_serve.serve)
