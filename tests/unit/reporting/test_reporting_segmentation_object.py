"""The DICOM segmentation, read back by highdicom and pydicom and checked by dciodvfy."""

from __future__ import annotations

import copy
import dataclasses
import io
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from highdicom.color import CIELabColor
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.volume import Volume
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.contours import Contour
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.errors import (
    AutomaticContour,
    EmptyMask,
    GeometryMismatch,
    InvalidAttribute,
    InvalidRequest,
    MissingAttribute,
)
from oncoresponse.model.definition import ImageInput, ModelDefinition
from oncoresponse.reporting.compose import Report
from oncoresponse.reporting.lesion_map import lesion_map
from oncoresponse.reporting.lesion_wording import contour_sentence
from oncoresponse.reporting.report_content import ReportContext
from oncoresponse.reporting.segmentation_object import segmentation_object
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid

MakeContext = Callable[..., ReportContext]
STUDY = Path(__file__).resolve().parents[3] / "examples" / "STS_019"


def read_back(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def frames_by_position(dataset: Dataset) -> dict[tuple[float, ...], np.ndarray]:
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    return {
        tuple(round(float(value), 3) for value in item.PlanePositionSequence[0].ImagePositionPatient): frame
        for item, frame in zip(dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True)
    }


def synthetic(direction: np.ndarray, shape: tuple[int, int, int] = (5, 7, 9)) -> tuple[Volume, list[Dataset]]:
    """An asymmetric mask on an anisotropic grid (k, j, i), and the image series of that grid."""
    spacing = np.array([0.9, 1.7, 3.3])
    origin = np.array([-31.25, 12.5, 77.0])
    voxels = np.zeros(shape, np.uint8)
    voxels[1:3, 2:6, 1:4] = 1
    voxels[2, 5, 3:8] = 1
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    frame_of_reference, study, series = (generate_uid(entropy_srcs=[name]) for name in ("frame", "study", "series"))
    datasets = []
    for index in range(shape[0]):
        dataset = Dataset()
        dataset.SOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", str(index)])
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.FrameOfReferenceUID = frame_of_reference
        dataset.Modality = "CT"
        dataset.PatientID = "P1"
        dataset.Rows, dataset.Columns = shape[1], shape[2]
        dataset.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        dataset.SliceThickness = float(spacing[2])
        dataset.ImageOrientationPatient = [round(float(value), 12) for value in direction[:, :2].T.ravel()]
        position = origin + direction[:, 2] * spacing[2] * index
        dataset.ImagePositionPatient = [round(float(value), 9) for value in position]
        datasets.append(dataset)
    return Volume(image, Quantity.MASK, frame_of_reference, series), datasets


OBLIQUE = np.array(sitk.VersorTransform((0.3, -0.5, 0.8), 0.7).GetMatrix()).reshape(3, 3)
GRIDS = {
    "identity": np.eye(3),
    "slices from head to feet": np.diag([1.0, -1.0, -1.0]),
    "rows to the right": np.diag([-1.0, -1.0, 1.0]),
    "sagittal": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "oblique": OBLIQUE,
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_mask_comes_back_where_it_was(make_context: MakeContext, name: str, reverse: bool) -> None:
    mask, source = synthetic(GRIDS[name])
    ordered = source[::-1] if reverse else source
    data = segmentation_object(make_context(), mask, ordered)
    frames = frames_by_position(read_back(data))
    voxels = np.asarray(mask.array)
    expected = {
        tuple(round(float(value), 3) for value in image.ImagePositionPatient): voxels[index]
        for index, image in enumerate(source)
        if voxels[index].any()
    }
    assert frames.keys() == expected.keys()
    assert all(np.array_equal(frames[position], expected[position]) for position in expected)
    volume = highdicom.seg.segread(io.BytesIO(data)).get_volume(segment_numbers=[1])
    points = volume.map_indices_to_reference(np.argwhere(volume.array[..., 0]))
    truth = [mask.image.TransformIndexToPhysicalPoint([int(i), int(j), int(k)]) for k, j, i in np.argwhere(voxels)]
    assert np.allclose(sorted(points.round(3).tolist()), sorted(np.round(truth, 3).tolist()), atol=2e-3)


@pytest.mark.parametrize("axes", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)])
def test_a_flipped_mask_gives_the_same_segmentation(make_context: MakeContext, axes: tuple[bool, bool, bool]) -> None:
    mask, source = synthetic(OBLIQUE)
    flipped = mask.with_image(sitk.Flip(mask.image, axes), Quantity.MASK)
    assert flipped.geometry.direction != mask.geometry.direction
    context = make_context()
    assert segmentation_object(context, flipped, source) == segmentation_object(context, mask, source)


def test_frames_lie_on_the_planes_of_the_real_series(report: Report, pet_series: list[Dataset], mask: Volume) -> None:
    dataset = read_back(report.segmentation)
    positions = {tuple(round(float(value), 3) for value in item.ImagePositionPatient) for item in pet_series}
    frames = frames_by_position(dataset)
    assert frames.keys() <= positions
    assert sum(int(frame.sum()) for frame in frames.values()) == int(np.asarray(mask.array).sum())
    assert dataset.StudyInstanceUID == pet_series[0].StudyInstanceUID
    assert dataset.SeriesInstanceUID != pet_series[0].SeriesInstanceUID
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == pet_series[0].SeriesInstanceUID
    assert dataset.PatientName == "STS_019"
    assert dataset.StudyID == ""  # 18 characters in the source, where SH allows 16


def test_segment_asserts_a_mass_and_names_the_algorithm(report: Report, model: ModelDefinition) -> None:
    segment = read_back(report.segmentation).SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "4147007"
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmVersion == model.version
    assert "a" * 64 in algorithm.AlgorithmParameters


def test_a_supplied_contour_is_not_called_automatic(make_context: MakeContext) -> None:
    mask, source = synthetic(np.eye(3))
    summary = (
        make_context().lesions[0].segmentation.model_copy(update={"method": "supplied_rtstruct", "network_sha256": ""})
    )
    segment = read_back(segmentation_object(make_context(segmentation=summary), mask, source)).SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"


def test_a_supplied_automatic_contour_stays_automatic(make_context: MakeContext) -> None:
    mask, source = synthetic(np.eye(3))
    context = make_context()
    summary = context.lesions[0].segmentation.model_copy(
        update={"method": "supplied_segmentation", "supplied_algorithm_type": "AUTOMATIC", "network_sha256": ""}
    )
    context = make_context(segmentation=summary)
    segment = read_back(segmentation_object(context, mask, source)).SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert context.lesions[0].contour_is_by_algorithm
    assert not context.lesions[0].contour_is_automatic
    assert "an automatic segmentation that no physician drew or corrected" in contour_sentence(context.lesions[0])


def test_our_own_segmentation_sent_again_with_the_study_is_no_physicians_contour(
    make_context: MakeContext, mask: Volume, pet_series: list[Dataset], tmp_path: Path
) -> None:
    folder = STUDY / "PET"
    images = [path for path in folder.iterdir() if path.name != "RTSTRUCT.dcm"]
    physician = folder / "RTSTRUCT.dcm"
    grid = convert_study(read_study(images), ImageInput.any_of("PT")).volumes["PT"]

    def read(path: Path, *more: Path, uid: str = "") -> Contour:
        return read_contour(read_study([*images, path, *more]), ContourRequest(uid), grid)

    own = tmp_path / "own"
    own.write_bytes(segmentation_object(make_context(), mask, pet_series))
    with pytest.raises(AutomaticContour):
        read(own)
    named = read(own, uid=pydicom.dcmread(own).SOPInstanceUID)
    assert named.algorithm_type == "AUTOMATIC"
    assert int(named.mask.array.sum()) == int(np.count_nonzero(mask.array))
    assert (read(own, physician).kind, int(read(own, physician).mask.array.sum())) == ("rtstruct", 239)
    # What was written from a physician's contour is AI-assisted, and stands behind that contour.
    supplied = (
        make_context().lesions[0].segmentation.model_copy(update={"method": "supplied_rtstruct", "network_sha256": ""})
    )
    own.write_bytes(segmentation_object(make_context(segmentation=supplied), mask, pet_series))
    assert read(own).algorithm_type == "SEMIAUTOMATIC"
    assert "AI-assisted" in read(own).warnings[0]
    assert read(own, physician).kind == "rtstruct"


def test_uids_follow_the_assessment_and_times_the_issue(make_context: MakeContext) -> None:
    mask, source = synthetic(np.eye(3))
    first = read_back(segmentation_object(make_context(), mask, source))
    again = read_back(segmentation_object(make_context(), mask, source))
    other = read_back(segmentation_object(make_context(assessment_id="other"), mask, source))
    assert first.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID
    assert first.SeriesInstanceUID != other.SeriesInstanceUID
    assert (first.ContentDate, first.ContentTime[:6]) == ("20261123", "073000")


def test_times_are_in_the_zone_of_the_study_or_said_to_be_utc(make_context: MakeContext) -> None:
    """(0008,0201) holds for every date and time of the object, the study's own included (PS3.3 C.12.1.1)."""
    mask, source = synthetic(np.eye(3))
    without = read_back(segmentation_object(make_context(), mask, source))
    assert "TimezoneOffsetFromUTC" not in without
    assert "UTC" in without.ContentDescription
    for image in source:
        image.TimezoneOffsetFromUTC = "-0830"
    stated = read_back(segmentation_object(make_context(), mask, source))
    assert stated.TimezoneOffsetFromUTC == "-0830"
    assert (stated.ContentDate, stated.ContentTime[:6]) == ("20261122", "230000")
    assert "UTC" not in stated.ContentDescription


def test_blemishes_of_the_source_do_not_break_it(make_context: MakeContext) -> None:
    mask, source = synthetic(np.eye(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for image in source:
            image.StudyID = "longer than sixteen characters"
            image.AccessionNumber = "X" * 40
            image.StudyDate = "2001.11.27x"
            image.PatientSize = None
            image.add_new("PatientWeight", "DS", "")
            image.add_new("RescaleSlope", "DS", "")
            image.PatientSex = "female"
    dataset = read_back(segmentation_object(make_context(), mask, source))
    assert (dataset.StudyID, dataset.AccessionNumber, dataset.StudyDate) == ("", "", "")
    assert dataset.PatientID == "P1"


def test_no_warning_or_error_repeats_the_name(make_context: MakeContext) -> None:
    mask, source = synthetic(np.eye(3))
    for image in source:
        image.PatientName = "Onecomponentname"  # highdicom would quote it in a warning, which is an error here
    assert read_back(segmentation_object(make_context(), mask, source)).PatientName == "Onecomponentname"


def test_what_cannot_be_referred_to_is_refused(make_context: MakeContext) -> None:
    mask, source = synthetic(np.eye(3))
    context = make_context()
    with pytest.raises(MissingAttribute):
        segmentation_object(context, mask, [])
    lacking = copy.deepcopy(source)
    del lacking[2].ImagePositionPatient
    with pytest.raises(MissingAttribute, match="ImagePositionPatient"):
        segmentation_object(context, mask, lacking)
    mixed = copy.deepcopy(source)
    mixed[1].SeriesInstanceUID = generate_uid(entropy_srcs=["another"])
    with pytest.raises(InvalidAttribute):
        segmentation_object(context, mask, mixed)
    empty = mask.with_image(mask.image * 0, Quantity.MASK)
    with pytest.raises(EmptyMask):
        segmentation_object(context, empty, source)


@pytest.mark.parametrize("change", ["shifted", "missing slice", "frame of reference", "spacing"])
def test_a_mask_off_the_source_planes_is_refused(make_context: MakeContext, change: str) -> None:
    mask, source = synthetic(OBLIQUE)
    if change == "shifted":
        for image in source:
            image.ImagePositionPatient = [float(value) + 0.5 for value in image.ImagePositionPatient]
    elif change == "missing slice":
        del source[2]
    elif change == "spacing":
        for image in source:
            image.PixelSpacing = [1.8, 0.9]
    else:
        for image in source:
            image.FrameOfReferenceUID = generate_uid(entropy_srcs=["other"])
    with pytest.raises(GeometryMismatch):
        segmentation_object(make_context(), mask, source)


def test_each_lesion_is_a_segment_with_its_own_voxels(two_lesion_report: Report, two_lesions: Volume) -> None:
    dataset = read_back(two_lesion_report.segmentation)
    assert [int(item.SegmentNumber) for item in dataset.SegmentSequence] == [1, 2]
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["Lesion 1", "GTV-2"]
    assert [item.SegmentAlgorithmType for item in dataset.SegmentSequence] == ["AUTOMATIC", "SEMIAUTOMATIC"]
    assert len({item.TrackingUID for item in dataset.SegmentSequence}) == 2
    colors = [CIELabColor.from_dicom_value(item.RecommendedDisplayCIELabValue) for item in dataset.SegmentSequence]
    assert [color.to_rgb() for color in colors] == [(213, 94, 0), (0, 114, 178)]
    numbers = np.asarray(two_lesions.array)
    for number in (1, 2):
        volume = highdicom.seg.segread(io.BytesIO(two_lesion_report.segmentation)).get_volume(segment_numbers=[number])
        points = volume.map_indices_to_reference(np.argwhere(volume.array[..., 0]))
        where = np.argwhere(numbers == number)
        truth = [two_lesions.image.TransformIndexToPhysicalPoint([int(i), int(j), int(k)]) for k, j, i in where]
        assert np.allclose(sorted(points.round(3).tolist()), sorted(np.round(truth, 3).tolist()), atol=2e-3)


@pytest.mark.parametrize("label", ["x" * 65, "GTV\\1", "\u0413\u0422\u0412", ""])
def test_a_name_that_no_segment_label_can_hold_is_replaced_by_the_number(
    make_two_lesions: MakeContext, two_lesions: Volume, pet_series: list[Dataset], label: str
) -> None:
    first, second = make_two_lesions().lesions
    context = make_two_lesions(lesions=(first, dataclasses.replace(second, label=label)))
    segments = read_back(segmentation_object(context, two_lesions, pet_series)).SegmentSequence
    assert segments[1].SegmentLabel == "Lesion 2"


def test_lesions_of_a_map_are_apart_and_not_empty(mask: Volume) -> None:
    with pytest.raises(InvalidRequest):
        lesion_map([mask, mask])
    with pytest.raises(EmptyMask):
        lesion_map([mask, mask.with_image(mask.image * 0, Quantity.MASK)])
    with pytest.raises(GeometryMismatch):
        lesion_map([mask, mask.with_image(mask.image[:-1], Quantity.MASK)])


@pytest.mark.parametrize("which", ["report", "two_lesion_report", "mr_report", "oblique", "supplied"])
def test_dciodvfy_finds_no_error(
    make_context: MakeContext,
    tmp_path: Path,
    which: str,
    request: pytest.FixtureRequest,
    require_installed: Callable[..., None],
) -> None:
    require_installed("dicom3tools", "dciodvfy")
    if which.endswith("report"):
        data = request.getfixturevalue(which).segmentation
    else:
        mask, source = synthetic(OBLIQUE)
        context = make_context()
        if which == "supplied":
            summary = context.lesions[0].segmentation.model_copy(
                update={"method": "supplied_segmentation", "network_sha256": ""}
            )
            context = make_context(segmentation=summary)
        data = segmentation_object(context, mask, source)
    path = tmp_path / "segmentation.dcm"
    path.write_bytes(data)
    checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert "Segmentation" in checked.stdout + checked.stderr
    assert [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")] == []
