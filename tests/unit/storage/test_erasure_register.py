"""The register of erasures: what is in it, what is not, and what a restore reads from it."""

import datetime
import stat
import threading

import pytest
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import OncoResponseError
from oncoresponse.storage.audit_store import PatientDigests
from oncoresponse.storage.erasure_register import Erased, ErasureRegister, append_lines, merged, registered_erasures

PATIENT = IndexedPatient(patient_id="ZQX-REGISTER", issuer_of_patient_id="Hospital")
OTHER = IndexedPatient(patient_id="ZQX-REGISTER", issuer_of_patient_id="Elsewhere")
HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def digests(tmp_path):
    return PatientDigests(tmp_path / "secrets" / "audit.key")


@pytest.fixture
def register(tmp_path, digests):
    register = ErasureRegister(tmp_path / "erasures.jsonl", digests)
    register.prepare()
    return register


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def erased(tmp_path, digests, since) -> Erased:
    return Erased(registered_erasures(tmp_path / "erasures.jsonl"), digests, since, whole=False)


def test_who_was_erased_since_a_time_is_found_by_who_has_the_key(register, tmp_path, digests):
    before = now()
    register.add(
        patients=[register.digest_of(PATIENT, any_issuer=False)],
        studies=["studies/s"],
        assessments=["a"],
        orders=["orders/o"],
    )
    found = erased(tmp_path, digests, before)
    assert found.has_patient(PATIENT) == (True, False)
    assert found.has_patient(OTHER) == (False, False)
    assert [found.has_name(name) for name in ("studies/s", "a", "orders/o", "studies/t")] == [True, True, True, False]
    # Who came again after the erasure, and before the backup, stays.
    later = erased(tmp_path, digests, now())
    assert later.has_patient(PATIENT) == (False, False)
    assert not erased(tmp_path, digests, now() + HOUR).has_name("studies/s")
    text = (tmp_path / "erasures.jsonl").read_text()
    assert not any(word in text for word in ("ZQX", "Hospital", "studies/s", "orders/o"))
    assert stat.S_IMODE((tmp_path / "erasures.jsonl").stat().st_mode) == 0o600


def test_whoever_issued_the_identifier(register, tmp_path, digests):
    before = now()
    register.add(patients=[register.digest_of(PATIENT, any_issuer=True)])
    assert erased(tmp_path, digests, before).has_patient(OTHER) == (False, True)


def test_a_register_of_another_installation_or_one_that_begins_later_is_refused(register, tmp_path, digests):
    register.add(studies=["studies/s"])
    other = PatientDigests(tmp_path / "other.key")
    lines = registered_erasures(tmp_path / "erasures.jsonl")
    with pytest.raises(OncoResponseError, match="another key"):
        Erased(lines, other, now(), whole=True)
    with pytest.raises(OncoResponseError, match="begins after the backup"):
        Erased(lines, digests, now() - HOUR, whole=True)
    with pytest.raises(OncoResponseError, match="begins after the backup"):
        Erased([], digests, now(), whole=True)
    Erased(lines, digests, now(), whole=True)


def test_a_line_that_a_crash_has_cut_off_hides_no_other(register, tmp_path, digests):
    path = tmp_path / "erasures.jsonl"
    before = now()
    register.add(studies=["studies/first"])
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines()[-1][:70])
    register.add(studies=["studies/second"])
    found = erased(tmp_path, digests, before)
    assert found.has_name("studies/first") and found.has_name("studies/second")


def test_what_is_no_register_is_refused(tmp_path):
    for content in (b"hello\n", b'{"time":"2026-01-01T00:00:00Z"}\n', b"\xff\xfe"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(OncoResponseError, match="register of erasures"):
            registered_erasures(tmp_path / "file")
    with pytest.raises(OncoResponseError, match="cannot be read"):
        registered_erasures(tmp_path / "none")


def test_many_write_at_once_and_each_line_is_whole(register, tmp_path):
    def write(number: int) -> None:
        for each in range(20):
            register.add(studies=[f"studies/{number}-{each}-{part}" for part in range(50)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registered_erasures(tmp_path / "erasures.jsonl")) == 81


def test_where_it_cannot_be_written_that_is_an_error(tmp_path, digests):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OncoResponseError) as caught:
        ErasureRegister(tmp_path / "folder", digests).add(studies=["studies/s"])
    assert caught.value.reason == "ERASURE_REGISTER_UNAVAILABLE"


def test_registers_are_joined(register, tmp_path):
    register.add(studies=["studies/s"])
    lines = registered_erasures(tmp_path / "erasures.jsonl")
    append_lines(tmp_path / "copy", lines)
    assert merged(lines, registered_erasures(tmp_path / "copy")) == lines
