"""``oncoresponse forecast``: the size of a lesion at the next visit, for a table of visits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oncoresponse.cli.output_folder import require_writable_folder
from oncoresponse.errors import PredictionTableInvalid

RESEARCH_USE = "Research use only. Not a cleared or approved medical device. Not for clinical decisions."


def forecast(
    table: Annotated[
        Path,
        typer.Option(
            help="CSV, one row a visit: patient, day, diameter_mm (a number, TOO SMALL TO MEASURE, NOT EVALUABLE; "
            "empty where it is to be forecast)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="CSV to write: patient, day, estimate, low, high (mm, 80 %), note.")],
    every_visit: Annotated[
        bool,
        typer.Option("--every-visit", help="Forecast every visit from those before it, to compare with what came."),
    ] = False,
    constants: Annotated[
        Path | None, typer.Option(help="Constants from 'oncoresponse train forecast' instead of those shipped.")
    ] = None,
) -> None:
    """Forecast the next visit of every patient. Nothing is recorded and nothing leaves this machine."""
    from oncoresponse.comparison.forecast import FROM_ONE, read_constants, shipped_constants
    from oncoresponse.comparison.forecast_table import forecast_rows, read_visits, write_forecasts

    if out.resolve() == table.resolve():
        raise PredictionTableInvalid("--out is the table itself. Name another file, so that the visits are kept.")
    if out.is_dir():
        raise PredictionTableInvalid("--out is a folder. Name the CSV file to write.")
    require_writable_folder(out.absolute().parent)
    used = shipped_constants() if constants is None else read_constants(constants)
    read = read_visits(table)
    rows, without = forecast_rows(read, every_visit=every_visit, constants=used)
    write_forecasts(out, rows)
    typer.echo(RESEARCH_USE)
    if read.ignored_columns:
        typer.echo(f"Columns that were not looked at: {', '.join(read.ignored_columns)}.")
    if read.not_evaluable:
        typer.echo(f"{read.not_evaluable} rows without a day or not evaluable count as no visit.")
    if read.several_a_day:
        typer.echo(f"{read.several_a_day} days of a patient have several measurements; their mean is taken.")
    if without:
        typer.echo(f"{without} patients have no measurement before the day wanted; nothing is said of them.")
    found = used.figures["all"]
    typer.echo(
        f"{len(rows)} forecasts: the {used.point}, with an interval that held {found.coverage:.0%} of {found.visits} "
        f"visits of trials left out (promised {used.level:.0%}). Mean error there {found.last_value_mm:.1f} mm."
    )
    if any(FROM_ONE in entry.note for _, entry in rows):
        typer.echo(
            f"From one measurement the interval held {found.first_coverage:.0%} of {found.first_visits} visits; from "
            "trial to trial less or more."
        )
    typer.echo(f"Written to {out}")
