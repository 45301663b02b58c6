"""``oncoresponse deliveries``: what is sent to others, what was refused, and what an operator does about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oncoresponse.cli.server_options import (
    CertificateAuthority,
    ClientCertificate,
    ClientKey,
    TokenFile,
    connect_deliveries,
)
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.delivery_client import DeliveryClient
from oncoresponse.v1 import delivery_pb2

app = typer.Typer(help="What is sent to archives and others.", no_args_is_help=True)

Server = Annotated[str, typer.Option(help="HOST:PORT of a running server.")]
Name = Annotated[str, typer.Argument(help="The delivery, as list prints it.")]
Destination = Annotated[str, typer.Option(help="Only to this destination.")]


class State(StrEnum):
    """States, as an operator writes them."""

    WAITING = "waiting"
    HELD = "held"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    DROPPED = "dropped"


@app.command("list")
def list_deliveries(
    server: Server,
    state: Annotated[State | None, typer.Option(help="Only in this state.")] = None,
    destination: Destination = "",
    assessment: Annotated[str, typer.Option(help="Only of this assessment.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=10_000)] = 50,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """List deliveries, newest first."""
    wanted = _wanted(state, destination)
    wanted.assessment, wanted.page_size = _named("assessments/", assessment), min(limit, 1000)
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        found = list(islice(client.deliveries(wanted), limit))
    table = Table("Delivery", "Assessment", "Version", "Event", "Destination", "State", "Tries", "Reason", box=None)
    for each in found:
        table.add_row(
            each.name,
            each.assessment,
            str(each.report_version),
            _word(delivery_pb2.DeliveryEvent.Name(each.event)),
            each.destination,
            _word(delivery_pb2.DeliveryState.Name(each.state)),
            str(each.attempts),
            escape(each.reason),
        )
    # Wide enough that no name is broken where the output goes to a program.
    Console(width=200, highlight=False).print(table if found else "No delivery.")


@app.command()
def show(
    server: Server,
    name: Name,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Describe one delivery: each file, whether the destination has it, and why not."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        found = client.delivery(_named("deliveries/", name))
    _say(found)
    if found.HasField("next_attempt_time"):
        print(f"next attempt: {found.next_attempt_time.ToJsonString()}")
    if found.reason:
        print(f"last failure: {found.reason}: {found.message}")
    # What was sent has all that it takes: the rest is not meant for this destination (objects, omit).
    lacking = "not for this destination" if found.state == delivery_pb2.DELIVERY_STATE_SENT else "-"
    for file in found.files:
        there = "committed" if file.committed else "stored" if file.stored else lacking
        print(f"  {file.file_name}: {there}{f' ({file.reason})' if file.reason else ''}")
    for key in sorted(found.receipt):
        print(f"  {key}: {found.receipt[key]}")


@app.command()
def resend(
    server: Server,
    name: Annotated[str, typer.Argument(help="The delivery, as list prints it.")] = "",
    all_dead: Annotated[bool, typer.Option("--all-dead", help="All that are dead, instead of one.")] = False,
    destination: Annotated[str, typer.Option(help="With --all-dead: only to this destination.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="Also what the destination has taken.")] = False,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Send again what is dead or was given up, or at once what waits."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        _for_each(
            client,
            name,
            all_dead,
            destination,
            lambda found: client.resend_delivery(found, everything=everything),
        )


@app.command()
def drop(
    server: Server,
    name: Annotated[str, typer.Argument(help="The delivery, as list prints it.")] = "",
    all_dead: Annotated[bool, typer.Option("--all-dead", help="All that are dead, instead of one.")] = False,
    destination: Annotated[str, typer.Option(help="With --all-dead: only to this destination.")] = "",
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Give up what waits or is dead."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        _for_each(client, name, all_dead, destination, client.drop_delivery)


def _for_each(
    client: DeliveryClient, name: str, all_dead: bool, destination: str, act: Callable[[str], delivery_pb2.Delivery]
) -> None:
    if bool(name) == all_dead:
        raise ConfigurationError("Give the name of a delivery, or --all-dead.")
    if destination and not all_dead:
        raise ConfigurationError("--destination goes with --all-dead.")
    if name:
        _say(act(_named("deliveries/", name)))
        return
    # All names before the first change: a delivery that changes is on another page.
    names = [each.name for each in client.deliveries(_wanted(State.DEAD, destination))]
    for each in names:
        _say(act(each))
    if not names:
        print("No delivery is dead.")


def _say(found: delivery_pb2.Delivery) -> None:
    event = _word(delivery_pb2.DeliveryEvent.Name(found.event))
    state = _word(delivery_pb2.DeliveryState.Name(found.state))
    print(
        f"{found.name}: {event}, version {found.report_version} of {found.assessment}, to {found.destination}: {state}"
    )


def _wanted(state: State | None, destination: str) -> delivery_pb2.ListDeliveriesRequest:
    number = "UNSPECIFIED" if state is None else state.name
    return delivery_pb2.ListDeliveriesRequest(destination=destination, state=f"DELIVERY_STATE_{number}")


def _word(name: str) -> str:
    return name.rpartition("_")[2].lower()


def _named(prefix: str, name: str) -> str:
    return name if not name or name.startswith(prefix) else prefix + name


@contextmanager
def _connected(
    server: str,
    ca: CertificateAuthority,
    certificate: ClientCertificate,
    key: ClientKey,
    token_file: TokenFile,
) -> Iterator[DeliveryClient]:
    client = connect_deliveries(server, ca, certificate, key, token_file)
    try:
        yield client
    finally:
        client.close()
