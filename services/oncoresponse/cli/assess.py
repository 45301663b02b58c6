"""``oncoresponse assess``: one study through the whole chain, from the command line."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from oncoresponse.cli.contour_options import CONTOUR_HELP, STRUCTURE_HELP
from oncoresponse.cli.embedded_server import default_models_directory, embedded_server
from oncoresponse.cli.lesion_options import lesion_selections, lesion_table, supplied_contours, totals_sentence
from oncoresponse.cli.output_folder import OutputFolder, output_folder
from oncoresponse.cli.parent_process import signals_end_by_exit
from oncoresponse.cli.server_options import CertificateAuthority, ClientCertificate, ClientKey, TokenFile, connect
from oncoresponse.errors import ConfigurationError
from oncoresponse.model.folder import ModelFolder, find_model
from oncoresponse.model.request_rules import require_covariates, require_images
from oncoresponse.rpc.client import Client, Order, require_valid_order, study_files
from oncoresponse.rpc.client import Progress as ShowProgress
from oncoresponse.rpc.status import from_status
from oncoresponse.v1 import assessment_pb2, study_pb2

_CHOICE_NEEDED = 3


def assess(
    study_dir: Annotated[
        Path, typer.Argument(help="Folder with the DICOM files of one examination.", exists=True, file_okay=False)
    ],
    model: Annotated[str, typer.Option(help="Model to use; 'oncoresponse models list' names them.")],
    out: Annotated[Path, typer.Option(help="Folder for the report and everything beside it.")],
    server: Annotated[
        str | None, typer.Option(help="HOST:PORT of a running server; one is started when not given.")
    ] = None,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
    contour: Annotated[
        bool, typer.Option("--contour", help="Use the contour in the study instead of automatic segmentation.")
    ] = False,
    structure: Annotated[
        list[str] | None, typer.Option(help=f"{STRUCTURE_HELP} Once for each lesion.", metavar="NAME")
    ] = None,
    every_structure: Annotated[
        bool, typer.Option("--every-structure", help="With a contour: each structure or segment of it is a lesion.")
    ] = False,
    contour_uid: Annotated[str, typer.Option(help=CONTOUR_HELP)] = "",
    lesion_point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,Z", help="A point in the lesion: patient coordinates (LPS), mm; once for each lesion."
        ),
    ] = None,
    lesion_box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,Z,X,Y,Z",
            help="Two opposite corners of a box around the lesion: LPS, mm; once for each lesion.",
        ),
    ] = None,
    lesion_contour: Annotated[
        bool, typer.Option("--lesion-contour", help="The contour in the study is rough: segment around it.")
    ] = False,
    series: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[INPUT=]UID",
            help="Series Instance UID to use where several series fit an input of the model, such as PT=1.2.3 or just "
            "1.2.3; once for each.",
        ),
    ] = None,
    covariate: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, once for each clinical input of the model.")
    ] = None,
    planned_treatment: Annotated[str, typer.Option(help="Shown in the report; never an input.")] = "",
    patient_id: Annotated[str | None, typer.Option(help="Refuse the study of anybody else.")] = None,
    patient_reference: Annotated[str, typer.Option(help="Patient/ID in the EHR's FHIR server.")] = "",
    replaces: Annotated[
        str, typer.Option(help="With --server: earlier assessment of this patient that the new one replaces.")
    ] = "",
    deliver_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DESTINATION",
            help="With --server: a destination of its settings that the report goes to; once for each.",
        ),
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Installed models, for the server that is started here.")
    ] = None,
) -> None:
    """Send a study through the chain and write the report.

    Lesions are named by points, boxes and contours in the study, also mixed, numbered in this order. Without any, the
    network finds the lesion by itself.

    Without --server, a server is started for this one study, and its data folder removed afterwards.
    An earlier result in the output folder stays until the new one is whole, and then goes; other files in it stay.

    Ends with exit code 3 where a physician has to choose the lesions first; the candidates are printed.
    """
    if contour and lesion_contour:
        raise ConfigurationError("Give --contour to measure in the contour, or --lesion-contour to segment around it.")
    if replaces and server is None:
        raise ConfigurationError("Only the server that holds the earlier assessment can replace it: give --server.")
    if deliver_to and server is None:
        raise ConfigurationError("Only a server that goes on running sends results by itself: give --server.")
    contours = supplied_contours(
        contour_uid, structure or (), every_structure=every_structure, wanted=contour or lesion_contour
    )
    order = Order(
        model=model,
        covariates=_covariates(covariate or []),
        planned_treatment=planned_treatment,
        lesions=lesion_selections(lesion_point or (), lesion_box or (), contours, rough=lesion_contour),
        patient_id=patient_id,
        patient_reference=patient_reference,
        series=selected_series(series or []),
        replaces=replaces,
        deliver_to=tuple(deliver_to or ()),
    )
    require_valid_order(order)
    study_files(study_dir)
    if server is None:
        _require_installed(models_dir or default_models_directory(), order)
    start = time.perf_counter()
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        signals_end_by_exit(),
        output_folder(out, study=study_dir) as folder,
        _earlier_result_named(folder, console),
        Progress(*columns, console=console, transient=not console.is_terminal) as bar,
    ):
        task = bar.add_task("", total=1.0)

        def show(message: str, fraction: float) -> None:
            if not console.is_terminal and bar.tasks[0].description != message:
                console.print(f"{time.perf_counter() - start:6.1f} s  {message}", highlight=False)
            bar.update(task, description=message, completed=fraction)

        show("Starting the services" if server is None else "Connecting", 0.0)
        if server is None:
            with embedded_server(models_dir) as (address, token):
                assessment, written = _assess(Client(address, token=token), study_dir, order, folder, show)
        else:
            client = connect(server, ca, client_certificate, client_key, token_file)
            assessment, written = _assess(client, study_dir, order, folder, show)
    if assessment.state == assessment_pb2.ASSESSMENT_STATE_LESION_CHOICE_NEEDED:
        _print_candidates(assessment, written, out)
        raise typer.Exit(_CHOICE_NEEDED)
    _print_result(assessment, written, out, time.perf_counter() - start)


def selected_series(items: list[str]) -> tuple[study_pb2.SeriesSelection, ...]:
    """What ``--series`` means: ``[INPUT=]UID``, once for each series.

    Raises:
        ConfigurationError: An item holds no UID.
    """
    selected = []
    for item in items:
        role, _, uid = item.rpartition("=")
        if not re.fullmatch(r"[0-9.]{1,64}", uid):
            raise ConfigurationError(
                "A series is a Series Instance UID (0020,000E), if need be with the input it is for: 1.2.3 or PT=1.2.3."
            )
        selected.append(study_pb2.SeriesSelection(input_role=role, series_instance_uid=uid))
    return tuple(selected)


def _print_candidates(assessment: assessment_pb2.Assessment, written: list[Path], out: Path) -> None:
    console = Console(highlight=False)
    console.print("The scan shows much of the body. A physician has to choose the lesions; nothing was measured yet.")
    table = Table("", "Volume (ml)", "SUVmax", "Confidence", "Choose it with", box=None)
    for item in assessment.lesion_candidates:
        corners = [
            f"{value:.1f}"
            for corner in (item.box.low, item.box.high)
            for value in (corner.x_mm, corner.y_mm, corner.z_mm)
        ]
        table.add_row(
            str(item.number),
            f"{item.volume_ml:.1f}",
            # 0 where the scan is no PET.
            f"{item.suv_max:.1f}" if item.suv_max else "",
            f"{item.confidence:.2f}",
            f"--lesion-box={','.join(corners)}",
        )
    console.print(table, soft_wrap=True)
    console.print(f"Files in {out}: {', '.join(path.name for path in written)}", soft_wrap=True)


def _require_installed(models_directory: Path, order: Order) -> None:
    """What the server that is started here would say after the upload, before it is started."""
    definition = ModelFolder.open(find_model(models_directory, order.model), verify=False).definition
    require_images(bool(definition.inputs))
    require_covariates([item.name for item in definition.covariates], order.covariates)


@contextmanager
def _earlier_result_named(folder: OutputFolder, console: Console) -> Iterator[None]:
    """Say of a folder that still holds the earlier result that it does: nobody may take it for the new one."""
    try:
        yield
    except BaseException:
        if folder.had_result:
            console.print(
                f"There is no new result. {folder.path} still holds the EARLIER one.", highlight=False, soft_wrap=True
            )
        raise


def _assess(
    client: Client, study_dir: Path, order: Order, folder: OutputFolder, show: ShowProgress
) -> tuple[assessment_pb2.Assessment, list[Path]]:
    try:
        client.check_order(order)
        study = client.upload_study(study_dir, lambda message, fraction: show(message, 0.1 * fraction))
        assessment = client.assess(study, order, lambda message, fraction: show(message, 0.1 + 0.85 * fraction))
        if assessment.state == assessment_pb2.ASSESSMENT_STATE_CANCELLED:
            raise from_status(assessment.error)
        show("Fetching the report", 0.95)
        client.download_artifacts(assessment, folder.incomplete)
        written = folder.complete()
        show("Done", 1.0)
    finally:
        client.close()
    return assessment, written


def _covariates(items: list[str]) -> dict[str, float]:
    covariates = {}
    for item in items:
        name, separator, value = item.partition("=")
        try:
            covariates[name] = float(value)
        except ValueError:
            separator = ""
        if not separator:
            raise ConfigurationError("A covariate is NAME=VALUE with a number as value, for instance age_years=61.")
    return covariates


def _print_result(assessment: assessment_pb2.Assessment, written: list[Path], out: Path, seconds: float) -> None:
    console = Console(highlight=False)
    console.print()
    if assessment.prediction_withheld:
        console.print(
            "What the model says is withheld until a physician has judged without it: oncoresponse judge "
            f"{assessment.name}",
            soft_wrap=True,
        )
    else:
        console.print(assessment.result.summary, markup=False, soft_wrap=True)
    console.print()
    if len(assessment.result.lesions) > 1:
        console.print(lesion_table(assessment.result))
        console.print(totals_sentence(assessment.result), soft_wrap=True)
        console.print()
    stages = json.loads((out / "timings.json").read_text(encoding="utf-8"))["stage_seconds"]
    parts = ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
    console.print(f"{seconds:.1f} s in all ({parts})", soft_wrap=True)
    console.print(f"Files in {out}: {', '.join(path.name for path in written)}", soft_wrap=True)
