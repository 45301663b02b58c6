"""``oncoradiomics``: features of one lesion or of a cohort of patient folders, and how robust the features are."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from oncoradiomics.cohort import cohort_patients, extract_cohort, write_provenance, write_table
from oncoradiomics.errors import RadiomicsError, SettingsError
from oncoradiomics.extraction import Engine, describe_lesion
from oncoradiomics.extraction_processes import warm_up
from oncoradiomics.image_files import read_image
from oncoradiomics.quantities import image_quantity
from oncoradiomics.robustness import VariantFeatures, robustness_table, variant_features, write_robustness
from oncoradiomics.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Radiomic features and measures of a lesion. Research use only.",
)
_console = Console(stderr=True)

SettingsFile = Annotated[Path, typer.Option("--settings", help="pyradiomics parameter file (YAML).")]
EngineName = Annotated[Engine, typer.Option("--engine", help="native, or pyradiomics as the reference.")]
QuantityCode = Annotated[
    str,
    typer.Option(
        "--quantity",
        help="What a voxel measures: g/mL{SUVbw} for body-weight SUV, HU for CT, else the UCUM unit. It decides which "
        "measures there are.",
    ),
]
ImageName = Annotated[str, typer.Option("--image", help="File name of the image in each folder.")]
MaskName = Annotated[str, typer.Option("--mask", help="File name of the label map in each folder.")]
Excluded = Annotated[list[str] | None, typer.Option("--exclude", help="Patient to leave out; repeat for several.")]
Processes = Annotated[int, typer.Option("--processes", min=0, help="Child processes; 0 for one a core.")]


@app.command()
def extract(
    image: Annotated[Path, typer.Argument(help="The image.")],
    mask: Annotated[Path, typer.Argument(help="Label map on the grid of the image.")],
    settings: SettingsFile,
    quantity: QuantityCode,
    output: Annotated[Path | None, typer.Option(help="JSON file; standard output when left out.")] = None,
    engine: EngineName = "native",
) -> None:
    """Features and measures of one lesion as JSON."""
    what = Settings.from_yaml(settings)
    document = describe_lesion(read_image(image), read_image(mask), what, quantity, engine, threads=os.cpu_count() or 1)
    text = document.model_dump_json(indent=2)
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


@app.command()
def cohort(
    data: Annotated[Path, typer.Argument(help="Folder with one folder a patient.")],
    settings: SettingsFile,
    output: Annotated[Path, typer.Option(help="Table with one row a patient: .csv or .parquet.")],
    quantity: QuantityCode,
    image: ImageName,
    mask: MaskName,
    exclude: Excluded = None,
    processes: Processes = 0,
    engine: EngineName = "native",
) -> None:
    """Features and measures of each patient as a table, and what made them as JSON beside it.

    A run that was stopped goes on where it stopped; what is finished lies in the folder OUTPUT.finished until the end.
    """
    if output.suffix not in {".csv", ".parquet"}:
        raise SettingsError("The output must end in .csv or .parquet.")
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
                quantity,
                processes=processes,
                engine=engine,
                finished=output.with_suffix(".finished"),
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
    shutil.rmtree(output.with_suffix(".finished"), ignore_errors=True)


@app.command()
def robustness(
    data: Annotated[Path, typer.Argument(help="Folder with one folder a patient.")],
    settings: SettingsFile,
    output: Annotated[Path, typer.Option(help="CSV file, one row a feature.")],
    quantity: QuantityCode,
    image: ImageName,
    mask: MaskName,
    exclude: Excluded = None,
    processes: Processes = 0,
    contours: Annotated[int, typer.Option(min=1, help="Random contours beside the given one.")] = 4,
    deviation: Annotated[float, typer.Option(help="Standard deviation of the outline in mm.")] = 2.0,
) -> None:
    """Intraclass correlation of each feature over plausible contours and over small changes of resampling."""
    image_quantity(quantity)
    patients = cohort_patients(data, image, mask, exclude or [])
    what = Settings.from_yaml(settings)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    lesions: dict[str, VariantFeatures] = {}
    context = multiprocessing.get_context("spawn")
    with (
        Progress(*columns, console=_console) as progress,
        ProcessPoolExecutor(processes or os.cpu_count(), context, warm_up) as pool,
    ):
        bar = progress.add_task("Varying contours and resampling", total=len(patients))
        running = {
            pool.submit(
                _variants_of, data / name / image, data / name / mask, what, quantity, contours, deviation, seed
            ): name
            for seed, name in enumerate(patients)
        }
        for future in as_completed(running):
            progress.advance(bar)
            try:
                lesions[running[future]] = future.result()
            except RadiomicsError as error:
                _console.print(f"{running[future]}: {error.reason}: {error.message}", markup=False)
    if not lesions:
        raise typer.Exit(1)
    output.parent.mkdir(parents=True, exist_ok=True)
    sha256 = write_robustness(robustness_table([lesions[name] for name in patients if name in lesions]), output)
    _console.print(f"{len(lesions)} patients, {len(patients) - len(lesions)} failed; SHA-256 {sha256}")
    if len(lesions) < len(patients):
        raise typer.Exit(1)


def _variants_of(
    image: Path, mask: Path, settings: Settings, quantity: str, contours: int, deviation_mm: float, seed: int
) -> VariantFeatures:
    return variant_features(
        read_image(image),
        read_image(mask),
        settings,
        quantity,
        contours=contours,
        deviation_mm=deviation_mm,
        seed=seed,
    )


@app.command()
def precompile() -> None:
    """Compile the native engine for this processor and keep the code, so that no extraction waits for a compiler."""
    start = time.perf_counter()
    with _console.status("Compiling the native engine: ten seconds of processor time, once"):
        warm_up()
    _console.print(f"The native engine is ready after {time.perf_counter() - start:.1f} s.")


def run() -> None:
    """Entry point of the console script; an intended error becomes one line and exit status 2."""
    try:
        app()
    except RadiomicsError as error:
        _console.print(f"{error.reason}: {error.message}", markup=False)
        raise SystemExit(2) from None


if __name__ == "__main__":
    run()
