"""Options of every command that calls a server, and the client they make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.client import Client
from oncoresponse.rpc.settings import CALLER_VARIABLES
from oncoresponse.rpc.tls import CallerTls

_CA, _CERTIFICATE, _KEY = CALLER_VARIABLES

CertificateAuthority = Annotated[
    Path | None,
    typer.Option(
        "--ca", envvar=_CA, help="PEM file of the authority of the server's certificate; without it no encryption."
    ),
]
ClientCertificate = Annotated[
    Path | None,
    typer.Option(
        "--client-certificate", envvar=_CERTIFICATE, help="PEM certificate to show, for a server that asks for one."
    ),
]
ClientKey = Annotated[Path | None, typer.Option("--client-key", envvar=_KEY, help="PEM key of that certificate.")]


def connect(server: str, ca: Path | None, certificate: Path | None, key: Path | None) -> Client:
    """A client of the server.

    Raises:
        ConfigurationError: A TLS file is missing, unreadable, or of another kind.
    """
    tls = CallerTls(ca, certificate, key)
    if ca is None and tls.is_wanted:
        raise ConfigurationError(
            "A client certificate needs TLS. Give the authority of the server's certificate: --ca."
        )
    tls.require_usable()
    return Client(server, tls)
