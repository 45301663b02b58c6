"""StudyService over a real connection, with the real sample study."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import uuid
import zlib
from pathlib import Path

import grpc
import numpy as np
import pydicom
import pytest
from oncoresponse.case.case import ExpectedPatientValues, LesionRequest, NamedContour
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.model.definition import ImageInput
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.storage.study_manifest import StudyManifest
from oncoresponse.v1 import study_pb2

SAMPLE = Path(__file__).parents[2] / "examples" / "STS_019"
PET = sorted((SAMPLE / "PET").glob("*.dcm"))


@pytest.fixture(scope="module")
def pet_files() -> list[bytes]:
    return [path.read_bytes() for path in PET]


async def _create(service) -> str:
    request = study_pb2.CreateStudyRequest(request_id=str(uuid.uuid4()))
    return (await service.stub.CreateStudy(request)).study.name


async def _list(service, study: str) -> dict[str, study_pb2.InstanceStatus]:
    listed = await service.stub.ListInstances(study_pb2.ListInstancesRequest(study=study))
    return {status.sha256: status for status in listed.instances}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_upload_of_a_series(study_service, upload_messages, pet_files, tmp_path):
    study = await _create(study_service)
    answer = await study_service.stub.UploadInstances(upload_messages(study, pet_files, chunk_bytes=4096))
    assert [status.sha256 for status in answer.instances] == sorted(map(_sha256, pet_files))
    assert all(status.finished for status in answer.instances)
    request = study_pb2.CompleteStudyRequest(study=study, instance_count=len(pet_files))
    complete = (await study_service.stub.CompleteStudy(request)).study
    assert complete.complete
    assert (complete.instance_count, complete.size_bytes) == (len(PET), sum(map(len, pet_files)))
    assert (await study_service.stub.CompleteStudy(request)).study == complete
    described = (await study_service.stub.GetStudy(study_pb2.GetStudyRequest(name=study))).study
    assert sum(series.instance_count for series in described.series) == len(PET)
    (series,) = [each for each in described.series if each.modality == "PT"]
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in PET]
    first = next(header for header in headers if header.Modality == "PT")
    assert (series.series_description, series.accession_number) == (first.SeriesDescription, first.AccessionNumber)
    described.ClearField("series")
    assert described == complete
    manifest = study_service.artifacts.read_document(stored_artifact(complete.manifest), StudyManifest)
    stored = {study_service.artifacts.read_bytes(item.artifact) for item in manifest.instances}
    assert stored == set(pet_files)
    # Nothing of the patient is in a name.
    uid = str(pydicom.dcmread(PET[0], stop_before_pixels=True).StudyInstanceUID)
    names = [str(path.relative_to(tmp_path)) for path in (tmp_path / "data").rglob("*")]
    assert not any(uid in name or "STS" in name for name in names)


async def test_the_same_request_creates_one_study(study_service):
    request = study_pb2.CreateStudyRequest(request_id=str(uuid.uuid4()))
    assert await study_service.stub.CreateStudy(request) == await study_service.stub.CreateStudy(request)
    listed = await study_service.stub.ListStudies(study_pb2.ListStudiesRequest())
    assert len(listed.studies) == 1


async def test_upload_goes_on_after_a_lost_connection_and_a_restart(
    run_study_service, upload_messages, pet_files, tmp_path
):
    data = pet_files[0]
    async with run_study_service(tmp_path) as service:
        study = await _create(service)
        messages = list(upload_messages(study, [data], chunk_bytes=1000))
        call = service.stub.UploadInstances()
        for message in messages[:4]:
            await call.write(message)
        while (await _list(service, study)).get(_sha256(data), study_pb2.InstanceStatus()).received_bytes < 3000:
            pass
        call.cancel()
    async with run_study_service(tmp_path) as service:
        status = (await _list(service, study))[_sha256(data)]
        assert (status.received_bytes, status.finished) == (3000, False)
        answer = await service.stub.UploadInstances(upload_messages(study, [data], offset=3000))
        assert answer.instances[0].finished
        # Once more from the beginning is harmless.
        answer = await service.stub.UploadInstances(upload_messages(study, [data]))
        assert answer.instances[0].finished
        assert answer.instances[0].received_bytes == len(data)


async def test_a_stream_that_ends_early_says_what_has_arrived(study_service, upload_messages, pet_files):
    study = await _create(study_service)
    messages = list(upload_messages(study, pet_files[:2], chunk_bytes=3000))
    first = [message for message in messages if message.HasField("header")][1]
    cut = messages[: messages.index(first) + 2]
    answer = await study_service.stub.UploadInstances(iter(cut))
    by_digest = {status.sha256: status for status in answer.instances}
    assert by_digest[_sha256(pet_files[0])].finished
    assert by_digest[_sha256(pet_files[1])].received_bytes == 3000


async def test_wrong_crc(study_service, upload_messages, pet_files, refusal):
    study = await _create(study_service)
    messages = list(upload_messages(study, pet_files[:2], chunk_bytes=3000))
    messages[-1].chunk.crc32 ^= 1
    error = await refusal(study_service.stub.UploadInstances(iter(messages)))
    assert error.reason == "CHECKSUM_MISMATCH"
    listed = await _list(study_service, study)
    assert listed[_sha256(pet_files[0])].finished
    received = listed[_sha256(pet_files[1])].received_bytes
    assert received == len(pet_files[1]) - len(messages[-1].chunk.data)
    answer = await study_service.stub.UploadInstances(upload_messages(study, pet_files[1:2], offset=received))
    assert answer.instances[0].finished


async def test_wrong_sha256(study_service, upload_messages, pet_files, refusal):
    study = await _create(study_service)
    messages = list(upload_messages(study, pet_files[:1]))
    messages[0].header.sha256 = "0" * 64
    error = await refusal(study_service.stub.UploadInstances(iter(messages)))
    assert error.reason == "CHECKSUM_MISMATCH"
    assert await _list(study_service, study) == {}


def _with_transfer_syntax(data: bytes, uid: bytes) -> bytes:
    old = b"1.2.840.10008.1.2\0"
    assert data[:400].count(old) == 1
    return data[:400].replace(old, uid.ljust(len(old), b"\0")) + data[400:]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: b"PK\3\4" + b"x" * 500, "NOT_DICOM"),
        (lambda data: data[: len(data) // 2], "TRUNCATED_FILE"),
        (lambda data: data[:200], "TRUNCATED_FILE"),
        (lambda data: _with_transfer_syntax(data, b"1.2.840.10008.1.9"), "UNSUPPORTED_TRANSFER_SYNTAX"),
    ],
)
async def test_files_that_are_no_instances(study_service, upload_messages, pet_files, refusal, spoil, reason):
    study = await _create(study_service)
    files = [pet_files[0], spoil(pet_files[2]), pet_files[1]]
    error = await refusal(study_service.stub.UploadInstances(upload_messages(study, files)))
    assert error.reason == reason
    # What had finished stays, the bad file is gone, and the server goes on.
    assert list(await _list(study_service, study)) == [_sha256(pet_files[0])]
    answer = await study_service.stub.UploadInstances(upload_messages(study, pet_files[1:3]))
    assert all(status.finished for status in answer.instances)


async def test_over_quota(run_study_service, upload_messages, pet_files, refusal, tmp_path):
    quota = len(pet_files[0]) + 10
    async with run_study_service(tmp_path, quota_bytes_per_study=quota) as service:
        study = await _create(service)
        error = await refusal(service.stub.UploadInstances(upload_messages(study, pet_files[:2])))
        assert (error.reason, error.metadata["limit_bytes"]) == ("QUOTA_EXCEEDED", str(quota))
        assert list(await _list(service, study)) == [_sha256(pet_files[0])]
        assert list((tmp_path / "studies" / "parts").rglob("*.part")) == []


async def test_after_complete(study_service, upload_messages, pet_files, refusal):
    study = await _create(study_service)
    await study_service.stub.UploadInstances(upload_messages(study, pet_files[:1]))
    short = study_pb2.CompleteStudyRequest(study=study, instance_count=2)
    assert (await refusal(study_service.stub.CompleteStudy(short))).reason == "STUDY_NOT_COMPLETE"
    await study_service.stub.CompleteStudy(study_pb2.CompleteStudyRequest(study=study, instance_count=1))
    error = await refusal(study_service.stub.UploadInstances(upload_messages(study, pet_files[1:2])))
    assert error.reason == "STUDY_ALREADY_COMPLETE"


async def test_streams_that_break_the_order(study_service, upload_messages, pet_files, refusal):
    first, second = await _create(study_service), await _create(study_service)
    block = study_pb2.InstanceChunk(data=b"x", crc32=zlib.crc32(b"x"))
    chunk = study_pb2.UploadInstancesRequest(chunk=block)
    whole = list(upload_messages(first, pet_files[:1]))
    other = list(upload_messages(second, pet_files[1:2]))
    for messages in ([chunk], [*whole, chunk], [*whole, *other], [], [study_pb2.UploadInstancesRequest()]):
        error = await refusal(study_service.stub.UploadInstances(iter(messages)))
        assert error.reason == "INVALID_REQUEST"
    assert await _list(study_service, second) == {}


async def test_studies_that_do_not_exist(study_service, upload_messages, refusal):
    stub, name = study_service.stub, "studies/none"
    for call in (
        stub.GetStudy(study_pb2.GetStudyRequest(name=name)),
        stub.DeleteStudy(study_pb2.DeleteStudyRequest(name=name)),
        stub.ListInstances(study_pb2.ListInstancesRequest(study=name)),
        stub.CompleteStudy(study_pb2.CompleteStudyRequest(study=name, instance_count=1)),
        stub.UploadInstances(upload_messages(name, [b"x"])),
    ):
        assert (await refusal(call)).reason == "STUDY_NOT_FOUND"


async def test_delete_and_list(study_service, upload_messages, pet_files):
    names = [await _create(study_service) for _ in range(3)]
    for name in names:
        await study_service.stub.UploadInstances(upload_messages(name, pet_files[:1]))
    page = await study_service.stub.ListStudies(study_pb2.ListStudiesRequest(page_size=2))
    rest = await study_service.stub.ListStudies(
        study_pb2.ListStudiesRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [study.name for study in (*page.studies, *rest.studies)] == names[::-1]
    assert not rest.next_page_token
    for name in names:
        await study_service.stub.DeleteStudy(study_pb2.DeleteStudyRequest(name=name))
    stored = (study_service.data_directory / "artifacts").rglob("*")
    assert not [path for path in stored if path.is_file() and "scratch" not in path.parts]


# --- ImportDirectory -------------------------------------------------------------------------------


def _import(service, directory: object, request_id: str = ""):
    return service.stub.ImportDirectory(
        study_pb2.ImportDirectoryRequest(request_id=request_id or str(uuid.uuid4()), directory=str(directory))
    )


async def test_import_of_a_directory_as_it_comes_from_a_disc(run_study_service, tmp_path, pet_files):
    disc = tmp_path / "disc"
    shutil.copytree(SAMPLE / "PET", disc / "A" / "B")
    (disc / "README.TXT").write_text("Viewer for Doe^Jane")
    (disc / ".DS_Store").write_bytes(b"x" * 10)
    (disc / ".hidden").mkdir()
    (disc / ".hidden" / "x.dcm").write_bytes(pet_files[0])
    (disc / "short").write_bytes(b"DICM")
    os.mkfifo(disc / "pipe")
    with (disc / "huge").open("wb") as huge:
        huge.truncate(10 * 1024**3)
    directory = pydicom.dcmread(PET[0], stop_before_pixels=True)
    directory.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    directory.save_as(disc / "DICOMDIR")
    (disc / "again.dcm").write_bytes(pet_files[0])
    async with run_study_service(tmp_path / "data", allowed_import_directories=(tmp_path,)) as service:
        request_id = str(uuid.uuid4())
        events = [event async for event in _import(service, disc, request_id)]
        study, last = events[-1].study, events[-2].progress
        assert study.complete
        assert study.instance_count == len(list((SAMPLE / "PET").iterdir()))
        assert (last.imported, last.left_out) == (study.instance_count + 1, 6)
        assert last.examined == last.imported + last.left_out
        counts = [event.progress.examined for event in events[:-1]]
        assert len(counts) > 2
        assert counts == sorted(counts)
        # The same request is not done again, not even when the files are gone.
        shutil.rmtree(disc / "A")
        again = [event async for event in _import(service, disc, request_id)]
        assert [event.study for event in again] == [study]


async def test_import_from_outside_the_allowed_directories(run_study_service, tmp_path, refusal):
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "link").symlink_to(SAMPLE)
    (allowed / "out").symlink_to(SAMPLE)
    async with run_study_service(tmp_path / "data", allowed_import_directories=(allowed,)) as service:
        outside = ("/", SAMPLE, allowed / "..", tmp_path / "allowed-not", allowed / "out", "allowed", "/nowhere")
        for directory in (*outside, f"{allowed}\0"):
            error = await refusal(_import(service, directory))
            assert error.reason == "PATH_NOT_ALLOWED", directory
            assert str(tmp_path) not in error.message
        assert (await refusal(_import(service, allowed / "none"))).reason == "NO_IMAGES"
        assert (await service.stub.ListStudies(study_pb2.ListStudiesRequest())).studies == []


@pytest.mark.parametrize("kind", ["file", "directory"])
async def test_import_follows_no_link_that_leads_out(run_study_service, tmp_path, refusal, kind):
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(PET[0] if kind == "file" else SAMPLE)
    async with run_study_service(tmp_path / "data", allowed_import_directories=(allowed,)) as service:
        assert (await refusal(_import(service, allowed))).reason == "PATH_NOT_ALLOWED"
        # A link that stays inside is followed.
        (allowed / "link").unlink()
        shutil.copy(PET[0], allowed / "0.dcm")
        (allowed / "link").symlink_to(allowed / "0.dcm")
        events = [event async for event in _import(service, allowed)]
        assert events[-1].study.instance_count == 1
        assert events[-2].progress.imported == 2


async def test_import_of_nothing_leaves_no_study(run_study_service, tmp_path, refusal):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "letter.txt").write_text("Dear colleague")
    async with run_study_service(tmp_path / "data", allowed_import_directories=(tmp_path / "empty",)) as service:
        assert (await refusal(_import(service, tmp_path / "empty"))).reason == "NO_IMAGES"
        assert (await service.stub.ListStudies(study_pb2.ListStudiesRequest())).studies == []


async def test_import_of_a_damaged_study_can_be_repeated(run_study_service, tmp_path, pet_files, refusal):
    directory = tmp_path / "in"
    directory.mkdir()
    (directory / "0").write_bytes(pet_files[0])
    (directory / "1").write_bytes(pet_files[1][:-100])
    request_id = str(uuid.uuid4())
    async with run_study_service(tmp_path / "data", allowed_import_directories=(directory,)) as service:
        assert (await refusal(_import(service, directory, request_id))).reason == "TRUNCATED_FILE"
        (directory / "1").write_bytes(pet_files[1])
        events = [event async for event in _import(service, directory, request_id)]
        assert events[-1].study.instance_count == 2
        error = await refusal(
            service.stub.CreateStudy(study_pb2.CreateStudyRequest(request_id=request_id)),
        )
        assert error.reason == "REQUEST_ID_REUSED"


async def test_import_over_quota(run_study_service, tmp_path, refusal):
    settings = {"allowed_import_directories": (SAMPLE,), "quota_bytes_per_study": 50_000}
    async with run_study_service(tmp_path, **settings) as service:
        assert (await refusal(_import(service, SAMPLE))).reason == "QUOTA_EXCEEDED"
        left = (tmp_path / "studies" / "parts").rglob("*.*")
        assert [path for path in left if not path.name.endswith(".header.json")] == []


async def test_a_cancelled_import_goes_on_later(run_study_service, tmp_path):
    async with run_study_service(tmp_path, allowed_import_directories=(SAMPLE,)) as service:
        request_id = str(uuid.uuid4())
        call = _import(service, SAMPLE, request_id)
        async for event in call:
            assert event.HasField("progress")
            break
        call.cancel()
        events = [event async for event in _import(service, SAMPLE, request_id)]
        assert events[-1].study.complete
        expected = {_sha256(path.read_bytes()) for path in SAMPLE.rglob("*.dcm")}
        assert set(await _list(service, events[-1].study.name)) == expected


# --- Conversion ------------------------------------------------------------------------------------


async def _imported(service, directory: Path) -> study_pb2.Study:
    return [event async for event in _import(service, directory)][-1].study


async def test_conversion_of_a_study_with_its_contour(run_study_service, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with run_study_service(tmp_path, allowed_import_directories=(SAMPLE,)) as service:
        study = await _imported(service, SAMPLE)
        patient_id = str(pydicom.dcmread(PET[0], stop_before_pixels=True).PatientID)
        order = {
            "lesions": (LesionRequest(contour=NamedContour()),),
            "expected_patient": ExpectedPatientValues(patient_id=patient_id),
        }
        case = await service.convert(study, **order)
        assert await service.convert(study, **order) == case
        expected = convert_study(read_study(SAMPLE), ImageInput.any_of("PT", "CT"))
        assert {item.input_role for item in case.images} == {"CT", "PT"}
        for item in case.images:
            assert item.volume.media_type == "application/x-nrrd"
            volume = service.artifacts.read_volume(item.volume)
            np.testing.assert_array_equal(volume.array, expected.volumes[item.modality].array)
        (lesion,) = case.lesions
        assert lesion.supplied_kind == "rtstruct"
        assert lesion.supplied_mask.grid == case.image("PT").volume.grid
        assert set(np.unique(service.artifacts.read_volume(lesion.supplied_mask).array)) == {0, 1}
        assert service.artifacts.read_document(case.study, StudyDescription).patient.patient_id == patient_id
        assert not [record for record in caplog.records if patient_id in record.getMessage()]


async def test_refusals_of_the_conversion(run_study_service, tmp_path, refusal):
    async with run_study_service(tmp_path, allowed_import_directories=(SAMPLE,)) as service:
        study = await _imported(service, SAMPLE / "PET")
        assert (await refusal(service.convert(study))).reason == "REQUIRED_SERIES_MISSING"
        assert (await refusal(service.convert(study, model="models/none"))).reason == "MODEL_NOT_FOUND"
        error = await refusal(service.convert(study, expected_patient=ExpectedPatientValues(patient_id="another")))
        assert error.reason == "PATIENT_MISMATCH"
        assert "STS" not in error.message
        study.manifest.sha256 = "0" * 64
        study.manifest.uri = "artifact:sha256/" + "0" * 64
        assert (await refusal(service.convert(study))).reason == "ARTIFACT_NOT_FOUND"


async def test_the_loop_is_free_while_a_study_is_converted(run_study_service, tmp_path):
    async with run_study_service(tmp_path, allowed_import_directories=(SAMPLE,)) as service:
        study = await _imported(service, SAMPLE)
        conversion = asyncio.ensure_future(service.convert(study))
        answered = 0
        while not conversion.done():
            await service.stub.GetStudy(study_pb2.GetStudyRequest(name=study.name))
            answered += 1
        assert (await conversion).images
        assert answered > 1


def _store_messages(study: str, data: bytes, chunk_bytes: int = 1024 * 1024) -> list[study_pb2.StoreInstancesRequest]:
    header = study_pb2.InstanceHeader(study=study, sha256=_sha256(data), size_bytes=len(data))
    parts = [data[start : start + chunk_bytes] for start in range(0, len(data), chunk_bytes)]
    return [
        study_pb2.StoreInstancesRequest(
            header=None if number else header, chunk=study_pb2.InstanceChunk(data=part, crc32=zlib.crc32(part))
        )
        for number, part in enumerate(parts)
    ]


async def test_each_instance_of_a_stream_is_answered_for(study_service, pet_files):
    """Whole and in chunks, good and bad, of two studies: one that is refused ends nothing."""
    one, other = await _create(study_service), await _create(study_service)
    cut = pet_files[0][:3000]
    sent = [
        (_store_messages(one, pet_files[0]), ""),
        (_store_messages(one, pet_files[1], 4096), ""),
        (_store_messages(one, cut), "TRUNCATED_FILE"),
        (_store_messages(one, cut, 1000), "TRUNCATED_FILE"),
        (_store_messages(one, b"no DICOM"), "NOT_DICOM"),
        (_store_messages(other, pet_files[0], 5000), ""),
        (_store_messages(one, pet_files[1], 4096), ""),
        (_store_messages(one, pet_files[2]), ""),
    ]
    call = study_service.stub.StoreInstances()
    for messages, reason in sent:
        for message in messages:
            await call.write(message)
        answer = await call.read()
        assert (answer.sha256, answer.reason) == (messages[0].header.sha256, reason)
    broken = _store_messages(one, pet_files[3], 4096)
    broken[1].chunk.crc32 ^= 1
    for message in broken:
        await call.write(message)
    assert (await call.read()).reason == "CHECKSUM_MISMATCH"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    finished = {sha256 for sha256, status in (await _list(study_service, one)).items() if status.finished}
    assert finished == set(map(_sha256, pet_files[:3]))
    assert set(await _list(study_service, other)) == {_sha256(pet_files[0])}


async def test_what_is_wrong_with_a_stream_of_instances_ends_it(study_service, pet_files, refusal):
    study = await _create(study_service)
    whole = _store_messages(study, pet_files[0], 4096)
    bare = study_pb2.StoreInstancesRequest(chunk=whole[1].chunk)
    for messages in ([bare], [*whole, bare], [study_pb2.StoreInstancesRequest(header=whole[0].header)]):
        assert (await refusal(study_service.stub.StoreInstances(iter(messages)))).reason == "INVALID_REQUEST"
    none = _store_messages("studies/none", pet_files[0])
    assert (await refusal(study_service.stub.StoreInstances(iter(none)))).reason == "STUDY_NOT_FOUND"
