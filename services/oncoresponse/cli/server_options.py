"""Options of every command that calls a server, and the client they make."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.caller_variables import CALLER_VARIABLES

if TYPE_CHECKING:
    from oncoresponse.rpc.administration_client import AdministrationClient
    from oncoresponse.rpc.client import Client
    from oncoresponse.rpc.delivery_client import DeliveryClient
    from oncoresponse.rpc.order_client import OrderClient
    from oncoresponse.rpc.pacs_client import PacsClient
    from oncoresponse.rpc.tls import CallerTls

_CA, _CERTIFICATE, _KEY, _TOKEN, _TOKEN_FILE = CALLER_VARIABLES

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

TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar=_TOKEN_FILE,
        help=f"File with the token that says who calls; or the token itself in the environment variable {_TOKEN}.",
    ),
]


def connect(
    server: str, ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None = None
) -> Client:
    """A client of the server.

    Raises:
        ConfigurationError: A TLS file or the token file is missing, unreadable, or of another kind; or the token would
            cross a network unencrypted.
    """
    from oncoresponse.rpc.client import Client

    return Client(server, _usable_tls(ca, certificate, key), token=_token(token_file))


def connect_administration(
    server: str, ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None = None
) -> AdministrationClient:
    """The same with the calls of administrators. Raises what :func:`connect` raises."""
    from oncoresponse.rpc.administration_client import AdministrationClient

    return AdministrationClient(server, _usable_tls(ca, certificate, key), token=_token(token_file))


def connect_deliveries(
    server: str, ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None = None
) -> DeliveryClient:
    """The same with the calls about what is sent to others. Raises what :func:`connect` raises."""
    from oncoresponse.rpc.delivery_client import DeliveryClient

    return DeliveryClient(server, _usable_tls(ca, certificate, key), token=_token(token_file))


def connect_orders(
    server: str, ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None = None
) -> OrderClient:
    """The same with the calls about orders. Raises what :func:`connect` raises."""
    from oncoresponse.rpc.order_client import OrderClient

    return OrderClient(server, _usable_tls(ca, certificate, key), token=_token(token_file))


def connect_pacs(
    server: str, ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None = None
) -> PacsClient:
    """The same with the calls that concern archives. Raises what :func:`connect` raises."""
    from oncoresponse.rpc.pacs_client import PacsClient

    return PacsClient(server, _usable_tls(ca, certificate, key), token=_token(token_file))


def _usable_tls(ca: Path | None, certificate: Path | None, key: Path | None) -> CallerTls:
    from oncoresponse.rpc.tls import CallerTls

    tls = CallerTls(ca, certificate, key)
    if ca is None and tls.is_wanted:
        raise ConfigurationError(
            "A client certificate needs TLS. Give the authority of the server's certificate: --ca."
        )
    tls.require_usable()
    return tls


def _token(file: Path | None) -> str:
    if file is None:
        return os.environ.get(_TOKEN, "")
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "The file with the token cannot be read, or holds no token. Check --token-file."
        ) from error
    if not token or any(character.isspace() for character in token):
        raise ConfigurationError("The file with the token holds one word and nothing else. Check --token-file.")
    return token
