"""Small files that would become large are refused before anything is inflated or decoded."""

import resource
import struct
import zlib
from io import BytesIO

import numpy as np
import pydicom
import pytest
from oncoresponse.dicom.limits import DicomLimits
from oncoresponse.dicom.reading import read_instance
from oncoresponse.errors import DicomLimitExceeded, InvalidAttribute
from oncoresponse.rpc.settings import load_settings
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
)


def _refused(data, limits=None):
    with pytest.raises(DicomLimitExceeded) as caught:
        read_instance(data, limits or DicomLimits())
    return caught.value.metadata["limit"]


def test_a_deflated_file_is_refused_before_it_is_inflated(write_series):
    data = write_series(shape=(1, 4, 4)).files[0].read_bytes()
    end_of_meta = 132 + 12 + int.from_bytes(data[140:144], "little")
    plain, deflated = ExplicitVRLittleEndian.encode() + b"\0", DeflatedExplicitVRLittleEndian.encode()
    meta = data[:end_of_meta].replace(
        struct.pack("<H", len(plain)) + plain, struct.pack("<H", len(deflated)) + deflated
    )
    meta = meta[:140] + struct.pack("<L", len(meta) - 144) + meta[144:]
    large = data[end_of_meta:] + struct.pack("<HH2sHL", 0x7FE1, 0x0010, b"OB", 0, 1 << 29) + bytes(1 << 29)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = meta + deflater.compress(large) + deflater.flush()
    del large
    assert len(bomb) < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert _refused(bomb) == "inflated_bytes"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000
    small = DicomLimits(inflated_bytes=300)
    inflated = zlib.compressobj(9, zlib.DEFLATED, -15)
    assert _refused(meta + inflated.compress(data[end_of_meta:]) + inflated.flush(), small) == "inflated_bytes"


@pytest.mark.parametrize(("keyword", "value"), [("Rows", 60000), ("Columns", 60000), ("NumberOfFrames", 10**9)])
def test_a_header_that_claims_too_much_is_refused(write_series, keyword, value):
    file = write_series(shape=(1, 4, 4), attributes={keyword: value}).files[0]
    assert _refused(file) == {"Rows": "rows", "Columns": "columns", "NumberOfFrames": "frames"}[keyword]


def test_all_pixels_together_are_limited(write_series):
    assert _refused(write_series(shape=(1, 40, 40)).files[0], DicomLimits(decoded_bytes=3000)) == "decoded_bytes"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_codestream_that_claims_another_size_than_the_header_is_refused(write_series, syntax):
    file = write_series(shape=(1, 64, 64), transfer_syntax_uid=syntax).files[0]
    dataset = pydicom.dcmread(file)
    frame = bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    if syntax == JPEG2000Lossless:
        frame[8:16] = struct.pack(">LL", 60000, 60000)
    else:
        at = frame.index(b"\xff\xf7")
        frame[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset.save_as(file)
    with pytest.raises(InvalidAttribute) as caught:
        read_instance(file)
    assert caught.value.metadata["keyword"] == "Rows"


def test_sequences_within_each_other_are_limited(write_series):
    def nest(dataset, _k):
        for _ in range(80):
            outer = Dataset()
            outer.RequestAttributesSequence = [dataset.get("RequestAttributesSequence", [Dataset()])[0]]
            dataset.RequestAttributesSequence = [outer]

    assert _refused(write_series(shape=(1, 4, 4), change=nest).files[0]) == "nesting_depth"


def test_elements_and_items_are_limited(write_series):
    def fill(dataset, _k):
        dataset.RequestAttributesSequence = [Dataset() for _ in range(2000)]

    file = write_series(shape=(1, 4, 4), change=fill).files[0]
    read_instance(file)
    assert _refused(file, DicomLimits(elements=1000)) == "elements"


def test_a_large_file_is_refused_before_it_is_read(write_series):
    assert _refused(write_series(shape=(1, 40, 40)).files[0], DicomLimits(file_bytes=500)) == "file_bytes"


def test_limits_are_settings(monkeypatch, write_series):
    monkeypatch.setenv("ONCORESPONSE_DICOM_LIMITS", '{"rows": 30}')
    assert load_settings().dicom_limits == DicomLimits(rows=30)
    assert _refused(write_series(shape=(1, 40, 40)).files[0], load_settings().dicom_limits) == "rows"


def test_a_multi_frame_segmentation_of_ordinary_size_is_within_the_limits():
    # 52,000 frames of 512 x 512 in one bit: 104 structures on 500 slices.
    assert DicomLimits().frames >= 104 * 500
    assert 104 * 500 * 512 * 512 / 8 > DicomLimits().decoded_bytes > 104 * 300 * 512 * 512 / 8


def test_a_deflated_file_within_the_limits_is_read(write_series):
    file = write_series(shape=(1, 40, 40)).files[0]
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = BytesIO()
    dataset.save_as(buffer)
    found = read_instance(buffer.getvalue())
    assert found.dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    assert np.array_equal(found.dataset.Rows, 40)
