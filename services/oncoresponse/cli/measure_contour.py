"""``oncoresponse measure-contour``: the size of a contoured tumor, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oncoresponse.cli.contour_options import CONTOUR_HELP, STRUCTURE_HELP


def measure_contour(
    study: Annotated[Path, typer.Argument(help="Folder with the DICOM files of series and contour.", exists=True)],
    modality: Annotated[str, typer.Option(help="DICOM modality of the series the contour is drawn on, such as MR.")],
    series: Annotated[str, typer.Option(help="Series Instance UID, where several series fit.")] = "",
    structure: Annotated[str, typer.Option(help=STRUCTURE_HELP)] = "",
    contour_uid: Annotated[str, typer.Option(help=CONTOUR_HELP)] = "",
    patient_id: Annotated[str | None, typer.Option(help="Refuse the study of anybody else.")] = None,
) -> None:
    """Measure volume and extent along the slice axis of a contour (RTSTRUCT or DICOM SEG).

    Of a tumor that goes on beyond the images both are lower bounds; the upper bounds can stand beside them in a table
    for 'oncoresponse predict', where a model was trained on contours. breast-nac was not: its inputs of the same names
    are of the functional tumor volume, and an assessment says so. What was left out of the contour, or repaired,
    follows.
    """
    from oncoresponse.case.readable_numbers import percent
    from oncoresponse.cohort.contour_measures import measure_contour as measure
    from oncoresponse.dicom.contour_request import ContourRequest
    from oncoresponse.dicom.patient_identity import ExpectedPatient
    from oncoresponse.dicom.study import read_study
    from oncoresponse.rpc.settings import load_settings

    found = measure(
        read_study(study, load_settings().dicom_limits),
        modality,
        series_instance_uid=series,
        contour=ContourRequest(contour_uid, structure),
        expected_patient=None if patient_id is None else ExpectedPatient(patient_id=patient_id),
    )
    least = "at least " if found.border_share else ""
    typer.echo(f"tumor_volume_ml        {least}{found.volume_ml:.4f}")
    typer.echo(f"tumor_slice_extent_mm  {least}{found.slice_extent_mm:.4f}  ({found.slices} slices)")
    if found.volume_high_ml is not None and found.slice_extent_high_mm is not None and found.level is not None:
        typer.echo(
            f"The contour reaches the edge of the images: {percent(found.border_share)} of its surface lies there. Of "
            f"tumors cut like this, {percent(found.level)} have as a whole at most"
        )
        typer.echo(f"tumor_volume_ml_high        {found.volume_high_ml:.4f}")
        typer.echo(f"tumor_slice_extent_mm_high  {found.slice_extent_high_mm:.4f}")
    for warning in found.warnings:
        typer.echo(warning)
    typer.echo(
        "Measures of the contour: they are not shown to be the functional tumor volume and extent that breast-nac was "
        "trained on. Research use only."
    )
