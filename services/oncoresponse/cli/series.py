"""``oncoresponse series``: the image series of a study, with the UIDs by which a request names them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer


def series(
    study: Annotated[Path, typer.Argument(help="Folder with the DICOM files of one examination.", exists=True)],
) -> None:
    """List the CT, PET and MR series of a study, in the order in which messages number those of one modality.

    An MR series that holds several volumes has a line for each, with the attribute that tells them apart. Below the
    list stands in what several series of one modality differ.
    """
    from oncoresponse.dicom.series_differences import series_differences, setting_text
    from oncoresponse.dicom.study import read_study

    rows = [("modality", "no.", "images", "thickness", "reconstruction", "kernel", "volume", "Series Instance UID")]
    numbers: Counter[str] = Counter()
    found = read_study(study).series
    for member in found:
        numbers[member.modality] += 1
        rows.append(
            (
                member.modality,
                str(numbers[member.modality]),
                str(len(member.slices)),
                setting_text(member, "SliceThickness"),
                setting_text(member, "ReconstructionMethod"),
                setting_text(member, "ConvolutionKernel"),
                member.volume or "-",
                member.series_instance_uid,
            )
        )
    # No table of rich: it would cut the UIDs to the width of the terminal.
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for modality in (each for each, count in numbers.items() if count > 1):
        alike = [member for member in found if member.modality == modality]
        typer.echo(f"Several {modality}. {series_differences(alike)}")
