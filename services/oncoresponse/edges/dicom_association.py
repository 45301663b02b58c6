"""Opens associations (PS3.8) to those whom the settings name, and says why there is none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from pynetdicom import AE
from pynetdicom.association import Association

from oncoresponse.errors import OncoResponseError, PacsAccessDenied, PeerUnavailable, TlsHandshakeFailed
from oncoresponse.rpc.addresses import host_of
from oncoresponse.rpc.tls_files import client_context

# PS3.8 table 9-21, source 1.
_TITLE_NOT_RECOGNIZED = (3, 7)

# It logs data sets.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


class DicomTarget(Protocol):
    """What the settings say of whom is called; see :class:`~oncoresponse.rpc.edge_settings.DicomPeer`."""

    @property
    def address(self) -> str: ...  # noqa: D102
    @property
    def ae_title(self) -> str: ...  # noqa: D102
    @property
    def calling_ae_title(self) -> str: ...  # noqa: D102
    @property
    def tls_authority(self) -> Path | None: ...  # noqa: D102
    @property
    def tls_certificate(self) -> Path | None: ...  # noqa: D102
    @property
    def tls_key(self) -> Path | None: ...  # noqa: D102
    @property
    def uses_tls(self) -> bool: ...  # noqa: D102
    @property
    def connect_seconds(self) -> float: ...  # noqa: D102
    @property
    def idle_seconds(self) -> float: ...  # noqa: D102


def associated(
    target: DicomTarget, contexts: Sequence[tuple[str, str | None]], handlers: Sequence[Any] = ()
) -> Association:
    """An association. Blocks.

    Args:
        target: Whom to call.
        contexts: Abstract syntax, and transfer syntax; ``None`` for those that need no compression.
        handlers: Of pynetdicom.

    Raises:
        PeerUnavailable, PacsAccessDenied, TlsHandshakeFailed: There is none.
    """
    entity = AE(ae_title=target.calling_ae_title)
    entity.connection_timeout = entity.acse_timeout = target.connect_seconds
    entity.dimse_timeout = entity.network_timeout = target.idle_seconds
    for abstract, syntax in contexts:
        if syntax is None:
            entity.add_requested_context(abstract)
        else:
            entity.add_requested_context(abstract, syntax)
    host, port = host_of(target.address), int(target.address.rpartition(":")[2])
    association = entity.associate(
        host,
        port,
        ae_title=target.ae_title,
        evt_handlers=list(handlers),
        tls_args=(client_context(target), host) if target.uses_tls else None,
    )
    if association.is_established:
        return association
    raise _not_established(association, target)


def broke_off() -> OncoResponseError:
    """What is said of an association that ended in the middle."""
    return PeerUnavailable("The PACS broke off, or did not answer in time (idle_seconds).")


def _not_established(association: Association, target: DicomTarget) -> OncoResponseError:
    if association.is_rejected:
        answer: Any = association.acceptor.primitive
        if getattr(answer, "result_source", 0) == 1 and getattr(answer, "diagnostic", 0) in _TITLE_NOT_RECOGNIZED:
            return PacsAccessDenied(
                "The PACS does not know the AE title that calls or is called (calling_ae_title, ae_title). Enter it "
                "there, with this address.",
                diagnostic=str(answer.diagnostic),
            )
        return PeerUnavailable("The PACS rejects the association. It may be busy, or not know this AE title.")
    if target.uses_tls:
        return TlsHandshakeFailed(
            "No encrypted connection to the PACS. Check that it runs, speaks TLS 1.2 or newer at that port, and that "
            "its certificate is of the authority (tls_authority) and carries the host name of its address.",
            cause="no_connection",
        )
    return PeerUnavailable("The PACS does not answer at its address, or broke off.")
