"""``oncoresponse measure-contour``: the size of a contoured tumor, for a model that is predicted from a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def measure_contour(
    study: Annotated[Path, typer.Argument(help="Folder with the DICOM files of series and contour.", exists=True)],
    modality: Annotated[str, typer.Option(help="DICOM modality of the series the contour is drawn on, such as MR.")],
    series: Annotated[str, typer.Option(help="Series Instance UID, where several series fit.")] = "",
    structure: Annotated[str, typer.Option(help="Name of the structure or segment, where several fit.")] = "",
) -> None:
    """Measure volume and extent along the slice axis of a contour (RTSTRUCT or DICOM SEG).

    The names are those of the inputs of breast-nac.
    """
    from oncoresponse.contour_measures import measure_contour as measure
    from oncoresponse.dicom.study import read_study

    found = measure(read_study(study), modality, series_instance_uid=series, structure_name=structure)
    typer.echo(f"tumor_volume_ml        {found.volume_ml:.4f}")
    typer.echo(f"tumor_slice_extent_mm  {found.slice_extent_mm:.4f}  ({found.slices} slices)")
