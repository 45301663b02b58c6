"""ImportDicomWeb from a real Orthanc, and from servers that behave badly over a real socket."""

from __future__ import annotations

import hashlib
import io
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import grpc
import numpy as np
import pydicom
import pytest
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.errors import ErrorKind, UrlNotAllowed
from oncoresponse.intake.dicomweb_session import require_allowed_url
from oncoresponse.intake.study_settings import DicomWebServer
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.rpc.status import from_rpc_error
from oncoresponse.storage.study_manifest import StudyManifest
from oncoresponse.v1 import study_pb2

from tests.integration.loopback_http import serving
from tests.integration.orthanc_server import PASSWORD, USER, Orthanc, running_orthanc

PET = sorted((Path(__file__).parents[2] / "examples" / "STS_019" / "PET").glob("0*.dcm"))
STUDY_UID = str(pydicom.dcmread(PET[0], stop_before_pixels=True).StudyInstanceUID)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, require_installed: Callable[..., None]) -> Iterator[Orthanc]:
    """It holds the PET of the sample."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), require_installed) as server:
        server.store(PET)
        yield server


def _import(service, url: str, uid: str = STUDY_UID, request_id: str = "", **more: object):
    """``url``, or the name of a server."""
    place = {"url" if "://" in url else "server": url}
    request_id = request_id or str(uuid.uuid4())
    return service.stub.ImportDicomWeb(
        study_pb2.ImportDicomWebRequest(request_id=request_id, study_instance_uid=uid, **place, **more)
    )


def _login(orthanc: Orthanc, folder: Path, password: str = PASSWORD) -> DicomWebServer:
    file = folder / "password"
    file.write_text(f"{password}\n")
    file.chmod(0o600)
    return DicomWebServer(orthanc.url(), USER, file)


async def test_a_study_comes_from_orthanc_byte_for_byte(run_study_service, orthanc, tmp_path):
    async with run_study_service(tmp_path, dicomweb_servers={"archive": _login(orthanc, tmp_path)}) as service:
        request_id = str(uuid.uuid4())
        events = [event async for event in _import(service, "archive", request_id=request_id)]
        study = events[-1].study
        assert study.complete
        assert study.instance_count == events[-2].progress.imported == len(PET)
        manifest = service.artifacts.read_document(stored_artifact(study.manifest), StudyManifest)
        kept = {hashlib.sha256(data).hexdigest() for data in orthanc.files()}
        assert {item.sha256 for item in manifest.instances} == kept
        sent = {dataset.SOPInstanceUID: dataset for dataset in map(pydicom.dcmread, PET)}
        for item in manifest.instances:
            dataset = pydicom.dcmread(io.BytesIO(service.artifacts.read_bytes(item.artifact)))
            np.testing.assert_array_equal(dataset.pixel_array, sent[dataset.SOPInstanceUID].pixel_array)
            assert dataset.RescaleSlope == sent[dataset.SOPInstanceUID].RescaleSlope
        again = [event async for event in _import(service, "archive", request_id=request_id)]
        assert [event.study for event in again] == [study]


async def test_what_orthanc_refuses(run_study_service, orthanc, tmp_path, refusal, caplog):
    servers = {
        "archive": _login(orthanc, tmp_path),
        # Not DICOMweb, but something of Orthanc's own.
        "viewer": replace(_login(orthanc, tmp_path), url=f"{orthanc.origin}/app"),
    }
    async with run_study_service(tmp_path, dicomweb_servers=servers) as service:
        assert (await refusal(_import(service, "archive", "1.2.3.4.5"))).reason == "NO_IMAGES"
        # The login of the server goes with its URL too, and with nothing above it.
        assert (await refusal(_import(service, orthanc.url(), "1.2.3.4.5"))).reason == "NO_IMAGES"
        assert (await refusal(_import(service, orthanc.origin))).reason == "URL_NOT_ALLOWED"
        assert (await refusal(_import(service, "elsewhere"))).reason == "URL_NOT_ALLOWED"
        assert (await refusal(_import(service, "viewer"))).reason in ("INVALID_REQUEST", "NO_IMAGES")
        error = await refusal(_import(service, orthanc.url(USER)))
        assert (error.reason, error.metadata["field"]) == ("INVALID_REQUEST", "url")
        _login(orthanc, tmp_path, "wrong")
        error = await refusal(_import(service, "archive"))
        assert (error.reason, error.metadata["http_status"]) == ("PACS_ACCESS_DENIED", "401")
        (tmp_path / "password").chmod(0o644)
        open_to_all = await refusal(_import(service, "archive"))
        assert open_to_all.reason == "CONFIGURATION_INVALID"
        for text in (error.message, open_to_all.message, *(record.getMessage() for record in caplog.records)):
            assert not any(secret in text for secret in ("wrong", PASSWORD, STUDY_UID, "127.0.0.1"))


async def test_series_by_series_and_only_those_that_the_model_may_need(
    run_study_service, orthanc, tmp_path, refusal, write_series
):
    """sts-petct reads PT and CT: the MR of the same study stays where it is, and a contour comes along."""
    made = [write_series(modality=modality, study="archive") for modality in ("MR", "CT", "PT")]
    orthanc.store([file for series in made for file in series.files])
    uid, (mr, ct, pt) = made[0].study_instance_uid, [series.series_instance_uid for series in made]
    async with run_study_service(tmp_path, dicomweb_servers={"archive": _login(orthanc, tmp_path)}) as service:

        async def modalities(**chosen: object) -> tuple[int, list[str]]:
            study = [event async for event in _import(service, "archive", uid, **chosen)][-1].study
            return study.series_count, list(study.modalities)

        assert await modalities() == (3, ["CT", "MR", "PT"])
        assert await modalities(model="models/sts-petct") == (2, ["CT", "PT"])
        assert await modalities(series_instance_uids=[mr, pt]) == (2, ["MR", "PT"])
        error = await refusal(_import(service, "archive", uid, model="models/none"))
        assert error.reason == "MODEL_NOT_FOUND"
        error = await refusal(_import(service, "archive", uid, series_instance_uids=[ct, "1.2.3"]))
        assert error.reason == "NO_IMAGES"
        error = await refusal(_import(service, "archive", uid, model="models/sts-petct", series_instance_uids=[ct]))
        assert error.reason == "INVALID_REQUEST"


async def test_studies_of_orthanc_are_found(run_study_service, orthanc, tmp_path, refusal):
    first = pydicom.dcmread(PET[0], stop_before_pixels=True)
    async with run_study_service(tmp_path, dicomweb_servers={"archive": _login(orthanc, tmp_path)}) as service:

        async def found(**wanted: object) -> list[study_pb2.DicomWebStudy]:
            request = study_pb2.FindDicomWebStudiesRequest(server="archive", **wanted)
            return list((await service.stub.FindDicomWebStudies(request)).studies)

        (study,) = await found(modality="PT", study_date_from=first.StudyDate, study_date_to=first.StudyDate)
        assert (study.study_instance_uid, study.patient_id) == (STUDY_UID, first.PatientID)
        assert (study.study_date, list(study.modalities)) == (first.StudyDate, ["PT"])
        assert (study.series_count, study.instance_count) == (1, len(PET))
        assert [item.study_instance_uid for item in await found(patient_id=first.PatientID)] == [STUDY_UID]
        assert await found(patient_id=first.PatientID, modality="MG") == []
        assert await found(study_date_to="19000101") == []
        for wrong in ({}, {"patient_id": "*"}, {"modality": "PT", "url": "https://elsewhere"}):
            request = study_pb2.FindDicomWebStudiesRequest(server="archive", **wrong)
            assert (await refusal(service.stub.FindDicomWebStudies(request))).reason == "INVALID_REQUEST"


async def test_answers_to_a_search_that_are_none_or_have_no_end(run_study_service, tmp_path, refusal):
    answers = {
        "page": (b"<html>Log in, Doe^Jane</html>", "INVALID_REQUEST"),
        "list": (b"[1, 2]", "INVALID_REQUEST"),
        "deep": (b"[" * 200_000, "INVALID_REQUEST"),
        "values": (b'[{"0020000D": {"vr": "UI", "Value": [{"a": 1}]}, "00100020": 7, "00080061": {"Value": 3}}]', ""),
        "endless": (b"[" + b'{"00100010": {"vr": "PN"}},' * 800_000, "PACS_ANSWER_REFUSED"),
    }

    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = answers[handler.path.split("/")[1]][0]
        handler.send_response(200)
        handler.send_header("Content-Type", "application/dicom+json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        with suppress(OSError):
            handler.wfile.write(content)

    with _http_server(answer) as url:
        async with run_study_service(tmp_path, allowed_dicomweb_urls=(url,)) as service:
            for name, (_, reason) in answers.items():
                request = study_pb2.FindDicomWebStudiesRequest(url=f"{url}/{name}", modality="PT")
                call = service.stub.FindDicomWebStudies(request)
                if reason:
                    error = await refusal(call)
                    assert (error.reason, "Doe" in error.message) == (reason, False), name
                else:
                    assert list((await call).studies) == []


@contextmanager
def _http_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            return

    with serving(Handler) as url:
        yield url


def _begin_multipart(handler: BaseHTTPRequestHandler, length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=edge')
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def _part(data: bytes) -> bytes:
    return b"\r\n--edge\r\nContent-Type: application/dicom\r\n\r\n" + data


async def test_a_server_that_breaks_off(run_study_service, tmp_path, refusal):
    files = [path.read_bytes() for path in PET[:3]]
    whole = b"".join(map(_part, files)) + b"\r\n--edge--\r\n"
    healthy = False

    def answer(handler: BaseHTTPRequestHandler) -> None:
        _begin_multipart(handler, len(whole))
        handler.wfile.write(whole if healthy else whole[: len(whole) // 2])

    with _http_server(answer) as url:
        async with run_study_service(tmp_path, allowed_dicomweb_urls=(url,)) as service:
            request_id = str(uuid.uuid4())
            assert (await refusal(_import(service, url, request_id=request_id))).reason == "PEER_UNAVAILABLE"
            healthy = True
            events = [event async for event in _import(service, url, request_id=request_id)]
            assert events[-1].study.instance_count == 3


async def test_answers_that_are_no_dicom(run_study_service, tmp_path, refusal):
    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        handler.wfile.write(b"<html>Log in, Doe^Jane</html>")

    def nameless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()

    def other_parts(handler: BaseHTTPRequestHandler) -> None:
        _begin_multipart(handler)
        handler.wfile.write(_part(b"Doe^Jane" * 100) + b"\r\n--edge--\r\n")

    expected = {page: "INVALID_REQUEST", nameless: "INVALID_REQUEST", other_parts: "NO_IMAGES"}
    for answer, reason in expected.items():
        with _http_server(answer) as url:
            async with run_study_service(tmp_path, allowed_dicomweb_urls=(url,)) as service:
                error = await refusal(_import(service, url))
                assert error.reason == reason, answer
                assert "Doe" not in error.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "PACS_ACCESS_DENIED"),
        (403, "PACS_ACCESS_DENIED"),
        (404, "NO_IMAGES"),
        (406, "INVALID_REQUEST"),
        (429, "PEER_UNAVAILABLE"),
        (503, "PEER_UNAVAILABLE"),
    ],
)
async def test_only_what_may_pass_by_itself_is_told_as_worth_another_try(
    run_study_service, tmp_path, refusal, status, reason
):
    with _http_server(lambda handler: handler.send_error(status)) as url:
        async with run_study_service(tmp_path, allowed_dicomweb_urls=(url,)) as service:
            error = await refusal(_import(service, url))
    assert error.reason == reason
    assert (error.kind is ErrorKind.UNAVAILABLE) == (reason == "PEER_UNAVAILABLE")


CT = sorted(PET[0].parents[1].glob("CT/0*.dcm"))


async def _study_with(run_study_service, tmp_path, objects: list[bytes]):
    """Import the objects from a server that sends them in this order; the last progress, and what conversion says."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        _begin_multipart(handler)
        handler.wfile.write(b"".join(map(_part, objects)) + b"\r\n--edge--\r\n")

    with _http_server(answer) as url:
        async with run_study_service(tmp_path, allowed_dicomweb_urls=(url,)) as service:
            events = [event async for event in _import(service, url)]
            try:
                case = await service.convert(events[-1].study)
            except grpc.aio.AioRpcError as error:
                return events[-2].progress, from_rpc_error(error), None
            return events[-2].progress, None, service.artifacts.read_document(case.study, StudyDescription)


async def test_a_damaged_object_that_the_model_does_not_need_blocks_nothing(run_study_service, tmp_path):
    magnetic = pydicom.dcmread(CT[0])
    magnetic.Modality, magnetic.SeriesInstanceUID = "MR", "1.2.3"
    stream = io.BytesIO()
    magnetic.save_as(stream)
    damaged, no_dicom = stream.getvalue()[:-1000], b"<html>a page</html>" * 20
    objects = [damaged, no_dicom, *(path.read_bytes() for path in (*CT, *PET))]
    progress, error, description = await _study_with(run_study_service, tmp_path, objects)
    assert error is None
    assert (progress.examined, progress.imported, progress.left_out) == (len(objects), len(objects) - 2, 2)
    assert [(item.number, item.modality, item.reason) for item in progress.left_out_instances] == [
        (1, "MR", "TRUNCATED_FILE"),
        (2, "", "NOT_DICOM"),
    ]
    assert progress.left_out_instances[0].sop_instance_uid == magnetic.SOPInstanceUID
    wanted = "2 object(s) of the import could not be read and were left out: number 1 (MR, TRUNCATED_FILE), "
    assert any(warning.startswith(wanted) for warning in description.warnings)


@pytest.mark.parametrize("place", ["end", "middle"])
async def test_a_damaged_object_of_a_needed_series_is_an_error_that_names_it(run_study_service, tmp_path, place):
    """Also the last slice, without which the others make a regular volume."""
    by_height = sorted(PET, key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
    chosen = by_height[-1 if place == "end" else len(by_height) // 2]
    objects = [path.read_bytes()[: -1000 if path == chosen else None] for path in (*PET, *CT)]
    number = PET.index(chosen) + 1
    progress, error, _ = await _study_with(run_study_service, tmp_path, objects)
    assert progress.left_out == 1
    assert error.reason == ("TRUNCATED_FILE" if place == "end" else "MISSING_SLICES")
    assert f"number {number} " in error.message
    assert "PT" in error.message


async def test_an_answer_without_end_is_cut_at_the_quota(run_study_service, tmp_path, refusal):
    sent = 0

    def endless(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        _begin_multipart(handler)
        handler.wfile.write(_part(PET[0].read_bytes()))
        try:
            while sent < 2**28:
                sent += handler.wfile.write(bytes(2**20))
        except OSError:
            return

    with _http_server(endless) as url:
        settings = {"allowed_dicomweb_urls": (url,), "quota_bytes_per_study": 2**22}
        async with run_study_service(tmp_path, **settings) as service:
            assert (await refusal(_import(service, url))).reason == "QUOTA_EXCEEDED"
    assert sent < 2**27


async def test_a_server_that_is_not_there_or_keeps_silent(run_study_service, tmp_path, refusal):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/dicom-web"
        settings = {"allowed_dicomweb_urls": (url,), "dicomweb_idle_seconds": 0.2}
        async with run_study_service(tmp_path, **settings) as service:
            assert (await refusal(_import(service, url))).reason == "PEER_UNAVAILABLE"
            silent.listen()
            error = await refusal(_import(service, url))
            assert (error.reason, error.metadata["limit"]) == ("PACS_TOO_SLOW", "dicomweb_idle_seconds")


async def test_redirects_stay_on_the_allow_list(run_study_service, tmp_path, refusal):
    asked = []

    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers.get("Authorization"))
        _begin_multipart(handler)
        handler.wfile.write(_part(PET[0].read_bytes()) + b"\r\n--edge--\r\n")

    with _http_server(elsewhere) as target:

        def redirect(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(307)
            handler.send_header("Location", f"{target}{handler.path}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with _http_server(redirect) as url:
            file = tmp_path / "token"
            file.write_text("secret-word")
            file.chmod(0o600)
            servers = {"archive": DicomWebServer(url, token_file=file)}
            async with run_study_service(tmp_path / "a", dicomweb_servers=servers) as service:
                assert (await refusal(_import(service, "archive"))).reason == "URL_NOT_ALLOWED"
                assert asked == []
            more = {"dicomweb_servers": servers, "allowed_dicomweb_urls": (target,)}
            async with run_study_service(tmp_path / "b", **more) as service:
                events = [event async for event in _import(service, "archive")]
                assert events[-1].study.instance_count == 1
                # The token is that of one server, and not of where it sends to.
                assert asked == [None]


async def test_no_url_is_allowed_unless_the_administrator_says_so(study_service, refusal):
    error = await refusal(_import(study_service, "http://127.0.0.1:8042/dicom-web"))
    assert error.reason == "URL_NOT_ALLOWED"
    error = await refusal(_import(study_service, "not a url"))
    assert error.reason == "INVALID_REQUEST"


@pytest.mark.parametrize(
    "url",
    [
        "https://pacs.example/dicom-web",
        "https://pacs.example/dicom-web/",
        "https://pacs.example:443/dicom-web/rs",
        "https://PACS.example/dicom-web",
        "https://user:word@pacs.example/dicom-web",
        "http://pacs.example:8042",
        "http://pacs.example:8042/any/path",
    ],
)
def test_allowed_urls(url):
    require_allowed_url(url, ("https://pacs.example/dicom-web", "http://pacs.example:8042/"))


@pytest.mark.parametrize(
    "url",
    [
        "https://pacs.example/dicom-web-admin",
        "https://pacs.example/",
        "https://pacs.example/other",
        "https://pacs.example/dicom-web/../other",
        "https://pacs.example/dicom-web/%2e%2e/other",
        "https://pacs.example/dicom-web/%252e%252e/other",
        "https://pacs.example/dicom-web/..%2fother",
        "https://pacs.example/dicom-web\\..\\other",
        "https://pacs.example/dicom-web//other",
        "https://pacs.example/dicom-web?target=http://inner/",
        "https://pacs.example/dicom-web#x",
        "http://pacs.example/dicom-web",
        "https://pacs.example:8443/dicom-web",
        "https://pacs.example.evil.example/dicom-web",
        "https://pacs.example@evil.example/dicom-web",
        "https://evil.example/https://pacs.example/dicom-web",
        "https://pacs.example:port/dicom-web",
        "ftp://pacs.example/dicom-web",
        "file:///etc/passwd",
        "https:///dicom-web",
        "https://[::1/dicom-web",
        "",
    ],
)
def test_urls_off_the_allow_list(url):
    with pytest.raises(UrlNotAllowed):
        require_allowed_url(url, ("https://pacs.example/dicom-web",))
