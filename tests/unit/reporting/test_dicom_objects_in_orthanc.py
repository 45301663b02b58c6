"""A real Orthanc takes every object by C-STORE and by STOW-RS, and gives it back as it was."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
import requests
from dicomweb_client.web import DICOMwebClient
from oncoresponse.case.sign_off import Agreement, ReportStatus, SignOff, WithdrawalReason
from oncoresponse.case.volume import Volume
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.dicom_objects.report_objects import report_objects, reported_surfaces
from oncoresponse.reporting.dicom_objects.signed_objects import (
    rejection_note,
    replacement_note,
    signed_page_object,
    verified_report,
)
from oncoresponse.reporting.report_content import ReportContext
from pydicom.dataset import Dataset

pytestmark = pytest.mark.slow

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass(frozen=True)
class Orthanc:
    """A running, empty server."""

    origin: str
    dicom_port: int

    def files(self) -> dict[str, bytes]:
        """Everything it holds, by SOP Instance UID."""
        held = {}
        for name in requests.get(f"{self.origin}/instances", timeout=30).json():
            data = requests.get(f"{self.origin}/instances/{name}/file", timeout=30).content
            held[str(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).SOPInstanceUID)] = data
        return held

    def clear(self) -> None:
        """Delete every study."""
        for name in requests.get(f"{self.origin}/studies", timeout=30).json():
            requests.delete(f"{self.origin}/studies/{name}", timeout=30).raise_for_status()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, require_installed: Callable[..., None]) -> Iterator[Orthanc]:
    require_installed("orthanc", "Orthanc")
    require_installed("orthanc-dicomweb", str(PLUGIN))
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom = _free_port(), _free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpBindAddresses": ["127.0.0.1"],
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAlwaysAllowStore": True,
        "AuthenticationEnabled": False,
        "OverwriteInstances": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    process = subprocess.Popen(["Orthanc", str(path)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    words = []
    try:
        for line in process.stderr:
            words.append(line)
            if "Orthanc has started" in line:
                break
        else:
            pytest.fail("Orthanc did not start: " + "".join(words)[-2000:])
        reader = threading.Thread(target=process.stderr.read)  # its log would fill the pipe
        reader.start()
        yield Orthanc(f"http://127.0.0.1:{http}", dicom)
    finally:
        process.terminate()
        process.wait(30)
        reader.join()
        process.stderr.close()


@pytest.fixture(scope="module")
def objects(
    make_two_lesions: Callable[..., ReportContext],
    two_lesion_report: Report,
    two_lesions: Volume,
    ct: Volume,
    pet_series: list[Dataset],
) -> dict[str, bytes]:
    """Everything that one assessment puts into the archive, the segmentation and what follows a signature included."""
    models, context = reported_surfaces(make_two_lesions(), two_lesions, ct, margin_mm=10.0)
    made = dict(report_objects(context, two_lesion_report, models, pet_series).dicom)
    assert {"lesion-surface-1.dcm", "lesion-surface-2.dcm", "margin-surface-2.dcm", "bone-surface.dcm"} <= set(made)
    signed = SignOff(2, ReportStatus.FINAL, "oidc:7", "Dr. Ada", context.issued, Agreement.AGREE)
    withdrawn = SignOff(
        3, ReportStatus.ENTERED_IN_ERROR, "oidc:7", "Dr. Ada", context.issued, reason=WithdrawalReason.TECHNICAL
    )
    made["segmentation.dcm"] = two_lesion_report.segmentation
    made["verified.dcm"] = verified_report(made["structured-report.dcm"], [signed])
    made["verified-page.dcm"] = signed_page_object(made["encapsulated-report.dcm"], [signed], two_lesion_report.pdf)
    made["replacement-note.dcm"] = replacement_note([made["structured-report.dcm"], made["verified.dcm"]], signed)
    return made | {"rejection-note.dcm": rejection_note(list(made.values()), withdrawn)}


def _elements(data: bytes) -> dict[str, object]:
    read: dict[str, object] = pydicom.dcmread(io.BytesIO(data)).to_json_dict(bulk_data_threshold=10**9)
    return read


def test_stow_takes_every_object(orthanc: Orthanc, objects: dict[str, bytes]) -> None:
    orthanc.clear()
    client = DICOMwebClient(f"{orthanc.origin}/dicom-web")
    answer = client.store_instances([pydicom.dcmread(io.BytesIO(data)) for data in objects.values()])
    assert list(answer.get("FailedSOPSequence", [])) == []
    held = orthanc.files()
    assert len(held) == len(objects)
    assert len(requests.get(f"{orthanc.origin}/studies", timeout=30).json()) == 1
    for data in objects.values():
        uid = str(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).SOPInstanceUID)
        assert _elements(held[uid]) == _elements(data)


def test_c_store_takes_every_object(
    orthanc: Orthanc, objects: dict[str, bytes], tmp_path: Path, require_installed: Callable[..., None]
) -> None:
    require_installed("dcmtk", "storescu")
    orthanc.clear()
    taken = {}
    for name, data in objects.items():
        (tmp_path / name).write_bytes(data)
        # -R: only the classes of the files are proposed, Encapsulated STL among them.
        command = [str(shutil.which("storescu")), "-R", "127.0.0.1", str(orthanc.dicom_port), str(tmp_path / name)]
        sent = subprocess.run(command, capture_output=True, text=True, check=False)
        taken[name] = sent.returncode == 0
    assert [name for name, stored in taken.items() if not stored] == []
    assert len(orthanc.files()) == len(objects)
