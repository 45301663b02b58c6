"""``oncoresponse report``, ``sign``, ``amend``, ``withdraw``, ``judge``: what becomes of a report, by its physician."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from oncoresponse.cli.server_options import CertificateAuthority, ClientCertificate, ClientKey, TokenFile, connect
from oncoresponse.errors import ConfigurationError
from oncoresponse.v1 import report_pb2

if TYPE_CHECKING:
    from oncoresponse.rpc.client import Client

_Assessment = Annotated[str, typer.Argument(help="Resource name of the assessment, assessments/...")]
_Server = Annotated[str, typer.Option(help="HOST:PORT of a running server.")]
_Seen = Annotated[
    int, typer.Option(help="Version that you have read; 'oncoresponse report' names it. Another one is refused.", min=1)
]
_Comment = Annotated[str, typer.Option(help="In your words; stands in the report.")]
_RequestId = Annotated[
    str, typer.Option(help="UUID of this request; give the one of a call whose answer was lost, to repeat it safely.")
]


class Agreement(StrEnum):
    """What the signer says of the result."""

    AGREE = "agree"
    DISAGREE = "disagree"
    CHANGED_CONTOUR = "changed-contour"


class Reason(StrEnum):
    """Why a report is withdrawn."""

    WRONG_PATIENT = "wrong-patient"
    WRONG_STUDY = "wrong-study"
    TECHNICAL = "technical"
    OTHER = "other"


class Expectation(StrEnum):
    """What a physician expects without the model."""

    FAVORABLE = "favorable"
    UNFAVORABLE = "unfavorable"
    UNCERTAIN = "uncertain"


_Agree = Annotated[bool, typer.Option("--agree", help="You agree with the result.")]
_Disagree = Annotated[bool, typer.Option("--disagree", help="You do not; the report says so first.")]
_ChangedContour = Annotated[
    bool, typer.Option("--changed-contour", help="You have drawn another contour; the figures are of the one before.")
]


def report(
    assessment: _Assessment,
    server: _Server,
    out: Annotated[Path | None, typer.Option(help="Folder for the files of that version.")] = None,
    version: Annotated[int, typer.Option(help="Version to fetch; the newest when not given.", min=0)] = 0,
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Show the versions of a report, and fetch one."""
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        found = client.report(assessment)
        _print(found)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            wanted = version or found.version
            objects = {name for each in found.versions if each.version == wanted for name in each.artifacts}
            names = sorted({"report.json", "report.pdf"} | objects)
            for name in names:
                (out / name).write_bytes(client.artifact(assessment, name, wanted))
            typer.echo(f"Version {version or found.version} is in {out}: {', '.join(names)}")


def sign(
    assessment: _Assessment,
    server: _Server,
    seen_version: _Seen,
    agree: _Agree = False,
    disagree: _Disagree = False,
    changed_contour: _ChangedContour = False,
    comment: _Comment = "",
    request_id: _RequestId = "",
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Sign a preliminary report, as the person that the token or the certificate names."""
    request = report_pb2.SignReportRequest(
        assessment=assessment,
        seen_version=seen_version,
        request_id=request_id or str(uuid.uuid4()),
        agreement=_agreement(agree=agree, disagree=disagree, changed_contour=changed_contour),
        comment=comment,
    )
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        _print(client.sign_report(request))


def amend(
    assessment: _Assessment,
    server: _Server,
    seen_version: _Seen,
    comment: _Comment,
    agree: _Agree = False,
    disagree: _Disagree = False,
    changed_contour: _ChangedContour = False,
    request_id: _RequestId = "",
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Sign a signed report again, with another agreement or comment. The earlier version stays."""
    request = report_pb2.AmendReportRequest(
        assessment=assessment,
        seen_version=seen_version,
        request_id=request_id or str(uuid.uuid4()),
        agreement=_agreement(agree=agree, disagree=disagree, changed_contour=changed_contour),
        comment=comment,
    )
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        _print(client.amend_report(request))


def withdraw(
    assessment: _Assessment,
    server: _Server,
    seen_version: _Seen,
    reason: Annotated[Reason, typer.Option(help="Why.")],
    comment: _Comment = "",
    request_id: _RequestId = "",
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Take a report back for ever. What it found can be read from its earlier versions alone."""
    request = report_pb2.WithdrawReportRequest(
        assessment=assessment,
        seen_version=seen_version,
        request_id=request_id or str(uuid.uuid4()),
        reason=f"WITHDRAWAL_REASON_{reason.name}",
        comment=comment,
    )
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        withdrawn = client.withdraw_report(request)
    _print(withdrawn)
    if reason is Reason.WRONG_PATIENT:
        typer.echo(f"The images are of another patient: ask the administrator to move {withdrawn.study}.")


def judge(
    assessment: _Assessment,
    expectation: Annotated[Expectation, typer.Argument(help="What you expect without the model.")],
    server: _Server,
    comment: _Comment = "",
    ca: CertificateAuthority = None,
    client_certificate: ClientCertificate = None,
    client_key: ClientKey = None,
    token_file: TokenFile = None,
) -> None:
    """Record your own judgement, before you see the model's answer. It is made once and kept."""
    request = report_pb2.RecordJudgementRequest(
        assessment=assessment, judgement=f"PHYSICIAN_JUDGEMENT_{expectation.name}", comment=comment
    )
    with _connected(server, ca, client_certificate, client_key, token_file) as client:
        client.record_judgement(request)
    typer.echo("Recorded.")


@contextmanager
def _connected(
    server: str, ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None
) -> Iterator[Client]:
    client = connect(server, ca, certificate, key, token_file)
    try:
        yield client
    finally:
        client.close()


def _agreement(*, agree: bool, disagree: bool, changed_contour: bool) -> str:
    wanted = {Agreement.AGREE: agree, Agreement.DISAGREE: disagree, Agreement.CHANGED_CONTOUR: changed_contour}
    chosen = [agreement for agreement, given in wanted.items() if given]
    if len(chosen) != 1:
        raise ConfigurationError("Say one of --agree, --disagree and --changed-contour.")
    return f"AGREEMENT_{chosen[0].name}"


def _print(found: report_pb2.Report) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for version in found.versions:
        status = report_pb2.ReportStatus.Name(version.status).removeprefix("REPORT_STATUS_").lower().replace("_", "-")
        line = f"version {version.version}: {status}, {version.time.ToDatetime():%Y-%m-%d %H:%M} UTC"
        if version.HasField("signer"):
            line += f", {version.signer.display_name}"
        if version.agreement:
            said = report_pb2.Agreement.Name(version.agreement).removeprefix("AGREEMENT_")
            line += f", {said.lower().replace('_', '-')}"
        console.print(line, markup=False)
    if found.prediction_withheld:
        console.print("What the model says is withheld until you have recorded your own judgement.")
    if found.replaces:
        console.print(f"Replaces {found.replaces}", markup=False)
    if found.replaced_by:
        console.print(f"Replaced by {found.replaced_by}", markup=False)
