"""``oncoresponse audit``: verify and search the audit record, on the machine of the server."""

from __future__ import annotations

import datetime
import getpass
import itertools
import json
from pathlib import Path
from typing import Annotated

import typer

from oncoresponse.access.audit_event import AuditAction, AuditEvent
from oncoresponse.access.audit_fhir import audit_event_resources
from oncoresponse.access.call import accepted_correlation_id
from oncoresponse.access.caller import Caller, Identification
from oncoresponse.access.roles import AccessRole
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import ConfigurationError
from oncoresponse.storage.audit_archive import archive_rows, archived_rows
from oncoresponse.storage.audit_store import AuditStore, PatientDigests, audit_rows, verify

app = typer.Typer(help="The audit record.", no_args_is_help=True)

_DataDirectory = Annotated[Path, typer.Option("--data-dir", help="Data folder of the server.")]
_DatabaseUrl = Annotated[str, typer.Option("--database-url", help="postgresql://..., when the record is not SQLite.")]
_Anchor = Annotated[Path | None, typer.Option("--anchor", help="File of anchors (setting audit_anchor).")]
_DEFAULT_DATA_DIRECTORY = Path.home() / ".local" / "share" / "oncoresponse"


@app.command("verify")
def verify_record(
    data_dir: _DataDirectory = _DEFAULT_DATA_DIRECTORY,
    database_url: _DatabaseUrl = "",
    anchor: _Anchor = None,
    archive: Annotated[
        list[Path] | None, typer.Option("--archive", help="File of an archive; the oldest one first, repeatable.")
    ] = None,
) -> None:
    """Walk the chain; exit status 1 names the first broken link. Rows cut at the end show by the anchor alone.

    That it was walked, and what was found, goes into the record too.
    """
    url = _url(data_dir, database_url)
    found = verify(itertools.chain(archived_rows(archive or ()), audit_rows(url)), anchor)
    _record(
        url,
        _digests(data_dir),
        _event("oncoresponse audit verify", outcome="AUDIT_CHAIN_BROKEN" if found.fault else "OK"),
    )
    span = f", {found.first_time} to {found.last_time}" if found.count else ""
    typer.echo(f"{found.count} events in one chain{span}")
    if found.fault:
        typer.echo(f"BROKEN: {found.fault}", err=True)
        raise typer.Exit(1)
    if anchor is None:
        typer.echo("No anchor was given: that rows were cut off at the end would not show.", err=True)


@app.command("list")
def list_events(
    data_dir: _DataDirectory = _DEFAULT_DATA_DIRECTORY,
    database_url: _DatabaseUrl = "",
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    issuer: Annotated[str, typer.Option(help="Issuer of the Patient ID.")] = "",
    object_name: Annotated[str, typer.Option("--object", help="Resource name, such as assessments/...")] = "",
    caller: Annotated[str, typer.Option(help="Name of a caller.")] = "",
    since: Annotated[datetime.datetime | None, typer.Option(help="UTC, this time or later.")] = None,
    until: Annotated[datetime.datetime | None, typer.Option(help="UTC, before this time.")] = None,
    emergency: Annotated[bool, typer.Option("--emergency", help="Emergency access alone.")] = False,
) -> None:
    """Events as JSON lines. That they were listed goes into the record too."""
    if issuer and not patient:
        raise ConfigurationError("--issuer belongs to a Patient ID: give --patient too.")
    url = _url(data_dir, database_url)
    digests = _digests(data_dir)
    wanted = IndexedPatient(patient_id=patient, issuer_of_patient_id=issuer)
    _record(url, digests, _event("oncoresponse audit list", (wanted,) if patient else ()))
    alone, both = digests.of(wanted)
    for row in audit_rows(url):
        event = row.values
        if patient and not any(
            each["id_and_issuer"] == both if issuer else each["id"] == alone for each in event["patients"]
        ):
            continue
        when = datetime.datetime.fromisoformat(event["time"])
        if (since and when < _utc(since)) or (until and when >= _utc(until)):
            continue
        if (object_name and object_name not in event["objects"]) or (caller and caller != event["caller"]):
            continue
        if emergency and not event["emergency_reason"]:
            continue
        typer.echo(json.dumps({"sequence": row.sequence, **event}, ensure_ascii=False))


@app.command("export")
def export_events(
    out: Annotated[Path, typer.Option(help="File to write: one FHIR AuditEvent a line (NDJSON).")],
    data_dir: _DataDirectory = _DEFAULT_DATA_DIRECTORY,
    database_url: _DatabaseUrl = "",
    since: Annotated[datetime.datetime | None, typer.Option(help="UTC, this time or later.")] = None,
    until: Annotated[datetime.datetime | None, typer.Option(help="UTC, before this time.")] = None,
) -> None:
    """Events as FHIR AuditEvent in the shapes of IHE BALP. That they were exported goes into the record too."""
    url = _url(data_dir, database_url)
    _record(url, _digests(data_dir), _event("oncoresponse audit export"))
    written = 0
    out.touch(0o600)
    with out.open("w", encoding="utf-8") as file:
        for row in audit_rows(url):
            when = datetime.datetime.fromisoformat(row.values["time"])
            if (since and when < _utc(since)) or (until and when >= _utc(until)):
                continue
            for resource in audit_event_resources(row.sequence, row.own_hash, row.values):
                file.write(json.dumps(resource, ensure_ascii=False) + "\n")
                written += 1
    typer.echo(f"{written} AuditEvents in {out}")


@app.command("archive")
def archive_events(
    before: Annotated[datetime.datetime, typer.Option(help="UTC; events from before this time are moved.")],
    out: Annotated[Path, typer.Option(help="New file: the rows as JSON lines. Keep it as long as the law asks.")],
    data_dir: _DataDirectory = _DEFAULT_DATA_DIRECTORY,
    database_url: _DatabaseUrl = "",
) -> None:
    """Move old events from the database to a file; the chain goes through both (``verify --archive``)."""
    url = _url(data_dir, database_url)
    store = AuditStore(url, _digests(data_dir))
    try:
        moved = archive_rows(
            url, store, _utc(before), out, _event("oncoresponse audit archive", action=AuditAction.DELETE)
        )
    finally:
        store.close()
    if not moved.count:
        typer.echo("No event is older. No file was written.")
        return
    typer.echo(f"{moved.count} events, up to row {moved.last}, in {out}. Verify with --archive {out}.")


def _digests(data_dir: Path) -> PatientDigests:
    return PatientDigests(data_dir / "secrets" / "audit.key", make=False)


def _event(
    operation: str,
    patients: tuple[IndexedPatient, ...] = (),
    *,
    action: AuditAction = AuditAction.READ,
    outcome: str = "OK",
) -> AuditEvent:
    return AuditEvent(
        time=datetime.datetime.now(datetime.UTC),
        caller=Caller(f"os:{getpass.getuser()}", frozenset({AccessRole.ADMINISTER}), Identification.ANONYMOUS),
        address="local",
        action=action,
        operation=operation,
        outcome=outcome,
        correlation_id=accepted_correlation_id(""),
        patients=patients,
    )


def _record(url: str, digests: PatientDigests, event: AuditEvent) -> None:
    store = AuditStore(url, digests)
    try:
        store.record(event)
    finally:
        store.close()


def _url(data_dir: Path, database_url: str) -> str:
    if database_url:
        return database_url
    file = data_dir / "audit.sqlite"
    if not file.is_file():
        raise ConfigurationError("There is no audit record in this folder. Give the data folder of the server.")
    return f"sqlite:///{file}"


def _utc(when: datetime.datetime) -> datetime.datetime:
    return when.replace(tzinfo=datetime.UTC) if when.tzinfo is None else when
