"""One file: whole, decodable, silent about its contents."""

import logging
import shutil
import warnings
from io import BytesIO

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.dicom import attributes
from oncoresponse.dicom.reading import is_media_directory, read_instance, read_pixels
from oncoresponse.dicom.study import read_study
from oncoresponse.errors import (
    DicomError,
    DuplicateSlices,
    InvalidAttribute,
    MissingAttribute,
    NoImages,
    NotDicom,
    TruncatedFile,
    UnsupportedTransferSyntax,
)
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

MPEG2 = "1.2.840.10008.1.2.4.100"


@pytest.mark.parametrize("data", [b"", b"PNG" * 100, b"\0" * 132, b"\0" * 128 + b"DIC"])
def test_a_file_without_the_preamble_is_not_dicom(data):
    with pytest.raises(NotDicom):
        read_instance(data)


def test_a_file_cut_anywhere_is_refused(write_series):
    data = write_series(modality="PT", shape=(1, 4, 5)).files[0].read_bytes()
    assert read_instance(data).modality == "PT"
    for end in range(len(data)):
        with pytest.raises(NotDicom if end < 132 else TruncatedFile):
            read_instance(data[:end])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian])
def test_a_compressed_file_cut_in_half_is_refused(write_series, syntax):
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset = pydicom.dcmread(write_series(shape=(1, 40, 40)).files[0])
        dataset.file_meta.TransferSyntaxUID = syntax
        buffer = BytesIO()
        dataset.save_as(buffer)
        data = buffer.getvalue()
    else:
        data = write_series(shape=(1, 40, 40), transfer_syntax_uid=syntax).files[0].read_bytes()
    read_instance(data)
    for part in (0.5, 0.9, 0.99):
        with pytest.raises(TruncatedFile):
            read_instance(data[: int(len(data) * part)])


@pytest.mark.parametrize("modality", ["CT", "PET"])
def test_a_real_structure_set_cut_in_half_is_refused(examples, modality):
    data = (examples / "STS_019" / modality / "RTSTRUCT.dcm").read_bytes()
    for part in (0.1, 0.5, 0.9):
        with pytest.raises(TruncatedFile):
            read_instance(data[: int(len(data) * part)])


@given(data=st.binary(max_size=300), at=st.integers(132, 1500))
@settings(max_examples=150, deadline=None)
def test_damage_raises_nothing_but_our_errors(write_series, data, at):
    whole = _pet_bytes(write_series)
    damaged = whole[:at] + data + whole[at + len(data) :]
    try:
        instance = read_instance(damaged)
        attributes.numbers(instance.dataset, "PixelSpacing")
    except DicomError as error:
        assert "Synthetic" not in error.message


_cached: list[bytes] = []


def _pet_bytes(write_series):
    if not _cached:
        _cached.append(write_series(modality="PT", shape=(1, 4, 5)).files[0].read_bytes())
    return _cached[0]


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_codecs_give_the_pixels_back(write_series, syntax):
    stored = np.random.default_rng(3).integers(0, 4000, (3, 66, 50)).astype(np.int16)
    series = write_series(stored=stored, transfer_syntax_uid=syntax)
    for plane, file in zip(stored, series.files, strict=True):
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == syntax
        np.testing.assert_array_equal(read_pixels(read_instance(file)), plane)


def test_lossy_jpeg_2000_is_decoded(write_series):
    smooth = np.add.outer(np.arange(64), np.arange(64))[np.newaxis].astype(np.int16)
    file = write_series(stored=smooth).files[0]
    dataset = pydicom.dcmread(file)
    dataset.compress(JPEG2000, generate_instance_uid=False, j2k_cr=[5])
    dataset.save_as(file)
    assert np.abs(read_pixels(read_instance(file)) - smooth[0]).max() < 8


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_transfer_syntaxes(write_series, syntax):
    series = write_series(shape=(1, 5, 4))
    dataset = pydicom.dcmread(series.files[0])
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = series.stored[0].astype(">i2").tobytes()
    little = syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(
        series.files[0], dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little, overwrite=True
    )
    np.testing.assert_array_equal(read_pixels(read_instance(series.files[0])), series.stored[0])


@pytest.mark.parametrize("syntax", [MPEG2, "1.2.840.113619.5.2"])
def test_undecodable_transfer_syntax_is_named(write_series, syntax):
    file = write_series(shape=(1, 5, 4)).files[0]
    data = file.read_bytes()
    plain = b"1.2.840.10008.1.2.1\0"
    padded = syntax.encode().ljust((len(syntax) + 1) // 2 * 2, b"\0")
    at = data.index(plain)
    changed = data[: at - 2] + len(padded).to_bytes(2, "little") + padded + data[at + len(plain) :]
    # (0002,0000) File Meta Information Group Length follows the preamble.
    length = int.from_bytes(changed[140:144], "little") + len(padded) - len(plain)
    with pytest.raises(UnsupportedTransferSyntax):
        read_instance(changed[:140] + length.to_bytes(4, "little") + changed[144:])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_a_cut_codestream_is_found_when_it_is_decoded(write_series, syntax):
    file = write_series(shape=(1, 64, 64), transfer_syntax_uid=syntax).files[0]
    dataset = pydicom.dcmread(file)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    dataset.save_as(file)
    with pytest.raises(TruncatedFile):
        read_pixels(read_instance(file))


def test_an_overlay_above_bits_stored_does_not_count(write_series):
    def overlay(dataset, _k):
        for plane in range(4):
            dataset.add_new((0x6000 + 2 * plane, 0x0102), "US", 12 + plane)
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelData = np.array([[0x0FFF, 0x7801], [0xF800, 0x0800]], np.uint16).tobytes()
        dataset.Rows = dataset.Columns = 2

    file = write_series(shape=(1, 2, 2), change=overlay).files[0]
    np.testing.assert_array_equal(read_pixels(read_instance(file)), [[-1, -2047], [-2048, -2048]])


def test_blemishes_of_real_files_neither_warn_nor_reach_the_log(write_series, caplog):
    def blemish(dataset, _k):
        dataset.StationName = "a station name that is far longer than sixteen characters"
        dataset.SpecificCharacterSet = "ISO_IR 999"
        dataset.PatientSize = ""
        dataset[0x00101030] = RawDataElement(Tag(0x00101030), "DS", 8, b"seventy ", 0, False, True)

    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("ignore")
        file = write_series(shape=(1, 4, 4), change=blemish).files[0]
        caplog.clear()
        warnings.simplefilter("error")
        instance = read_instance(file)
        assert attributes.text(instance.dataset, "StationName").startswith("a station")
        assert instance.patient.weight_kg is None
        with pytest.raises(InvalidAttribute) as caught:
            attributes.number(instance.dataset, "PatientWeight")
    assert "seventy" not in str(caught.value)
    assert not caplog.records


def test_missing_uid_is_named(write_series):
    file = write_series(shape=(1, 4, 4), attributes={"StudyInstanceUID": None}).files[0]
    with pytest.raises(MissingAttribute) as caught:
        read_instance(file)
    assert caught.value.metadata["keyword"] == "StudyInstanceUID"


def test_a_directory_leaves_out_what_is_no_instance_but_a_list_of_files_does_not(write_series):
    series = write_series()
    (series.directory / "notes.txt").write_text("not DICOM")
    study = read_study(series.directory)
    assert (len(study.instances), study.left_out) == (5, 1)
    with pytest.raises(NotDicom):
        read_study([*series.files, series.directory / "notes.txt"])


def test_an_empty_directory_has_no_images(tmp_path):
    with pytest.raises(NoImages):
        read_study(tmp_path)


def test_an_instance_sent_twice_counts_once_and_a_changed_one_is_refused(write_series, tmp_path):
    series = write_series()
    again = tmp_path / "again"
    shutil.copy(series.files[2], again)
    assert len(read_study([*series.files, again]).instances) == 5
    dataset = pydicom.dcmread(series.files[2])
    dataset.file_meta.ImplementationVersionName = "ANOTHER PACS"
    dataset.save_as(again)
    assert len(read_study([*series.files, again]).instances) == 5
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(again)
    with pytest.raises(DuplicateSlices):
        read_study([*series.files, again])


def test_a_dicomdir_is_recognized(examples):
    file = next((examples / "STS_019" / "CT").glob("*.dcm"))
    assert not is_media_directory(file.read_bytes()[:1024])
    head = b"\0" * 128 + b"DICM" + b"\2\0\2\0UI\x14\0" + b"1.2.840.10008.1.3.10"
    assert is_media_directory(head)
