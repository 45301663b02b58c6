"""``oncoresponse pacs``: studies of an archive, found and retrieved by the server."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
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
from oncoresponse.edges.pacs.peer_study import PeerStudy, StudyQuery
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.edge_settings import DicomPeer
from oncoresponse.v1 import intake_pb2, study_pb2

app = typer.Typer(help="Studies of an archive.", no_args_is_help=True)

_DATES = re.compile(r"(?P<first>[0-9]{8})?(?P<to>-)?(?P<last>[0-9]{8})?")

Server = Annotated[str, typer.Option(help="HOST:PORT of a running server.")]
AskedServer = Annotated[str, typer.Option(help="HOST:PORT of a running server, which asks by DICOMweb.")]
Archive = Annotated[str, typer.Option("--from", help="Name of the DICOMweb server in its settings, or an allowed URL.")]
Peer = Annotated[str, typer.Option(help="Instead: name in dicom_peers of the settings, which is asked by DICOM.")]
Settings = Annotated[Path | None, typer.Option(help="With --peer: YAML settings file.")]


@app.command()
def find(
    server: AskedServer = "",
    archive: Archive = "",
    peer: Peer = "",
    settings: Settings = None,
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
    """Find studies: by QIDO-RS, with the login in the settings of the server (dicomweb_servers), or by C-FIND."""
    first, last = _bounds(date)
    if _is_peer(peer, server, archive):
        _print_found(_found_by_dicom(peer, settings, StudyQuery(patient, first, last, modality, accession), limit))
        return
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
    _print_found(studies)


def _print_found(studies: Sequence[study_pb2.DicomWebStudy | PeerStudy]) -> None:
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
    study: Annotated[str, typer.Option(help="Study Instance UID.")],
    server: AskedServer = "",
    archive: Archive = "",
    peer: Peer = "",
    settings: Settings = None,
    model: Annotated[str, typer.Option(help="Only the series that this model may need; all when not given.")] = "",
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Retrieve a study: by WADO-RS, and print its name here, which an assessment can be asked for by; or by C-MOVE.

    By C-MOVE it comes to the receiver (pacs), whole, and starts no rule; 'oncoresponse pacs received' lists it.
    """
    if _is_peer(peer, server, archive):
        if model:
            raise ConfigurationError("--model belongs to --from: C-MOVE sends the whole study.")
        count = _moved(peer, settings, study)
        print(f"{count} objects were sent to the receiver")
        return
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


def _is_peer(peer: str, server: str, archive: str) -> bool:
    if bool(peer) == bool(server and archive) or (peer and (server or archive)):
        raise ConfigurationError("Give --server and --from, or --peer with --settings.")
    return bool(peer)


def _found_by_dicom(peer: str, settings: Path | None, query: StudyQuery, limit: int) -> list[PeerStudy]:
    from oncoresponse.edges.pacs.dicom_peer import find_studies

    return find_studies(_peer(peer, settings)[0], query, limit)


def _moved(peer: str, settings: Path | None, study: str) -> int:
    from oncoresponse.edges.pacs.dicom_peer import move_study

    called, receiver = _peer(peer, settings)
    return move_study(called, study, receiver)


def _peer(name: str, settings: Path | None) -> tuple[DicomPeer, str]:
    """The peer, and the AE title of the receiver."""
    from oncoresponse.rpc.settings import load_settings

    loaded = load_settings(settings)
    peer = loaded.dicom_peers.get(name)
    if peer is None or loaded.pacs is None:
        raise ConfigurationError(
            "The settings have no such peer (dicom_peers), or no receiver (pacs). Give the file with --settings."
        )
    peer.require_safe_calling(allow_insecure_network=loaded.allow_insecure_network)
    return peer, loaded.pacs.ae_title


def _place(archive: str) -> dict[str, str]:
    return {"url" if "://" in archive else "server": archive}


def _bounds(date: str) -> tuple[str, str]:
    """First and last day; one day is both."""
    found = _DATES.fullmatch(date)
    if found is None or (not found["to"] and found["last"]):
        raise ConfigurationError("--date is a day such as 20260131, or days from-to such as 20260101-20260131.")
    first, last = found["first"] or "", found["last"] or ""
    return first, last if found["to"] else first
