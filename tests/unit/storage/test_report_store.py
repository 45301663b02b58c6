"""Signed versions of reports: one of several signers wins, nothing is rewritten, and erasure forgets."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import sqlalchemy
from oncoresponse.case.sign_off import (
    Agreement,
    PhysicianJudgement,
    RecordedJudgement,
    ReportStatus,
    SignOff,
    WithdrawalReason,
)
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import JudgementAlreadyRecorded, ReportChanged, RequestConflict
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.report_store import ReportStore

TIME = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
DOCUMENTS = (
    StoredArtifact(sha256="a" * 64, size_bytes=10, media_type="application/fhir+json"),
    StoredArtifact(sha256="b" * 64, size_bytes=20, media_type="application/pdf"),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'reports.sqlite'}"
    server, name = request.getfixturevalue("postgresql"), f"reports_{uuid.uuid4().hex[:8]}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(database=name)


@pytest.fixture
def store(url):
    opened = ReportStore(url)
    opened.prepare()
    opened.prepare()
    yield opened
    opened.close()


def signed(version=2, status=ReportStatus.FINAL, signer="dr", **changes):
    values = {"agreement": Agreement.AGREE, "comment": "as seen"} | changes
    return SignOff(version, status, signer, f"Dr {signer}", TIME, **values)


def request_of(contents="1"):
    return str(uuid.uuid4()), contents * 64


def test_versions_are_kept_in_order_with_their_documents(store):
    withdrawn = signed(
        3, ReportStatus.ENTERED_IN_ERROR, agreement=None, reason=WithdrawalReason.WRONG_PATIENT, comment=""
    )
    assert store.append("a-1", signed(), request_of(), DOCUMENTS) == 2
    assert store.append("a-1", withdrawn, request_of(), DOCUMENTS[::-1]) == 3
    store.append("a-2", signed(signer="other"), request_of(), DOCUMENTS)
    found = store.histories(["a-1", "a-2", "a-3"])
    assert found["a-1"].sign_offs == (signed(), withdrawn)
    assert found["a-1"].versions[0].artifacts == {"report.json": DOCUMENTS[0], "report.pdf": DOCUMENTS[1]}
    assert [each.signer for each in found["a-2"].sign_offs] == ["other"]
    assert found["a-3"].versions == ()


def test_the_same_request_makes_one_version(store):
    request = request_of()
    kept = []
    for _ in range(2):
        assert store.append("a-1", signed(), request, DOCUMENTS, lambda: kept.append(1)) == 2
    assert kept == [1]
    assert store.version_of_request("a-1", *request) == 2
    assert store.version_of_request("a-1", *request_of()) is None
    for assessment, digest in (("a-1", "2" * 64), ("a-2", request[1])):
        with pytest.raises(RequestConflict):
            store.version_of_request(assessment, request[0], digest)
        with pytest.raises(RequestConflict):
            store.append(assessment, signed(), (request[0], digest), DOCUMENTS)


def test_a_version_is_added_to_the_newest_one_only(store):
    store.append("a-1", signed(), request_of(), DOCUMENTS)
    for version in (2, 4):
        with pytest.raises(ReportChanged) as refused:
            store.append("a-1", signed(version), request_of(), DOCUMENTS)
        assert refused.value.metadata == {"version": "2"}


def test_of_many_signers_at_the_same_time_one_succeeds(store, url):
    """Each with connections of its own, as processes have."""
    count = 8
    start, kept = threading.Barrier(count), []

    def sign(number):
        own = ReportStore(url)
        try:
            start.wait()
            own.append("a-1", signed(signer=f"dr-{number}"), request_of(), DOCUMENTS, lambda: kept.append(number))
        except ReportChanged:
            return None
        finally:
            own.close()
        return number

    with ThreadPoolExecutor(count) as pool:
        winners = [number for number in pool.map(sign, range(count)) if number is not None]
    assert len(winners) == 1
    assert kept == winners, "nobody else stored documents"
    assert [each.signer for each in store.history("a-1").sign_offs] == [f"dr-{winners[0]}"]


def test_of_many_copies_of_one_request_one_makes_a_version_and_all_are_told_it(store, url):
    count, request = 6, request_of()
    start = threading.Barrier(count)

    def sign(_number):
        own = ReportStore(url)
        start.wait()
        try:
            return own.append("a-1", signed(), request, DOCUMENTS)
        finally:
            own.close()

    with ThreadPoolExecutor(count) as pool:
        assert list(pool.map(sign, range(count))) == [2] * count
    assert len(store.history("a-1").versions) == 1


def test_documents_that_cannot_be_stored_leave_no_version(store):
    def disk_full():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.append("a-1", signed(), request_of(), DOCUMENTS, disk_full)
    assert store.history("a-1").versions == ()
    assert store.append("a-1", signed(), request_of(), DOCUMENTS) == 2


@pytest.mark.parametrize("table", ["report_version", "report_judgement"])
def test_the_database_refuses_to_rewrite_what_is_signed(store, url, table):
    store.append("a-1", signed(), request_of(), DOCUMENTS)
    judgement = RecordedJudgement("dr", "Dr", PhysicianJudgement.FAVORABLE, "", TIME)
    store.judge("a-1", judgement)
    engine = database_engine(url)
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="never rewritten"), engine.begin() as connection:
        connection.execute(sqlalchemy.update(sqlalchemy.table(table, sqlalchemy.column("comment"))).values(comment="x"))
    engine.dispose()
    assert store.history("a-1").sign_offs == (signed(),)
    assert store.history("a-1").judgements == (judgement,)


def test_a_judgement_is_made_once(store):
    judgement = RecordedJudgement("dr", "Dr", PhysicianJudgement.FAVORABLE, "small", TIME)
    store.judge("a-1", judgement)
    store.judge("a-1", judgement)
    with pytest.raises(JudgementAlreadyRecorded):
        store.judge("a-1", RecordedJudgement("dr", "Dr", PhysicianJudgement.UNCERTAIN, "small", TIME))
    second = RecordedJudgement("dr-2", "", PhysicianJudgement.UNCERTAIN, "", TIME)
    store.judge("a-1", second)
    assert store.history("a-1").judgements == (judgement, second)
    assert second.shown_physician == "dr-2"


def test_the_newest_replacement_is_told(store):
    store.note_replacement("a-2", "a-1", 1000)
    store.note_replacement("a-2", "a-1", 1000)
    store.note_replacement("a-3", "a-1", 2000)
    found = store.histories(["a-1", "a-2"])
    assert (found["a-1"].replaced_by, found["a-1"].replaces) == ("a-3", "")
    assert (found["a-2"].replaced_by, found["a-2"].replaces) == ("", "a-1")


def test_erasure_forgets_everything_of_an_assessment(store):
    for assessment in ("a-1", "a-2"):
        store.append(assessment, signed(), request_of(), DOCUMENTS)
        store.judge(assessment, RecordedJudgement("dr", "Dr", PhysicianJudgement.UNCERTAIN, "", TIME))
    store.note_replacement("a-2", "a-1", 1000)
    assert store.artifacts(["a-1"]) == DOCUMENTS
    assert store.delete(["a-1"]) == 3
    assert store.delete(["a-1"]) == 0
    left = store.histories(["a-1", "a-2"])
    assert (left["a-1"].versions, left["a-1"].judgements, left["a-2"].replaces) == ((), (), "")
    assert len(left["a-2"].versions) == len(left["a-2"].judgements) == 1
