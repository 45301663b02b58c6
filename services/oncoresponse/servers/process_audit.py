"""The audit record of a server process: its start and end, with which settings, and anchors while nobody calls."""

from __future__ import annotations

import asyncio
import datetime
import getpass
import hashlib
import logging
import uuid
from collections.abc import Mapping
from pathlib import Path

from oncoresponse.access.audit_event import AuditAction, AuditEvent
from oncoresponse.access.caller import Caller, Identification
from oncoresponse.access.installed import revocations_file_of, users_file_of
from oncoresponse.access.local_users import USERS_FILE
from oncoresponse.access.revocations import REVOCATIONS_FILE
from oncoresponse.access.roles import AccessRole
from oncoresponse.errors import AuditUnavailable
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.storage.audit_anchor import AuditAnchor, FileAnchor, SyslogAnchor, canonical_json
from oncoresponse.storage.audit_store import AuditStore, PatientDigests

_WATCH_SECONDS = 60.0
# They may hold a password; who has the digest could try out short ones.
_SECRET_SETTINGS = {"database_url", "audit_database_url"}

_log = logging.getLogger(__name__)


class ProcessAudit:
    """Opens the record and keeps the start of the process in it.

    Args:
        settings: Of the process.

    Raises:
        AuditUnavailable: The record cannot be opened or written; the process must not serve then.
    """

    def __init__(self, settings: ServerSettings) -> None:
        digests = PatientDigests(settings.data_directory / "secrets" / "audit.key")
        self.store = AuditStore(settings.system_audit_database_url, digests, _anchors(settings))
        self._settings = f"settings sha256 {settings_digest(settings)}"
        self._files = {
            USERS_FILE: users_file_of(settings.data_directory, settings.users_file),
            REVOCATIONS_FILE: revocations_file_of(settings.data_directory, settings.revocations_file),
        }
        self._seen = _digests(self._files)
        try:
            self._record("start", self._settings)
        except AuditUnavailable:
            self.store.close()
            raise

    async def watch(self) -> None:
        """Each minute tell the anchors what is new, and keep that somebody changed the files of callers.

        Runs until it is cancelled.
        """
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await asyncio.to_thread(self._look)

    def _look(self) -> None:
        try:
            for name, digest in _digests(self._files).items():
                if digest != self._seen[name]:
                    # Whoever did it, with a command or an editor.
                    self._record(f"{name} changed", f"sha256 {digest}")
                    self._seen[name] = digest
        except AuditUnavailable:
            _log.warning("a change of the files of callers is not in the audit record, which cannot be written")
        self.store.anchor()

    def close(self) -> None:
        """Keep the end of the process, and close the record."""
        try:
            self._record("end", self._settings)
        except AuditUnavailable:
            _log.warning("the end of the process is not in the audit record, which cannot be written")
        finally:
            self.store.close()

    def _record(self, what: str, remark: str) -> None:
        self.store.record(
            AuditEvent(
                time=datetime.datetime.now(datetime.UTC),
                caller=Caller(f"os:{getpass.getuser()}", frozenset({AccessRole.ADMINISTER}), Identification.ANONYMOUS),
                address="local",
                action=AuditAction.EXECUTE,
                operation=f"oncoresponse serve: {what}",
                outcome="OK",
                correlation_id=str(uuid.uuid4()),
                remark=remark,
            )
        )


def settings_digest(settings: ServerSettings) -> str:
    """SHA-256 of all settings but the addresses of databases, so that a change shows in the audit record."""
    values = settings.model_dump(mode="json", exclude=_SECRET_SETTINGS)
    return hashlib.sha256(canonical_json(_texts(values)).encode()).hexdigest()


def _digests(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 by name; empty for a file that is not there or cannot be read."""
    found = {}
    for name, path in files.items():
        try:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            found[name] = ""
    return found


def _texts(value: object) -> object:
    """Numbers as texts: their canonical form is a matter of its own."""
    if isinstance(value, dict):
        return {str(key): _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        # Sets come in any order.
        return sorted((_texts(item) for item in value), key=str)
    return str(value)


def _anchors(settings: ServerSettings) -> list[AuditAnchor]:
    anchors: list[AuditAnchor] = []
    if settings.audit_anchor is not None:
        anchors.append(FileAnchor(settings.audit_anchor))
    if settings.audit_syslog:
        anchors.append(SyslogAnchor(settings.audit_syslog))
    return anchors
