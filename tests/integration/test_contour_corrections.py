"""A physician corrects a contour through the front door: real networks, a real study, and what is kept of it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import grpc
import numpy as np
import pytest
import SimpleITK as sitk
from google.rpc import error_details_pb2, status_pb2
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, contour_pb2, lesion_pb2

from tests.conftest import ServerProcess

MODEL = "models/sts-petct"


@pytest.fixture(scope="module")
def server(serve_for_module, tmp_path_factory) -> ServerProcess:
    process = serve_for_module("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path_factory.mktemp("corrections")))
    process.wait_until_ready()
    return process


@pytest.fixture(scope="module")
def client(server):
    opened = Client(server.address)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.address) as channel:
        yield assessment_pb2_grpc.AssessmentServiceStub(channel)


@pytest.fixture(scope="module")
def study(client, examples):
    return client.upload_study(examples / "STS_019", lambda *_: None)


@pytest.fixture(scope="module")
def assessment(client, study):
    return client.assess(study, Order("sts-petct"), lambda *_: None)


def read(folder: Path, data: bytes) -> sitk.Image:
    file = folder / f"{uuid.uuid4()}.nrrd"
    file.write_bytes(data)
    return sitk.ReadImage(str(file))


def at(image: sitk.Image, index: tuple[int, int, int]) -> lesion_pb2.PatientPosition:
    """LPS position of a voxel (k, j, i)."""
    x, y, z = image.TransformIndexToPhysicalPoint([int(each) for each in index[::-1]])
    return lesion_pb2.PatientPosition(x_mm=x, y_mm=y, z_mm=z)


def reason(error: grpc.RpcError) -> str:
    details = dict(error.value.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason


@pytest.fixture(scope="module")
def mask(client, assessment, tmp_path_factory) -> sitk.Image:
    return read(tmp_path_factory.mktemp("mask"), client.artifact(assessment.name, "mask.nrrd"))


def refined(stub, assessment, hand: contour_pb2.ContourHand, **more: object) -> contour_pb2.ContourCorrection:
    request = contour_pb2.RefineContourRequest(assessment=assessment.name, lesion=1, hand=hand, **more)
    return stub.RefineContour(request, timeout=120).correction


def test_a_click_outside_takes_a_place_out_and_the_next_goes_on_from_there(stub, client, assessment, mask, tmp_path):
    before = sitk.GetArrayFromImage(mask)
    edge = tuple(np.argwhere(before)[0])
    first = refined(stub, assessment, contour_pb2.ContourHand(outside=[at(mask, edge)]))
    file_name = f"correction-{first.name.rsplit('/', 1)[1]}.nrrd"
    after = read(tmp_path, client.artifact(assessment.name, file_name))
    assert after.GetOrigin() == mask.GetOrigin() and after.GetDirection() == mask.GetDirection()
    corrected = sitk.GetArrayFromImage(after)
    assert before[edge] == 1 and corrected[edge] == 0
    voxel_ml = float(np.prod(mask.GetSpacing())) / 1000
    assert first.volume_ml == pytest.approx(corrected.sum() * voxel_ml)
    assert first.volume_before_ml == pytest.approx(before.sum() * voxel_ml)

    outside = tuple(np.argwhere(corrected == 0)[len(corrected.ravel()) // 3])
    second = refined(stub, assessment, contour_pb2.ContourHand(inside=[at(mask, outside)]), parent=first.name)
    assert (second.parent, second.volume_before_ml) == (first.name, pytest.approx(first.volume_ml))
    listed = stub.ListContourCorrections(
        contour_pb2.ListContourCorrectionsRequest(assessment=assessment.name), timeout=30
    ).corrections
    assert [each.name for each in listed][:2] == [first.name, second.name]
    assert listed[0].hand.outside[0] == at(mask, edge)
    assert listed[0].corrected_by and listed[0].create_time.seconds > 1e9


def test_an_outlined_slice_stays_as_it_was_outlined(stub, client, assessment, mask, tmp_path):
    before = sitk.GetArrayFromImage(mask)
    k = int(np.argwhere(before)[:, 0].mean())
    j, i = (round(axis.mean()) for axis in np.nonzero(before[k]))
    corners = [(i - 3.5, j - 2.5), (i + 3.5, j - 2.5), (i + 3.5, j + 2.5), (i - 3.5, j + 2.5)]
    points = [mask.TransformContinuousIndexToPhysicalPoint([x, y, k]) for x, y in corners]
    polygon = contour_pb2.SlicePolygon(
        points=[lesion_pb2.PatientPosition(x_mm=x, y_mm=y, z_mm=z) for x, y, z in points]
    )
    outline = contour_pb2.SliceOutline(on_slice=at(mask, (k, j, i)), polygons=[polygon])
    found = refined(stub, assessment, contour_pb2.ContourHand(outlines=[outline]))
    name = f"correction-{found.name.rsplit('/', 1)[1]}.nrrd"
    drawn = sitk.GetArrayFromImage(read(tmp_path, client.artifact(assessment.name, name)))[k]
    expected = np.zeros_like(drawn)
    expected[j - 2 : j + 3, i - 3 : i + 4] = 1
    np.testing.assert_array_equal(drawn, expected)


def test_a_corrected_contour_is_measured_by_a_new_assessment_that_says_so(stub, client, study, assessment, mask):
    edge = tuple(np.argwhere(sitk.GetArrayFromImage(mask))[0])
    correction = refined(stub, assessment, contour_pb2.ContourHand(outside=[at(mask, edge)]))
    request = assessment_pb2.CreateAssessmentRequest(
        request_id=str(uuid.uuid4()),
        study=study.name,
        model=MODEL,
        lesions=[assessment_pb2.LesionSelection(correction=correction.name)],
        replaces=assessment.name,
    )
    made = stub.CreateAssessment(request, timeout=60).assessment
    done = client.watch(made.name, lambda *_: None)
    assert done.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED, done
    assert done.result.lesions[0].volume_ml == pytest.approx(correction.volume_ml)
    summary = json.loads(client.artifact(done.name, "segmentation.json"))
    assert (summary["method"], summary["supplied_algorithm_type"]) == ("corrected", "SEMIAUTOMATIC")
    report = client.artifact(done.name, "report.json").decode()
    assert "as a person corrected it" in report
    # The first assessment and its report stay as they are.
    assert client.artifact(assessment.name, "mask.nrrd")


def test_what_cannot_be_corrected_is_refused(stub, client, study, assessment, mask, examples):
    far = lesion_pb2.PatientPosition(x_mm=9000, y_mm=0, z_mm=0)
    with pytest.raises(grpc.RpcError) as error:
        refined(stub, assessment, contour_pb2.ContourHand(inside=[far]))
    assert reason(error) == "INVALID_REQUEST"
    with pytest.raises(grpc.RpcError) as error:
        refined(stub, assessment, contour_pb2.ContourHand())
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    request = contour_pb2.RefineContourRequest(
        assessment=assessment.name, lesion=7, hand=contour_pb2.ContourHand(inside=[at(mask, (0, 0, 0))])
    )
    with pytest.raises(grpc.RpcError) as error:
        stub.RefineContour(request, timeout=60)
    assert reason(error) == "ARTIFACT_NOT_FOUND"
    with pytest.raises(grpc.RpcError) as error:
        list(
            stub.GetArtifact(
                assessment_pb2.GetArtifactRequest(
                    assessment=assessment.name, file_name=f"correction-{uuid.uuid4()}.nrrd"
                ),
                timeout=60,
            )
        )
    assert reason(error) == "ARTIFACT_NOT_FOUND"
    other = client.upload_study(examples / "STS_032", lambda *_: None)
    named = refined(
        stub,
        assessment,
        contour_pb2.ContourHand(inside=[at(mask, tuple(np.argwhere(sitk.GetArrayFromImage(mask))[0]))]),
    )
    with pytest.raises(grpc.RpcError) as error:
        stub.CreateAssessment(
            assessment_pb2.CreateAssessmentRequest(
                request_id=str(uuid.uuid4()),
                study=other.name,
                model=MODEL,
                lesions=[assessment_pb2.LesionSelection(correction=named.name)],
            ),
            timeout=60,
        )
    assert reason(error) == "INVALID_REQUEST"
