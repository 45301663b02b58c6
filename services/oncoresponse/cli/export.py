"""``oncoresponse export``: DICOM files of studies for training, without what names the patients."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoresponse.case.directory_walk import files_below
from oncoresponse.cli.server_options import (
    CertificateAuthority,
    ClientCertificate,
    ClientKey,
    TokenFile,
    connect_administration,
)
from oncoresponse.errors import ConfigurationError, InvalidRequest

if TYPE_CHECKING:
    from oncoresponse.export.study_export import Source
    from oncoresponse.rpc.administration_client import AdministrationClient


def export(
    out: Annotated[Path, typer.Option(help="Folder for the files: empty, or not there yet.")],
    studies: Annotated[
        list[Path] | None, typer.Argument(help="Folders with the DICOM files of studies.", exists=True)
    ] = None,
    server: Annotated[
        str, typer.Option(help="HOST:PORT of a running server that has the studies, with --study or --patients.")
    ] = "",
    study: Annotated[list[str] | None, typer.Option(help="Resource name, studies/...; repeatable.")] = None,
    patients: Annotated[
        Path | None,
        typer.Option(
            help="File with a Patient ID a line: all their studies. Needs the access role read too.", exists=True
        ),
    ] = None,
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
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Write the objects of studies as PSEUDONYM/SERIES/INSTANCE.dcm: of folders, or of studies that a server has.

    Nothing leaves that is not de-identified: --deidentify says that you know. The same key gives the same pseudonym to
    a patient, and intervals between examinations stay.
    """
    from oncoresponse.export.study_export import Source, export_deidentified
    from oncoresponse.response.training_fingerprints import read_key

    if not deidentify or key is None:
        raise ConfigurationError(
            "An export is de-identified: give --deidentify and --key FILE. Make a key with 'openssl rand -hex 32', and "
            "keep it where the export does not go."
        )
    if bool(studies) == bool(server) or bool(server) != bool(study or patients):
        raise ConfigurationError(
            "Give either folders with DICOM files, or --server with --study or --patients for studies that it has."
        )
    with ExitStack() as stack:
        sources = [Source(path) for folder in studies or () for path in files_below(folder) if path.is_file()]
        if server:
            client = connect_administration(server, ca, client_certificate, client_key, token_file)
            stack.callback(client.close)
            sources += stack.enter_context(_of_a_server(client, study or (), patients))
        exported = export_deidentified(sources, out, read_key(key), no_burned_in=no_burned_in)
    typer.echo(f"{len(exported.files)} objects written.")
    for reason, count in exported.left_out.items():
        typer.echo(f"{count} left out: {reason}.")


@contextmanager
def _of_a_server(client: AdministrationClient, names: Sequence[str], patients: Path | None) -> Iterator[list[Source]]:
    """Files of studies in a folder of the caller alone, which is gone at the end."""
    from oncoresponse.export.study_export import Source

    wanted = dict.fromkeys(names)
    if patients is not None:
        lines = patients.read_text(encoding="utf-8").splitlines()
        for patient_id in filter(None, map(str.strip, lines)):
            wanted |= dict.fromkeys(study.name for study in client.find_studies(patient_id))
    if not wanted:
        raise InvalidRequest("The server has no study of these patients.")
    sources: list[Source] = []
    with tempfile.TemporaryDirectory(prefix="oncoresponse-export-") as folder:
        for number, name in enumerate(wanted, start=1):
            typer.echo(f"Reading study {number} of {len(wanted)}", err=True)
            place = Path(folder) / str(number)
            place.mkdir(mode=0o700)
            whose, files = client.read_instances(name, place)
            only = (whose[0].patient_id, whose[0].issuer_of_patient_id) if len(whose) == 1 else None
            sources += [Source(path, only) for path in files]
        yield sources
