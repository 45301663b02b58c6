"""One HL7 message by MLLP (HL7 v2 Transport Specification), and what its acknowledgement says (v2.5.1 section 2.9)."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

import hl7
from hl7.mllp import InvalidBlockError, open_hl7_connection

from oncoresponse.edges.delivery.sending import AttemptEnded
from oncoresponse.errors import DestinationAnswerRefused, PeerUnavailable, TlsHandshakeFailed
from oncoresponse.rpc.addresses import host_of
from oncoresponse.rpc.ehr_settings import MllpDestination
from oncoresponse.rpc.tls_files import client_context

_LARGEST_ACKNOWLEDGEMENT_BYTES = 1024**2
_CLOSING_SECONDS = 1.0


@dataclass(frozen=True)
class Acknowledgement:
    """What a receiver says of a message; its texts are not kept, as they may hold patient data.

    Attributes:
        code: MSA-1, table 0008.
        control_id: MSA-2.
        error_codes: ERR-3.1 of each ERR segment, table 0357.
        segments: ERR-2.1 of each: the segment that is at fault.
    """

    code: str
    control_id: str
    error_codes: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()


def exchange_message(destination: MllpDestination, message: bytes) -> Acknowledgement:
    """Send a message on a connection of its own, and wait for its acknowledgement. Blocks.

    Raises:
        AttemptEnded: There is no connection, or no acknowledgement that can be read.
    """
    try:
        block = asyncio.run(_exchanged(destination, message))
    except ssl.SSLError:
        raise AttemptEnded(
            TlsHandshakeFailed(
                "No encrypted connection to the destination: its certificate is not of an authority that is trusted "
                "here, or does not carry the name of the address, or it does not take the one that is shown.",
                cause="untrusted_authority",
            )
        ) from None
    except (InvalidBlockError, ValueError):
        raise _unreadable() from None
    except TimeoutError:
        raise AttemptEnded(
            PeerUnavailable("The destination does not acknowledge the message in time (connect_seconds, idle_seconds).")
        ) from None
    except (OSError, EOFError):
        raise AttemptEnded(PeerUnavailable("The destination does not answer, or broke off.")) from None
    return _acknowledgement(block)


async def _exchanged(destination: MllpDestination, message: bytes) -> bytes:
    host, port = host_of(destination.address), int(destination.address.rpartition(":")[2])
    context = client_context(destination) if destination.uses_tls else None
    connecting = open_hl7_connection(host, port, ssl=context, limit=_LARGEST_ACKNOWLEDGEMENT_BYTES, encoding="utf-8")
    reader, writer = await asyncio.wait_for(connecting, destination.connect_seconds)
    try:
        async with asyncio.timeout(destination.idle_seconds):
            writer.writeblock(message)
            await writer.drain()
            return bytes(await reader.readblock())
    finally:
        writer.transport.abort()


def _acknowledgement(block: bytes) -> Acknowledgement:
    try:
        message: Any = hl7.parse(block.decode("utf-8", "replace"))
        msa = message.segment("MSA")
        errors = [each for each in message if str(each[0]) == "ERR"]
        return Acknowledgement(
            code=str(msa(1)),
            control_id=str(msa(2)),
            error_codes=tuple(_first(each, 3) for each in errors),
            segments=tuple(_first(each, 2) for each in errors),
        )
    except (hl7.HL7Exception, KeyError, IndexError, ValueError, TypeError):
        raise _unreadable() from None


def _first(segment: Any, number: int) -> str:
    """First component of a field; empty where the segment ends before it."""
    return str(segment(number)).partition("^")[0] if len(segment) > number else ""


def _unreadable() -> AttemptEnded:
    return AttemptEnded(
        DestinationAnswerRefused(
            "The destination answers with what is no acknowledgement of HL7. Check what listens at the address."
        )
    )
