"""The error tree: stable codes, a documented table, and the way to gRPC and back."""

import errno
import pickle
import re
from pathlib import Path

import grpc
import oncoresponse.errors as errors_module
import psycopg
import pytest
import sqlalchemy
from google.rpc import error_details_pb2, status_pb2
from oncoresponse.errors import DOMAIN, InternalError, QuotaExceeded, concrete_errors, error_for_reason
from oncoresponse.rpc.interceptors import require_valid
from oncoresponse.rpc.status import STATUS_OF_KIND, FieldViolations, from_status, intended_error, to_status
from oncoresponse.v1 import assessment_pb2

ROOT = Path(__file__).parents[2]
KINDS = list(concrete_errors())


def test_reason_codes_are_unique():
    reasons = [kind.reason for kind in KINDS]
    assert len(reasons) == len(set(reasons))
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", reason) for reason in reasons)


def test_the_drawing_in_the_module_shows_every_error():
    for kind in KINDS:
        assert re.search(rf"\b{kind.__name__}\s+{kind.reason}\b", errors_module.__doc__), kind


def test_the_table_in_the_documentation_lists_exactly_the_reason_codes():
    table = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z_0-9]+)` \| ([A-Z_]+) \|", table, flags=re.MULTILINE))
    assert rows == {kind.reason: STATUS_OF_KIND[kind.kind].name for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.reason)
def test_error_survives_the_way_to_a_client_and_to_a_parent_process(kind):
    error = kind("What is wrong. What to do.", limit=3)
    status = to_status(error)
    assert grpc.StatusCode(tuple(_code(status.code))) is STATUS_OF_KIND[kind.kind]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, info.metadata["limit"]) == (kind.reason, DOMAIN, "3")
    assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details) == (
        kind.retry_after_seconds is not None
    )
    for again in (from_status(status), pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert (type(again), again.message, again.metadata) == (kind, error.message, error.metadata)


def _code(number):
    return next(status.value for status in grpc.StatusCode if status.value[0] == number)


def test_unknown_reason_of_a_newer_peer_is_an_internal_error():
    assert isinstance(error_for_reason("FROM_THE_FUTURE", "text", {}), InternalError)


def test_full_disk_and_lack_of_memory_are_known():
    assert intended_error(OSError(errno.ENOSPC, "x")).reason == "DISK_FULL"
    assert intended_error(MemoryError()).reason == "OUT_OF_MEMORY"
    assert intended_error(TimeoutError()).reason == "DEADLINE_EXCEEDED"


def test_full_database_is_a_full_disk():
    """The error is SQLite's own, through SQLAlchemy as DBOS uses it."""
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(sqlalchemy.exc.OperationalError) as caught:
        connection.exec_driver_sql("PRAGMA max_page_count = 2")
        connection.exec_driver_sql("CREATE TABLE t AS SELECT zeroblob(1000000) AS data")
    assert intended_error(caught.value).reason == "DISK_FULL"
    full = sqlalchemy.exc.OperationalError("INSERT", {}, psycopg.errors.DiskFull("No space left on device"))
    assert intended_error(full).reason == "DISK_FULL"


def test_database_that_does_not_answer_is_known():
    engine = sqlalchemy.create_engine("postgresql+psycopg://nobody@127.0.0.1:9/none")
    with pytest.raises(sqlalchemy.exc.OperationalError) as caught:
        engine.connect()
    assert intended_error(caught.value).reason == "PEER_UNAVAILABLE"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.CANCELLED, "CANCELLED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
        (grpc.StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.UNIMPLEMENTED, "CONFIGURATION_INVALID"),
        (grpc.StatusCode.UNKNOWN, "INTERNAL"),
    ],
)
def test_status_of_grpc_itself_has_a_reason(code, reason):
    assert from_status(status_pb2.Status(code=code.value[0])).reason == reason


def test_violations_of_the_rules_reach_the_client_field_by_field():
    sent = FieldViolations([("study", "value is required", "required"), ("model", "does not match", "string.pattern")])
    received = from_status(to_status(sent))
    assert [found[:2] for found in received.violations] == [found[:2] for found in sent.violations]
    assert received.message == sent.message


def test_a_broken_rule_about_several_fields_is_named_by_its_words():
    request = assessment_pb2.CreateAssessmentRequest(
        request_id="00000000-0000-4000-8000-000000000000",
        study="studies/a",
        model="models/a",
        contour={},
        lesions=[{"point": {}}],
    )
    with pytest.raises(FieldViolations, match="at: lesions excludes contour and lesion"):
        require_valid(request)


def test_a_study_that_is_too_large_is_not_sent_again():
    def is_retried(scope):
        details = to_status(QuotaExceeded("x", scope=scope)).details
        return any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in details)

    assert is_retried("total")
    assert not is_retried("study")
    assert not is_retried("call")


def test_unforeseen_error_reaches_neither_caller_nor_log_with_its_text(caplog):
    try:
        raise ValueError("patient DOE^JANE 1950-01-01")
    except ValueError as error:
        known = intended_error(error)
    assert known.reason == "INTERNAL"
    assert known.metadata["error_id"] in caplog.text
    assert "ValueError" in caplog.text
    assert "DOE" not in caplog.text + known.message + str(known.metadata)
