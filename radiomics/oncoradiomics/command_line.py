"""``oncoradiomics``: features of one lesion or of a cohort of patient folders."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from oncoradiomics.cohort import cohort_patients, extract_cohort, write_provenance, write_table
from oncoradiomics.errors import RadiomicsError
from oncoradiomics.extraction import describe_lesion
from oncoradiomics.extraction_processes import read_image
from oncoradiomics.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Radiomic features and lesion measures of FDG-PET. Research use only.",
)
_console = Console(stderr=True)

SettingsFile = Annotated[Path, typer.Option("--settings", help="pyradiomics parameter file (YAML).")]


@app.command()
def extract(
    image: Annotated[Path, typer.Argument(help="PET in body-weight SUV, g/mL.")],
    mask: Annotated[Path, typer.Argument(help="Label map on the grid of the image.")],
    settings: SettingsFile,
    output: Annotated[Path | None, typer.Option(help="JSON file; standard output when left out.")] = None,
) -> None:
    """Features and measures of one lesion as JSON."""
    text = describe_lesion(read_image(image), read_image(mask), Settings.from_yaml(settings)).model_dump_json(indent=2)
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


@app.command()
def cohort(
    data: Annotated[Path, typer.Argument(help="Folder with one folder a patient.")],
    settings: SettingsFile,
    output: Annotated[Path, typer.Option(help="CSV file, one row a patient.")],
    image: Annotated[str, typer.Option(help="File name of the PET (SUV, g/mL) in each folder.")] = "PET.nii.gz",
    mask: Annotated[str, typer.Option(help="File name of the label map in each folder.")] = "PET_tumor.nii.gz",
    exclude: Annotated[list[str] | None, typer.Option(help="Patient to leave out; repeat for several.")] = None,
    processes: Annotated[int, typer.Option(min=0, help="Child processes; 0 for one a core.")] = 0,
) -> None:
    """Features and measures of each patient as CSV, and what made them as JSON beside it."""
    excluded = exclude or []
    patients = cohort_patients(data, image, mask, excluded)
    what = Settings.from_yaml(settings)
    _console.print(f"{len(patients)} patients; left out: {', '.join(sorted(excluded)) or 'none'}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console) as progress:
        bar = progress.add_task("Extracting features", total=len(patients))
        result = asyncio.run(
            extract_cohort(
                data,
                patients,
                image,
                mask,
                what,
                processes=processes,
                on_patient_done=lambda _: progress.advance(bar),
            )
        )
    for patient, error in result.errors.items():
        _console.print(f"{patient}: {error.reason}: {error.message}", markup=False)
    if result.documents:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_table(result.documents, output)
        write_provenance(result.documents, image, mask, excluded, output.with_suffix(".provenance.json"))
    _console.print(f"{len(result.documents)} patients written, {len(result.errors)} failed")
    if result.errors:
        raise typer.Exit(1)


def run() -> None:
    """Entry point of the console script; an intended error becomes one line and exit status 2."""
    try:
        app()
    except RadiomicsError as error:
        _console.print(f"{error.reason}: {error.message}", markup=False)
        raise SystemExit(2) from None


if __name__ == "__main__":
    run()
