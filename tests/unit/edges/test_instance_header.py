"""Whose an instance is, by the quick walk over its bytes and by the library, which must agree."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from oncoresponse.edges.instance_header import header_of_bytes, instance_header
from oncoresponse.edges.pacs.file_meta import file_meta
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.dsutils import encode_file_meta

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = [sorted((EXAMPLES / "STS_032").glob(f"{kind}/*.dcm"))[0] for kind in ("CT", "PET")]


def _written(syntax: str, **attributes: object) -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    own = {"SOPClassUID": CTImageStorage, "SOPInstanceUID": "1.2.3.9", "StudyDate": "20260102", "Modality": "CT"}
    uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", "SeriesDescription": "x" * 40}
    for keyword, value in {**own, **uids, **attributes}.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(file, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return file.getvalue()


def _nested(undefined: bool) -> Sequence:
    inner, item = Dataset(), Dataset()
    inner.PatientID, inner.StudyInstanceUID = "OTHER", "1.2.3.4"
    item.ReferencedSOPInstanceUID = "1.2.3"
    item.PurposeOfReferenceCodeSequence = Sequence([inner, inner])
    item["PurposeOfReferenceCodeSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    return Sequence([item, Dataset()])


@pytest.mark.parametrize("path", FILES)
def test_real_files(path: Path) -> None:
    data = path.read_bytes()
    found = header_of_bytes(data)
    dataset = pydicom.dcmread(path)
    assert found is not None
    assert found == instance_header(io.BytesIO(data))
    assert (found.sop_instance_uid, found.study_instance_uid) == (dataset.SOPInstanceUID, dataset.StudyInstanceUID)
    assert found.patient == (dataset.PatientID, dataset.get("IssuerOfPatientID", ""))


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_what_a_sequence_holds_is_not_the_instances(syntax: str, undefined: bool) -> None:
    data = _written(syntax, ReferencedImageSequence=_nested(undefined), PatientID="P-1", IssuerOfPatientID="H")
    found = header_of_bytes(data)
    assert found is not None
    assert found.patient == ("P-1", "H")
    assert found == instance_header(io.BytesIO(data))


def test_other_characters_are_read_as_their_character_set_says() -> None:
    data = _written(ExplicitVRLittleEndian, SpecificCharacterSet="ISO_IR 192", PatientID="Ä-1")
    found = header_of_bytes(data)
    assert found is not None
    assert found.patient[0] == "Ä-1"


def test_damage_is_no_header_or_what_the_library_says() -> None:
    data = _written(ExplicitVRLittleEndian)
    for end in range(0, 2000, 7):
        assert header_of_bytes(data[:end]) in (None, instance_header(io.BytesIO(data[:end])))
    assert header_of_bytes(b"\0" * 5000) is None


@pytest.mark.parametrize("uid", ["1.2.840.113619.2.1", "1.2.840.113619.2.12"])
def test_the_meta_information_is_that_of_the_library(uid: str) -> None:
    meta = FileMetaDataset()
    written = file_meta(CTImageStorage, uid, ExplicitVRLittleEndian)
    read = pydicom.dcmread(io.BytesIO(written)).file_meta
    for keyword in ("ImplementationClassUID", "ImplementationVersionName"):
        setattr(meta, keyword, read[keyword].value)
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert written == b"\0" * 128 + b"DICM" + encode_file_meta(meta)
