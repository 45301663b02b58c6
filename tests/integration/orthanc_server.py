"""A real Orthanc with its DICOMweb plugin, for as long as a test needs it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
import requests
from dicomweb_client.web import DICOMwebClient

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "radiology", "s3cret:word@1"


@dataclass(frozen=True)
class Orthanc:
    """A running server; ``dicom_port`` where it speaks DICOM too."""

    origin: str
    dicom_port: int = 0

    def url(self, user: str = "", password: str = PASSWORD) -> str:
        """Of its DICOMweb service; with a login where a user is named."""
        login = f"{user}:{requests.utils.quote(password, safe='')}@" if user else ""
        return f"{self.origin.replace('://', f'://{login}')}/dicom-web"

    def files(self) -> list[bytes]:
        """Through Orthanc's own interface, not DICOMweb."""
        return [self.ask("GET", f"/instances/{name}/file").content for name in self.ask("GET", "/instances").json()]

    def ask(self, method: str, path: str, **body: object) -> requests.Response:
        """Of Orthanc's own interface."""
        answer = requests.request(method, f"{self.origin}{path}", auth=(USER, PASSWORD), timeout=60, **body)
        answer.raise_for_status()
        return answer

    def store(self, paths: Sequence[Path]) -> None:
        """By STOW-RS."""
        with requests.Session() as session:
            session.auth = (USER, PASSWORD)
            client = DICOMwebClient(f"{self.origin}/dicom-web", session=session)
            client.store_instances([pydicom.dcmread(path) for path in paths])


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running_orthanc(
    folder: Path,
    require_installed: Callable[..., None],
    port: int = 0,
    dicom: Mapping[str, object] | None = None,
    **dicom_web: object,
) -> Iterator[Orthanc]:
    """Starts it, on a free port where none is given.

    Args:
        folder: For what it stores.
        require_installed: The fixture.
        port: For HTTP.
        dicom: Settings of its DICOM server, which runs where they are given.
        dicom_web: Settings of the plugin.
    """
    require_installed("orthanc", "Orthanc")
    require_installed("orthanc-dicomweb", str(PLUGIN))
    port = port or free_port()
    dicom_port = 0 if dicom is None else int(str(dicom.get("DicomPort", 0))) or free_port()
    settings = {
        "Name": "Test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpBindAddresses": ["127.0.0.1"],
        "HttpPort": port,
        "DicomServerEnabled": dicom is not None,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", **dicom_web},
        **(dicom or {}),
        **({"DicomPort": dicom_port} if dicom_port else {}),
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    process = subprocess.Popen(["Orthanc", str(path)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    reader = None
    try:
        words = []
        for line in process.stderr:
            words.append(line)
            if "Orthanc has started" in line:
                break
        else:
            pytest.fail("Orthanc did not start: " + "".join(words)[-2000:])
        # Its log would fill the pipe.
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        yield Orthanc(f"http://127.0.0.1:{port}", dicom_port)
    finally:
        process.terminate()
        process.wait(30)
        if reader is not None:
            reader.join()
        process.stderr.close()
