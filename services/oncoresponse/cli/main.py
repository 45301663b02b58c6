"""The ``oncoresponse`` command: its subcommands, and how an error looks to the person who typed it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import oncoresponse
from oncoresponse.cli import administration as administration_commands
from oncoresponse.cli import assess as assess_command
from oncoresponse.cli import audit as audit_command
from oncoresponse.cli import doctor as doctor_command
from oncoresponse.cli import edges as edges_command
from oncoresponse.cli import export as export_command
from oncoresponse.cli import forecast as forecast_command
from oncoresponse.cli import measure_contour as measure_contour_command
from oncoresponse.cli import model_control as model_control_command
from oncoresponse.cli import models as models_command
from oncoresponse.cli import monitor as monitor_command
from oncoresponse.cli import pacs as pacs_commands
from oncoresponse.cli import predict as predict_command
from oncoresponse.cli import replay as replay_command
from oncoresponse.cli import routes as routes_commands
from oncoresponse.cli import series as series_command
from oncoresponse.cli import sign_off as sign_off_command
from oncoresponse.cli import training as training_command
from oncoresponse.cli import users as users_command
from oncoresponse.cli.parent_process import ending_with_parent
from oncoresponse.errors import ConfigurationError, OncoResponseError
from oncoresponse.rpc.status import FieldViolations

app = typer.Typer(
    help="Tumor study in as DICOM, therapy-response report out as FHIR. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("amend")(sign_off_command.amend)
app.command("assess")(assess_command.assess)
app.command("delete-assessment")(administration_commands.delete_assessment)
app.command("doctor")(doctor_command.doctor)
app.command("edges")(edges_command.edges)
app.command("erase-patient")(administration_commands.erase_patient)
app.command("evaluate")(training_command.evaluate)
app.command("export")(export_command.export)
app.command("forecast")(forecast_command.forecast)
app.command("judge")(sign_off_command.judge)
app.command("measure-contour")(measure_contour_command.measure_contour)
app.command("merge-patients")(administration_commands.merge_patients)
app.command("monitor")(monitor_command.monitor)
app.command("move-study")(administration_commands.move_study)
app.command("predict")(predict_command.predict)
app.command("recall")(model_control_command.recall)
app.command("record-outcome")(monitor_command.record_outcome)
app.command("replay")(replay_command.replay)
app.command("report")(sign_off_command.report)
app.command("retention")(administration_commands.retention)
app.command("series")(series_command.series)
app.add_typer(audit_command.app, name="audit")
app.command("sign")(sign_off_command.sign)
app.command("withdraw")(sign_off_command.withdraw)
app.add_typer(models_command.app, name="models")
app.add_typer(pacs_commands.app, name="pacs")
app.add_typer(routes_commands.app, name="routes")
app.add_typer(training_command.app, name="train")
app.add_typer(users_command.app, name="users")

_errors = Console(stderr=True)
# By name, since the module is __main__ where it is run, and the text of foreign loggers is withheld.
_log = logging.getLogger("oncoresponse.cli.main")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(oncoresponse.__version__)
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command()
def serve(
    services: Annotated[str | None, typer.Option(help="Services to run, comma-separated; all when not given.")] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for studies, artifacts and SQLite.")] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder of installed models.")] = None,
    database_url: Annotated[str | None, typer.Option(help="postgresql://... instead of SQLite.")] = None,
    executor_id: Annotated[str | None, typer.Option(help="Name of this worker; unique among those running.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    reflection: Annotated[bool | None, typer.Option("--reflection", help="Offer gRPC reflection.")] = None,
    stage_listen: Annotated[str | None, typer.Option(help="HOST:PORT for the services of other processes.")] = None,
    allow_anonymous: Annotated[
        bool | None,
        typer.Option("--allow-anonymous", help="On the loopback address, let everybody on this machine do everything."),
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML settings file.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log each call (no patient data).")] = False,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
    roles: Annotated[str | None, typer.Option(hidden=True, help="Earlier name of --services.")] = None,
    end_with_parent: Annotated[
        bool,
        typer.Option(
            "--end-with-parent",
            hidden=True,
            help="Stop when standard input closes, and remove --data-dir; for a server that one command starts.",
        ),
    ] = False,
) -> None:
    """Run the services until SIGTERM. Prints 'ready HOST:PORT' when all of them can work.

    The edges that the settings name (http, pacs) run beside them, in a process that takes in studies and
    runs assessments; before 'ready' there is a line for each that listens.
    """
    if end_with_parent and data_dir is None:
        raise ConfigurationError("--end-with-parent needs --data-dir, which it removes.")
    if not end_with_parent:
        # Until the server itself listens for it: libraries take seconds to load, and nothing is open yet.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with ending_with_parent(data_dir) if end_with_parent and data_dir is not None else nullcontext():
        was_ready = _serve(
            verbose,
            settings,
            services=services,
            roles=roles,
            listen=listen,
            data_directory=data_dir,
            models_directory=models_dir,
            database_url=database_url,
            executor_id=executor_id,
            device=device,
            reflection=reflection,
            stage_listen=stage_listen,
            allow_anonymous=allow_anonymous,
            log_format=log_format,
        )
    if not was_ready:
        # Everything is closed; Python itself would wait for the thread that loads weights.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _serve(verbose: bool, settings: Path | None, *, roles: str | None, **overrides: object) -> bool:
    from oncoresponse.edges.edge_process import EdgeProcess
    from oncoresponse.rpc.process_log import log_to_standard_error
    from oncoresponse.rpc.settings import load_settings
    from oncoresponse.servers.server_process import ServerProcess
    from oncoresponse.storage.private_files import only_for_this_user
    from oncoresponse.storage.process_folder import own_temporary_folder

    only_for_this_user()
    log_to_standard_error(verbose=verbose)
    if roles is not None:
        _log.warning("the option --roles is called --services now; write --services")
        overrides["services"] = overrides["services"] or roles
    loaded = load_settings(settings, **overrides)
    log_to_standard_error(verbose=verbose, as_json=loaded.log_format == "json")

    edges: list[EdgeProcess] = []

    @asynccontextmanager
    async def running_edges(server: ServerProcess) -> AsyncIterator[None]:
        edges.append(EdgeProcess(loaded, server.own_address, server.edge_token))
        async with edges[0].running():
            yield

    process = ServerProcess(loaded, running_edges if loaded.runs_edges else None)

    def say_ready(address: str) -> None:
        if process.stage_address:
            print(f"stages {process.stage_address}")
        for running in edges:
            edges_command.say_addresses(running)
        print(f"ready {address}", flush=True)

    async def main() -> bool:
        return await process.serve_until_signal(say_ready)

    with own_temporary_folder():
        return asyncio.run(main())


@app.command()
def recover(
    executor_id: Annotated[str, typer.Argument(help="Name of the worker that will not come back.")],
    database_url: Annotated[str, typer.Option(help="Database of the workers.")],
) -> None:
    """Hand the unfinished assessments of a lost worker to the workers that still run, at once.

    They take them by themselves after some seconds, and a worker that restarts under its own name goes on with its own.
    """
    from oncoresponse.workflow.assessment_records import hand_over

    handed_over, ended = hand_over(executor_id, database_url)
    typer.echo(f"{handed_over} assessments of '{executor_id}' were handed over.")
    if ended:
        typer.echo(f"{ended} had been begun by another version and were ended: create them again.")


def run() -> None:
    """Entry point: an intended error, and what the operating system refuses, is one sentence and exit status 1."""
    try:
        app()
    except OncoResponseError as error:
        _print_error(error)
        raise SystemExit(1) from None
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _errors.print(f"{error.strerror or type(error).__name__}{where}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(1) from None


def _print_error(error: OncoResponseError) -> None:
    _errors.print(f"[bold]{error.reason}[/bold]: {escape(error.message)}", highlight=False, soft_wrap=True)
    facts = [*error.metadata.items()]
    if isinstance(error, FieldViolations):
        facts += [(field, text) for field, text, _ in error.violations]
    for name, value in facts:
        _errors.print(f"  {name}: {value}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    run()
