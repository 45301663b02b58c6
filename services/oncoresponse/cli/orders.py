"""``oncoresponse orders``: orders that came from other systems, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator
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
    connect_orders,
)
from oncoresponse.rpc.order_client import OrderClient
from oncoresponse.v1 import order_pb2

app = typer.Typer(help="Orders from other systems.", no_args_is_help=True)

Server = Annotated[str, typer.Option(help="HOST:PORT of a running server.")]
Name = Annotated[str, typer.Argument(help="The order, as list prints it.")]


class State(StrEnum):
    """States, as an operator writes them."""

    WAITING = "waiting"
    STARTED = "started"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@app.command("list")
def list_orders(
    server: Server,
    state: Annotated[State | None, typer.Option(help="Only in this state.")] = None,
    accession: Annotated[str, typer.Option(help="Only with this accession number.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=10_000)] = 50,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """List orders, newest first: whether their study has come, what was started, or why nothing."""
    number = "UNSPECIFIED" if state is None else state.name
    wanted = order_pb2.ListOrdersRequest(
        state=f"ORDER_STATE_{number}", accession_number=accession, page_size=min(limit, 1000)
    )
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        found = list(islice(client.orders(wanted), limit))
    table = Table("Order", "Came", "From", "Number", "Accession", "State", "Assessment", "Reason", box=None)
    for each in found:
        table.add_row(
            each.name,
            each.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M"),
            escape(each.source),
            escape(each.order_number),
            escape(each.accession_number),
            _state(each),
            each.assessment,
            each.reason,
        )
    # Wide enough that no name is broken where the output goes to a program.
    Console(width=240, highlight=False).print(table if found else "No order.")


@app.command()
def show(
    server: Server,
    name: Name,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Describe one order."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        found = client.order(_named(name))
    print(f"{found.name}: {_state(found)}{f' ({found.reason})' if found.reason else ''}")
    rows = {
        "from": f"{found.source}, {found.order_number}",
        "accession number": found.accession_number,
        "patient": " of ".join(filter(None, (found.patient_id, found.issuer_of_patient_id))),
        "codes": " ".join(found.codes),
        "in the EHR": " ".join(
            filter(None, (found.patient_reference, found.service_request_reference, found.encounter_reference))
        ),
        "tenant": found.tenant,
        "studies with its accession number": " ".join(found.studies) if len(found.studies) > 1 else "",
        "study": found.study,
        "assessment": found.assessment,
    }
    for what, value in rows.items():
        if value:
            print(f"  {what}: {value}")


@app.command()
def cancel(
    server: Server,
    name: Name,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Start nothing for an order; an assessment that runs for it is cancelled too."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        found = client.cancel_order(_named(name))
    print(f"{found.name}: {_state(found)}")


def _state(order: order_pb2.Order) -> str:
    return order_pb2.OrderState.Name(order.state).removeprefix("ORDER_STATE_").lower()


def _named(name: str) -> str:
    return name if name.startswith("orders/") else f"orders/{name}"


@contextmanager
def _connected(
    server: str,
    ca: CertificateAuthority,
    certificate: ClientCertificate,
    key: ClientKey,
    token_file: TokenFile,
) -> Iterator[OrderClient]:
    client = connect_orders(server, ca, certificate, key, token_file)
    try:
        yield client
    finally:
        client.close()
