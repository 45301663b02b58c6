"""``oncoresponse pacs``: studies of an archive, found and retrieved by the server."""

from __future__ import annotations

import datetime
import re
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oncoresponse.cli.server_options import (
    CertificateAuthority,
    ClientCertificate,
    ClientKey,
    TokenFile,
    connect_pacs,
)
from oncoresponse.errors import ConfigurationError
from oncoresponse.v1 import intake_pb2, study_pb2

app = typer.Typer(help="Studies of an archive.", no_args_is_help=True)

_DATES = re.compile(r"(?P<first>[0-9]{8})?(?P<to>-)?(?P<last>[0-9]{8})?")

Server = Annotated[str, typer.Option(help="HOST:PORT of a running server.")]
Archive = Annotated[str, typer.Option("--from", help="Name of the DICOMweb server in its settings, or an allowed URL.")]


@app.command()
def find(
    server: Server,
    archive: Archive,
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    date: Annotated[str, typer.Option(help="Study date: YYYYMMDD, or from-to, either of which may lack.")] = "",
    modality: Annotated[str, typer.Option(help="Modality of a series, such as PT.")] = "",
    accession: Annotated[str, typer.Option(help="Accession number.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Find studies by QIDO-RS. The login is that of the settings of the server (dicomweb_servers)."""
    first, last = _bounds(date)
    request = study_pb2.FindDicomWebStudiesRequest(
        **_place(archive),
        patient_id=patient,
        study_date_from=first,
        study_date_to=last,
        modality=modality,
        accession_number=accession,
        limit=limit,
    )
    client = connect_pacs(server, ca, client_certificate, client_key, token_file)
    try:
        studies = client.find_dicomweb_studies(request)
    finally:
        client.close()
    table = Table("Date", "Patient ID", "Modalities", "Series", "Instances", "Study Instance UID", box=None)
    for study in studies:
        table.add_row(
            study.study_date,
            escape(study.patient_id),
            escape(" ".join(study.modalities)),
            str(study.series_count or ""),
            str(study.instance_count or ""),
            study.study_instance_uid,
        )
    # Wide enough that no UID is broken where the output goes to a program.
    Console(width=200, highlight=False).print(table if studies else "No study fits.")


@app.command()
def retrieve(
    server: Server,
    archive: Archive,
    study: Annotated[str, typer.Option(help="Study Instance UID.")],
    model: Annotated[str, typer.Option(help="Only the series that this model may need; all when not given.")] = "",
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Retrieve a study by WADO-RS, and print its name here, which an assessment can be asked for by."""
    request = study_pb2.ImportDicomWebRequest(
        **_place(archive), study_instance_uid=study, model=f"models/{model}" if model else ""
    )
    client = connect_pacs(server, ca, client_certificate, client_key, token_file)
    try:
        found = client.retrieve_dicomweb_study(request, lambda *_: None)
    finally:
        client.close()
    print(f"{found.name}: {found.instance_count} instances, {' '.join(found.modalities)}")


@app.command()
def received(
    server: Server,
    state: Annotated[str, typer.Option(help="Only these: waiting, started, kept or refused.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """List what came in by C-STORE and over HTTP, newest first: what the rules made of it, or why nothing."""
    if state not in ("", "waiting", "started", "kept", "refused"):
        raise ConfigurationError("--state is waiting, started, kept or refused.")
    wanted = f"RECEIVED_STATE_{state.upper() or 'UNSPECIFIED'}"
    request = intake_pb2.ListReceivedStudiesRequest(page_size=limit, state=wanted)
    client = connect_pacs(server, ca, client_certificate, client_key, token_file)
    try:
        studies = client.received_studies(request)
    finally:
        client.close()
    table = Table("Complete", "From", "State", "Rule", "Assessment", "Reason", "Priors", "Study", box=None)
    for study in studies:
        table.add_row(
            study.complete_time.ToDatetime(tzinfo=datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
            study.ae_title if study.way == intake_pb2.RECEIVED_WAY_C_STORE else "http",
            intake_pb2.ReceivedState.Name(study.state).removeprefix("RECEIVED_STATE_").lower(),
            study.rule,
            study.assessment,
            study.reason,
            str(study.prior_count or ""),
            study.study,
        )
    Console(width=250, highlight=False).print(table if studies else "Nothing has come in.")


def _place(archive: str) -> dict[str, str]:
    return {"url" if "://" in archive else "server": archive}


def _bounds(date: str) -> tuple[str, str]:
    """First and last day; one day is both."""
    found = _DATES.fullmatch(date)
    if found is None or (not found["to"] and found["last"]):
        raise ConfigurationError("--date is a day such as 20260131, or days from-to such as 20260101-20260131.")
    first, last = found["first"] or "", found["last"] or ""
    return first, last if found["to"] else first
