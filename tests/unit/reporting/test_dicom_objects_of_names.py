"""Patients as archives know them: names in many scripts, very long, or absent; time zones; burned-in flags.

The sources are written as files and read again, so that a name holds the bytes of its character set.
"""

from __future__ import annotations

import dataclasses
import io
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
import pytest
from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.case.sign_off import Agreement, ReportStatus, SignOff, WithdrawalReason
from oncoresponse.case.volume import Volume
from oncoresponse.errors import InvalidAttribute
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.dicom_objects.archive_object import source_series
from oncoresponse.reporting.dicom_objects.documents import encapsulated_report, key_image_object
from oncoresponse.reporting.dicom_objects.signed_objects import (
    rejection_note,
    replacement_note,
    signed_page_object,
    verified_report,
)
from oncoresponse.reporting.dicom_objects.structured_report import structured_report
from oncoresponse.reporting.dicom_objects.surface_object import surface_object
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.segmentation_object import segmentation_object
from oncoresponse.reporting.surfaces.meshes import stl
from oncoresponse.reporting.surfaces.surface_models import surface_models
from pydicom.dataset import Dataset

MakeContext = Callable[..., ReportContext]
SIGNED = SignOff(2, ReportStatus.FINAL, "7", "山田 花子", datetime(2026, 12, 31, 23, 30, tzinfo=UTC), Agreement.AGREE)
AMENDED = dataclasses.replace(SIGNED, version=3, status=ReportStatus.AMENDED, agreement=Agreement.DISAGREE)
WITHDRAWN = dataclasses.replace(
    SIGNED, version=4, status=ReportStatus.ENTERED_IN_ERROR, agreement=None, reason=WithdrawalReason.OTHER
)
NAMES = {
    "latin-1": ("ISO_IR 100", "Müller^Jürgen"),
    "cyrillic": ("ISO_IR 144", "Люкceмбypг^Роза"),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "japanese, half width": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "long": ("ISO_IR 192", "Константинопольский-Воскресенский^Александр^Владимирович"),
    "longest": ("ISO_IR 192", "é" * 64 + "=" + "山" * 64 + "=" + "や" * 64),
    "empty": ("ISO_IR 100", ""),
    "absent": ("ISO_IR 100", None),
}


def _source(series: Sequence[bytes], character_set: Any, name: str | None, **changes: Any) -> list[Dataset]:
    """The series with another patient, read back from files."""
    read = []
    for image in series:
        made = pydicom.dcmread(io.BytesIO(image))
        made.SpecificCharacterSet = character_set
        if character_set is None:
            del made.SpecificCharacterSet
        made.pop("PatientName", None)
        if name is not None:
            with without_pydicom_messages():
                made.PatientName = name
        for keyword, value in changes.items():
            setattr(made, keyword, value)
        buffer = io.BytesIO()
        with without_pydicom_messages():
            made.save_as(buffer)
        read.append(pydicom.dcmread(io.BytesIO(buffer.getvalue()), stop_before_pixels=True))
    return read


@pytest.fixture(scope="module")
def objects_of(
    make_context: MakeContext, report: Report, mask: Volume, pet_series: list[Dataset]
) -> Callable[..., dict[str, bytes]]:
    """Every kind of object of a study whose patient is another."""
    mesh = stl(surface_models(mask, None, research_use_statement="x").meshes["lesion-1"])
    context = make_context()
    series = []
    for image in pet_series:
        buffer = io.BytesIO()
        image.save_as(buffer)
        series.append(buffer.getvalue())

    def made(character_set: Any, name: str | None, **changes: Any) -> dict[str, bytes]:
        images = _source(series, character_set, name, **changes)
        source = source_series(images)
        seg = segmentation_object(context, mask, images)
        read = pydicom.dcmread(io.BytesIO(seg))
        first = structured_report(context, source, seg)
        page = encapsulated_report(context, source, report.pdf)
        objects = {
            "segmentation": seg,
            "structured report": first,
            "page": page,
            "key image": key_image_object(context, source, report.key_image),
            "surface": surface_object(
                context, source, mesh, title="Lesion", instance=1, made_from=(read.SOPClassUID, read.SOPInstanceUID)
            ),
            "verified": verified_report(first, [SIGNED]),
            "signed page": signed_page_object(page, [SIGNED], report.pdf),
        }
        replaced = replacement_note([objects["structured report"], objects["page"]], AMENDED)
        return objects | {"replaced": replaced, "note": rejection_note(list(objects.values()), WITHDRAWN)}

    return made


def _errors(objects: Mapping[str, bytes], folder: Path) -> list[str]:
    """What dciodvfy says is wrong."""
    found = []
    for kind, data in objects.items():
        path = folder / f"{kind}.dcm"
        path.write_bytes(data)
        checked = subprocess.run(
            ["dciodvfy", "-new", str(path)], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        said = (checked.stdout + checked.stderr).splitlines()
        assert len(said) > 1, kind
        found += [f"{kind}: {line}" for line in said if line.startswith("Error")]
        found += [f"{kind}: {line}" for line in said if "PatientName" in line and "haracter" in line]
    return found


@pytest.mark.parametrize("script", NAMES)
def test_a_name_is_read_back_from_every_object(
    script: str,
    objects_of: Callable[..., dict[str, bytes]],
    tmp_path: Path,
    require_installed: Callable[..., None],
) -> None:
    require_installed("dicom3tools", "dciodvfy")
    objects = objects_of(*NAMES[script])
    for kind, data in objects.items():
        made = pydicom.dcmread(io.BytesIO(data))
        assert str(made.PatientName) == (NAMES[script][1] or ""), kind
        assert made.SpecificCharacterSet == "ISO_IR 192"
    errors = _errors(objects, tmp_path)
    if len((NAMES[script][1] or "").encode()) > 64:
        # dciodvfy counts bytes, and those of all groups together; the limit is 64 characters a group (PS3.5 6.2).
        errors = [error for error in errors if "</PatientName(0010,0010)[1]> - " not in error]
    assert errors == []


@pytest.mark.parametrize("name", ["x" * 65, "Doe^Jane=" + "山" * 65])
def test_a_name_that_breaks_the_rules_is_refused_and_never_shortened(
    name: str, objects_of: Callable[..., dict[str, bytes]]
) -> None:
    with pytest.raises(InvalidAttribute) as caught:
        objects_of("ISO_IR 192", name)
    assert name[:9] not in str(caught.value)


@pytest.mark.parametrize(
    ("offset", "content", "signed"),
    [
        ("+0900", ("20261123", "163000"), ("20270101", "083000")),
        ("-0330", ("20261123", "040000"), ("20261231", "200000")),
        (None, ("20261123", "073000"), ("20261231", "233000")),
    ],
)
def test_every_time_is_in_the_zone_that_the_object_states(
    offset: str | None,
    content: tuple[str, str],
    signed: tuple[str, str],
    objects_of: Callable[..., dict[str, bytes]],
    tmp_path: Path,
    require_installed: Callable[..., None],
) -> None:
    require_installed("dicom3tools", "dciodvfy")
    objects = objects_of("ISO_IR 100", "Doe^Jane", **({"TimezoneOffsetFromUTC": offset} if offset else {}))
    later = {"verified", "signed page", "replaced", "note"}
    for kind, data in objects.items():
        made = pydicom.dcmread(io.BytesIO(data))
        assert made.get("TimezoneOffsetFromUTC") == offset, kind
        expected = signed if kind in later else content
        for moment in ("InstanceCreation", "Content", "Series"):
            if f"{moment}Date" in made:
                assert (made[f"{moment}Date"].value, made[f"{moment}Time"].value[:6]) == expected, (kind, moment)
    verified = pydicom.dcmread(io.BytesIO(objects["verified"])).VerifyingObserverSequence[0]
    assert verified.VerificationDateTime[:14] == "".join(signed)
    assert verified.VerifyingObserverName == "山田 花子"
    assert _errors(objects, tmp_path) == []


def test_what_shows_the_patient_says_so(objects_of: Callable[..., dict[str, bytes]]) -> None:
    # Of the source nothing is believed: a screenshot among its images does not make the mesh one.
    objects = objects_of("ISO_IR 100", "Doe^Jane", BurnedInAnnotation="YES")
    flags = {kind: pydicom.dcmread(io.BytesIO(data)).get("BurnedInAnnotation") for kind, data in objects.items()}
    assert {kind for kind, flag in flags.items() if flag == "YES"} == {"page", "signed page"}
    assert {kind for kind, flag in flags.items() if flag == "NO"} == {"key image", "surface"}
    assert {kind for kind, flag in flags.items() if flag is None} == {
        "segmentation",
        "structured report",
        "verified",
        "replaced",
        "note",
    }
