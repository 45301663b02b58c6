"""Bits, sign, rescale and padding that contradict the values are refused; what the standard decides is done."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from oncoresponse.dicom.reading import read_instance, read_pixels
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.errors import InvalidAttribute
from oncoresponse.model.definition import ImageInput
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

GRADIENT = np.add.outer(np.arange(5) * 7, np.add.outer(np.arange(64) * 3, np.arange(64) * 5)).astype(np.int16)


def _refusal(call, *arguments):
    with pytest.raises(InvalidAttribute) as caught:
        call(*arguments)
    return caught.value.metadata["keyword"]


def _ct(series):
    volume = convert_study(read_study(series.directory), ImageInput.any_of("CT")).volumes["CT"]
    return sitk.GetArrayFromImage(volume.image)


def _raw(values, **attributes):
    def change(dataset, _k):
        dataset.PixelData = np.asarray(values).tobytes()
        dataset.Rows, dataset.Columns = np.asarray(values).shape
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)

    return change


@pytest.mark.parametrize(
    ("attributes", "keyword"),
    [
        ({"BitsStored": 17}, "BitsStored"),
        ({"BitsStored": 12, "HighBit": 15}, "HighBit"),
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "BitsAllocated"),
        ({"PixelRepresentation": 2}, "PixelRepresentation"),
        ({"BitsStored": 0, "HighBit": 0}, "BitsStored"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PhotometricInterpretation"),
    ],
)
def test_bits_that_contradict_each_other_are_refused_by_name(write_series, attributes, keyword):
    file = write_series(shape=(1, 4, 4), attributes=attributes).files[0]
    assert _refusal(read_pixels, read_instance(file)) == keyword


@pytest.mark.parametrize("signed", [0, 1])
def test_values_that_exceed_bits_stored_are_refused(write_series, signed):
    values = np.array([[0, 100], [5000, 30000]], np.uint16)
    change = _raw(values, BitsStored=12, HighBit=11, PixelRepresentation=signed)
    file = write_series(shape=(1, 2, 2), change=change).files[0]
    assert _refusal(read_pixels, read_instance(file)) == "BitsStored"


def test_unused_bits_may_hold_zeros_or_copies_of_the_sign_and_agree_with_gdcm(write_series):
    values = np.array([[0x0FFF, 0xFFFF], [0x07FF, 0xF800]], np.uint16)
    change = _raw(values, BitsStored=12, HighBit=11, PixelRepresentation=1, RescaleIntercept="0")
    file = write_series(shape=(1, 2, 2), change=change).files[0]
    found = read_pixels(read_instance(file))
    np.testing.assert_array_equal(found, [[-1, -1], [2047, -2048]])
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0])


def test_padding_outside_the_stored_bits_stays_padding(write_series):
    # GE: -2000 in sixteen bits around an image of twelve.
    planes = [np.array([[63536, 63536], [1024, 1100]], np.uint16)] * 3

    def change(dataset, k):
        _raw(planes[k], BitsStored=12, HighBit=11, PixelRepresentation=0)(dataset, k)
        dataset.PixelPaddingValue = 63536
        dataset["PixelPaddingValue"].VR = "US"

    found = _ct(write_series(shape=(3, 2, 2), change=change))
    np.testing.assert_array_equal(found[0], [[-1024, -1024], [0, 76]])


def test_a_ct_whose_negative_values_are_called_unsigned_is_refused(write_series):
    values = GRADIENT - 1000
    series = write_series(stored=values, attributes={"PixelRepresentation": 0, "RescaleIntercept": "0"})
    assert _refusal(_ct, series) == "PixelRepresentation"


def test_a_ct_whose_bones_are_called_negative_is_refused(write_series):
    values = (GRADIENT.astype(int) * 8).clip(0, 4095)
    assert values.max() > 2048
    change = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}
    assert _refusal(_ct, write_series(stored=values.astype(np.int16), attributes=change)) == "PixelRepresentation"


def test_noise_and_streaks_below_air_are_no_lost_sign(write_series):
    """Twelve and thirteen signed bits, with a sharp kernel's noise, streaks beside metal, and undeclared padding."""
    noisy = np.random.default_rng(5).normal(-1000, 100, (3, 40, 40)).round().astype(np.int16)
    noisy[:, 10:30, 10:30] = 40
    noisy[:, 20, 20:25], noisy[:, 21, 20:24] = 2047, (-1500, -1420, -1350, -1280)
    noisy[:, :3] = -2048
    for bits in (12, 13):
        attributes = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": 1, "RescaleIntercept": "0"}
        np.testing.assert_array_equal(_ct(write_series(stored=noisy, attributes=attributes)), noisy)


@pytest.mark.parametrize(
    ("slope", "intercept"), [("1", "-1024"), ("2", "0"), ("1", "3000")], ids=["twice", "slope", "intercept"]
)
def test_a_rescale_that_contradicts_the_density_of_a_body_is_refused(write_series, slope, intercept):
    hounsfield = np.random.default_rng(6).normal(-1000, 15, (3, 40, 40)).round().astype(np.int16)
    hounsfield[:, 10:30, 10:30] = np.random.default_rng(6).normal(45, 20, (3, 20, 20)).round()
    hounsfield[:, 15:17, 15:17] = 900
    assert _ct(write_series(stored=hounsfield, attributes={"RescaleIntercept": "0"})).max() == 900
    attributes = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    stored = hounsfield * 10 if slope == "2" else hounsfield
    assert _refusal(_ct, write_series(stored=stored, attributes=attributes)) == "RescaleIntercept"


def test_an_empty_ct_is_refused(write_series):
    assert _refusal(_ct, write_series(stored=np.zeros((3, 8, 8), np.int16))) == "RescaleIntercept"


def test_a_pet_whose_large_values_are_called_negative_is_refused(write_series):
    values = (GRADIENT.astype(int) * 120).astype(np.uint16).view(np.int16)
    assert values.min() < -10000
    series = write_series(modality="PT", stored=values)
    assert (
        _refusal(lambda: convert_study(read_study(series.directory), ImageInput.any_of("PT"))) == "PixelRepresentation"
    )


def test_a_ct_without_any_value_below_zero_is_refused(write_series):
    attributes = {"PixelRepresentation": 0, "RescaleIntercept": "0"}
    assert _refusal(_ct, write_series(stored=GRADIENT, attributes=attributes)) == "RescaleIntercept"


@pytest.mark.parametrize("modality", ["CT", "PT"])
def test_a_lookup_table_in_place_of_a_rescale_is_refused(write_series, modality):
    series = write_series(modality=modality, stored=GRADIENT, attributes={"ModalityLUTSequence": [Dataset()]})
    assert (
        _refusal(lambda: convert_study(read_study(series.directory), ImageInput.any_of(modality)))
        == "ModalityLUTSequence"
    )


@pytest.mark.parametrize("modality", ["CT", "PT"])
@pytest.mark.parametrize("slope", ["0", "-1"])
def test_a_slope_that_is_not_above_zero_is_refused(write_series, modality, slope):
    series = write_series(modality=modality, stored=GRADIENT, attributes={"RescaleSlope": slope})
    assert _refusal(lambda: convert_study(read_study(series.directory), ImageInput.any_of(modality))) == "RescaleSlope"


def test_padding_that_is_a_value_of_tissue_is_refused(write_series):
    attributes = {"PixelPaddingValue": 1024}
    assert _refusal(_ct, write_series(stored=GRADIENT + 800, attributes=attributes)) == "PixelPaddingValue"


def test_padding_of_a_pet_is_no_activity(write_series):
    stored = (GRADIENT * 20).astype(np.int16)
    stored[:, :3] = -32768
    series = write_series(modality="PT", stored=stored, attributes={"PixelPaddingValue": -32768})
    suv = sitk.GetArrayFromImage(
        convert_study(read_study(series.directory), ImageInput.any_of("PT")).volumes["PT"].image
    )
    assert suv[:, :3].max() == suv.min() == 0


def _compressed_as(write_series, syntax, encoded_attributes, claimed):
    file = write_series(stored=GRADIENT[:1], attributes=encoded_attributes, transfer_syntax_uid=syntax).files[0]
    dataset = pydicom.dcmread(file)
    for keyword, value in claimed.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file)
    return file


@pytest.mark.parametrize(
    ("syntax", "encoded", "claimed", "keyword"),
    [
        (JPEG2000Lossless, {"PixelRepresentation": 1}, {"PixelRepresentation": 0}, "PixelRepresentation"),
        (JPEG2000Lossless, {"PixelRepresentation": 0}, {"PixelRepresentation": 1}, "PixelRepresentation"),
        (JPEG2000Lossless, {}, {"BitsStored": 12, "HighBit": 11}, "BitsStored"),
        (JPEGLSLossless, {}, {"BitsStored": 12, "HighBit": 11}, "BitsStored"),
        (JPEGLSLossless, {"BitsStored": 12, "HighBit": 11}, {"BitsStored": 16, "HighBit": 15}, "BitsStored"),
    ],
)
def test_a_codestream_of_another_depth_or_sign_is_refused(write_series, syntax, encoded, claimed, keyword):
    file = _compressed_as(write_series, syntax, encoded, claimed)
    assert _refusal(read_pixels, read_instance(file)) == keyword


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_codestream_of_fewer_bits_gives_its_own_values(write_series, syntax):
    encoded = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
    file = _compressed_as(write_series, syntax, encoded, {"BitsStored": 16, "HighBit": 15})
    np.testing.assert_array_equal(read_pixels(read_instance(file)), GRADIENT[0])


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_signed_values_of_twelve_bits_keep_their_sign_when_compressed(write_series, syntax):
    attributes = {"BitsStored": 12, "HighBit": 11}
    series = write_series(stored=GRADIENT[:1] - 500, attributes=attributes, transfer_syntax_uid=syntax)
    np.testing.assert_array_equal(read_pixels(read_instance(series.files[0])), series.stored[0])
