"""How far PET and CT lie apart: on the samples, on shifts of known size, and where it cannot be seen."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.dicom.contours import ContourRequest
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.errors import FrameOfReferenceMismatch, GeometryMismatch
from oncoresponse.model.definition import ImageInput
from oncoresponse.segmentation.misregistration import (
    SHIFT_LIMIT_MM,
    measure_misregistration,
    with_misregistration,
)

REPOSITORY = Path(__file__).parents[3]
# One lattice step of 4 mm and what the shortest of the equally good shifts leaves out; docs/segmentation.md.
TOLERANCE_MM = 7.0


@cache
def sample(patient: str) -> tuple[Volume, Volume, Volume]:
    """PET, CT and the physician's contour of a sample study."""
    study = read_study(REPOSITORY / "examples" / patient)
    volumes = convert_study(study, ImageInput.any_of("PT", "CT")).volumes
    return volumes["PT"], volumes["CT"], read_contour(study, ContourRequest(), volumes["PT"]).mask


def moved(volume: Volume, shift_mm: tuple[float, float, float]) -> Volume:
    image = sitk.Image(volume.image)
    image.SetOrigin([start + step for start, step in zip(image.GetOrigin(), shift_mm, strict=True)])
    return volume.with_image(image, volume.quantity)


def summary(**changes: object) -> SegmentationSummary:
    values = {"method": "automatic", "volume_ml": 20.0, "component_count": 1, "touches_border": False, "device": "cpu"}
    return SegmentationSummary.model_validate(values | changes)


def test_the_sample_that_lies_apart_is_found_and_said() -> None:
    """The uptake of STS_019 lies partly in what its CT shows as air."""
    found = measure_misregistration(*sample("STS_019"))
    assert found.needs_review
    assert found.uptake_outside_ml == pytest.approx(1.9, abs=0.5)
    assert 5 < found.uptake_outside_mm < 10
    assert found.review_reason is not None
    assert found.review_reason.startswith("PET and CT lie at least 7 mm apart at the tumor: ")


def test_the_sample_that_fits_passes() -> None:
    found = measure_misregistration(*sample("STS_032"))
    assert found.outlines_apart_mm is not None
    assert found.outlines_apart_mm <= 4
    assert (found.uptake_outside_ml, found.needs_review, found.review_reason) == (0.0, False, None)


@pytest.mark.parametrize("shift_mm", [(16.0, 0.0, 0.0), (0.0, -20.0, 0.0), (16.0, -12.0, 8.0), (-12.0, 12.0, 0.0)])
def test_a_shift_of_known_size_is_recovered(shift_mm: tuple[float, float, float]) -> None:
    pet, ct, tumor = sample("STS_032")
    before = measure_misregistration(pet, ct, tumor).outline_shift_mm
    found = measure_misregistration(pet, moved(ct, shift_mm), tumor)
    assert found.outline_shift_mm is not None
    assert before is not None
    error = np.array(found.outline_shift_mm) - np.array(before) + np.array(shift_mm)
    assert np.linalg.norm(error) <= TOLERANCE_MM
    assert found.needs_review
    assert found.outlines_apart_mm is not None
    assert found.outlines_apart_mm >= SHIFT_LIMIT_MM


def test_the_shift_does_not_hang_on_the_order_of_slices_and_columns() -> None:
    pet, ct, tumor = sample("STS_032")
    ct = moved(ct, (16.0, -12.0, 0.0))
    turned = [
        item.with_image(sitk.DICOMOrient(item.image, orientation), item.quantity)
        for item, orientation in ((pet, "RAI"), (ct, "LPS"), (tumor, "RAI"))
    ]
    one, other = measure_misregistration(pet, ct, tumor), measure_misregistration(*turned)
    assert one.outline_shift_mm is not None
    assert other.outline_shift_mm is not None
    assert np.abs(np.subtract(one.outline_shift_mm, other.outline_shift_mm)).max() <= 4


def phantom(air: bool) -> tuple[Volume, Volume, Volume]:
    """A cylinder of tissue along the slices with a hot sphere, or tissue to all borders."""
    k, j, i = np.indices((30, 40, 40)) * 4.0 - np.array([60, 80, 80])[:, None, None, None]
    body = np.hypot(i, j) < (50 if air else 1000)
    tumor = np.sqrt(i**2 + j**2 + k**2) < 15
    frames = []
    for values in (np.where(tumor, 8.0, np.where(body, 1.0, 0.02)), np.where(body, 40.0, -1000.0), tumor):
        image = sitk.GetImageFromArray(values.astype(np.float32))
        image.SetSpacing((4.0, 4.0, 4.0))
        frames.append(image)
    return (
        Volume(frames[0], Quantity.SUV_BODY_WEIGHT, "1.2.3", "1.2.4"),
        Volume(frames[1], Quantity.HOUNSFIELD, "1.2.3", "1.2.5"),
        Volume(sitk.Cast(frames[2], sitk.sitkUInt8), Quantity.MASK, "1.2.3", "1.2.4"),
    )


def test_a_shift_across_a_cylinder_is_seen_and_one_along_it_is_not_invented() -> None:
    pet, ct, tumor = phantom(air=True)
    assert measure_misregistration(pet, ct, tumor).outline_shift_mm == (0.0, 0.0, 0.0)
    across = measure_misregistration(pet, moved(ct, (12.0, 0.0, 0.0)), tumor).outline_shift_mm
    assert across is not None
    assert np.abs(np.array(across) - (-12.0, 0.0, 0.0)).max() <= 4
    along = measure_misregistration(pet, moved(ct, (0.0, 0.0, 12.0)), tumor).outline_shift_mm
    assert along == (0.0, 0.0, 0.0)  # the outline does not show it: a lower bound


def test_at_the_edge_of_the_images_no_shift_is_invented() -> None:
    """STS_032 lies 0 mm apart; of its images cut through the tumor the outlines would say 20 mm."""
    pet, ct, tumor = sample("STS_032")
    slices = np.flatnonzero(sitk.GetArrayViewFromImage(tumor.image).any(axis=(1, 2)))
    end = int(slices[0] + 0.8 * (slices[-1] - slices[0]))
    cut = [volume.with_image(volume.image[:, :, :end], volume.quantity) for volume in (pet, tumor)]
    found = measure_misregistration(cut[0], ct, cut[1])
    assert found.outline_shift_mm is None
    assert not found.needs_review
    assert found.unmeasured_warning is not None


def test_without_an_outline_nothing_is_guessed() -> None:
    pet, ct, tumor = phantom(air=False)
    found = measure_misregistration(pet, ct, tumor)
    assert (found.outline_shift_mm, found.outlines_apart_mm, found.needs_review) == (None, None, False)
    assert found.unmeasured_warning is not None
    assert found.unmeasured_warning in with_misregistration(summary(), pet, ct, tumor).warnings


def test_a_network_contour_needs_review_and_a_supplied_one_is_warned_of() -> None:
    pet, ct, tumor = sample("STS_019")
    automatic = with_misregistration(summary(), pet, ct, tumor)
    assert automatic.needs_review
    assert "outside the body as the CT shows it" in automatic.review_reasons[0]
    supplied = with_misregistration(summary(method="supplied_rtstruct"), pet, ct, tumor)
    assert not supplied.needs_review
    assert automatic.review_reasons[0] in supplied.warnings
    assert with_misregistration(summary(), pet, None, tumor) == summary()


def test_positions_that_cannot_be_compared_are_refused() -> None:
    pet, ct, tumor = phantom(air=True)
    with pytest.raises(FrameOfReferenceMismatch):
        measure_misregistration(pet, Volume(ct.image, ct.quantity, "9.9", "1.2.5"), tumor)
    with pytest.raises(GeometryMismatch):
        measure_misregistration(pet, ct, moved(tumor, (1.0, 0.0, 0.0)))
