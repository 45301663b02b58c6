"""``oncoresponse edges``: HTTP and PACS in a process of their own, beside a server that runs elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from oncoresponse.edges.edge_process import EdgeProcess


def edges(
    server: Annotated[str, typer.Option(help="HOST:PORT of the front door.")],
    settings: Annotated[Path | None, typer.Option(help="YAML settings file.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Data folder of the server, where the token lies.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log each call (no patient data).")] = False,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
) -> None:
    """Run the edges that the settings name (http, pacs) until SIGTERM.

    Prints where each listens, then 'ready'. They show the token of the edges: from the data folder of the server, or
    from edge_token_file. What they trust and show beside it are the settings tls_authority, tls_client_certificate and
    tls_client_key.
    """
    from oncoresponse.edges.edge_process import EdgeProcess
    from oncoresponse.rpc.edge_token import edge_token
    from oncoresponse.rpc.process_log import log_to_standard_error
    from oncoresponse.rpc.settings import load_settings
    from oncoresponse.storage.private_files import only_for_this_user
    from oncoresponse.storage.process_folder import own_temporary_folder

    only_for_this_user()
    loaded = load_settings(settings, data_directory=data_dir, log_format=log_format)
    log_to_standard_error(verbose=verbose, as_json=loaded.log_format == "json")
    loaded.caller_tls.require_usable()
    token = edge_token(loaded.data_directory, loaded.edge_token_file, make=False)

    def say_ready(process: EdgeProcess) -> None:
        say_addresses(process)
        print("ready", flush=True)

    with own_temporary_folder():
        asyncio.run(EdgeProcess(loaded, server, token).run_until_signal(say_ready))


def say_addresses(process: EdgeProcess) -> None:
    """Print a line for each edge that listens: its name and its address."""
    for name, address in process.addresses.items():
        print(f"{name} {address}")
