"""``oncoresponse export``: DICOM files of studies for training, without what names the patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oncoresponse.case.directory_walk import files_below
from oncoresponse.errors import ConfigurationError


def export(
    studies: Annotated[list[Path], typer.Argument(help="Folders with the DICOM files of studies.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder for the files: empty, or not there yet.")],
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Take out what names the patient (PS3.15 Basic Profile).")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(
            help="File with the secret of the site, from which pseudonyms, UIDs and the move of dates follow."
        ),
    ] = None,
    no_burned_in: Annotated[
        bool,
        typer.Option(
            "--no-burned-in",
            help="You have looked at the images that are neither CT, PET nor MR: no text is burned into them.",
        ),
    ] = False,
) -> None:
    """Write the objects of studies as PSEUDONYM/SERIES/INSTANCE.dcm.

    Nothing leaves that is not de-identified: --deidentify says that you know. The same key gives the same pseudonym to
    a patient, and intervals between examinations stay.
    """
    from oncoresponse.export.study_export import export_deidentified
    from oncoresponse.response.training_fingerprints import read_key

    if not deidentify or key is None:
        raise ConfigurationError(
            "An export is de-identified: give --deidentify and --key FILE. Make a key with 'openssl rand -hex 32', and "
            "keep it where the export does not go."
        )
    sources = [path for study in studies for path in files_below(study) if path.is_file()]
    exported = export_deidentified(sources, out, read_key(key), no_burned_in=no_burned_in)
    typer.echo(f"{len(exported.files)} objects written.")
    for reason, count in exported.left_out.items():
        typer.echo(f"{count} left out: {reason}.")
