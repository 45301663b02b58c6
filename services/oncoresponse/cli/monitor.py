"""``oncoresponse monitor`` and ``record-outcome``: is the model still good for the patients of this hospital?"""

from __future__ import annotations

import re
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from oncoresponse.cli.embedded_server import default_models_directory
from oncoresponse.cli.output_folder import require_writable_folder, written_whole
from oncoresponse.cli.server_options import CertificateAuthority, ClientCertificate, ClientKey, TokenFile, connect
from oncoresponse.errors import ConfigurationError
from oncoresponse.model.folder import ModelFolder, find_model

if TYPE_CHECKING:
    from oncoresponse.monitoring.report import MonitoringReport
    from oncoresponse.rpc.client import Client

_MONTH = r"(|[0-9]{4}-(0[1-9]|1[0-2]))"


class _Outcome(StrEnum):
    FAVORABLE = "favorable"
    UNFAVORABLE = "unfavorable"
    UNKNOWN = "unknown"


def monitor(
    model: Annotated[str, typer.Option(help="Name of the model.")],
    out: Annotated[Path, typer.Option(help="Folder for monitoring.json, monitoring.prom and monitoring.pdf.")],
    server: Annotated[
        str | None, typer.Option(help="HOST:PORT of a running server; else the database is read directly.")
    ] = None,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
    data_dir: Annotated[Path | None, typer.Option(help="Data folder of the server.")] = None,
    database_url: Annotated[str | None, typer.Option(help="Database of the server, postgresql://...")] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML settings file of the server.")] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder of installed models.")] = None,
    since: Annotated[str, typer.Option(help="First month, YYYY-MM.")] = "",
    until: Annotated[str, typer.Option(help="Last month, YYYY-MM, included.")] = "",
) -> None:
    """Report drift, abstention, and performance on recorded outcomes, overall and by subgroup."""
    from oncoresponse.monitoring.plots import write_plots
    from oncoresponse.monitoring.prometheus import prometheus_text

    if not all(re.fullmatch(_MONTH, month) for month in (since, until)):
        raise ConfigurationError("--since and --until are months such as 2026-03.")
    require_writable_folder(out)
    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=not console.is_terminal) as bar:
        task = bar.add_task("Computing the report", total=1.0)
        if server is not None:
            report = _report_of_server(
                connect(server, ca, client_certificate, client_key, token_file), model, since, until
            )
        else:
            source = _database(data_dir, database_url, settings)
            directory = models_dir or default_models_directory()
            report = _report_of_database(source, directory, model, since, until, bar, task)
        bar.update(task, description="Drawing", completed=0.95)
        # Each whole or not at all: a scraper may read at any moment. Drawn first, because that may fail.
        with ExitStack() as stack:
            files = [stack.enter_context(written_whole(out / f"monitoring.{kind}")) for kind in ("json", "prom", "pdf")]
            write_plots(report, files[2])
            files[1].write_text(prometheus_text(report), encoding="utf-8")
            files[0].write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        bar.update(task, completed=1.0)
    printed = Console(highlight=False, soft_wrap=True)
    printed.print(f"[bold]{report.research_use_statement}[/bold]")
    for sentence in report.findings:
        printed.print(sentence, markup=False)
    printed.print(f"Files in {out}: monitoring.json, monitoring.prom, monitoring.pdf", markup=False)


def record_outcome(
    assessment: Annotated[str, typer.Argument(help="Resource name of the assessment, assessments/...")],
    outcome: Annotated[_Outcome, typer.Argument(help="What happened; 'unknown' takes an earlier outcome back.")],
    server: Annotated[str, typer.Option(help="HOST:PORT of a running server.")],
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
    follow_up_months: Annotated[
        int | None, typer.Option(help="Months from the examination to the event or the last visit.", min=0, max=1200)
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, an audit group such as histology=liposarcoma.")
    ] = None,
) -> None:
    """Say what happened to the patient of an assessment, so that the model can be compared with it."""
    from oncoresponse.v1 import monitoring_pb2

    groups = dict(item.partition("=")[::2] for item in group or [])
    if not all(groups.values()):
        raise ConfigurationError("A group is NAME=VALUE, for instance histology=liposarcoma.")
    client = connect(server, ca, client_certificate, client_key, token_file)
    try:
        replaced = client.record_outcome(
            monitoring_pb2.RecordOutcomeRequest(
                assessment=assessment,
                outcome=f"OUTCOME_{outcome.name}",
                follow_up_months=follow_up_months,
                groups=[monitoring_pb2.AuditGroup(name=name, value=value) for name, value in sorted(groups.items())],
            )
        )
    finally:
        client.close()
    typer.echo("Recorded; it replaced an earlier outcome." if replaced else "Recorded.")


def _report_of_server(client: Client, model: str, since: str, until: str) -> MonitoringReport:
    from oncoresponse.monitoring.report import MonitoringReport
    from oncoresponse.v1 import monitoring_pb2

    try:
        answer = client.monitoring_report(
            monitoring_pb2.GetMonitoringReportRequest(model=f"models/{model}", since_month=since, until_month=until)
        )
    finally:
        client.close()
    return MonitoringReport.model_validate_json(answer.report_json)


def _report_of_database(
    database_url: str, models_directory: Path, model: str, since: str, until: str, bar: Progress, task: TaskID
) -> MonitoringReport:
    from oncoresponse.monitoring.report import MonitoredModel, monitoring_report
    from oncoresponse.monitoring.store import MonitoringStore

    monitored = MonitoredModel.open(ModelFolder.open(find_model(models_directory, model)))
    store = MonitoringStore(database_url)
    try:
        store.prepare()
        cases = store.cases(model, since_month=since, until_month=until)
    finally:
        store.close()
    return monitoring_report(monitored, cases, lambda fraction: bar.update(task, completed=0.95 * fraction))


def _database(data_dir: Path | None, database_url: str | None, settings: Path | None) -> str:
    from oncoresponse.rpc.settings import load_settings

    loaded = load_settings(settings, data_directory=data_dir, database_url=database_url)
    if not loaded.database_url and not (loaded.data_directory / "oncoresponse.sqlite").is_file():
        raise ConfigurationError(
            f"There is no database in {loaded.data_directory}. Give the server's --data-dir, --database-url or "
            "--settings, or ask a running server with --server."
        )
    return loaded.system_database_url
