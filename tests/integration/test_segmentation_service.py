"""SegmentationService over gRPC: a network from elsewhere, the queue's limit, one service in several processes."""

import asyncio
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
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.errors import Busy, DeadlineExceeded, ModelNotFound, SeriesNotFound
from oncoresponse.model.folder import seal_model_folder
from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.rpc.interceptors import RulesAndErrors
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.rpc.status import DETAILS_KEY
from oncoresponse.servers import segmentation_servicer
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.v1 import segmentation_pb2, segmentation_pb2_grpc

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
            "channels": [{"modality": "PT", "outside": 0}, {"modality": "CT", "outside": -1000}],
        },
        "output": {"activation": "sigmoid", "tumor_channels": [0]},
    }
    (folder / "segmentation" / "external_network.json").write_text(json.dumps(declaration))
    seal_model_folder(folder)
    return folder.parent


def segment_request(artifacts: ArtifactStore) -> segmentation_pb2.SegmentRequest:
    """A hot cube of 24 mm in a PET of 3 mm voxels, and a CT on the same grid."""
    pet = np.full((20, 20, 20), 0.5, np.float32)
    pet[6:14, 6:14, 6:14] = 8
    message = segmentation_pb2.SegmentRequest(model=MODEL)
    for array, quantity, target in (
        (pet, Quantity.SUV_BODY_WEIGHT, message.pet),
        (np.zeros_like(pet), Quantity.HOUNSFIELD, message.ct),
    ):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((3.0, 3.0, 3.0))
        target.CopyFrom(artifact_message(artifacts.put_volume(Volume(image, quantity, "1.2.3", "1.2.3.4"))))
    return message


@asynccontextmanager
async def running(servicer):
    server = grpc.aio.server(interceptors=(RulesAndErrors(),))
    segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield segmentation_pb2_grpc.SegmentationServiceStub(channel), f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_network_from_elsewhere(models, tmp_path, refusal):
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    servicer = segmentation_servicer.SegmentationServicer(artifacts, models, "cpu")
    await servicer.make_ready()
    request = segment_request(artifacts)
    async with running(servicer) as (stub, _):
        answer = await stub.Segment(request)
        request.ClearField("ct")
        assert isinstance(await refusal(stub.Segment(request)), SeriesNotFound)
    assert answer.volume_ml == pytest.approx(8**3 * 0.027)
    mask = artifacts.read_volume(stored_artifact(answer.mask))
    assert sitk.GetArrayFromImage(mask.image)[6:14, 6:14, 6:14].all()
    summary = artifacts.read_document(stored_artifact(answer.summary), SegmentationSummary)
    assert "Uptake" in summary.review_reasons[0]
    assert answer.needs_review
    assert tuple(answer.review_reasons) == summary.review_reasons


@pytest.fixture
def held_up(monkeypatch):
    """Segmentation that does not end before it is let; as many studies as the test wants are at work and waiting."""
    begun, go_on = threading.Semaphore(0), threading.Event()
    original = segmentation_servicer.open_segmenter

    def slow(folder, device, *, torch_compile):
        segmenter = original(folder, device, torch_compile=torch_compile)
        quick = segmenter.segment

        def segment(*volumes):
            begun.release()
            go_on.wait(60)
            return quick(*volumes)

        segmenter.segment = segment
        return segmenter

    monkeypatch.setattr(segmentation_servicer, "open_segmenter", slow)
    yield SimpleNamespace(begun=begun, go_on=go_on)
    go_on.set()


async def test_full_queue_is_busy_and_says_when_to_come_back(models, tmp_path, held_up):
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    servicer = segmentation_servicer.SegmentationServicer(artifacts, models, "cpu", queue_limit=1)
    await servicer.make_ready()
    request = segment_request(artifacts)
    async with running(servicer) as (stub, _):
        first = asyncio.ensure_future(stub.Segment(request))
        await asyncio.to_thread(held_up.begun.acquire)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Segment(request)
        held_up.go_on.set()
        assert (await first).volume_ml > 0
        assert (await stub.Segment(request)).volume_ml > 0
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
    servicer = segmentation_servicer.SegmentationServicer(artifacts, models, "cpu", queue_limit=1)
    await servicer.make_ready()
    request = segment_request(artifacts)
    async with running(servicer) as (_, address):
        peers = Peers(ServerSettings(addresses={Service.SEGMENTATION: address}), "")
        first = asyncio.ensure_future(ask(peers, request))
        await asyncio.to_thread(held_up.begun.acquire)
        with pytest.raises(Busy):
            await ask(peers, request, timeout_seconds=0.3)
        second = asyncio.ensure_future(ask(peers, request))
        held_up.go_on.set()
        assert (await first).volume_ml == (await second).volume_ml > 0
        await peers.close()


def ask(peers: Peers, request: segmentation_pb2.SegmentRequest, timeout_seconds: float = 60.0):
    return peers.call(
        Service.SEGMENTATION, "Segment", request, segmentation_pb2.SegmentResponse, timeout_seconds=timeout_seconds
    )


async def test_one_role_in_two_processes(serve, models, tmp_path):
    """Calls are spread over both; when one is killed the other does the work; other errors are final."""
    common = ("--services", "segmentation", "--listen", "127.0.0.1:0", "--models-dir", str(models), "--device", "cpu")
    settings_file = tmp_path / "settings.yaml"  # one store of artifacts, as processes of one installation have
    store = (tmp_path / "artifacts").as_uri()
    settings_file.write_text(f"artifact_url: {store}\n")
    workers = [
        serve(*common, "--data-dir", str(tmp_path / name), settings=settings_file) for name in ("first", "second")
    ]
    addresses = [worker.wait_until_ready() for worker in workers]
    artifacts = ArtifactStore(store)
    request = segment_request(artifacts)
    settings = ServerSettings(addresses={Service.SEGMENTATION: ",".join(addresses)})
    peers = Peers(settings, "127.0.0.1:1")

    def done(worker):
        return worker.log.read_text().count("Segment OK")

    answers = await asyncio.gather(*(ask(peers, request) for _ in range(4)))
    assert {answer.mask.sha256 for answer in answers} == {answers[0].mask.sha256}
    assert [done(worker) for worker in workers] == [2, 2]
    for _ in range(2):  # one after the other: in turn
        await ask(peers, request)
    assert [done(worker) for worker in workers] == [3, 3]

    await asyncio.to_thread(workers[0].stop, signal.SIGKILL)
    for _ in range(3):
        await ask(peers, request)
    assert done(workers[1]) == 6
    with pytest.raises(ModelNotFound):
        await ask(peers, segmentation_pb2.SegmentRequest(model="models/other", pet=request.pet))

    await asyncio.to_thread(workers[1].stop)
    with pytest.raises(DeadlineExceeded, match=r"the connection is refused.*addresses\.segmentation"):
        await ask(peers, request, timeout_seconds=0.5)
    await peers.close()
