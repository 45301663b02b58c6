"""ImportDicomWeb from servers over a real socket that drip, inflate, or never come to an end."""

from __future__ import annotations

import gzip
import itertools
import resource
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from oncoresponse.dicom.limits import DicomLimits
from oncoresponse.intake import dicomweb_import
from oncoresponse.v1 import study_pb2

PET = min((Path(__file__).parents[2] / "examples" / "STS_019" / "PET").glob("0*.dcm"))
OK = b"HTTP/1.1 200 OK\r\n"
MULTIPART = b'Content-Type: multipart/related; type="application/dicom"; boundary=edge\r\n'
PART = b"\r\n--edge\r\nContent-Type: application/dicom\r\n\r\n"
MEBIBYTE = 1024**2
DRIP_SECONDS = 0.02

Script = Callable[[threading.Event], Iterable[bytes]]


@contextmanager
def _server(script: Script) -> Iterator[str]:
    """Answers every connection with the blocks of a script, until the other side goes away or the test ends."""
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            for block in script(ended):
                if ended.is_set():
                    return
                connection.sendall(block)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/dicom-web"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _dripping_header(ended: threading.Event) -> Iterator[bytes]:
    yield OK + b"X: "
    while not ended.wait(DRIP_SECONDS):
        yield b"a"


def _dripping_body(ended: threading.Event) -> Iterator[bytes]:
    yield OK + MULTIPART + b"\r\n" + PART
    while not ended.wait(DRIP_SECONDS):
        yield b"a"


def _steady_for_ever(ended: threading.Event) -> Iterator[bytes]:
    yield OK + MULTIPART + b"\r\n" + PART
    while not ended.wait(DRIP_SECONDS):
        yield bytes(4096)


def _flood_of_headers(_ended: threading.Event) -> Iterator[bytes]:
    yield OK
    yield from itertools.repeat(b"X-Flood: yes\r\n" * 50)


def _header_line_without_end(_ended: threading.Event) -> Iterator[bytes]:
    yield OK + b"X: "
    yield from itertools.repeat(b"a" * 4096)


def _interim_answers(_ended: threading.Event) -> Iterator[bytes]:
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def _redirects(_ended: threading.Event) -> Iterator[bytes]:
    there = f"Location: /dicom-web/{uuid.uuid4()}\r\n"
    yield f"HTTP/1.1 302 Found\r\n{there}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


def _redirect_with_a_body(_ended: threading.Event) -> Iterator[bytes]:
    yield f"HTTP/1.1 302 Found\r\nLocation: /dicom-web/{uuid.uuid4()}\r\n\r\n".encode()
    yield from itertools.repeat(bytes(MEBIBYTE))


def _chunk_line_without_end(_ended: threading.Event) -> Iterator[bytes]:
    yield OK + MULTIPART + b"Transfer-Encoding: chunked\r\n\r\n1;"
    yield from itertools.repeat(b"x" * MEBIBYTE)


def _trailer_without_end(_ended: threading.Event) -> Iterator[bytes]:
    yield OK + MULTIPART + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    yield from itertools.repeat(b"X: y\r\n" * 10_000)


def _one_huge_part(_ended: threading.Event) -> Iterator[bytes]:
    yield OK + MULTIPART + b"\r\n" + PART
    yield from itertools.repeat(bytes(MEBIBYTE))


def _parts_without_end(_ended: threading.Event) -> Iterator[bytes]:
    yield OK + MULTIPART + b"\r\n"
    yield from itertools.repeat(PART + PET.read_bytes())


def _parts_that_are_no_dicom(_ended: threading.Event) -> Iterator[bytes]:
    yield OK + MULTIPART + b"\r\n"
    yield from itertools.repeat((PART + b"x") * 1000)


def _bomb(_ended: threading.Event) -> Iterator[bytes]:
    # 16 MiB of nothing are 16 KiB; gzip allows one member after the other (RFC 1952 section 2.2).
    member = gzip.compress(bytes(16 * MEBIBYTE))
    yield OK + MULTIPART + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(PART)
    yield from itertools.repeat(member)


@pytest.mark.parametrize(
    ("script", "reason", "fact"),
    [
        (_dripping_header, "PACS_TOO_SLOW", ("limit", "dicomweb_idle_seconds")),
        (_dripping_body, "PACS_TOO_SLOW", ("limit", "dicomweb_idle_seconds")),
        (_steady_for_ever, "PACS_TOO_SLOW", ("limit", "dicomweb_total_seconds")),
        (_flood_of_headers, "PACS_ANSWER_REFUSED", ("cut", "header")),
        (_header_line_without_end, "PACS_ANSWER_REFUSED", ("cut", "header")),
        (_interim_answers, "PACS_ANSWER_REFUSED", ("cut", "header")),
        (_redirects, "PACS_ANSWER_REFUSED", ("cut", "redirects")),
        (_redirect_with_a_body, "PACS_ANSWER_REFUSED", ("cut", "redirects")),
        (_trailer_without_end, "PACS_ANSWER_REFUSED", ("cut", "no_content")),
        # urllib3 itself takes this for a broken connection.
        (_chunk_line_without_end, "PEER_UNAVAILABLE", None),
        (_one_huge_part, "PACS_ANSWER_REFUSED", ("cut", "instance")),
        (_bomb, "PACS_ANSWER_REFUSED", ("cut", "instance")),
        (_parts_that_are_no_dicom, "PACS_ANSWER_REFUSED", ("cut", "unreadable")),
        (_parts_without_end, "QUOTA_EXCEEDED", ("scope", "study")),
    ],
)
async def test_the_server_is_cut_with_an_error_of_its_own_and_costs_little(
    run_study_service, tmp_path, refusal, monkeypatch, script, reason, fact
):
    monkeypatch.setattr(dicomweb_import, "_MOST_LEFT_OUT", 100)
    settings = {
        "dicomweb_idle_seconds": 0.4 if fact == ("limit", "dicomweb_idle_seconds") else 30.0,
        "dicomweb_total_seconds": 1.0 if script is _steady_for_ever else 60.0,
        "quota_bytes_per_study": MEBIBYTE if script is _parts_without_end else 32 * MEBIBYTE,
        "dicom_limits": DicomLimits(file_bytes=8 * MEBIBYTE),
    }
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _server(script) as url:
        async with run_study_service(tmp_path, allowed_dicomweb_urls=(url,), **settings) as service:
            begun = time.monotonic()
            request = study_pb2.ImportDicomWebRequest(request_id=str(uuid.uuid4()), url=url, study_instance_uid="1.2.3")
            error = await refusal(service.stub.ImportDicomWeb(request))
            assert time.monotonic() - begun < 30
    assert error.reason == reason
    assert fact is None or error.metadata[fact[0]] == fact[1]
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest) * 1024 < 128 * MEBIBYTE
