"""Whether a server that works for long grows: ``make soak``.

Starts a server as an administrator does and has it do assessments in the ways in which they happen: to the end with
files fetched, cancelled, failed, with several watchers, asked for again; with lists in between, and studies deleted.
Prints every 25 assessments the resident memory, threads and file descriptors of the server and of its child processes.
Ends with status 1 if one of them grew by 5 % or more after the first 50 assessments (medians of three readings
there and at the end, so that one reading at the height of an assessment decides nothing).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from oncoresponse.errors import OncoResponseError
from oncoresponse.rpc.client import Client, Order
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, study_pb2, study_pb2_grpc

ROOT = Path(__file__).resolve().parents[1]
ASSESSMENTS = int(os.environ.get("ASSESSMENTS", "300"))
FIRST = int(os.environ.get("FIRST", "50"))
EVERY = int(os.environ.get("EVERY", "25"))
LARGEST_GROWTH = 0.05
MEBIBYTE = 1024**2


@dataclass(frozen=True)
class Reading:
    """What the processes of a server hold; ``rss_mib`` in MiB (2^20 bytes)."""

    assessments: int
    rss_mib: float
    child_rss_mib: float
    threads: int
    descriptors: int
    children: int

    @classmethod
    def of(cls, server: psutil.Process, assessments: int) -> Reading:
        """Take one now."""
        children = server.children(recursive=True)
        everyone = [server, *children]
        return cls(
            assessments,
            server.memory_info().rss / MEBIBYTE,
            sum(child.memory_info().rss for child in children) / MEBIBYTE,
            sum(each.num_threads() for each in everyone),
            sum(each.num_fds() for each in everyone),
            len(children),
        )

    def line(self) -> str:
        """For a table."""
        return (
            f"{self.assessments:5d}  {self.rss_mib:8.1f}  {self.child_rss_mib:8.1f}  {self.threads:7d}  "
            f"{self.descriptors:11d}  {self.children:8d}"
        )


def _ignore(_text: str, _fraction: float) -> None:
    return None


class Rounds:
    """The ways in which an assessment may go, in turn."""

    def __init__(self, address: str, folder: Path) -> None:
        self._address, self._folder = address, folder
        self._order = Order(model="sts-petct")
        self.ends: dict[str, int] = {}

    def one(self, number: int) -> None:
        """One assessment."""
        kinds = (self._whole, self._watched, self._cancelled, self._failed, self._repeated)
        # A connection of its own, as each command and each EHR has.
        client = Client(self._address)
        try:
            end = kinds[number % len(kinds)](client)
        finally:
            client.close()
        self.ends[end] = self.ends.get(end, 0) + 1

    def _study(self, client: Client) -> study_pb2.Study:
        return client.upload_study(ROOT / "examples" / "STS_032", _ignore)

    def _whole(self, client: Client) -> str:
        study = self._study(client)
        assessment = client.assess(study, self._order, _ignore)
        client.download_artifacts(assessment, self._folder / "artifacts")
        with grpc.insecure_channel(self._address) as channel:
            study_pb2_grpc.StudyServiceStub(channel).DeleteStudy(study_pb2.DeleteStudyRequest(name=study.name))
        return "succeeded, fetched, study deleted"

    def _watched(self, client: Client) -> str:
        created = client.create_assessment(self._study(client), self._order, str(uuid.uuid4()))
        with grpc.insecure_channel(self._address) as channel:
            stub = assessment_pb2_grpc.AssessmentServiceStub(channel)
            request = assessment_pb2.WatchAssessmentRequest(name=created.name)
            left = stub.WatchAssessment(request)
            next(left)
            watchers = [threading.Thread(target=lambda: list(stub.WatchAssessment(request))) for _ in range(5)]
            for watcher in watchers:
                watcher.start()
            left.cancel()
            for _ in range(5):
                stub.ListAssessments(assessment_pb2.ListAssessmentsRequest(page_size=50))
                study_pb2_grpc.StudyServiceStub(channel).ListStudies(study_pb2.ListStudiesRequest(page_size=50))
            for watcher in watchers:
                watcher.join()
        return "succeeded, five watchers, one that left"

    def _cancelled(self, client: Client) -> str:
        created = client.create_assessment(self._study(client), self._order, str(uuid.uuid4()))
        client.cancel(created.name)
        client.watch(created.name, _ignore)
        return "cancelled"

    def _failed(self, client: Client) -> str:
        # The MR study has none of the series that the model needs.
        study = client.upload_study(ROOT / "examples" / "STS_032_MR", _ignore)
        try:
            client.assess(study, self._order, _ignore)
        except OncoResponseError as error:
            return f"refused or failed, {error.reason}"
        return "succeeded although it should not"

    def _repeated(self, client: Client) -> str:
        study, request_id = self._study(client), str(uuid.uuid4())
        names = {client.create_assessment(study, self._order, request_id).name for _ in range(3)}
        client.watch(names.pop(), _ignore)
        return "succeeded, asked for three times" if not names else "more than one of one request"


def growth(readings: list[Reading], field: str) -> float:
    """Share by which the median of the last three readings is above that of the three from the 50th assessment on."""
    later = [float(getattr(reading, field)) for reading in readings if reading.assessments >= FIRST]
    before, after = statistics.median(later[:3]), statistics.median(later[-3:])
    return after / before - 1 if before else 0.0


def main() -> int:
    """Print the table; 1 if something grew."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        command = [
            sys.executable,
            "-m",
            "oncoresponse.cli.main",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--allow-anonymous",
        ]
        command += ["--data-dir", str(data), "--models-dir", str(ROOT / "models")]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line.startswith("ready "):
                raise SystemExit((Path(folder) / "log").read_text())
            address = line.removeprefix("ready ").strip()
            server, rounds, readings = psutil.Process(process.pid), Rounds(address, Path(folder)), []
            print("after   RSS MiB  children  threads  descriptors  children", flush=True)
            begun = time.monotonic()
            for number in range(1, ASSESSMENTS + 1):
                rounds.one(number)
                if number % EVERY == 0:
                    readings.append(Reading.of(server, number))
                    print(readings[-1].line(), flush=True)
            seconds = time.monotonic() - begun
        finally:
            process.terminate()
            process.wait()
    for end, count in sorted(rounds.ends.items()):
        print(f"{count:5d} {end}")
    print(f"{ASSESSMENTS} assessments in {seconds:.0f} s")
    grown = {field: growth(readings, field) for field in ("rss_mib", "child_rss_mib", "threads", "descriptors")}
    for field, share in grown.items():
        print(f"{field}: {share:+.1%} after the first {FIRST}")
    return int(max(grown.values()) >= LARGEST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
