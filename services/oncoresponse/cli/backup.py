"""``oncoresponse backup``, ``backup-key`` and ``restore``: one encrypted file, while the server runs, and back."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from oncoresponse.backup.restoring import Contents
    from oncoresponse.rpc.settings import ServerSettings
    from oncoresponse.storage.erasure_register import RegisteredErasure

_Settings = Annotated[Path | None, typer.Option("--settings", help="YAML settings file of the server.")]
_DatabaseUrl = Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite.")]
_Programs = Annotated[
    Path | None, typer.Option("--postgresql-programs", help="Folder of pg_dump and pg_restore; the PATH without it.")
]
_Identity = Annotated[Path, typer.Option(help="File with the private key.")]


def backup_key(
    identity: Annotated[Path, typer.Option(help="New file for the private key. Keep it away from the server.")],
    recipient: Annotated[Path, typer.Option(help="New file for the public key, which the server gets.")],
) -> None:
    """Make the pair of keys of the backups: with the public one they are made, with the private one restored."""
    from oncoresponse.backup.encryption import make_key_pair

    make_key_pair(identity, recipient)
    typer.echo(
        f"{recipient} goes to the server. {identity} goes to a safe place, twice: without it no backup can be read, "
        "and who has it can read all of them."
    )


def backup(
    to: Annotated[Path, typer.Option(help="New file.")],
    recipient: Annotated[Path, typer.Option(help="File with the public key (oncoresponse backup-key).")],
    data_dir: Annotated[Path | None, typer.Option(help="Data folder of the server.")] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder of installed models.")] = None,
    database_url: _DatabaseUrl = None,
    settings: _Settings = None,
    postgresql_programs: _Programs = None,
) -> None:
    """Back up everything the server keeps into one encrypted file, while it runs. Models are not in it.

    Exit status 1 and a warning where the backup was made and a stored file is not what it was.
    """
    from oncoresponse.backup.encryption import read_recipients
    from oncoresponse.backup.writing import write_backup
    from oncoresponse.servers.erasure_registration import erasure_register
    from oncoresponse.storage.private_files import only_for_this_user

    only_for_this_user()
    recipients = read_recipients(recipient)
    loaded = _loaded(settings, data_dir, models_dir, database_url)
    _record(loaded, "oncoresponse backup", "begun")
    # It has to begin before the backup, also where no server of this release has run yet.
    erasure_register(loaded).prepare()
    with _progress("backup") as progress:
        written = write_backup(loaded, to.expanduser().absolute(), recipients, postgresql_programs, progress)
    manifest = written.manifest
    typer.echo(
        f"{manifest.file_count} files, {written.size_bytes / 1e6:.1f} MB, as of {_in_words(written.begun)}: {to}"
    )
    if manifest.unknown_files:
        typer.echo(f"{manifest.unknown_files} files of the data folder are not of OncoResponse, and were left out.")
    for name in written.unreadable_models:
        typer.echo(f"Which version of the model {name} is installed could not be noted.", err=True)
    if manifest.damaged:
        typer.echo(
            f"WARNING: {len(manifest.damaged)} stored files are not what they were when they were stored. Look at the "
            "disk; an earlier backup may hold them whole.",
            err=True,
        )
        raise typer.Exit(1)


def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    identity: _Identity,
    data_dir: Annotated[Path | None, typer.Option(help="New data folder.")] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder of installed models.")] = None,
    database_url: Annotated[str | None, typer.Option(help="postgresql://... of a new, empty database.")] = None,
    erasures: Annotated[
        list[Path] | None, typer.Option("--erasures", help="Register of erasures, as it is today; repeatable.")
    ] = None,
    without_erasures: Annotated[
        bool,
        typer.Option("--without-erasures", help="Bring back who was erased since the backup: no register is left."),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only verify the backup.")] = False,
    settings: _Settings = None,
    postgresql_programs: _Programs = None,
) -> None:
    """Restore a backup into a new data folder, and erase again who was erased since."""
    from oncoresponse.backup.encryption import read_identities
    from oncoresponse.backup.restoring import check_backup, restore_backup
    from oncoresponse.errors import ConfigurationError
    from oncoresponse.storage.erasure_register import merged, registered_erasures
    from oncoresponse.storage.private_files import only_for_this_user

    only_for_this_user()
    identities = read_identities(identity)
    if check:
        with _progress("check") as progress:
            found = check_backup(file, identities, progress)
        typer.echo(f"Whole. {_about(found)}")
        _say_damaged(found)
        return
    if not erasures and not without_erasures:
        raise ConfigurationError(
            "A backup brings back who was erased after it was made. Give the register of erasures (--erasures FILE), "
            "or say that there is none (--without-erasures)."
        )
    lines = merged(*map(registered_erasures, erasures or ()))
    loaded = _loaded(settings, data_dir, models_dir, database_url)

    def finish(place: ServerSettings, found: Contents) -> None:
        for sentence in _erased_again(place, found, lines, whole=not without_erasures):
            typer.echo(sentence)

    with _progress("restore") as progress:
        done = restore_backup(file, identities, loaded, finish, postgresql_programs, progress)
    typer.echo(f"Restored into {loaded.data_directory}. {_about(done.contents)}")
    _say_damaged(done.contents)
    if done.missing_artifacts:
        typer.echo(f"Missing: {done.missing_artifacts} files that studies name.", err=True)
    for name in done.missing_models:
        typer.echo(f"Missing: the model {name} in the version of the backup. Install it.", err=True)
    for name in done.contents.header.from_settings:
        typer.echo(f"Not in the backup: the file of the setting {name}.")
    if without_erasures:
        typer.echo(
            "WARNING: THE REGISTER OF ERASURES IS MISSING. Who was erased after the backup was made, and is in no "
            "register that was given, is back. Find out who, and erase them (oncoresponse erase-patient) before "
            "anybody uses the server.",
            err=True,
        )


def _erased_again(
    place: ServerSettings, found: Contents, lines: Sequence[RegisteredErasure], *, whole: bool
) -> Iterator[str]:
    from oncoresponse.servers.erasing_again import erase_again
    from oncoresponse.storage.audit_store import PatientDigests
    from oncoresponse.storage.erasure_register import (
        REGISTER_FILE,
        Erased,
        append_lines,
        merged,
        registered_erasures,
    )

    digests = PatientDigests(place.data_directory / "secrets" / "audit.key", make=False)
    gone = erase_again(place, Erased(lines, digests, found.header.begun, whole=whole))
    # The register goes on: a still older backup may be restored one day.
    copy = place.data_directory / REGISTER_FILE
    register = place.erasure_register or copy
    known = set(registered_erasures(register)) if register.is_file() else set()
    backed_up = registered_erasures(copy) if copy.is_file() else []
    if more := [line for line in merged(lines, backed_up) if line not in known]:
        append_lines(register, more)
    counted = f"{gone.patients} patients, {gone.studies} studies, {gone.assessments} assessments, {gone.orders} orders"
    register_was = "" if whole else "without the whole register; "
    _record(
        place,
        "oncoresponse restore",
        f"backup of {_in_words(found.header.begun)}; {register_was}erased again: {counted}",
    )
    yield f"Erased again: {counted}."
    yield f"{gone.files} stored files went that belong to nobody, or to who was erased."


def _loaded(
    settings: Path | None, data_dir: Path | None, models_dir: Path | None, database_url: str | None
) -> ServerSettings:
    from oncoresponse.rpc.settings import load_settings

    return load_settings(settings, data_directory=data_dir, models_directory=models_dir, database_url=database_url)


def _record(settings: ServerSettings, operation: str, remark: str) -> None:
    """That somebody took everything away, or brought it back, is in the audit record."""
    import getpass
    import uuid

    from oncoresponse.access.audit_event import AuditAction, AuditEvent
    from oncoresponse.access.caller import Caller, Identification
    from oncoresponse.access.roles import AccessRole
    from oncoresponse.storage.audit_store import AuditStore, PatientDigests

    digests = PatientDigests(settings.data_directory / "secrets" / "audit.key", make=False)
    store = AuditStore(settings.system_audit_database_url, digests)
    try:
        store.record(
            AuditEvent(
                time=datetime.datetime.now(datetime.UTC),
                caller=Caller(f"os:{getpass.getuser()}", frozenset({AccessRole.ADMINISTER}), Identification.ANONYMOUS),
                address="local",
                action=AuditAction.EXECUTE,
                operation=operation,
                outcome="OK",
                correlation_id=str(uuid.uuid4()),
                remark=remark,
            )
        )
    finally:
        store.close()


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    from oncoresponse.cli.line_progress import training_progress

    with training_progress(None) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda done, total: bar.update(task, completed=done / total if total else 1.0)


def _about(found: Contents) -> str:
    return (
        f"{found.manifest.file_count} files as of {_in_words(found.header.begun)}, made by OncoResponse "
        f"{found.header.release}."
    )


def _say_damaged(found: Contents) -> None:
    if found.manifest.damaged:
        typer.echo(f"{len(found.manifest.damaged)} files were damaged before the backup was made.", err=True)


def _in_words(when: datetime.datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")
