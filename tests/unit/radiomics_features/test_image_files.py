"""A file that breaks off is refused: ITK would read zeros where it ends."""

import numpy as np
import pytest
import SimpleITK as sitk
from oncoradiomics.errors import ImageFileError
from oncoradiomics.image_files import read_image


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "nrrd", "mha"])
@pytest.mark.parametrize("pixel_type", [sitk.sitkFloat32, sitk.sitkInt16, sitk.sitkUInt8])
def test_image_is_read_whole_or_not_at_all(tmp_path, suffix, pixel_type):
    values = np.random.default_rng(1).integers(0, 200, size=(9, 8, 7))
    path = tmp_path / f"image.{suffix}"
    sitk.WriteImage(sitk.Cast(sitk.GetImageFromArray(values), pixel_type), str(path))
    whole = path.read_bytes()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path)), values)
    for kept in (len(whole) - 1, len(whole) - 40):
        path.write_bytes(whole[:kept])
        with pytest.raises(ImageFileError) as refused:
            read_image(path)
        assert str(tmp_path) not in str(refused.value)


def test_compressed_image_with_changed_bytes_is_refused(tmp_path):
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(1).normal(size=(9, 8, 7))), str(path))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(ImageFileError):
        read_image(path)


def test_pair_of_header_and_image_is_read(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "image.hdr"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(tmp_path / "image.hdr")), values)
