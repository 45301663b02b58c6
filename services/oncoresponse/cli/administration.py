"""Commands of administrators: erase a patient, delete an assessment, correct whose data are, apply the retention.

A Patient ID is asked for or read from a file. On the command line it would stay in the shell's history and in the list
of processes, where others of the machine can read it.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoresponse.cli.server_options import (
    CertificateAuthority,
    ClientCertificate,
    ClientKey,
    TokenFile,
    connect_administration,
)
from oncoresponse.errors import ConfigurationError

if TYPE_CHECKING:
    from oncoresponse.v1 import administration_pb2

Server = Annotated[str, typer.Option(help="HOST:PORT of a running server.")]
PatientFile = Annotated[
    Path | None,
    typer.Option(help="File with the Patient ID in its first line and the issuer, if any, in its second."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask once more after the dry run.")]


def erase_patient(
    server: Server,
    patient_id_file: PatientFile = None,
    any_issuer: Annotated[bool, typer.Option("--any-issuer", help="Whoever issued the Patient ID.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Remove everything of a patient, after a dry run that says what that is."""
    from oncoresponse.v1 import administration_pb2

    patient_id, issuer = _patient(patient_id_file, "Patient ID")
    client = connect_administration(server, ca, client_certificate, client_key, token_file)
    who = administration_pb2.ErasePatientRequest(
        patient_id=patient_id, issuer_of_patient_id=issuer, any_issuer=any_issuer, request_id=str(uuid.uuid4())
    )
    dry = administration_pb2.ErasePatientRequest(dry_run=True)
    dry.MergeFrom(who)
    try:
        plan = client.erase_patient(dry)
        _show(plan)
        if not dry_run and _agreed(yes):
            who.confirmation = plan.confirmation
            _show_end(client.erase_patient(who))
    finally:
        client.close()


def delete_assessment(
    assessment: Annotated[str, typer.Argument(help="Resource name, assessments/...")],
    server: Server,
    dry_run: DryRun = False,
    yes: Yes = False,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Remove one assessment with everything that was made for it; its study stays."""
    from oncoresponse.v1 import administration_pb2

    client = connect_administration(server, ca, client_certificate, client_key, token_file)
    request_id = str(uuid.uuid4())
    try:
        plan = client.delete_assessment(
            administration_pb2.DeleteAssessmentRequest(name=assessment, dry_run=True, request_id=request_id)
        )
        _show(plan)
        if not dry_run and _agreed(yes):
            done = client.delete_assessment(
                administration_pb2.DeleteAssessmentRequest(
                    name=assessment, confirmation=plan.confirmation, request_id=request_id
                )
            )
            _show_end(done)
    finally:
        client.close()


def merge_patients(
    server: Server,
    reason: Annotated[str, typer.Option(help="Why; no patient data.")],
    from_file: Annotated[Path | None, typer.Option(help="File with the Patient ID that is given up.")] = None,
    into_file: Annotated[Path | None, typer.Option(help="File with the Patient ID that stays.")] = None,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Make two Patient IDs of one person one."""
    from oncoresponse.v1 import administration_pb2

    given_up, kept = _patient(from_file, "Patient ID that is given up"), _patient(into_file, "Patient ID that stays")
    client = connect_administration(server, ca, client_certificate, client_key, token_file)
    try:
        request = administration_pb2.MergePatientsRequest(
            **{"from": _identifier(given_up)}, into=_identifier(kept), reason=reason
        )
        answer = client.merge_patients(request)
    finally:
        client.close()
    typer.echo(f"{len(answer.studies)} studies and {len(answer.assessments)} assessments follow.")


def move_study(
    study: Annotated[str, typer.Argument(help="Resource name, studies/...")],
    server: Server,
    reason: Annotated[str, typer.Option(help="Why; no patient data.")],
    patient_id_file: PatientFile = None,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Give a study that was stored under the wrong patient to the right one.

    Lines three to five of the file, where there are any: Patient's Name, Birth Date (YYYYMMDD), Sex (M, F, O).
    """
    from oncoresponse.v1 import administration_pb2

    lines = [*_lines(patient_id_file, "Patient ID"), "", "", "", ""]
    client = connect_administration(server, ca, client_certificate, client_key, token_file)
    try:
        request = administration_pb2.MoveStudyRequest(
            study=study,
            patient=_identifier((lines[0], lines[1])),
            patient_name=lines[2],
            birth_date=lines[3],
            sex=lines[4],
            reason=reason,
        )
        answer = client.move_study(request)
    finally:
        client.close()
    typer.echo("The study was moved.")
    for name in answer.assessments_to_withdraw:
        typer.echo(f"Withdraw the report of {name}: it names the wrong patient.")


def retention(
    server: Server,
    dry_run: DryRun = False,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Remove what is older than the server's settings say (retention_days), and what belongs to nobody."""
    client = connect_administration(server, ca, client_certificate, client_key, token_file)
    try:
        for kind, counts in sorted(client.apply_retention(dry_run=dry_run).items()):
            typer.echo(f"{kind}: {_words(counts)}")
    finally:
        client.close()


def _lines(file: Path | None, what: str) -> list[str]:
    if file is None:
        return [typer.prompt(what, hide_input=True), typer.prompt("Issuer, or nothing", default="", show_default=False)]
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("The file with the Patient ID cannot be read.") from error
    if not lines or not lines[0]:
        raise ConfigurationError("The first line of the file is to hold the Patient ID.")
    return lines


def _patient(file: Path | None, what: str) -> tuple[str, str]:
    lines = [*_lines(file, what), ""]
    return lines[0], lines[1]


def _identifier(patient: tuple[str, str]) -> administration_pb2.PatientIdentifier:
    from oncoresponse.v1 import administration_pb2

    return administration_pb2.PatientIdentifier(patient_id=patient[0], issuer_of_patient_id=patient[1])


def _agreed(yes: bool) -> bool:
    return yes or typer.confirm("Erase this? It cannot be undone.")


def _words(counts: administration_pb2.PatientDataCounts) -> str:
    return ", ".join(f"{value} {field.name.replace('_', ' ')}" for field, value in counts.ListFields()) or "nothing"


def _show(erasure: administration_pb2.Erasure) -> None:
    typer.echo(f"Goes: {_words(erasure.counts)}")
    if erasure.studies_of_other_issuers:
        typer.echo(f"Stays: {erasure.studies_of_other_issuers} studies of this Patient ID under other issuers")
    for sentence in erasure.remains:
        typer.echo(f"Remains: {sentence}")


def _show_end(erasure: administration_pb2.Erasure) -> None:
    typer.echo("Erased.")
    if erasure.HasField("final_sweep_time"):
        when = erasure.final_sweep_time.ToDatetime().strftime("%H:%M:%S UTC")
        typer.echo(f"What cancelled work wrote meanwhile is removed by the server at {when}.")
