"""What watchers cost: CPU of the assessment process and the time of a listing, with 0, 10, 200 and 1,000 of them.

    make bench-watchers

Two real processes: the assessment service, and one with all other services, which is stopped once twelve assessments
are there, so that they wait and nothing else is at work. Watchers call over gRPC from this process.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import grpc
import psutil
import yaml
from database_pause import ROOT, Worker
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc
from pausable_postgresql import stop_process

_OTHERS = ("study", "model", "segmentation", "radiomics", "response", "reporting", "monitoring")
_ASSESSMENTS = 12
_LISTINGS = 20
_MEASURED_SECONDS = 5.0
_WATCHERS_PER_CONNECTION = 90


async def _watch(stub: assessment_pb2_grpc.AssessmentServiceStub, name: str, began: asyncio.Event) -> None:
    async for _ in stub.WatchAssessment(assessment_pb2.WatchAssessmentRequest(name=name)):
        began.set()


async def measure(worker: Worker, names: list[str], watchers: int) -> tuple[float, float]:
    """CPU seconds a second, and the median of the time of ListAssessments in milliseconds."""
    channels = [
        grpc.aio.insecure_channel(worker.address, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(watchers // _WATCHERS_PER_CONNECTION + 1)
    ]
    stubs = [assessment_pb2_grpc.AssessmentServiceStub(channel) for channel in channels]
    began = [asyncio.Event() for _ in range(watchers)]
    tasks = [
        asyncio.create_task(_watch(stubs[number % len(stubs)], names[number % len(names)], event))
        for number, event in enumerate(began)
    ]
    await asyncio.gather(*(event.wait() for event in began))
    process = psutil.Process(worker.process.pid)
    before, start = process.cpu_times(), time.monotonic()
    await asyncio.sleep(_MEASURED_SECONDS)
    after, seconds = process.cpu_times(), time.monotonic() - start
    cpu = (after.user + after.system - before.user - before.system) / seconds
    listings = []
    for _ in range(_LISTINGS):
        start = time.monotonic()
        await stubs[-1].ListAssessments(assessment_pb2.ListAssessmentsRequest(page_size=50))
        listings.append(time.monotonic() - start)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for channel in channels:
        await channel.close()
    return cpu, statistics.median(listings) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", type=int, nargs="+", default=[0, 10, 200, 1000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="watchers") as name:
        folder = Path(name)
        others = Worker(folder, ",".join(_OTHERS))
        others.wait_until_ready()
        settings = folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"addresses": dict.fromkeys(_OTHERS, others.inner_address)}))
        worker = Worker(folder, "assessment", settings=settings)
        try:
            worker.wait_until_ready()
            client = Client(worker.address, study_address=others.address, model_address=others.address)
            study = client.upload_study(ROOT / "examples" / "STS_032", lambda *_: None)
            order = Order("sts-petct")
            names = [client.create_assessment(study, order, str(uuid.uuid4())).name for _ in range(_ASSESSMENTS)]
            client.close()
            others.freeze()
            for watchers in arguments.watchers:
                cpu, listing = asyncio.run(measure(worker, names, watchers))
                print(
                    f"{watchers:5} watchers: CPU {cpu * 100:5.1f} % of a core, ListAssessments {listing:7.1f} ms",
                    flush=True,
                )
        finally:
            others.thaw()
            for each in (worker, others):
                stop_process(each.process)
    return 0


if __name__ == "__main__":
    sys.exit(main())
