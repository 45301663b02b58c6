"""Settings of StudyService."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.storage.study_reservation import StudyQuota


@dataclass(frozen=True)
class DicomWebServer:
    """A DICOMweb server that may be read, and how to log in there.

    Attributes:
        url: Base URL.
        user: User name of HTTP Basic authentication; empty for none.
        password_file: File with the password.
        token_file: Instead: file with a bearer token.
        tls_authority: PEM file of the authority to trust; those of the machine when ``None``.
        tls_certificate, tls_key: PEM files to show.
    """

    url: str
    user: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    tls_authority: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class StudySettings(StudyQuota):
    """What may come in, from where, and how much of it.

    Attributes:
        allowed_import_directories: ImportDirectory reads these and what is below them. Empty: nothing.
        allowed_dicomweb_urls: ImportDicomWeb reads these base URLs and what is below them. Empty: nothing.
        dicomweb_servers: DICOMweb servers by name; they may be read too.
        dicomweb_connect_timeout_seconds: Time a DICOMweb server has to accept the connection.
        dicomweb_idle_seconds: Longest time in which a DICOMweb server may send less than a kibibyte.
        dicomweb_total_seconds: Longest time that one import from a DICOMweb server may take.
        dicom_limits: How large a DICOM file may be and become.
        concurrent_imports: Imports that advance at the same time; others wait their turn.
    """

    allowed_import_directories: tuple[Path, ...] = ()
    allowed_dicomweb_urls: tuple[str, ...] = ()
    dicomweb_servers: dict[str, DicomWebServer] = Field(default={})
    dicomweb_connect_timeout_seconds: float = Field(default=10.0, gt=0)
    dicomweb_idle_seconds: float = Field(default=60.0, gt=0)
    dicomweb_total_seconds: float = Field(default=3600.0, gt=0)
    dicom_limits: DicomLimits = DEFAULT_LIMITS
    concurrent_imports: int = Field(default=8, ge=1, le=64)
