"""Segmentation behind its service: a network from elsewhere, the queue's limit, one service in several processes."""

import asyncio
import datetime
import hashlib
import json
import shutil
import signal
import threading
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from google.rpc import error_details_pb2, status_pb2
from oncoresponse.case.case import Case, CaseImage, Lesion, Order
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.errors import Busy, DeadlineExceeded, ModelNotFound
from oncoresponse.model.folder import seal_model_folder
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.rpc.status import DETAILS_KEY
from oncoresponse.servers import segmentation_stage
from oncoresponse.servers.segmentation_stage import SegmentationStage
from oncoresponse.servers.stage_servicer import StageServicer
from oncoresponse.stages.v1 import stage_pb2, stage_pb2_grpc
from oncoresponse.storage.artifact_store import ArtifactStore

ROOT = Path(__file__).parents[2]
MODEL = "models/sts-petct"


class Uptake(torch.nn.Module):
    """Tumor where SUV exceeds 3 g/mL; reads the CT as well, so that one is needed."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 8.0 * (inputs[:, :1] - 3.0) + 0.0 * inputs[:, 1:2]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A models folder as an administrator makes one for a TorchScript network."""
    folder = tmp_path_factory.mktemp("models") / "sts-petct"
    (folder / "segmentation").mkdir(parents=True)
    shutil.copy(ROOT / "models" / "sts-petct" / "model.yaml", folder)
    network = folder / "segmentation" / "network.pt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.* is deprecated", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(Uptake()), network)
    declaration = {
        "kind": "torchscript",
        "name": "Uptake",
        "source": "Made in a test",
        "files": {"network.pt": hashlib.sha256(network.read_bytes()).hexdigest()},
        "preprocessing": {
            "reference": "PT",
            "orientation": "LPS",
            "axis_order": "zyx",
            "channels": [{"input_role": "PT", "outside": 0}, {"input_role": "CT", "outside": -1000}],
        },
        "output": {"activation": "sigmoid", "tumor_channels": [0]},
    }
    (folder / "segmentation" / "external_network.json").write_text(json.dumps(declaration))
    seal_model_folder(folder)
    return folder.parent


def stage_request(artifacts: ArtifactStore, model: str = MODEL) -> stage_pb2.RunStageRequest:
    """A hot cube of 24 mm in a PET of 3 mm voxels, and a CT on the same grid."""
    pet = np.full((20, 20, 20), 0.5, np.float32)
    pet[6:14, 6:14, 6:14] = 8
    images = []
    for role, array, quantity in (
        ("PT", pet, Quantity.SUV_BODY_WEIGHT),
        ("CT", np.zeros_like(pet), Quantity.HOUNSFIELD),
    ):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((3.0, 3.0, 3.0))
        stored = artifacts.put_volume(Volume(image, quantity, "1.2.3", "1.2.3.4"))
        images.append(CaseImage(input_role=role, modality=role, series_instance_uid="1.2.3.4", volume=stored))
    case = Case(
        order=Order(report_id="one", issued=datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)),
        study_manifest=images[0].volume,
        images=tuple(images),
        lesions=(Lesion(number=1),),
    )
    stored_case = artifact_message(artifacts.put_document(case))
    return stage_pb2.RunStageRequest(stage="segmentation", model=model, case=stored_case)


def volume_of(artifacts: ArtifactStore, answer: stage_pb2.RunStageResponse) -> float:
    (lesion,) = artifacts.read_document(stored_artifact(answer.case), Case).lesions
    return lesion.volume_ml


@asynccontextmanager
async def running(artifacts: ArtifactStore, stage: SegmentationStage):
    await stage.make_ready()
    server = grpc.aio.server(interceptors=(RulesAndErrors(None),))
    servicer = StageServicer(artifacts, {"segmentation": stage}, {"segmentation"})
    stage_pb2_grpc.add_StageServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield stage_pb2_grpc.StageServiceStub(channel), f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.fixture
def held_up(monkeypatch):
    """Segmentation that does not end before it is let; as many studies as the test wants are at work and waiting."""
    begun, go_on = threading.Semaphore(0), threading.Event()
    original = segmentation_stage.open_segmenter

    def slow(folder, device, *, torch_compile):
        segmenter = original(folder, device, torch_compile=torch_compile)
        quick = segmenter.segment

        def segment(*asked):
            begun.release()
            go_on.wait(60)
            return quick(*asked)

        segmenter.segment = segment
        return segmenter

    monkeypatch.setattr(segmentation_stage, "open_segmenter", slow)
    yield SimpleNamespace(begun=begun, go_on=go_on)
    go_on.set()


async def test_full_queue_is_busy_and_says_when_to_come_back(models, tmp_path, held_up):
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    stage = SegmentationStage(artifacts, models, "cpu", queue_limit=1)
    request = stage_request(artifacts)
    async with running(artifacts, stage) as (stub, _):
        first = asyncio.ensure_future(stub.RunStage(request))
        await asyncio.to_thread(held_up.begun.acquire)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.RunStage(request)
        held_up.go_on.set()
        for answer in (await first, await stub.RunStage(request)):
            assert volume_of(artifacts, answer) == pytest.approx(8**3 * 0.027)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())[DETAILS_KEY]).details
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in details)
    assert any(detail.Unpack(retry) for detail in details)
    assert info.reason == Busy.reason
    assert info.metadata["queue_limit"] == "1"
    assert retry.retry_delay.ToTimedelta().total_seconds() > 0


async def test_worker_waits_for_a_busy_peer(models, tmp_path, held_up, monkeypatch):
    """An assessment does not fail because a queue was full for a moment; it does when the deadline has passed."""
    monkeypatch.setattr(Busy, "retry_after_seconds", 0.05)
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    stage = SegmentationStage(artifacts, models, "cpu", queue_limit=1)
    request = stage_request(artifacts)
    async with running(artifacts, stage) as (_, address):
        peers = Peers(ServerSettings(addresses={Service.SEGMENTATION: address}), "")
        first = asyncio.ensure_future(ask(peers, request))
        await asyncio.to_thread(held_up.begun.acquire)
        with pytest.raises(Busy):
            await ask(peers, request, timeout_seconds=0.3)
        second = asyncio.ensure_future(ask(peers, request))
        held_up.go_on.set()
        assert await first == await second
        await peers.close()


def ask(peers: Peers, request: stage_pb2.RunStageRequest, timeout_seconds: float = 60.0):
    return peers.call(
        Service.SEGMENTATION,
        stage_pb2_grpc.StageServiceStub,
        "RunStage",
        request,
        stage_pb2.RunStageResponse,
        timeout_seconds=timeout_seconds,
    )


async def test_one_service_in_two_processes(serve, models, tmp_path):
    """Calls are spread over both; when one is killed the other does the work; other errors are final."""
    common = ("--services", "segmentation", "--listen", "127.0.0.1:0", "--models-dir", str(models), "--device", "cpu")
    settings_file = tmp_path / "settings.yaml"  # one store of artifacts, as processes of one installation have
    store = (tmp_path / "artifacts").as_uri()
    token = tmp_path / "stage-token"  # and one secret
    token.touch(0o600)
    token.write_text("0123456789abcdef" * 4)
    settings_file.write_text(f"artifact_url: {store}\nstage_token_file: {token}\n")
    workers = [
        serve(*common, "--data-dir", str(tmp_path / name), settings=settings_file) for name in ("first", "second")
    ]
    addresses = [worker.wait_until_ready() for worker in workers]
    artifacts = ArtifactStore(store)
    request = stage_request(artifacts)
    settings = ServerSettings(addresses={Service.SEGMENTATION: ",".join(addresses)})
    peers = Peers(settings, "127.0.0.1:1", token.read_text())

    def done(worker):
        return worker.log.read_text().count("RunStage segmentation OK")

    answers = await asyncio.gather(*(ask(peers, request) for _ in range(4)))
    assert {answer.case.sha256 for answer in answers} == {answers[0].case.sha256}
    assert [done(worker) for worker in workers] == [2, 2]
    for _ in range(2):  # one after the other: in turn
        await ask(peers, request)
    assert [done(worker) for worker in workers] == [3, 3]

    await asyncio.to_thread(workers[0].stop, signal.SIGKILL)
    for _ in range(3):
        await ask(peers, request)
    assert done(workers[1]) == 6
    with pytest.raises(ModelNotFound):
        await ask(peers, stage_request(artifacts, "models/other"))

    await asyncio.to_thread(workers[1].stop)
    with pytest.raises(DeadlineExceeded, match=r"the connection is refused.*addresses\.segmentation"):
        await ask(peers, request, timeout_seconds=0.5)
    await peers.close()
