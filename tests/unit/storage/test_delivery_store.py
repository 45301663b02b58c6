"""What has to be sent: taken by one, in order, again after a failure, and never once its report was withdrawn."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from oncoresponse.case.sign_off import PhysicianJudgement, RecordedJudgement
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.errors import DeliveryLeaseLost, DeliveryNotFound, DeliveryStateForbids, InvalidRequest
from oncoresponse.storage.chart_store import ChartStore
from oncoresponse.storage.database_engine import database_engine
from oncoresponse.storage.delivery_rows import SUPERSEDED, DeliveryEvent, DeliveryState, SentFile
from oncoresponse.storage.delivery_store import (
    MOST_ATTEMPTS,
    DeliveryFilter,
    DeliveryStore,
    Failure,
    add_version,
    pause_ms,
)
from oncoresponse.storage.report_store import ReportStore
from sqlalchemy import text

LEASE_MS = 60_000
FILES = {
    name: StoredArtifact(sha256=letter * 64, size_bytes=10, media_type="application/dicom")
    for name, letter in (("segmentation.dcm", "a"), ("structured-report.dcm", "b"))
}
AWAY = Failure("PEER_UNAVAILABLE", "It is away.")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deliveries.sqlite'}"
    server, name = request.getfixturevalue("postgresql"), f"deliveries_{uuid.uuid4().hex[:8]}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(database=name)


@pytest.fixture
def store(url):
    for each in (ReportStore(url), ChartStore(url)):
        each.prepare()
        each.close()
    opened = DeliveryStore(url)
    opened.prepare()
    opened.prepare()
    yield opened
    opened.close()


def all_of(store, **wanted):
    found, token = store.page(DeliveryFilter(**wanted), 1000, "")
    assert token == ""
    return found


def take(store, *destinations, most=10, lease_ms=LEASE_MS):
    return store.take(destinations or ("archive",), most, lease_ms)


def settle(store, taken, failure=None, stored=(), receipt=None):
    files = [SentFile(name, "", 0, "", stored=True) for name in stored]
    return store.settle(taken.delivery, taken.lease_token, files, failure, receipt or {})


@contextmanager
def changing(url):
    engine = database_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def make_due(url, delivery):
    """As if the pause were over."""
    with changing(url) as connection:
        connection.execute(text("UPDATE delivery SET next_time_ms = 0 WHERE delivery = :d"), {"d": delivery})


def sign(url, version, event, names=("structured-report.dcm",)):
    with changing(url) as connection:
        add_version(connection, "a1", version, event, {name: FILES[name] for name in names})


def test_a_delivery_is_made_once_for_each_destination(store):
    store.add_first("a1", ["archive", "ehr"], FILES)
    store.add_first("a1", ["archive", "ehr"], FILES)
    assert {(each.destination, each.state, each.event) for each in all_of(store)} == {
        ("archive", DeliveryState.WAITING, DeliveryEvent.COMPLETED),
        ("ehr", DeliveryState.WAITING, DeliveryEvent.COMPLETED),
    }
    (taken,) = take(store)
    assert [file.name for file in taken.files] == sorted(FILES)
    assert store.get(taken.delivery).state is DeliveryState.SENDING
    assert take(store) == []
    sent = settle(store, taken, stored=FILES, receipt={"study": "1"})
    assert (sent.state, sent.attempts, sent.receipt) == (DeliveryState.SENT, 1, {"study": "1"})
    assert store.get(taken.delivery) == sent
    assert all(file.stored for file in sent.files)


def test_each_has_a_number_of_its_destination_that_is_never_given_again(store, url):
    """Also where the row of the last one has gone with its patient."""
    store.add_first("a1", ["archive", "ehr"], FILES)
    store.add_first("a1", ["archive"], FILES)
    store.add_first("a2", ["archive"], FILES)
    numbers = {(each.assessment, each.destination): each.number for each in all_of(store)}
    assert numbers == {("a1", "archive"): 1, ("a1", "ehr"): 1, ("a2", "archive"): 2}
    store.delete(["a2"])
    sign(url, 2, DeliveryEvent.SIGNED)
    assert sorted(each.number for each in all_of(store, destination="archive")) == [1, 3]


def test_of_many_who_take_one_gets_it(store):
    for number in range(20):
        store.add_first(f"a{number}", ["archive"], FILES)
    with ThreadPoolExecutor(8) as pool:
        taken = [each for some in pool.map(lambda _: take(store, most=3), range(16)) for each in some]
    assert sorted(each.assessment for each in taken) == sorted(f"a{number}" for number in range(20))
    assert len({each.lease_token for each in taken}) == 20


def test_who_lost_the_lease_settles_nothing(store):
    store.add_first("a1", ["archive"], FILES)
    (slow,) = take(store, lease_ms=0)
    (second,) = take(store)
    for late in (lambda: settle(store, slow), lambda: store.extend(slow.delivery, slow.lease_token, 1)):
        with pytest.raises(DeliveryLeaseLost):
            late()
    assert store.extend(second.delivery, second.lease_token, LEASE_MS) > second.lease_end_ms - LEASE_MS
    assert settle(store, second).attempts == 2
    for late in (slow, second):
        with pytest.raises(DeliveryLeaseLost):
            settle(store, late)
    with pytest.raises(DeliveryNotFound):
        store.get("nothing")


def test_failures_are_tried_again_later_and_end(store, url):
    store.add_first("a1", ["archive"], FILES)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        (taken,) = take(store)
        settled = settle(store, taken, AWAY, stored=["segmentation.dcm"])
        assert (settled.attempts, settled.reason, settled.message) == (attempt, "PEER_UNAVAILABLE", "It is away.")
        assert [file.stored for file in settled.files] == [True, False]
        assert take(store) == []
        make_due(url, settled.delivery)
    assert settled.state is DeliveryState.DEAD
    assert take(store) == []
    days = sum(pause_ms(settled.delivery, attempt) for attempt in range(1, MOST_ATTEMPTS)) / 86_400_000
    assert 2.5 < days < 3.5
    assert [pause_ms("d", attempt) < 1.2 * seconds * 1000 for attempt, seconds in ((1, 10), (2, 30), (3, 120))]
    assert pause_ms("d", 1) < pause_ms("d", 2) < pause_ms("d", 3) < pause_ms("d", 6)


def test_a_sender_that_dies_each_time_ends_too(store):
    store.add_first("a1", ["archive"], FILES)
    for _ in range(MOST_ATTEMPTS):
        assert len(take(store, lease_ms=0)) == 1
    assert take(store, lease_ms=0) == []
    assert all_of(store)[0].state is DeliveryState.DEAD


def test_what_cannot_help_is_not_tried_again(store):
    store.add_first("a1", ["archive"], FILES)
    (taken,) = take(store)
    assert settle(store, taken, Failure("DELIVERY_REFUSED", "No.", permanent=True)).state is DeliveryState.DEAD


def test_a_destination_says_when(store):
    store.add_first("a1", ["archive"], FILES)
    (taken,) = take(store)
    settled = settle(store, taken, Failure("PEER_UNAVAILABLE", "Later.", retry_after_ms=300_000))
    assert 290_000 < settled.next_time_ms - settled.create_time_ms < 400_000


def test_versions_come_in_order(store, url):
    store.add_first("a1", ["archive", "ehr"], FILES)
    sign(url, 2, DeliveryEvent.SIGNED)
    sign(url, 3, DeliveryEvent.AMENDED)
    for version in (1, 2, 3):
        (taken,) = take(store)
        assert taken.report_version == version
        assert take(store) == []
        settle(store, taken)
    # The other destination is held up by none of this.
    assert [each.report_version for each in take(store, "ehr")] == [1]


def test_an_assessment_that_goes_nowhere_goes_nowhere_when_it_is_signed(store, url):
    sign(url, 2, DeliveryEvent.SIGNED)
    assert all_of(store) == []


def test_what_is_withdrawn_before_it_was_sent_never_is(store, url):
    store.add_first("a1", ["archive"], FILES)
    sign(url, 2, DeliveryEvent.SIGNED)
    sign(url, 3, DeliveryEvent.WITHDRAWN)
    assert take(store) == []
    assert {(each.state, each.reason) for each in all_of(store)} == {(DeliveryState.DROPPED, SUPERSEDED)}
    earlier = next(each for each in all_of(store) if each.report_version == 1)
    with pytest.raises(DeliveryStateForbids):
        store.resend(earlier.delivery, everything=True)


def test_what_may_have_reached_a_destination_is_rejected_there(store, url):
    store.add_first("a1", ["archive"], FILES)
    (taken,) = take(store)
    settle(store, taken, AWAY)
    sign(url, 2, DeliveryEvent.SIGNED)
    sign(url, 3, DeliveryEvent.WITHDRAWN)
    make_due(url, taken.delivery)
    assert [each.event for each in take(store)] == [DeliveryEvent.WITHDRAWN]


def test_what_was_tried_before_a_resend_is_rejected_too(store, url):
    store.add_first("a1", ["archive"], FILES)
    (taken,) = take(store)
    settle(store, taken, AWAY)
    assert store.resend(taken.delivery, everything=False).attempts == 0
    sign(url, 2, DeliveryEvent.WITHDRAWN)
    assert [each.event for each in take(store)] == [DeliveryEvent.WITHDRAWN]


def test_what_is_withdrawn_while_it_is_sent_is_rejected_afterwards(store, url):
    store.add_first("a1", ["archive"], FILES)
    (taken,) = take(store)
    sign(url, 2, DeliveryEvent.WITHDRAWN)
    assert take(store) == []
    settled = settle(store, taken, AWAY)
    assert (settled.state, settled.reason) == (DeliveryState.DROPPED, SUPERSEDED)
    assert [each.event for each in take(store)] == [DeliveryEvent.WITHDRAWN]


def test_an_operator_resends_and_drops(store, url):
    store.add_first("a1", ["archive"], FILES)
    (taken,) = take(store)
    for forbidden in (lambda: store.resend(taken.delivery, everything=False), lambda: store.drop(taken.delivery)):
        with pytest.raises(DeliveryStateForbids):
            forbidden()
    settle(store, taken, Failure("DELIVERY_REFUSED", "No.", permanent=True), stored=["segmentation.dcm"])
    assert store.drop(taken.delivery).state is DeliveryState.DROPPED
    resent = store.resend(taken.delivery, everything=False)
    assert (resent.state, resent.attempts, resent.reason) == (DeliveryState.WAITING, 0, "")
    assert [file.stored for file in resent.files] == [True, False]
    (taken,) = take(store)
    settle(store, taken, stored=FILES)
    with pytest.raises(DeliveryStateForbids):
        store.drop(taken.delivery)
    assert not any(file.stored for file in store.resend(taken.delivery, everything=True).files)
    assert len(take(store)) == 1


def test_nothing_is_sent_before_the_judgement_where_that_comes_first(store, url):
    first = DeliveryStore(url, judgement_first=True)
    first.add_first("a1", ["archive"], FILES)
    (held,) = all_of(first, state=DeliveryState.HELD)
    assert held.state is DeliveryState.HELD
    assert all_of(first, state=DeliveryState.WAITING) == [] == take(first)
    assert all_of(store, state=DeliveryState.HELD) == []
    reports = ReportStore(url)
    judgement = RecordedJudgement(
        "dr", "Dr", PhysicianJudgement.UNCERTAIN, "", datetime(2026, 11, 26, tzinfo=UTC), True
    )
    reports.judge("a1", judgement)
    assert len(all_of(first, state=DeliveryState.WAITING)) == 1
    assert len(take(first)) == 1
    for each in (first, reports):
        each.close()


def test_a_lesion_that_has_to_be_chosen_is_told_at_once(store, url):
    """There is no answer that could be withheld, and nothing to judge."""
    first = DeliveryStore(url, judgement_first=True)
    first.add_first("a1", ["board"], {"lesion-candidates.json": next(iter(FILES.values()))})
    assert all_of(first, state=DeliveryState.HELD) == []
    assert len(take(first, "board")) == 1
    first.close()


def test_lists_by_page_destination_assessment_state_and_tenant(store, url):
    for number in range(7):
        store.add_first(f"a{number}", ["archive"], FILES)
    store.add_first("a1", ["ehr"], FILES)
    names, token = [], ""
    while True:
        page, token = store.page(DeliveryFilter(), 3, token)
        names += [each.delivery for each in page]
        if not token:
            break
    assert len(names) == len(set(names)) == 8
    assert [each.assessment for each in all_of(store, destination="ehr")] == ["a1"]
    assert {each.destination for each in all_of(store, assessment="a1")} == {"archive", "ehr"}
    assert all_of(store, state=DeliveryState.DEAD) == []
    assert all_of(store, tenant="other") == []
    with pytest.raises(InvalidRequest):
        store.page(DeliveryFilter(), 3, "nonsense")


def test_deliveries_go_with_their_assessment(store):
    store.add_first("a1", ["archive", "ehr"], FILES)
    store.add_first("a2", ["archive"], FILES)
    settle(store, take(store, "ehr")[0])
    assert store.destinations_with_copies(["a1"]) == {"ehr"}
    assert store.destinations_with_copies([]) == set()
    assert store.delete(["a1"]) == 2
    assert store.delete([]) == 0
    assert [each.assessment for each in all_of(store)] == ["a2"]


def test_what_somebody_has_to_mend_is_held_until_an_operator_resends(store, url):
    """Later versions wait; with the mended one all follow. What is dropped or withdrawn holds up nothing."""
    hold = Failure("PATIENT_NOT_FOUND_AT_DESTINATION", "Nobody.", hold=True)
    store.add_first("a1", ["archive"], FILES)
    (taken,) = take(store)
    held = settle(store, taken, hold)
    assert (held.state, held.reason, held.end_time_ms) == (DeliveryState.HELD, hold.reason, 0)
    assert store.get(held.delivery) == held
    sign(url, 2, DeliveryEvent.SIGNED)
    make_due(url, held.delivery)
    assert take(store) == []
    found, _ = store.page(DeliveryFilter(state=DeliveryState.HELD), 10, "")
    assert [each.delivery for each in found] == [held.delivery]
    assert [each.report_version for each in store.page(DeliveryFilter(state=DeliveryState.WAITING), 10, "")[0]] == [2]
    again = store.resend(held.delivery, everything=False)
    assert (again.state, again.attempts, again.reason) == (DeliveryState.WAITING, 0, "")
    (taken,) = take(store)
    assert settle(store, taken, hold).state is DeliveryState.HELD
    store.resend(held.delivery, everything=False)
    (taken,) = take(store)
    assert settle(store, taken).state is DeliveryState.SENT
    (second,) = take(store)
    assert (second.report_version, settle(store, second, hold).state) == (2, DeliveryState.HELD)
    assert store.drop(second.delivery).state is DeliveryState.DROPPED
    sign(url, 3, DeliveryEvent.AMENDED)
    (third,) = take(store)
    settle(store, third, hold)
    sign(url, 4, DeliveryEvent.WITHDRAWN)
    assert (store.get(third.delivery).state, store.get(third.delivery).reason) == (DeliveryState.DROPPED, "SUPERSEDED")
    assert [each.report_version for each in take(store)] == [4]
    with pytest.raises(DeliveryStateForbids):
        store.resend(third.delivery, everything=False)
