"""TLS of callers and of servers: which PEM files, and what is wrong when a connection does not come about.

gRPC says of a failed handshake no more than that the peer is unavailable, in words that change with its version. So the
cause is found by a handshake of Python's own ``ssl``, with the same files.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from oncoresponse.errors import ConfigurationError, OncoResponseError, PeerUnavailable, TlsHandshakeFailed

_PROBE_SECONDS = 3.0
# X509_V_ERR_* of OpenSSL, x509_vfy.h.
_EXPIRED, _NOT_YET_VALID = 10, 9
_NAME_MISMATCH, _ADDRESS_MISMATCH = 62, 64
_WRONG_PURPOSE = 26
# The client preface of HTTP/2 (RFC 9113 section 3.4): a server answers to it, or closes.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@dataclass(frozen=True)
class CallerTls:
    """What a caller needs for TLS. Without any of it the connection is not encrypted.

    Attributes:
        authority: PEM file of the certificate authorities to trust; those that gRPC brings when ``None``.
        certificate, key: PEM files that show who calls, for servers that ask for it.
        peer_name: Name that the certificate of the server carries, where it is not that of the address.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    peer_name: str = ""

    @property
    def is_wanted(self) -> bool:
        """Whether to encrypt."""
        return any((self.authority, self.certificate, self.key))

    def require_usable(self) -> None:
        """Read every file once.

        Raises:
            ConfigurationError: A file cannot be read, is no PEM file of its kind, or the key is not the certificate's.
        """
        if (self.certificate is None) != (self.key is None):
            raise ConfigurationError("A certificate and its key belong together; give both.")
        require_readable_pem(authority=self.authority, certificate=self.certificate, key=self.key)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For :func:`grpc.secure_channel`."""
        authority, key, certificate = (
            path.read_bytes() if path is not None else None for path in (self.authority, self.key, self.certificate)
        )
        return grpc.ssl_channel_credentials(authority, key, certificate)

    def channel_options(self) -> list[tuple[str, str]]:
        """Options that go with the credentials."""
        return [("grpc.ssl_target_name_override", self.peer_name)] if self.peer_name else []


def require_readable_pem(*, authority: Path | None, certificate: Path | None, key: Path | None) -> None:
    """See :meth:`CallerTls.require_usable`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if authority is not None:
            context.load_verify_locations(authority)
        if certificate is not None:
            # An empty password instead of a question at the terminal.
            context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        what = (
            "The key is not that of the certificate"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "A TLS file is not an unencrypted PEM file of its kind"
        )
        raise ConfigurationError(f"{what}. Check certificate authority, certificate and key.") from error
    except OSError as error:
        raise ConfigurationError(
            f"A TLS file cannot be read ({error.strerror}). Check certificate authority, certificate and key."
        ) from error


def connection_fault(address: str, tls: CallerTls) -> OncoResponseError:
    """Why no connection to ``HOST:PORT`` comes about, by trying again with the operating system's own means. Blocks.

    Returns:
        TlsHandshakeFailed where TLS is the cause (metadata ``cause``), else PeerUnavailable.
    """
    if address.startswith("unix:"):
        return PeerUnavailable("The process does not answer itself. Its log has more.")
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), timeout=_PROBE_SECONDS) as connection:
            if not tls.is_wanted:
                return _fault_without_tls(address, connection)
            return _fault_with_tls(address, host, tls, connection)
    except socket.gaierror:
        return PeerUnavailable(f"No server answers at {address}: the host name is not known. Check the address.")
    except ConnectionRefusedError:
        return PeerUnavailable(
            f"No server answers at {address}: the connection is refused. Check the address, and that the server runs."
        )
    except (OSError, ValueError):
        return PeerUnavailable(
            f"No server answers at {address}. Check the address, that the server runs, and the network between."
        )


def _fault_without_tls(address: str, connection: socket.socket) -> OncoResponseError:
    # Only to see whether the server speaks TLS; nothing is sent over this connection.
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    try:
        anybody.set_alpn_protocols(["h2"])
        anybody.wrap_socket(connection).close()
    except (ssl.SSLError, OSError):
        return PeerUnavailable(f"The server at {address} does not answer. Check the address, and that the server runs.")
    return TlsHandshakeFailed(
        f"The server at {address} wants TLS, and the call came without. Give the certificate authority to trust.",
        cause="server_wants_tls",
    )


def _fault_with_tls(address: str, host: str, tls: CallerTls, connection: socket.socket) -> OncoResponseError:
    tls.require_usable()
    context = ssl.create_default_context(cafile=tls.authority)
    # As gRPC does: a partial chain up to any certificate of the file is trusted.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key, password="")
    try:
        with context.wrap_socket(connection, server_hostname=tls.peer_name or host) as encrypted:
            # With TLS 1.3 a server refuses a client after the handshake, as seen from the client.
            encrypted.sendall(_PREFACE)
            if not encrypted.recv(1):
                return _refused(address, tls, "")
    except ssl.SSLCertVerificationError as error:
        return _untrusted(address, error.verify_code)
    except TimeoutError:
        # A server that starts, or is stuck, lets the operating system take the connection and says nothing.
        return PeerUnavailable(
            f"The server at {address} takes the connection and does not answer. It may be starting; try again, and "
            "look at its log."
        )
    except (ssl.SSLError, OSError) as error:
        return _refused(address, tls, getattr(error, "reason", None) or "")
    return PeerUnavailable(f"The server at {address} broke the connection off. Try again.")


def _untrusted(address: str, code: int) -> TlsHandshakeFailed:
    if code in (_NAME_MISMATCH, _ADDRESS_MISMATCH):
        return TlsHandshakeFailed(
            f"The certificate of the server at {address} does not carry that name. Call the server by a name that its "
            "certificate carries, or have one issued for this name.",
            cause="name_mismatch",
        )
    if code in (_EXPIRED, _NOT_YET_VALID):
        return TlsHandshakeFailed(
            f"The certificate of the server at {address}, or of its authority, is not valid now. "
            "Renew it, or correct the clock.",
            cause="expired",
        )
    if code == _WRONG_PURPOSE:
        return TlsHandshakeFailed(
            f"The certificate at {address} is not issued for a server. Use one with extended key usage serverAuth.",
            cause="wrong_purpose",
        )
    return TlsHandshakeFailed(
        f"The certificate of the server at {address} is not of an authority that is trusted here. "
        "Give the PEM file of the authority that issued it.",
        cause="untrusted_authority",
    )


def _refused(address: str, tls: CallerTls, reason: str) -> OncoResponseError:
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return TlsHandshakeFailed(
            f"The server at {address} does not speak TLS, and a certificate authority was given. Check address and "
            "port; leave the certificate authority out only on a network that is protected otherwise.",
            cause="server_without_tls",
        )
    if tls.certificate is None:
        return TlsHandshakeFailed(
            f"The server at {address} wants a client certificate. Give one that its authority issued, and its key.",
            cause="client_certificate_required",
        )
    return TlsHandshakeFailed(
        f"The server at {address} refuses the client certificate: another authority issued it, it is not valid now, or "
        "it is not issued for clients (extended key usage clientAuth).",
        cause="client_certificate_refused",
    )
