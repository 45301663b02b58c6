"""Volumes keep their geometry: checked against SimpleITK's own transform of index to point."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume, read_volume, require_same_grid, resample_to, same_grid, write_volume
from oncoresponse.errors import FrameOfReferenceMismatch, GeometryMismatch
from scipy.spatial.transform import Rotation

FRAME = "1.2.826.0.1.3680043.8.498.1"


def make_volume(size=(5, 4, 3), spacing=(0.9765625, 1.3, 3.27), rotation=(0, 0, 0), flip=False, frame=FRAME):
    image = sitk.Image(list(size), sitk.sitkFloat32)
    array = np.arange(np.prod(size), dtype=np.float32).reshape(size[::-1])
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-123.456789012, 45.1, -1000.25))
    direction = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix()
    if flip:
        direction = direction @ np.diag([1, 1, -1])
    image.SetDirection(direction.ravel())
    return Volume(image, Quantity.SUV_BODY_WEIGHT, frame, "1.2.3")


angles = st.tuples(*[st.floats(-180, 180, allow_nan=False) for _ in range(3)])


@settings(max_examples=30, deadline=None)
@given(rotation=angles, flip=st.booleans())
def test_written_and_read_volume_has_every_voxel_at_the_same_point(tmp_path_factory, rotation, flip):
    volume = make_volume(rotation=rotation, flip=flip)
    path = tmp_path_factory.mktemp("volume") / "volume.nrrd"
    write_volume(volume, path)
    again = read_volume(path)
    for index in [(0, 0, 0), (4, 3, 2), (2, 1, 0)]:
        assert again.image.TransformIndexToPhysicalPoint(index) == pytest.approx(
            volume.image.TransformIndexToPhysicalPoint(index), abs=1e-9
        )
    assert np.array_equal(again.array, volume.array)
    assert again.quantity is volume.quantity
    assert again.frame_of_reference_uid == FRAME
    require_same_grid(volume, again)


def test_same_volume_gives_same_bytes(tmp_path: Path):
    for name in ("a.nrrd", "b.nrrd"):
        write_volume(make_volume(rotation=(10, 20, 30)), tmp_path / name)
    assert (tmp_path / "a.nrrd").read_bytes() == (tmp_path / "b.nrrd").read_bytes()


def test_file_without_frame_of_reference_is_refused(tmp_path: Path):
    sitk.WriteImage(make_volume().image, str(tmp_path / "plain.nrrd"))
    with pytest.raises(GeometryMismatch):
        read_volume(tmp_path / "plain.nrrd")


@pytest.mark.parametrize(
    "change",
    [
        {"size": (5, 4, 4)},
        {"spacing": (0.98, 1.3, 3.27)},
        {"rotation": (0, 0, 0.1)},
        {"flip": True},
    ],
)
def test_another_grid_is_refused(change):
    with pytest.raises(GeometryMismatch):
        require_same_grid(make_volume(), make_volume(**change))


def test_another_frame_of_reference_is_refused():
    with pytest.raises(FrameOfReferenceMismatch):
        require_same_grid(make_volume(), make_volume(frame="1.2.9"))


def test_rounding_of_the_last_digit_is_not_another_grid():
    first, second = make_volume().image, make_volume().image
    second.SetOrigin([value + 5e-6 for value in first.GetOrigin()])
    assert same_grid(first, second)


def test_resampling_between_oblique_grids_keeps_a_ramp_in_patient_space():
    """A field that is linear in LPS must stay the same function of position on any other grid."""
    source = make_volume(size=(30, 30, 20), spacing=(2.0, 2.0, 3.0), rotation=(15, -10, 30))

    def ramp(image):
        size = image.GetSize()
        points = np.array(
            [
                image.TransformIndexToPhysicalPoint((i, j, k))
                for k in range(size[2])
                for j in range(size[1])
                for i in range(size[0])
            ]
        )
        return (points @ np.array([0.3, -0.2, 0.5])).reshape(size[::-1])

    filled = sitk.GetImageFromArray(ramp(source.image).astype(np.float64))
    filled.CopyInformation(source.image)
    center = source.image.TransformContinuousIndexToPhysicalPoint((14.5, 14.5, 9.5))
    target = sitk.Image([6, 6, 6], sitk.sitkFloat64)
    target.SetSpacing((1.5, 1.0, 2.5))
    target.SetDirection(np.diag([1.0, -1.0, 1.0]).ravel())
    target.SetOrigin([center[0] - 4, center[1] + 3, center[2] - 6])
    result = resample_to(filled, target, interpolator=sitk.sitkLinear, outside=-1e6)
    assert sitk.GetArrayFromImage(result) == pytest.approx(ramp(target), abs=1e-6)
