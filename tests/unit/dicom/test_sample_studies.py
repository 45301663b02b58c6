"""The sample studies of ``examples/`` are what they say they are, for us, for pydicom, highdicom and SimpleITK."""

from __future__ import annotations

import filecmp
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.slice_geometry import stack_slices, volume_of_stack
from oncoresponse.dicom.study import DicomStudy, convert_study, read_contour, read_study
from oncoresponse.errors import AmbiguousSeries
from oncoresponse.model.definition import ImageInput
from pydicom import dcmread
from scipy import ndimage

# The samples, and what is made of them, keep what scanners and archives wrote against the standard.
pytestmark = pytest.mark.filterwarnings("ignore:The value length:UserWarning")

EXAMPLES = Path(__file__).parents[3] / "examples"
MADE = ("STS_032_TWO_LESIONS", "BREAST_DCE")
PHASES = ("pre", "post_1", "post_2", "post_3")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def truth(name: str) -> dict:
    return json.loads((EXAMPLES / "ground_truth" / f"{name}.json").read_text())


def contour_masks(study: DicomStudy, names: tuple[str, ...], grid: Volume) -> list[np.ndarray]:
    return [read_contour(study, ContourRequest(structure_name=name), grid).mask.array > 0 for name in names]


def grid_of(study: DicomStudy, folder: Path) -> Volume:
    """The series of a folder, a voxel's stored value as its value."""
    uid = dcmread(files(folder)[0]).SeriesInstanceUID
    series = next(member for member in study.series if member.series_instance_uid == uid)
    stack = stack_slices(series.slices)
    array = np.stack([dcmread(instance.path).pixel_array for instance in stack.instances])
    return volume_of_stack(stack, array, Quantity.MASK)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


# --- how they are made -----------------------------------------------------------------------------


@pytest.mark.slow
def test_each_made_study_is_made_again_byte_for_byte(tmp_path):
    subprocess.run([sys.executable, "-W", "error", EXAMPLES / "make_studies.py", tmp_path], check=True)
    made = {path.relative_to(tmp_path) for path in files(tmp_path)}
    kept = {
        path.relative_to(EXAMPLES)
        for folder in (*MADE, "segmentations", "ground_truth")
        for path in files(EXAMPLES / folder)
    }
    assert made == kept
    assert [name for name in made if not filecmp.cmp(tmp_path / name, EXAMPLES / name, shallow=False)] == []


def test_the_sample_magnetic_resonance_is_as_published():
    """SHA-256 over the files in order of their names; nothing in them was altered."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files(EXAMPLES / "STS_032_MR")))
    assert digest.hexdigest() == "3614917c5dcf689c451c53af71c81c7198e6f423adac13cd1d9d2070309fe827"


@pytest.mark.parametrize("name", [*MADE, "STS_032_MR"])
def test_a_sample_stays_small(name):
    assert sum(path.stat().st_size for path in files(EXAMPLES / name)) < 2_000_000


@pytest.mark.parametrize("name", [*MADE, "segmentations"])
def test_made_objects_have_no_error_by_dciodvfy(name, require_installed):
    """Every seventh slice, and each contour: slices differ in pixels and position alone."""
    require_installed("dicom3tools", "dciodvfy")
    chosen = [path for path in files(EXAMPLES / name) if not path.stem.isdigit() or int(path.stem) % 7 == 0]
    for path in chosen:
        found = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        said = (found.stdout + found.stderr).splitlines()
        assert [line for line in said if line.startswith("Error")] == [], path.name


@pytest.mark.parametrize(
    ("folder", "modality"),
    [
        *((f"BREAST_DCE/{phase}", "MR") for phase in PHASES),
        ("STS_032_TWO_LESIONS/PET", "PT"),
        ("STS_032_TWO_LESIONS/CT", "CT"),
        ("STS_032_MR/MR_T1", "MR"),
    ],
)
def test_the_grid_is_the_same_for_us_and_for_highdicom_and_itk(folder, modality):
    study = read_study(EXAMPLES / folder)
    own = grid_of(study, EXAMPLES / folder)
    slices = [dataset for path in files(EXAMPLES / folder) if (dataset := dcmread(path)).Modality == modality]
    # STS_032 has directions that are off by the last digit of a float.
    theirs = highdicom.get_volume_from_series(slices, rtol=0.01)
    # highdicom counts slices so that the axes (k, j, i) are right-handed, we count so that (i, j, k) are.
    theirs = theirs.flip_spatial(0) if np.linalg.det(theirs.affine[:3, [2, 1, 0]]) < 0 else theirs
    columns = theirs.affine[:3, [2, 1, 0]]
    spacing = np.linalg.norm(columns, axis=0)
    assert own.image.GetSpacing() == pytest.approx(spacing, abs=1e-5)
    assert np.reshape(own.image.GetDirection(), (3, 3)) == pytest.approx(columns / spacing, abs=1e-6)
    assert own.image.GetOrigin() == pytest.approx(theirs.affine[:3, 3], abs=1e-4)

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(EXAMPLES / folder), slices[0].SeriesInstanceUID))
    image = reader.Execute()
    assert image.GetSize() == own.image.GetSize()
    assert image.GetSpacing() == pytest.approx(own.image.GetSpacing(), abs=1e-4)
    assert image.GetOrigin() == pytest.approx(own.image.GetOrigin(), abs=1e-4)
    assert image.GetDirection() == pytest.approx(own.image.GetDirection(), abs=1e-5)


# --- PET/CT with two lesions -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_lesions():
    study = read_study(EXAMPLES / "STS_032_TWO_LESIONS")
    return study, convert_study(study, ImageInput.any_of("PT", "CT")).volumes


@pytest.fixture(scope="module")
def one_lesion():
    study = read_study(EXAMPLES / "STS_032")
    return study, convert_study(study, ImageInput.any_of("PT", "CT")).volumes


def test_two_lesions_lie_apart_and_have_their_volumes(two_lesions):
    study, volumes = two_lesions
    pet = volumes["PT"]
    stated = truth("STS_032_TWO_LESIONS")
    masks = contour_masks(study, ("GTV-1", "GTV-2"), pet)
    spacing = pet.image.GetSpacing()[::-1]
    for mask, lesion in zip(masks, stated["lesions"], strict=True):
        drawn = mask.sum() * pet.geometry.voxel_volume_mm3 / 1000
        assert drawn == pytest.approx(lesion["volume_of_contour_ml"], rel=0.02)
        assert pet.array[mask].max() == pytest.approx(lesion["suv_max"], abs=0.01)
    gap = ndimage.distance_transform_edt(~masks[0], spacing)[masks[1]].min()
    assert gap == pytest.approx(stated["gap_between_voxel_centers_mm"], abs=0.1)
    assert gap > 10
    assert ndimage.label(masks[0] | masks[1])[1] == 2
    # The second is the first made smaller.
    first, second = (lesion["volume_of_contour_ml"] for lesion in stated["lesions"])
    assert second / first == pytest.approx(stated["second_lesion"]["linear_scale"] ** 3, rel=0.02)


def test_the_first_lesion_and_all_else_is_the_sample(two_lesions, one_lesion):
    (study, volumes), (sample, own) = two_lesions, one_lesion
    for modality, step in (("PT", 16 / 32767), ("CT", 0)):
        assert volumes[modality].geometry.size == own[modality].geometry.size
        changed = np.abs(volumes[modality].array.astype(float) - own[modality].array) > step
        assert changed.any()
        # Nothing but the nine slices of the second lesion and its soft edge.
        planes = np.flatnonzero(changed.any(axis=(1, 2)))
        assert planes.min() > 40
        assert changed.sum() * volumes[modality].geometry.voxel_volume_mm3 / 1000 < 2.5 * 8.16
    original = read_contour(sample, ContourRequest(), own["PT"]).mask.array > 0
    (first,) = contour_masks(study, ("GTV-1",), volumes["PT"])
    assert np.array_equal(first, original)


def test_the_second_lesion_stands_out_in_pet_and_not_in_ct(two_lesions, one_lesion):
    study, volumes = two_lesions
    (second,) = contour_masks(study, ("GTV-2",), volumes["PT"])
    assert volumes["PT"].array[second].mean() > 4 * one_lesion[1]["PT"].array[second].mean()
    on_ct = sitk.Resample(
        volumes["CT"].image, volumes["PT"].image, sitk.Transform(), sitk.sitkLinear, -1000.0, sitk.sitkFloat32
    )
    density = sitk.GetArrayFromImage(on_ct)[second]
    assert 0 < density.mean() < 80, "soft tissue"


def test_the_segments_are_the_contours(two_lesions):
    study, volumes = two_lesions
    segments = read_study(
        [
            *(path for path in files(EXAMPLES / "STS_032_TWO_LESIONS") if path.name != "RTSTRUCT.dcm"),
            EXAMPLES / "segmentations" / "STS_032_TWO_LESIONS.dcm",
        ]
    )
    names = ("GTV-1", "GTV-2")
    for mask, segment in zip(
        contour_masks(study, names, volumes["PT"]), contour_masks(segments, names, volumes["PT"]), strict=True
    ):
        assert overlap(mask, segment) > 0.99


def test_no_lesion_is_taken_for_the_only_one(two_lesions):
    study, volumes = two_lesions
    with pytest.raises(AmbiguousSeries, match="#1, #2"):
        read_contour(study, ContourRequest(), volumes["PT"])


# --- dynamic contrast-enhanced MR ------------------------------------------------------------------


@pytest.fixture(scope="module")
def breast():
    study = read_study(EXAMPLES / "BREAST_DCE")
    return study, [grid_of(study, EXAMPLES / "BREAST_DCE" / phase) for phase in PHASES]


def test_phases_are_ordered_in_time_and_contrast_comes_after_the_first():
    first = [dcmread(EXAMPLES / "BREAST_DCE" / phase / "000000.dcm") for phase in PHASES]
    times = [dataset.AcquisitionTime for dataset in first]
    assert times == sorted(set(times))
    assert [dataset.TemporalPositionIndex for dataset in first] == [1, 2, 3, 4]
    assert [dataset.TemporalPositionIdentifier for dataset in first] == [1, 2, 3, 4]
    assert ["ContrastBolusAgent" in dataset for dataset in first] == [False, True, True, True]
    assert times[0] < first[1].ContrastBolusStartTime < times[1]
    assert [phase["acquisition_time"] for phase in truth("BREAST_DCE")["phases"]] == times
    assert len({dataset.SeriesInstanceUID for dataset in first}) == len({d.SeriesDescription for d in first}) == 4
    for shared in ("StudyInstanceUID", "FrameOfReferenceUID", "BodyPartExamined", "Laterality"):
        assert len({dataset[shared].value for dataset in first}) == 1
    assert (first[0].BodyPartExamined, first[0].Laterality, first[0].PatientSex) == ("BREAST", "L", "F")


def test_phases_are_on_one_oblique_anisotropic_grid(breast):
    _, phases = breast
    geometry = phases[0].geometry
    assert all(phase.geometry == geometry for phase in phases)
    assert geometry.spacing_mm == pytest.approx((1.25, 1.25, 2.4))
    tilt = math.degrees(math.acos(geometry.direction[8]))
    assert 5 < tilt < 15


def test_the_tumor_has_the_volume_and_extents_of_its_ellipsoid(breast):
    study, phases = breast
    stated = truth("BREAST_DCE")["tumor"]
    axes, semi_axes = np.array(stated["axes"]), np.array(stated["semi_axes_mm"])
    assert stated["volume_ml"] == pytest.approx(4 / 3 * math.pi * semi_axes.prod() / 1000, rel=1e-4)
    normal = np.reshape(phases[1].geometry.direction, (3, 3))[:, 2]
    extent = 2 * float(np.linalg.norm(semi_axes * (axes @ normal)))
    assert stated["extent_along_slice_normal_mm"] == pytest.approx(extent, abs=0.01)

    (mask,) = contour_masks(study, ("GTV",), phases[1])
    voxel_ml = phases[1].geometry.voxel_volume_mm3 / 1000
    assert mask.sum() * voxel_ml == pytest.approx(stated["volume_ml"], rel=0.01)
    planes = np.flatnonzero(mask.any(axis=(1, 2)))
    slice_extent = len(planes) * phases[1].geometry.spacing_mm[2]
    assert slice_extent == pytest.approx(truth("BREAST_DCE")["slice_extent_of_segment_mm"])
    assert slice_extent == pytest.approx(extent, abs=2.4)
    k, j, i = np.argwhere(mask).mean(axis=0)
    center = phases[1].image.TransformContinuousIndexToPhysicalPoint((i, j, k))
    assert center == pytest.approx(stated["center_mm"], abs=0.3)

    images = [path for path in files(EXAMPLES / "BREAST_DCE") if path.name != "RTSTRUCT.dcm"]
    with_segment = read_study([*images, EXAMPLES / "segmentations" / "BREAST_DCE.dcm"])
    assert overlap(mask, contour_masks(with_segment, ("GTV",), phases[1])[0]) > 0.99
    # In another phase, in the same frame of reference, it lies in the same place.
    by_uid = ContourRequest(sop_instance_uid=dcmread(EXAMPLES / "BREAST_DCE" / "RTSTRUCT.dcm").SOPInstanceUID)
    assert np.array_equal(read_contour(study, by_uid, phases[3]).mask.array > 0, mask)


def test_the_tumor_takes_up_contrast_fast_and_washes_out_and_the_gland_does_neither(breast):
    study, phases = breast
    (mask,) = contour_masks(study, ("GTV",), phases[1])
    curve = np.array([phase.array[mask].mean() for phase in phases])
    assert curve[1] > 1.6 * curve[0]
    assert curve[1] > curve[2] > curve[3] > 1.5 * curve[0]
    around = ndimage.binary_dilation(mask, iterations=7) & ~ndimage.binary_dilation(mask, iterations=4)
    gland = np.array([phase.array[around].mean() for phase in phases])
    assert (np.diff(gland) > 0).all()
    assert gland[1] < 1.25 * gland[0]


def test_what_the_breast_model_asks_about_the_patient_is_stated():
    model = EXAMPLES.parent / "models" / "breast-nac" / "model.yaml"
    stated = truth("BREAST_DCE")["covariates"]
    assert all(f"name: {name}," in model.read_text() for name in stated)
    assert dcmread(EXAMPLES / "BREAST_DCE" / "pre" / "000000.dcm").PatientAge == f"{stated['age_years']:03}Y"


# --- the patient's MR ------------------------------------------------------------------------------


def test_the_sample_magnetic_resonance_shares_patient_and_frame_with_its_pet_and_holds_the_tumor():
    """Its contour, drawn for the MR, encloses what the physicians drew on PET, to the width of a voxel of PET."""
    study = read_study(EXAMPLES / "STS_032_MR")
    grid = grid_of(study, EXAMPLES / "STS_032_MR" / "MR_T1")
    mask = read_contour(study, ContourRequest(), grid).mask
    pet_study = read_study(EXAMPLES / "STS_032")
    pet = convert_study(pet_study, ImageInput.any_of("PT")).volumes["PT"]
    assert grid.frame_of_reference_uid == pet.frame_of_reference_uid
    assert study.instances[0].study_instance_uid == pet_study.instances[0].study_instance_uid
    drawn = (mask.array > 0).sum() * grid.geometry.voxel_volume_mm3 / 1000
    on_pet = (read_contour(pet_study, ContourRequest(), pet).mask.array > 0).sum()
    assert drawn == pytest.approx(on_pet * pet.geometry.voxel_volume_mm3 / 1000, rel=0.03)
