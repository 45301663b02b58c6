"""One case: mutate, take in, and see what comes out. Anything but an answer or an error of ours is a finding."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import IO, cast

from google.protobuf.message import DecodeError
from oncoradiomics.errors import RadiomicsError
from oncoresponse.case.study_index import StudyIndex
from oncoresponse.dicom.contours import ContourRequest
from oncoresponse.dicom.limits import DicomLimits
from oncoresponse.dicom.study import convert_study, read_contour
from oncoresponse.dicom.study_index import read_object, study_from_index
from oncoresponse.edges.http.multipart_parts import boundary_of, parts_of
from oncoresponse.edges.http.problem import Refusal
from oncoresponse.edges.instance_header import instance_header
from oncoresponse.edges.orders.hl7_orders import Hl7Reading, MessageRefused, asked_of, decoded, header_of
from oncoresponse.errors import OncoResponseError
from oncoresponse.model.definition import ImageInput
from oncoresponse.rpc.interceptors import require_valid

from fuzz.mutations import mutated_file, mutated_message
from fuzz.requests import fuzzed_messages
from fuzz.seeds import SYNTAXES, study

LIMITS = DicomLimits(decode_seconds=20)
_REQUESTS_SHARE = 0.15
_UPLOADS_SHARE = _REQUESTS_SHARE + 0.1
_MESSAGES_SHARE = _UPLOADS_SHARE + 0.1
_HL7 = (
    b"MSH|^~\\&|EPIC|NORTH|ONCO|HERE|202611271200||ORM^O01|17|P|2.3||||||UNICODE UTF-8\r"
    b"PID|1||123^^^NORTH&1.2.3&ISO^MR~99^^^SSN^SS||Doe^Jane||19500102000000|F\r"
    b"ORC|NW|P1^EPIC|F1^RIS\rOBR|1|P1^EPIC|F1^RIS|RTX^Therapy^L||||||||||||||ACC\\T\\1\r"
    b"ORC|CA|P2^EPIC\rOBR|1|P2^EPIC||RTX^Therapy^L\rIPC|ACC-2\rMRG|77^^^NORTH^MR\r"
)
_PARTS = 'multipart/related; type="application/dicom"; boundary=parts'


def prepare() -> None:
    """Make what the mutations start from, so that the first case takes no longer than others."""
    for syntax in SYNTAXES:
        _study(syntax)


def run_case(seed: int, number: int) -> str:
    """Run one case, which follows from the two numbers.

    Returns:
        ``answered`` or the reason code of the error.

    Raises:
        Exception: Whatever is no error of ours: a finding.
    """
    rng = random.Random(f"{seed}-{number}")  # noqa: S311
    try:
        share = rng.random()
        if share < _REQUESTS_SHARE:
            _send_request(rng)
        elif share < _UPLOADS_SHARE:
            asyncio.run(_take_in_upload(rng))
        elif share < _MESSAGES_SHARE:
            _take_in_message(rng)
        else:
            _take_in_study(rng)
    except (OncoResponseError, RadiomicsError) as error:
        return error.reason
    except Refusal as refusal:
        return refusal.error.reason
    except MessageRefused:
        return "MESSAGE_REFUSED"
    return "answered"


def mutated_case_file(seed: int, number: int) -> bytes | None:
    """The mutated file of a case, to keep it; ``None`` for a request, an upload or a message."""
    rng = random.Random(f"{seed}-{number}")  # noqa: S311
    return None if rng.random() < _MESSAGES_SHARE else _mutated_study(rng)[1]


def _take_in_message(rng: random.Random) -> None:
    """An HL7 message of an ordering system, as the listener reads it."""
    data = bytearray(_HL7.replace(b"ORM^O01", rng.choice((b"ORM^O01", b"OML^O21", b"ADT^A40"))))
    for _ in range(rng.randint(1, 10)):
        place = rng.randrange(len(data))
        data[place : place + rng.randint(0, 4)] = rng.randbytes(rng.randint(0, 4))
    message = decoded(bytes(data))
    asked_of(message, header_of(message), Hl7Reading())


def take_in(files: dict[str, bytes], contour_kind: str | None = None) -> None:
    """All that the service does with the files of a study: the check at upload, the index, conversion, contour."""
    with tempfile.TemporaryDirectory() as name:
        paths = []
        for key, data in files.items():
            paths.append(Path(name) / key)
            paths[-1].write_bytes(data)
        kept = [read_object(path, LIMITS) for path in paths]
        index = StudyIndex.model_validate_json(StudyIndex.of(kept).model_dump_json())
        path_of = {item.entry.sha256: path for item, path in zip(kept, paths, strict=True)}
        read = study_from_index(index, path_of.__getitem__, LIMITS)
        converted = convert_study(read, ImageInput.any_of("PT", "CT"))
        if contour_kind is not None:
            read_contour(read, ContourRequest(), converted.volumes["PT"])


def _take_in_study(rng: random.Random) -> None:
    files, _, contour_kind = _mutated_study(rng)
    take_in(files, contour_kind)


def _mutated_study(rng: random.Random) -> tuple[dict[str, bytes], bytes, str]:
    files = dict(_study(rng.choice(SYNTAXES)))
    contour_kind = rng.choice(("RTSTRUCT", "SEG"))
    # Two contours would be ambiguous.
    files.pop("SEG" if contour_kind == "RTSTRUCT" else "RTSTRUCT")
    name = rng.choice(("PT2", "PT2", "CT2", contour_kind))
    files[name] = mutated_file(files[name], rng)
    return files, files[name], contour_kind


def _send_request(rng: random.Random) -> None:
    message = rng.choice(fuzzed_messages())
    try:
        received = type(message).FromString(mutated_message(message.SerializeToString(), rng))
    except DecodeError:
        # gRPC itself refuses what is no message.
        return
    require_valid(received)


async def _take_in_upload(rng: random.Random) -> None:
    """What the HTTP server does with a body before it asks anybody: its parts, and whose instance each is."""
    data = _mutated_study(rng)[1]
    head = b"--parts\r\nContent-Type: application/dicom\r\n\r\n"
    body = head + data + b"\r\n" + head + data[:100] + b"\r\n--parts--\r\n"
    if rng.random() < 0.5:
        body = mutated_message(body, rng)

    async def blocks() -> AsyncIterator[bytes]:
        size = rng.randrange(1, 4096)
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async for part in parts_of(blocks(), boundary_of(_PARTS, "application/dicom"), len(data)):
        instance_header(cast("IO[bytes]", part.file))
        part.close()


@cache
def _study(syntax: str) -> dict[str, bytes]:
    return study(syntax)
