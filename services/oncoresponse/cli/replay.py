"""``oncoresponse replay``: a result computed again from its record, and whether it comes out the same."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from oncoresponse.cli.server_options import (
    CertificateAuthority,
    ClientCertificate,
    ClientKey,
    TokenFile,
    connect_administration,
)

_DIFFERENT = 1


def replay(
    assessment: Annotated[str, typer.Argument(help="Resource name, assessments/...")],
    server: Annotated[str, typer.Option(help="HOST:PORT of a running server.")],
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Compute a result again from its record and compare; exit status 1 where it comes out otherwise.

    The same order, instances and version of the model, in the stages as they are now. The result stays as it is.
    """
    start = time.perf_counter()
    messages = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    client = connect_administration(server, ca, client_certificate, client_key, token_file)
    try:
        with Progress(*columns, console=messages, transient=not messages.is_terminal) as bar:
            task = bar.add_task("Connecting", total=1.0)

            def show(message: str, fraction: float) -> None:
                if not messages.is_terminal and bar.tasks[0].description != message:
                    messages.print(f"{time.perf_counter() - start:6.1f} s  {message}", highlight=False)
                bar.update(task, description=message, completed=fraction)

            outcome = client.replay(assessment, show)
    finally:
        client.close()
    console = Console(highlight=False, soft_wrap=True)
    console.print("The same." if outcome.same else "DIFFERENT.")
    console.print(
        f"{outcome.numbers_compared} numbers in {outcome.artifacts_compared} files; {outcome.artifacts_identical} "
        f"of them are the same byte for byte. Allowed: {outcome.relative_tolerance:g} of a number, "
        f"{outcome.probability_tolerance:g} of a probability."
    )
    for item in outcome.differences:
        console.print(f"{item.place}: {item.recorded} then, {item.replayed} now", markup=False)
    if outcome.differences_left_out:
        console.print(f"and {outcome.differences_left_out} more")
    for name in outcome.artifacts_with_other_bytes:
        console.print(f"Other bytes, nothing different in them: {name}", markup=False)
    for line in outcome.environment_differences:
        console.print(f"Other software or hardware: {line}", markup=False)
    if not outcome.same:
        raise typer.Exit(_DIFFERENT)
