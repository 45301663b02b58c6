"""What may be wrong between the processes of an installation: ``oncoresponse doctor --deep``.

It asks as a process with these settings would: same files, same token, same addresses. Nothing is changed but a file of
40 bytes that is put into the artifact store and taken out again.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import sqlalchemy
from cryptography import x509
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import text

import oncoresponse
from oncoresponse.cli.finding import Finding
from oncoresponse.edges.peer_checks import peer_checks, reason_of
from oncoresponse.errors import ConfigurationError, OncoResponseError
from oncoresponse.rpc.peers import SERVICE_NAMES, Peers
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.rpc.stage_token import stage_token, stage_token_path
from oncoresponse.rpc.tls import connection_fault, require_readable_pem
from oncoresponse.servers.process_servicer import installed_models
from oncoresponse.stages.v1 import process_pb2, process_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.schema_migrations import areas, migrations

_ANSWERS_WITHIN_SECONDS = 10.0
_CLOCKS_APART_SECONDS = 2.0
_EXPIRES_SOON_DAYS = 30


def deep_findings(settings: ServerSettings) -> Iterator[Finding]:
    """Look at one thing after another."""
    yield from _certificates(settings)
    yield from _database(settings)
    yield from _processes(settings)
    yield from _systems(settings)


def _certificates(settings: ServerSettings) -> Iterator[Finding]:
    """Own TLS files: readable, belonging together, not about to expire."""
    named = {
        "tls_certificate": (settings.tls_certificate, settings.tls_key),
        "tls_client_certificate": (settings.tls_client_certificate, settings.tls_client_key),
        "tls_authority": (settings.tls_authority, None),
        "tls_client_authority": (settings.tls_client_authority, None),
    }
    if not any(file for file, _ in named.values()):
        yield Finding("TLS", None, "none; fine on the loopback address alone")
    for setting, (file, key) in named.items():
        if file is None:
            continue
        try:
            if "authority" in setting:
                require_readable_pem(authority=file, certificate=None, key=None)
            else:
                require_readable_pem(authority=None, certificate=file, key=key)
            certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
        except (OncoResponseError, OSError, ValueError) as error:
            yield Finding(setting, False, getattr(error, "message", "it is no readable PEM file"))
            continue
        yield _expiry(setting, certificate)


def _expiry(setting: str, certificate: x509.Certificate) -> Finding:
    now, ends = datetime.datetime.now(datetime.UTC), certificate.not_valid_after_utc
    if certificate.not_valid_before_utc > now:
        begins = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}"
        return Finding(setting, False, f"valid from {begins} UTC; check the clock")
    if ends <= now:
        return Finding(setting, False, f"expired on {ends:%Y-%m-%d}; replace it and start the process again")
    names = _names(certificate)
    shown = f"valid until {ends:%Y-%m-%d}{f', for {names}' if names else ''}"
    if (ends - now).days < _EXPIRES_SOON_DAYS:
        return Finding(setting, None, f"{shown} (soon)")
    return Finding(setting, True, shown)


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    return ", ".join(str(each.value) for each in found)


def _database(settings: ServerSettings) -> Iterator[Finding]:
    if not {Service.ASSESSMENT, Service.MONITORING, Service.MODEL} & set(settings.services):
        return
    url = settings.system_database_url
    subject = "database"
    if url.startswith("sqlite"):
        path = Path(sqlalchemy.engine.make_url(url).database or "")
        if not path.is_file():
            yield Finding(subject, None, "SQLite, made at the first start")
            return
    engine = database_engine(url)
    try:
        with engine.connect() as connection:
            yield from _database_answers(subject, connection)
    except sqlalchemy.exc.SQLAlchemyError as error:
        yield Finding(subject, False, _database_fault(error))
    finally:
        engine.dispose()


def _database_answers(subject: str, connection: sqlalchemy.engine.Connection) -> Iterator[Finding]:
    if connection.dialect.name == "sqlite":
        sound = connection.execute(text("PRAGMA quick_check(1)")).scalar() == "ok"
        yield Finding(subject, sound, "SQLite, sound" if sound else "SQLite, damaged: restore a backup")
    else:
        began = time.time()
        row = connection.execute(
            text(
                "SELECT current_setting('server_version'), pg_is_in_recovery(), extract(epoch FROM clock_timestamp()), "
                "current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity), "
                "has_database_privilege(current_database(), 'CREATE')"
            )
        ).one()
        version, replica, clock, free, creates = row
        yield Finding(
            subject,
            not replica,
            f"PostgreSQL {version}" if not replica else "it is a replica that cannot be written to; name the primary",
        )
        yield _clock(f"clock of the {subject}", float(clock), began, time.time())
        if not creates:
            yield Finding(
                subject, False, "the user may not create schemas (GRANT CREATE ON DATABASE), which a start does"
            )
        if int(free) < 10:
            yield Finding(subject, False, f"{free} connections are free; raise max_connections")
    yield from _schemas(connection)


def _schemas(connection: sqlalchemy.engine.Connection) -> Iterator[Finding]:
    if not sqlalchemy.inspect(connection).has_table("oncoresponse_schema"):
        yield Finding("schema", None, "no tables yet; the first start makes them")
        return
    rows = connection.execute(text("SELECT area, version, release FROM oncoresponse_schema")).all()
    newest = {area: migrations(area)[-1].version for area in areas()}
    newer = [f"{area} ({release})" for area, version, release in rows if version > newest.get(area, version)]
    older = [area for area, version, _ in rows if version < newest.get(area, version)]
    if newer:
        named = ", ".join(sorted(newer))
        yield Finding("schema", False, f"written by a newer release: {named}; this is {oncoresponse.__version__}")
    elif older:
        yield Finding("schema", None, f"of an earlier release; the next start migrates {', '.join(sorted(older))}")
    else:
        yield Finding("schema", True, "that of this release")


def _database_fault(error: sqlalchemy.exc.SQLAlchemyError) -> str:
    """The cause without the address or the password, which the driver's own words may hold."""
    words = str(getattr(error, "orig", error)).lower()
    for found, said in (
        ("root certificate file", "its certificate cannot be checked (sslrootcert)"),
        ("certificate", "its certificate is not trusted (sslrootcert)"),
        ("peer authentication failed", "it takes only the user of its own name (peer); use a password, or that user"),
        ("no such file or directory", "nothing listens at its socket; check that it runs, or name its host"),
        ("too many clients", "it has no connection free; raise max_connections"),
        ("remaining connection slots", "it has no connection free; raise max_connections"),
        ("starting up", "it is starting; try again"),
        ("no route to host", "there is no way to its host; check address and network"),
        ("permission denied", "the user may not read or make its tables; let it own the database"),
        ("password authentication failed", "the password is wrong (PGPASSFILE, or that in database_url)"),
        ("no password supplied", "there is no password (PGPASSFILE names the file, for this user alone, mode 0600)"),
        ("does not exist", "the database or the user does not exist; make it (createdb, createuser)"),
        ("connection refused", "it refuses connections; check that it runs and listens at the address"),
        ("could not translate host name", "its host name is not known"),
        ("name or service not known", "its host name is not known"),
        ("failed to resolve host", "its host name is not known"),
        ("timeout", "it does not answer in time; check address and network"),
        ("pg_hba.conf", "it lets nobody in from here (pg_hba.conf)"),
    ):
        if found in words:
            return said
    return f"it cannot be used ({type(error).__name__}); its own log says why"


def _clock(subject: str, found: float, began: float, ended: float) -> Finding:
    apart = found - (began + ended) / 2
    beyond = abs(apart) > _CLOCKS_APART_SECONDS + (ended - began) / 2
    said = f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
    return Finding(subject, not beyond, f"{said}; let both follow a time server (NTP)" if beyond else said)


def _processes(settings: ServerSettings) -> Iterator[Finding]:
    """Every other process at its address, as this one would call it."""
    needed = set(Service) - set(settings.services) if Service.ASSESSMENT in settings.services else set()
    for service in sorted(needed - set(settings.addresses)):
        yield Finding(f"addresses.{service}", False, "the service runs neither in this process nor at a known address")
    if not settings.addresses:
        return
    file = stage_token_path(settings.data_directory, settings.stage_token_file)
    if not file.is_file():
        yield Finding("stage_token_file", False, f"there is no {file}; the same secret has to lie in every process")
        return
    if settings.data_directory.is_dir() and settings.data_directory.stat().st_uid != os.geteuid():
        yield Finding("data folder", False, "it belongs to another user; run this as the user of the service (sudo -u)")
        return
    token = stage_token(settings.data_directory, settings.stage_token_file)
    artifacts = ArtifactStore(settings.system_artifact_url)
    probe = artifacts.put_bytes(f"oncoresponse doctor {secrets.token_hex(10)}".encode(), "text/plain")
    try:
        yield from asyncio.run(_asked(settings, token, probe.sha256))
    finally:
        artifacts.delete(probe)


async def _asked(settings: ServerSettings, token: str, probe: str) -> list[Finding]:
    peers = Peers(settings, "", token)
    own = {model.name: model for model in installed_models(settings)}
    try:
        found = await asyncio.gather(
            *(_process(settings, peers, *each, probe, own) for each in peers.elsewhere().items())
        )
    finally:
        await peers.close()
    return [finding for some in found for finding in some]


async def _process(
    settings: ServerSettings,
    peers: Peers,
    address: str,
    services: Sequence[Service],
    probe: str,
    own: Mapping[str, process_pb2.InstalledModel],
) -> list[Finding]:
    subject = f"{', '.join(services)} at {address}"
    request = process_pb2.DescribeProcessRequest(models=True, artifact_sha256=probe)
    began = time.time()
    try:
        answer = await peers.ask(
            address,
            process_pb2_grpc.ProcessServiceStub,
            "DescribeProcess",
            request,
            timeout_seconds=_ANSWERS_WITHIN_SECONDS,
        )
    except grpc.aio.AioRpcError as error:
        return [Finding(subject, False, await asyncio.to_thread(_fault, settings, address, services, error))]
    ended = time.time()
    findings = [Finding(subject, True, f"release {answer.release}")]
    if answer.release != oncoresponse.__version__:
        findings = [
            Finding(
                subject,
                None,
                f"release {answer.release}, and this is {oncoresponse.__version__}: for the time of an upgrade alone",
            )
        ]
    if missing := [service for service in services if service.value not in answer.services]:
        offered = ", ".join(answer.services)
        text_ = f"it runs {offered}, not {', '.join(missing)}; correct addresses, or the services there"
        findings.append(Finding(subject, False, text_))
    findings += [await _health(peers, address, service) for service in services if service not in missing]
    findings.append(_clock(f"clock of {subject}", _seconds(answer.time), began, ended))
    if not answer.sees_artifact:
        findings.append(
            Finding(
                f"store of {subject}",
                False,
                "it does not see what this process stores; give all the same data folder or artifact_url",
            )
        )
    return findings + _models(subject, answer.models, own)


async def _health(peers: Peers, address: str, service: Service) -> Finding:
    subject = f"health of {service} at {address}"
    try:
        found = await peers.ask(
            address,
            health_pb2_grpc.HealthStub,
            "Check",
            health_pb2.HealthCheckRequest(service=SERVICE_NAMES[service]),
            timeout_seconds=_ANSWERS_WITHIN_SECONDS,
        )
    except grpc.aio.AioRpcError as error:
        return Finding(subject, False, f"it does not tell ({error.code().name})")
    serving = found.status == health_pb2.HealthCheckResponse.SERVING
    return Finding(subject, serving, "can work" if serving else "cannot work yet; its log says what it waits for")


def _models(
    subject: str, theirs: Sequence[process_pb2.InstalledModel], own: Mapping[str, process_pb2.InstalledModel]
) -> list[Finding]:
    differing = []
    for model in theirs:
        mine = own.get(model.name)
        if model.reason:
            differing.append(f"{model.name} cannot be read there ({model.reason})")
        elif mine is None or not mine.sha256:
            differing.append(f"{model.name} {model.version} is there and not here")
        elif mine.sha256 != model.sha256:
            differing.append(f"{model.name} is {model.version} there and {mine.version} here, with other files")
    differing += [f"{name} is here and not there" for name in sorted(set(own) - {model.name for model in theirs})]
    if differing:
        return [Finding(f"models of {subject}", False, f"{'; '.join(differing)}. Install the same folders everywhere")]
    return [Finding(f"models of {subject}", True, "the same as here")]


def _fault(settings: ServerSettings, address: str, services: Sequence[Service], error: grpc.aio.AioRpcError) -> str:
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return (
            "it does not know this process as one of the installation: give both the same stage_token_file, and as the "
            "address that of stage_listen there"
        )
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return "what answers is a front door, another program or an earlier release; name the address of stage_listen"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"it takes the call and does not answer within {_ANSWERS_WITHIN_SECONDS:.0f} s; look at its log"
    try:
        fault = connection_fault(address, settings.caller_tls)
    except ConfigurationError as own:
        fault = own
    return f"{fault.message} The address is that of addresses.{services[0]}. ({fault.reason})"


def _systems(settings: ServerSettings) -> Iterator[Finding]:
    """PACS, EHR and whoever else the settings name."""
    for check in peer_checks(settings):
        try:
            found = check.ask()
        except OncoResponseError as error:
            yield Finding(check.subject, False, reason_of(error))
        else:
            yield Finding(check.subject, True, found)
    if settings.oidc is not None:
        yield _issuer(settings)


def _issuer(settings: ServerSettings) -> Finding:
    from oncoresponse.access.issuer_http import fetch_json, tls_context

    oidc: Any = settings.oidc
    url = oidc.jwks_url or f"{oidc.issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        found = fetch_json(url, tls_context(oidc.authority))
    except OncoResponseError as error:
        return Finding("oidc.issuer", False, reason_of(error))
    if not oidc.jwks_url and found.get("issuer") != oidc.issuer:
        return Finding("oidc.issuer", False, "it calls itself otherwise; write it in oidc.issuer letter by letter")
    return Finding("oidc.issuer", True, "answers")


def _seconds(stamp: Timestamp) -> float:
    return float(stamp.ToMicroseconds()) / 1e6
