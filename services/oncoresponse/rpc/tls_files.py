"""The TLS files of a system that is called, as settings name them."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator


class ClientFiles(Protocol):
    """The files that a client of TLS may have; :class:`TlsFiles` is one."""

    @property
    def tls_authority(self) -> Path | None: ...  # noqa: D102
    @property
    def tls_certificate(self) -> Path | None: ...  # noqa: D102
    @property
    def tls_key(self) -> Path | None: ...  # noqa: D102


def client_context(files: ClientFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer, trusting the authority, or those of the system where none is named.

    Raises:
        OSError: A file cannot be read, is no PEM file of its kind, or the key is not the certificate's.
    """
    context = ssl.create_default_context(cafile=files.tls_authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.tls_certificate is not None:
        # An empty password instead of a question at the terminal.
        context.load_cert_chain(files.tls_certificate, files.tls_key, password="")
    return context


class TlsFiles(BaseModel):
    """What settings of a system have that is called with TLS.

    Attributes:
        tls_authority: PEM file of the authority to trust.
        tls_certificate, tls_key: PEM files to show; both or none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tls_authority: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @field_validator("tls_authority", "tls_certificate", "tls_key")
    @classmethod
    def _home_folder_of_tls(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    @model_validator(mode="after")
    def _both_files(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together")
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether TLS is spoken, where no URL says it."""
        return self.tls_authority is not None or self.tls_certificate is not None
