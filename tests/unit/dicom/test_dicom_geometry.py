"""Slices to a grid, against SimpleITK's own reader and against the definition in the standard."""

import math

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.dicom.reading import read_instance
from oncoresponse.dicom.slice_geometry import stack_slices
from oncoresponse.dicom.study import convert_study, read_study
from oncoresponse.errors import (
    DuplicateSlices,
    GantryTilt,
    InvalidAttribute,
    MissingAttribute,
    MissingSlices,
    MixedOrientation,
    TooFewSlices,
    UnevenSlices,
)
from oncoresponse.model.definition import ImageInput
from scipy.spatial.transform import Rotation

COSINES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "flipped": (-1, 0, 0, 0, 1, 0),
    "head down": (-1, 0, 0, 0, -1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": tuple(Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()[:, :2].T.ravel()),
}


def _stack(series):
    return stack_slices([read_instance(file) for file in series.files])


@pytest.mark.parametrize("cosines", COSINES.values(), ids=COSINES)
def test_ct_equals_what_gdcm_reads(write_series, cosines):
    series = write_series(orientation=cosines, spacing_mm=(0.9, 1.7, 2.5))
    ours = convert_study(read_study(series.directory), ImageInput.any_of("CT")).volumes["CT"].image
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series.directory)))
    theirs = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs))
    np.testing.assert_allclose(ours.GetSpacing(), theirs.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(ours.GetOrigin(), theirs.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(ours.GetDirection(), theirs.GetDirection(), atol=1e-6)


@pytest.mark.parametrize("study", ["STS_019", "STS_032"])
def test_real_ct_equals_what_gdcm_reads(examples, study):
    ours = convert_study(read_study(examples / study), ImageInput.any_of("CT")).volumes["CT"].image
    reader = sitk.ImageSeriesReader()
    directory = str(examples / study / "CT")
    ids = reader.GetGDCMSeriesIDs(directory)
    names = max((reader.GetGDCMSeriesFileNames(directory, uid) for uid in ids), key=len)
    reader.SetFileNames(names)
    theirs = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs))
    np.testing.assert_allclose(ours.GetSpacing(), theirs.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(ours.GetOrigin(), theirs.GetOrigin(), atol=1e-6)


rotations = st.tuples(*[st.floats(-math.pi, math.pi)] * 3).map(lambda angles: Rotation.from_euler("zyx", angles))
spacings = st.tuples(st.floats(0.3, 6), st.floats(0.3, 6), st.floats(0.5, 10))


@given(rotation=rotations, spacing=spacings, order=st.permutations(range(4)))
@settings(max_examples=40, deadline=None)
def test_voxels_are_where_the_standard_says(write_series, rotation, spacing, order):
    series = write_series(shape=(4, 2, 3), spacing_mm=spacing, orientation=tuple(rotation.as_matrix()[:, :2].T.ravel()))
    study = read_study([series.files[n] for n in order])
    image = convert_study(study, ImageInput.any_of("CT")).volumes["CT"].image
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(image), series.stored - 1024)
    for k, file in enumerate(series.files):
        dataset = pydicom.dcmread(file)
        position, cosines = np.array(dataset.ImagePositionPatient), np.array(dataset.ImageOrientationPatient)
        for j in range(2):
            for i in range(3):
                # PS3.3 equation C.7.6.2.1-1
                expected = (
                    cosines[:3] * dataset.PixelSpacing[1] * i + cosines[3:] * dataset.PixelSpacing[0] * j + position
                )
                assert np.allclose(image.TransformIndexToPhysicalPoint((i, j, k)), expected, rtol=0, atol=1e-5)


def test_missing_slices_are_counted(write_series):
    series = write_series(shape=(9, 3, 3))
    with pytest.raises(MissingSlices) as caught:
        stack_slices([read_instance(file) for n, file in enumerate(series.files) if n not in (3, 4, 7)])
    assert caught.value.metadata["slices"] == "3"


def test_two_slices_in_one_place_are_refused(write_series):
    first = write_series(shape=(4, 3, 3), study="first")
    second = write_series(shape=(4, 3, 3), study="second")
    with pytest.raises(DuplicateSlices):
        stack_slices([read_instance(file) for file in (*first.files, second.files[1])])


def _shifted(shift):
    def change(dataset, k):
        dataset.ImagePositionPatient = [
            float(a) + b for a, b in zip(dataset.ImagePositionPatient, shift(k), strict=True)
        ]

    return change


def test_uneven_slices_are_refused(write_series):
    with pytest.raises(UnevenSlices):
        _stack(write_series(shape=(6, 3, 3), change=_shifted(lambda k: (0, 0, 0.1 * k * k))))


def test_slices_shifted_in_their_plane_are_refused(write_series):
    with pytest.raises(UnevenSlices):
        _stack(write_series(shape=(6, 3, 3), change=_shifted(lambda k: (2.0 * (k == 3), 0, 0))))


def test_a_step_at_a_bed_boundary_is_tolerated(write_series):
    # As in a Discovery ST whole-body PET: one step of 3.19 mm among steps of 3.27 mm.
    series = write_series(
        shape=(60, 2, 2), spacing_mm=(4.0, 4.0, 3.27), change=_shifted(lambda k: (0, 0, -0.08 if k > 30 else 0))
    )
    assert _stack(series).spacing_mm[2] == pytest.approx(3.27, abs=0.002)


@pytest.mark.parametrize("cosines", COSINES.values(), ids=COSINES)
def test_gantry_tilt_is_measured(write_series, cosines):
    lean = np.array(cosines[3:]) * 3.0 * math.tan(math.radians(12.0))
    series = write_series(shape=(6, 3, 3), orientation=cosines, change=_shifted(lambda k: tuple(lean * k)))
    with pytest.raises(GantryTilt) as caught:
        _stack(series)
    assert float(caught.value.metadata["degrees"]) == pytest.approx(12.0, abs=0.1)


@pytest.mark.parametrize(
    ("keyword", "value", "differing"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], "orientation"),
        ("PixelSpacing", [1.25, 1.6], "pixel spacing"),
        ("Rows", 3, "matrix size"),
    ],
)
def test_slices_that_differ_are_refused(write_series, keyword, value, differing):
    def change(dataset, k):
        if k == 2:
            setattr(dataset, keyword, value)

    with pytest.raises(MixedOrientation) as caught:
        _stack(write_series(change=change))
    assert caught.value.metadata["differing"] == differing


def test_too_few_slices(write_series):
    with pytest.raises(TooFewSlices):
        _stack(write_series(shape=(2, 3, 3)))


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_absent_geometry_is_named(write_series, keyword):
    with pytest.raises(MissingAttribute) as caught:
        _stack(write_series(attributes={keyword: None}))
    assert caught.value.metadata["keyword"] == keyword


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [2, 0, 0, 0, 1, 0]),
        ("PixelSpacing", [0, 1]),
        ("ImagePositionPatient", [0, 1]),
    ],
)
def test_impossible_geometry_is_named(write_series, keyword, value):
    with pytest.raises(InvalidAttribute) as caught:
        _stack(write_series(attributes={keyword: value}))
    assert caught.value.metadata["keyword"] == keyword
