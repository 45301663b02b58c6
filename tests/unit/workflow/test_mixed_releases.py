"""Services of different releases in one installation: real gRPC, real documents, the real workflow engine."""

from __future__ import annotations

import asyncio
import json
import uuid

import grpc
from google.rpc import error_details_pb2
from oncoresponse.case.case import Case, Lesion
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.stages.v1 import stage_pb2, stage_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import assessment_pb2
from oncoresponse.workflow.assessment_records import is_finished


class LesionOfAnotherRelease(Lesion):
    """Knows more of a lesion than this release."""

    density_hu: float = 0.0


class SegmentationOfAnotherRelease(stage_pb2_grpc.StageServiceServicer):
    """The stage process that was upgraded first: its cases have another version, and fields that nobody here knows."""

    def __init__(self, artifacts: ArtifactStore, version: str) -> None:
        class CaseOfAnotherRelease(Case):
            VERSION = version
            lesions: tuple[LesionOfAnotherRelease, ...] = ()
            earlier_treatments: tuple[str, ...] = ()

        self._artifacts = artifacts
        self._written = CaseOfAnotherRelease
        self.wrote: list[dict] = []

    async def RunStage(self, request, context):  # noqa: N802
        case = self._artifacts.read_document(stored_artifact(request.case), Case)
        known = {**case.model_dump(), "document_version": ""}
        found = self._written.model_validate(
            {
                **known,
                "lesions": [{"number": 1, "volume_ml": 12.5, "density_hu": 41.0}],
                "earlier_treatments": ["doxorubicin"],
            }
        )
        stored = self._artifacts.put_document(found)
        self.wrote.append(json.loads(self._artifacts.read_bytes(stored)))
        return stage_pb2.RunStageResponse(case=artifact_message(stored))


class StageOfThisRelease:
    """Takes a case and hands it on."""

    async def run(self, case, model, model_sha256):
        return case.with_changes(result_summary=f"{len(case.lesions)} measured")

    def software(self):
        return StageSoftware()


async def finished(records, name):
    while not is_finished(found := await records.get(name)):
        await asyncio.sleep(0.02)
    return found


async def assessed(launched, folder, version):
    """The assessment after its last stage, and what the process of the other release wrote."""
    folder.mkdir()
    artifacts = ArtifactStore((folder / "artifacts").as_uri())
    other = SegmentationOfAnotherRelease(artifacts, version)
    server = grpc.aio.server(interceptors=(RulesAndErrors(None),))
    stage_pb2_grpc.add_StageServiceServicer_to_server(other, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    stages = {"conversion": StageOfThisRelease(), "features": StageOfThisRelease()}
    async with launched(folder, stages=stages, addresses={"segmentation": address}) as records:
        request = assessment_pb2.CreateAssessmentRequest(
            request_id=str(uuid.uuid4()), study="studies/s-1", model="models/m-1"
        )
        manifest = artifacts.put_bytes(b"{}", "application/json")
        plan = ("conversion", "segmentation", "features")
        created = await records.create(request, manifest, "0" * 64, plan)
        found = await finished(records, created.name)
    await server.stop(None)
    (wrote,) = other.wrote
    return found, wrote


async def test_a_service_of_a_newer_minor_version_works_with_those_of_this_release(launched, tmp_path):
    found, wrote = await assessed(launched, tmp_path / "data", "1.7")
    assert (wrote["document_version"], wrote["earlier_treatments"]) == ("1.7", ["doxorubicin"])
    assert wrote["lesions"][0]["density_hu"] == 41.0
    assert found.state == assessment_pb2.ASSESSMENT_STATE_SUCCEEDED, found.message
    assert found.result.summary == "1 measured"
    assert [lesion.volume_ml for lesion in found.result.lesions] == [12.5]


async def test_a_service_of_another_major_version_is_refused_by_name(launched, tmp_path):
    found, wrote = await assessed(launched, tmp_path / "data", "2.0")
    assert wrote["document_version"] == "2.0"
    assert found.state == assessment_pb2.ASSESSMENT_STATE_FAILED
    assert found.stage == assessment_pb2.ASSESSMENT_STAGE_FEATURES
    info = error_details_pb2.ErrorInfo()
    assert found.error.details[0].Unpack(info)
    assert info.reason == "DOCUMENT_VERSION_UNSUPPORTED"
    assert info.metadata == {"document": "Case", "version": "2.0"}
    assert "reads 1.x" in found.message
