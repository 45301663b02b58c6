"""The register of erasures of an installation, as its settings say."""

from __future__ import annotations

from pathlib import Path

from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.storage.audit_store import PatientDigests
from oncoresponse.storage.erasure_register import REGISTER_FILE, ErasureRegister


def erasure_register(settings: ServerSettings) -> ErasureRegister:
    """The register; its digests are made with the key of the audit record."""
    digests = PatientDigests(settings.data_directory / "secrets" / "audit.key")
    return ErasureRegister(register_file(settings), digests)


def register_file(settings: ServerSettings) -> Path:
    """Where it lies."""
    return settings.erasure_register or settings.data_directory / REGISTER_FILE
