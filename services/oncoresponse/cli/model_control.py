"""``oncoresponse models``: states, propose, approve, stop, resume, install, rollback; and ``oncoresponse recall``."""

from __future__ import annotations

import csv
import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from oncoresponse.cli.embedded_server import default_models_directory
from oncoresponse.cli.server_options import (
    CertificateAuthority,
    ClientCertificate,
    ClientKey,
    TokenFile,
    connect_administration,
)
from oncoresponse.errors import ConfigurationError
from oncoresponse.model.versions import install_version, restore_version

if TYPE_CHECKING:
    from oncoresponse.rpc.administration_client import AdministrationClient
    from oncoresponse.v1 import model_control_pb2

_Server = Annotated[str, typer.Option(help="HOST:PORT of a running server.")]
_Reason = Annotated[str, typer.Option(help="Why. Kept for ever, so no patient data.")]
_Name = Annotated[str, typer.Argument(help="Name of the model.")]
_ModelsDirectory = Annotated[Path | None, typer.Option("--models-dir", help="Folder of installed models.")]
_COLUMNS = (
    *("assessment", "create_time", "model_sha256", "state", "study", "study_date", "patient_id"),
    *("issuer_of_patient_id", "report_status"),
)


class _State(StrEnum):
    DRAFT = "draft"
    VALIDATED = "validated"
    ACTIVE = "active"
    RETIRED = "retired"


def states(
    name: _Name,
    server: _Server,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """State of every version of a model, what waits for a second person, and whether release is stopped."""
    from oncoresponse.v1 import model_pb2

    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        found = client.model_control(name)
    console = Console(highlight=False, soft_wrap=True)
    table = Table("Version", "State", "On the server", "SHA-256", box=None)
    for version in found.versions:
        place = "installed" if version.installed else "kept" if version.available else "no"
        state = model_pb2.ModelState.Name(version.state).removeprefix("MODEL_STATE_").lower()
        table.add_row(version.version or "?", state, place, version.sha256)
    console.print(table)
    if found.installed_is_active:
        console.print("The installed version counts as active (setting model_activation).")
    if found.release_stopped:
        console.print(f"Release is STOPPED: {found.stop_reason}", markup=False)
    for change in found.waiting:
        console.print(f"Waits for a second person: {_sentence(change)}", markup=False)


def history(
    name: Annotated[str, typer.Argument(help="Name of the model; all when not given.")] = "",
    *,
    server: _Server,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """What was changed, by whom and why, newest first."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        for change in client.model_changes(name):
            typer.echo(_sentence(change))


def propose(
    name: _Name,
    to: Annotated[_State, typer.Option(help="The state it shall have.")],
    reason: _Reason,
    server: _Server,
    sha256: Annotated[str, typer.Option(help="SHA-256 of the version; the installed one when not given.")] = "",
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Propose a state for a version. 'active' waits until another person approves it; the others hold at once."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        typer.echo(_sentence(client.propose_state(name, sha256, to.value, reason)))


def approve(
    number: Annotated[int, typer.Argument(help="Number of the proposal, from 'models states'.")],
    reason: _Reason,
    server: _Server,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Approve what another person proposed, or did alone in an emergency."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        typer.echo(_sentence(client.approve_state(number, reason)))


def stop(
    name: Annotated[str, typer.Argument(help="Name of the model, or 'all'.")],
    reason: _Reason,
    server: _Server,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Stop the release of results at once. Assessments are accepted and wait."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        typer.echo(_sentence(client.switch_release(_or_all(name), reason, stop=True)))


def resume(
    name: Annotated[str, typer.Argument(help="Name of the model, or 'all' for the stop of all.")],
    reason: _Reason,
    server: _Server,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """End a stop. What waited goes on by itself."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        typer.echo(_sentence(client.switch_release(_or_all(name), reason, stop=False)))


def install(
    folder: Annotated[Path, typer.Argument(help="Folder of the version.", exists=True, file_okay=False)],
    models_dir: _ModelsDirectory = None,
) -> None:
    """Install a model folder. The version that it replaces is kept, so that what is pinned to it can still run."""
    installed = install_version(models_dir or default_models_directory(), folder)
    typer.echo(f"{installed.definition.name} {installed.definition.version}: {installed.sha256}")


def rollback(
    name: _Name,
    server: Annotated[
        str | None, typer.Option(help="HOST:PORT of a running server with change control; else the folder is changed.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; needed with --server.")] = "",
    emergency: Annotated[
        bool, typer.Option("--emergency", help="At once, by one person; marked until a second one approves it.")
    ] = False,
    models_dir: _ModelsDirectory = None,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Go back to the version before."""
    if server is None:
        restored = restore_version(models_dir or default_models_directory(), name)
        typer.echo(f"{restored.definition.name} {restored.definition.version}: {restored.sha256}")
        return
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        typer.echo(_sentence(client.roll_back(name, reason, emergency=emergency)))


def recall(
    name: _Name,
    out: Annotated[Path, typer.Option(help="CSV file to write. It names patients.")],
    server: _Server,
    start: Annotated[datetime.datetime, typer.Option("--from", help="First day, UTC.", formats=["%Y-%m-%d"])],
    end: Annotated[datetime.datetime, typer.Option("--to", help="Last day, included, UTC.", formats=["%Y-%m-%d"])],
    sha256: Annotated[str, typer.Option(help="SHA-256 of one version; all when not given.")] = "",
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Who got a model between two days: assessments, patients, how each ended, status of its report; a CSV file."""
    from oncoresponse.v1 import assessment_pb2, report_pb2

    first, after = start.replace(tzinfo=datetime.UTC), end.replace(tzinfo=datetime.UTC) + datetime.timedelta(days=1)
    assessments, patients = 0, set()
    with (
        _connected(server, ca, client_certificate, client_key, token_file) as client,
        # Nobody but its owner reads it, from the first byte on; a file that is there is not written over.
        os.fdopen(_new_private_file(out), "w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for item in client.recall(name, sha256, first, after):
            assessments += 1
            state = assessment_pb2.AssessmentState.Name(item.state).removeprefix("ASSESSMENT_STATE_").lower()
            fields = (
                *(item.assessment, item.create_time.ToDatetime(datetime.UTC).isoformat(), item.model_sha256),
                *("not noted yet" if state == "unspecified" else state, item.study, item.study_date),
            )
            status = report_pb2.ReportStatus.Name(item.report_status).removeprefix("REPORT_STATUS_").lower()
            without = "not noted yet" if state == "unspecified" else "none"
            report = without if status == "unspecified" else status
            for patient in item.patients or [None]:
                who = ("", "") if patient is None else (patient.patient_id, patient.issuer_of_patient_id)
                patients.add(who)
                writer.writerow([*fields, *map(_no_formula, who), report])
    typer.echo(f"{assessments} assessments of {len(patients - {('', '')})} patients in {out}.")
    typer.echo("The file holds patient data. Keep it as such, and delete it when it is not needed any more.", err=True)


def _no_formula(value: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _new_private_file(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError("The file is there already. Give another name, or remove it first.") from None


def _or_all(name: str) -> str:
    return "-" if name == "all" else name


def _sentence(change: model_control_pb2.ModelChange) -> str:
    from oncoresponse.v1 import model_control_pb2, model_pb2

    kind = model_control_pb2.ModelChange.Kind.Name(change.kind).removeprefix("KIND_").lower()
    state = model_pb2.ModelState.Name(change.state).removeprefix("MODEL_STATE_").lower() if change.state else ""
    words = [
        f"{change.number}. {change.time.ToDatetime().isoformat(timespec='seconds')}Z",
        change.model.replace("models/-", "all models"),
        *([f"{change.version} ({change.sha256[:16]})"] if change.sha256 else []),
        kind if kind != "state" else "is now",
        state,
        f"by {change.caller}",
        *([f"as proposed by {change.proposed_by}"] if change.proposed_by else []),
        *(["in an emergency"] if change.emergency else []),
        *(["(no second person yet)"] if change.unconfirmed else []),
    ]
    return f"{' '.join(filter(None, words))}: {change.reason}"


@contextmanager
def _connected(
    server: str, ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None
) -> Iterator[AdministrationClient]:
    client = connect_administration(server, ca, certificate, key, token_file)
    try:
        yield client
    finally:
        client.close()
