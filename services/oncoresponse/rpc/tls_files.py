"""The TLS files of a system that is called, as settings name them."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator


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
