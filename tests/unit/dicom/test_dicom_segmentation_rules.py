"""What becomes of awkward DICOM Segmentations (PS3.3 C.8.20), and of contours that no physician drew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.contours import Contour
from oncoresponse.dicom.study import read_contour, read_study
from oncoresponse.errors import (
    AmbiguousSeries,
    AutomaticContour,
    ContourGap,
    ContourNotFound,
    ContourOutsideImage,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from scipy.spatial.transform import Rotation

Draw = Callable[..., Any]
SHAPE = (12, 20, 24)
OBLIQUE = tuple(Rotation.from_euler("xyz", [15, 40, -25], degrees=True).as_matrix()[:, :2].T.ravel())
ALGORITHM = highdicom.AlgorithmIdentificationSequence(
    name="Other", family=codes.DCM.ArtificialIntelligence, version="1"
)


def block(slices: slice, rows: slice, columns: slice) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[slices, rows, columns] = 1
    return array


BLOCK = block(slice(3, 6), slice(4, 10), slice(5, 13))


def write_segmentation(
    files: Sequence[Path],
    array: np.ndarray,
    path: Path,
    *,
    labels: Sequence[str] = ("GTV",),
    kind: str = "BINARY",
    algorithms: Sequence[str] = ("MANUAL",),
    change: Callable[[Dataset], None] | None = None,
) -> Path:
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm,
            algorithm_type=algorithm,
            algorithm_identification=None if algorithm == "MANUAL" else ALGORITHM,
        )
        for number, (label, algorithm) in enumerate(zip(labels, algorithms, strict=True), start=1)
    ]
    written = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(file) for file in files],
        pixel_array=array,
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(entropy_srcs=[str(path)]),
        instance_number=1,
        manufacturer="Test",
        manufacturer_model_name="Test",
        software_versions="1",
        device_serial_number="1",
    )
    if change is not None:
        change(written)
    written.save_as(path)
    return path


def read(drawing: Any, *paths: Path, **request: str) -> Contour:
    return read_contour(read_study([*drawing.files, *paths]), ContourRequest(**request), drawing.grid)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), OBLIQUE])
def test_a_label_map_is_read_as_any_segmentation(draw: Draw, tmp_path: Path, orientation: Any) -> None:
    drawing = draw(orientation=orientation)
    labels = BLOCK + 2 * block(slice(7, 9), slice(2, 5), slice(2, 5))
    path = write_segmentation(
        drawing.files, labels, tmp_path / "seg", labels=("GTV", "Other"), kind="LABELMAP", algorithms=["MANUAL"] * 2
    )
    assert pydicom.dcmread(path).SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    np.testing.assert_array_equal(read(drawing, path, structure_name="GTV").mask.array, BLOCK)
    np.testing.assert_array_equal(read(drawing, path, structure_name="#2").mask.array, labels == 2)


def test_segments_of_one_label_are_told_apart_by_number(draw: Draw, tmp_path: Path) -> None:
    drawing = draw()
    other = block(slice(8, 9), slice(1, 4), slice(1, 4))
    path = write_segmentation(
        drawing.files,
        np.stack([BLOCK, other], axis=-1),
        tmp_path / "seg",
        labels=("Lesion", "Lesion"),
        algorithms=["MANUAL"] * 2,
    )
    for name in ("", "Lesion"):
        with pytest.raises(AmbiguousSeries, match="#1, #2"):
            read(drawing, path, structure_name=name)
    np.testing.assert_array_equal(read(drawing, path, structure_name="#2").mask.array, other)
    with pytest.raises(ContourNotFound):
        read(drawing, path, structure_name="#3")


def _without_series(dataset: Dataset) -> None:
    del dataset.ReferencedSeriesSequence


def _shared_source_only(dataset: Dataset) -> None:
    _without_series(dataset)
    frames = dataset.PerFrameFunctionalGroupsSequence
    dataset.SharedFunctionalGroupsSequence[0].DerivationImageSequence = frames[0].DerivationImageSequence
    for frame in frames:
        del frame.DerivationImageSequence


@pytest.mark.parametrize("change", [_without_series, _shared_source_only], ids=["each frame", "shared"])
def test_a_segmentation_is_found_by_its_source_images_alone(
    draw: Draw, tmp_path: Path, change: Callable[[Dataset], None]
) -> None:
    drawing = draw()
    path = write_segmentation(drawing.files, BLOCK, tmp_path / "seg", change=change)
    np.testing.assert_array_equal(read(drawing, path).mask.array, BLOCK)


def test_frames_on_every_second_slice_are_not_made_twice_as_thick(draw: Draw, tmp_path: Path) -> None:
    """Without Spacing Between Slices, and with it."""
    drawing = draw()
    array = BLOCK.copy()
    array[4] = 0
    array[7] = BLOCK[3]

    def without_spacing(dataset: Dataset) -> None:
        del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices

    for change in (None, without_spacing):
        with pytest.raises(ContourGap):
            read(drawing, write_segmentation(drawing.files, array, tmp_path / "seg", change=change))


def test_a_segmentation_made_on_every_second_image_is_not_made_twice_as_thick(draw: Draw, tmp_path: Path) -> None:
    """Spacing Between Slices is then the distance of those images, Slice Thickness their own."""
    drawing = draw()
    array = block(slice(1, 4), slice(4, 10), slice(5, 13))[:6]
    path = write_segmentation(drawing.files[::2], array, tmp_path / "seg")
    measures = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SpacingBetweenSlices, measures.SliceThickness) == (4.0, 2.0)
    with pytest.raises(ContourGap):
        read(drawing, path)


def test_an_empty_slice_in_a_segment_is_told_and_not_filled(draw: Draw, tmp_path: Path) -> None:
    drawing = draw()
    array = block(slice(2, 9), slice(4, 10), slice(5, 13))
    array[5] = 0
    contour = read(drawing, write_segmentation(drawing.files, array, tmp_path / "seg"))
    np.testing.assert_array_equal(contour.mask.array, array)
    assert contour.warnings == (
        "Contour: The segment is empty on slice 6 between its first and last (nothing filled, 0 ml).",
    )


def test_a_segment_on_slices_that_the_image_lacks_is_told_or_refused(
    draw: Draw, tmp_path: Path, write_series: Callable[..., Any]
) -> None:
    longer = write_series(shape=(15, 20, 24), spacing_mm=(1.0, 1.0, 2.0), series="longer")
    drawing = draw()
    uid = generate_uid(entropy_srcs=[str(tmp_path / "seg")])
    for first, told in ((1, True), (10, False)):
        array = np.zeros((15, 20, 24), np.uint8)
        array[first:13, 4:10, 5:13] = 1
        path = write_segmentation(longer.files, array, tmp_path / "seg")
        if told:
            contour = read(drawing, path, sop_instance_uid=uid)
            np.testing.assert_array_equal(contour.mask.array, array[:12])
            assert contour.warnings == (
                "Contour: 0.096 ml on 1 slice after the last lie outside the image and are not in the mask.",
            )
        else:
            with pytest.raises(ContourOutsideImage):
                read(drawing, path, sop_instance_uid=uid)


def test_a_segment_of_a_finer_grid_keeps_its_volume(
    draw: Draw, tmp_path: Path, write_series: Callable[..., Any]
) -> None:
    drawing = draw()
    fine = write_series(shape=(24, 40, 48), spacing_mm=(0.5, 0.5, 1.0), origin_mm=(-20.25, -30.25, 39.5), series="fine")
    array = np.repeat(np.repeat(np.repeat(BLOCK, 2, 0), 2, 1), 2, 2)
    path = write_segmentation(fine.files, array, tmp_path / "seg")
    contour = read(drawing, path, sop_instance_uid=generate_uid(entropy_srcs=[str(path)]))
    np.testing.assert_array_equal(contour.mask.array, BLOCK)
    assert contour.warnings == ()


def test_a_thin_segment_that_sampling_changes_is_told(
    draw: Draw, tmp_path: Path, write_series: Callable[..., Any]
) -> None:
    drawing = draw()
    fine = write_series(shape=(60, 20, 24), spacing_mm=(1.0, 1.0, 0.4), series="fine")
    array = np.zeros((60, 20, 24), np.uint8)
    array[19:21, 4:10, 5:13] = 1
    path = write_segmentation(fine.files, array, tmp_path / "seg")
    contour = read(drawing, path, sop_instance_uid=generate_uid(entropy_srcs=[str(path)]))
    assert "0.038 ml on the grid it was drawn on became 0.096 ml" in contour.warnings[0]


def test_an_automatic_segmentation_is_used_only_when_named_and_told(draw: Draw, tmp_path: Path) -> None:
    drawing = draw()
    automatic = write_segmentation(drawing.files, BLOCK, tmp_path / "automatic", algorithms=["AUTOMATIC"])
    with pytest.raises(AutomaticContour) as refused:
        read(drawing, automatic)
    assert refused.value.reason == "AUTOMATIC_CONTOUR"
    with pytest.raises(AutomaticContour):
        read(drawing, automatic, structure_name="GTV")
    contour = read(drawing, automatic, sop_instance_uid=generate_uid(entropy_srcs=[str(automatic)]))
    np.testing.assert_array_equal(contour.mask.array, BLOCK)
    assert contour.algorithm_type == "AUTOMATIC"
    assert "no physician drew or corrected it" in contour.warnings[0]


@pytest.mark.parametrize(("spelling", "meaning"), [("AUTO", "AUTOMATIC"), ("SEMIAUTO", "SEMIAUTOMATIC"), ("", None)])
def test_other_spellings_of_who_drew_a_structure_are_understood(draw: Draw, spelling: str, meaning: Any) -> None:
    drawing = draw().structure("GTV", spelling).contour(3, [(3, 3), (12, 3), (12, 12), (3, 12)])
    if meaning == "AUTOMATIC":
        with pytest.raises(AutomaticContour):
            drawing.read()
    else:
        assert drawing.read().algorithm_type == meaning


def test_a_physicians_contour_is_taken_beside_an_automatic_one(draw: Draw, tmp_path: Path) -> None:
    drawing = draw()
    automatic = write_segmentation(drawing.files, BLOCK, tmp_path / "automatic", algorithms=["AUTOMATIC"])
    manual = write_segmentation(drawing.files, 1 - BLOCK, tmp_path / "manual")
    contour = read(drawing, automatic, manual)
    assert contour.algorithm_type == "MANUAL"
    np.testing.assert_array_equal(contour.mask.array, 1 - BLOCK)
    both = np.stack([BLOCK, 1 - BLOCK], axis=-1)
    mixed = write_segmentation(
        drawing.files, both, tmp_path / "mixed", labels=("GTV", "GTV"), algorithms=("AUTOMATIC", "MANUAL")
    )
    np.testing.assert_array_equal(read(drawing, mixed).mask.array, 1 - BLOCK)


def test_a_semiautomatic_segmentation_is_told_to_be_assisted(draw: Draw, tmp_path: Path) -> None:
    drawing = draw()
    contour = read(drawing, write_segmentation(drawing.files, BLOCK, tmp_path / "s", algorithms=["SEMIAUTOMATIC"]))
    assert contour.algorithm_type == "SEMIAUTOMATIC"
    assert "AI-assisted" in contour.warnings[0]


def test_an_automatic_structure_set_is_used_only_when_named(draw: Draw) -> None:
    square = [(3, 3), (12, 3), (12, 12), (3, 12)]
    drawing = draw().structure("GTV", "AUTOMATIC").contour(3, square)
    with pytest.raises(AutomaticContour):
        drawing.read()
    uid = str(pydicom.dcmread(drawing.path).SOPInstanceUID)
    assert drawing.read(sop_instance_uid=uid).algorithm_type == "AUTOMATIC"
    drawing.structure("GTV", "MANUAL").contour(3, square)
    assert drawing.read().algorithm_type == "MANUAL"
    drawing.structure("GTV", "").contour(3, square)
    assert drawing.read(structure_name="#3").algorithm_type is None
