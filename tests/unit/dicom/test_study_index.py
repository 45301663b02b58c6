"""The index of a study says what its files say; what is made from it is what is made from the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.case.study_index import StudyIndex
from oncoresponse.dicom import file_parsing
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.reading import read_pixels
from oncoresponse.dicom.study import contours_of, convert_study, read_contour, read_study
from oncoresponse.dicom.study_index import datasets_of_series, read_object, study_from_index
from oncoresponse.errors import InvalidAttribute
from oncoresponse.model.definition import ImageInput
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)


class Indexed:
    """An index as it comes back from the store, and which files are asked for."""

    def __init__(self, files: list[Path]) -> None:
        kept = [read_object(file) for file in files]
        self.index = StudyIndex.model_validate_json(StudyIndex.of(kept).model_dump_json())
        self.opened: list[Path] = []
        self._files = {item.entry.sha256: file for item, file in zip(kept, files, strict=True)}

    def file_of(self, sha256: str) -> Path:
        self.opened.append(self._files[sha256])
        return self._files[sha256]


@pytest.fixture
def parsed(monkeypatch):
    """Counts how often pydicom parses a file."""
    calls: list[int] = []
    dcmread = file_parsing.dcmread

    def counting(*arguments, **options):
        calls.append(1)
        return dcmread(*arguments, **options)

    monkeypatch.setattr(file_parsing, "dcmread", counting)
    return calls


# Real PET/CT and MR with RTSTRUCT; JPEG-LS with several structures; the same as SEG.
STUDIES = {
    "sample": ("STS_032", ("PT", "CT"), ContourRequest()),
    "MR": ("STS_032_MR", ("MR",), ContourRequest()),
    "every structure": ("STS_032_TWO_LESIONS", ("PT", "CT"), None),
    "segmentation": ("STS_032_TWO_LESIONS", ("PT", "CT"), ContourRequest(structure_name="#2")),
    "segmentation, every structure": ("STS_032_TWO_LESIONS", ("PT", "CT"), None),
}


@pytest.mark.parametrize("name", STUDIES)
def test_conversion_from_the_index_is_that_from_the_files_and_parses_no_header_again(examples, parsed, name):
    folder, modalities, request = STUDIES[name]
    files = sorted((examples / folder).rglob("*.dcm"))
    if name.startswith("segmentation"):
        files = [file for file in files if "RTSTRUCT" not in file.name]
        files.append(examples / "segmentations" / f"{folder}.dcm")
    inputs = ImageInput.any_of(*modalities)

    def contours(study, grid):
        if request is None:
            return contours_of(study, ContourRequest(), grid)[0]
        return [read_contour(study, request, grid)]

    study = read_study(files)
    expected = convert_study(study, inputs)
    drawn = contours(study, expected.volumes[modalities[0]])

    parsed.clear()
    indexed = Indexed(files)
    assert len(parsed) == len(files)
    parsed.clear()
    study = study_from_index(indexed.index, indexed.file_of)
    assert indexed.opened == []
    found = convert_study(study, inputs)
    slices = [digest for series in found.description.series for digest in series.instance_sha256]
    assert len(indexed.opened) == len(slices)
    assert parsed == []
    assert found.description == expected.description
    for role, volume in expected.volumes.items():
        assert found.volumes[role].geometry == volume.geometry
        np.testing.assert_array_equal(found.volumes[role].array, volume.array)
    again = contours(study, found.volumes[modalities[0]])
    assert len(again) == len(drawn) >= 1
    for one, other in zip(again, drawn, strict=True):
        np.testing.assert_array_equal(one.mask.array, other.mask.array)
        assert (one.number, one.label, one.algorithm_type) == (other.number, other.label, other.algorithm_type)
        assert one.warnings == other.warnings
    # The contour object that is used, once to be chosen and once for its points or pixels.
    assert 1 <= len(parsed) <= 2


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda syntax: syntax.name,
)
def test_header_from_the_index_is_what_pydicom_reads_in_the_file(tmp_path, write_series, syntax):
    with without_pydicom_messages():
        dataset = pydicom.dcmread(write_series(modality="PT").files[0])
        pixels = dataset.pixel_array
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName = "Žižka^Øystein"
        dataset.SliceThickness = "3.2700000"
        dataset.AccessionNumber = ""
        dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "1.25")
        dataset.private_block(0x0011, "BULK", create=True).add_new(0x01, "OB", b"\0" * 5000)
        inner, item = Dataset(), Dataset()
        inner.CodeMeaning = "größer"
        item.RadionuclideTotalDose, item.RadionuclideCodeSequence = "370000000", [inner]
        dataset.RadiopharmaceuticalInformationSequence = [item]
        dataset["RadiopharmaceuticalInformationSequence"].is_undefined_length = True
        item.is_undefined_length_sequence_item = True
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
            list(dataset.iterall())
            dataset.set_original_encoding(False, False)
        dataset.file_meta.TransferSyntaxUID = syntax
        path = tmp_path / "instance"
        dataset.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
        expected = pydicom.dcmread(path)
        del expected.PixelData
        del expected[0x00111001]
        indexed = Indexed([path])
        (found,) = datasets_of_series(indexed.index, expected.SeriesInstanceUID).values()
        assert found == Dataset(expected)
        assert str(found.PatientName) == "Žižka^Øystein"
        assert found.SliceThickness.original_string == "3.2700000"
        assert found.file_meta.TransferSyntaxUID == syntax
    (instance,) = study_from_index(indexed.index, indexed.file_of).instances
    np.testing.assert_array_equal(read_pixels(instance), pixels)


def test_value_that_cannot_be_read_in_the_file_cannot_be_read_in_the_index(write_series):
    series = write_series(attributes={"SliceThickness": "12345"})
    for file in series.files:
        file.write_bytes(file.read_bytes().replace(b"12345 ", b"12;45 "))
    study = study_from_index(Indexed(list(series.files)).index, lambda _: pytest.fail("a file was opened"))
    from oncoresponse.dicom import attributes

    with pytest.raises(InvalidAttribute, match="SliceThickness"):
        attributes.number(study.instances[0].dataset, "SliceThickness")


def test_index_is_small_beside_the_files_and_names_the_patient_once(examples):
    files = sorted((examples / "STS_032").rglob("*.dcm"))
    index = Indexed(files).index
    assert [item.patient_id for item in index.patients] == ["STS_032"]
    assert index.modalities == ("CT", "PT", "RTSTRUCT")
    assert len(index.model_dump_json()) < 0.05 * sum(file.stat().st_size for file in files)
