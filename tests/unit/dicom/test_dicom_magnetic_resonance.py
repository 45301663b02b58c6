"""MR: several series of one modality by input role and rule, volumes inside one series, values and geometry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.case import SelectedSeries
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.resampling import mask_on_grid
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.study import DicomStudy, contours_of, convert_study, read_contour, read_study, select_series
from oncoresponse.errors import (
    AmbiguousSeries,
    DuplicateSlices,
    FrameOfReferenceMismatch,
    GeometryMismatch,
    InvalidRequest,
    SeriesNotFound,
    UnsupportedSopClass,
)
from oncoresponse.model.definition import ImageInput
from pydicom import dcmread
from pydicom.uid import EnhancedMRImageStorage, generate_uid

# The sample of a patient's MR keeps what scanners and archives wrote against the standard.
pytestmark = pytest.mark.filterwarnings("ignore:The value length:UserWarning")

Write = Callable[..., Any]


def image_input(role: str, *match: dict[str, Any], modality: str = "MR", **more: Any) -> ImageInput:
    quantity = {"MR": "[arb'U]", "CT": "HU", "PT": "g/mL{SUVbw}"}[modality]
    return ImageInput.model_validate(
        {"role": role, "modality": modality, "quantity": quantity, "purpose": "test", "match": match, **more}
    )


PRE = image_input("pre", {"keyword": "ContrastBolusAgent", "absent": True})
POST = image_input(
    "post",
    {"keyword": "BodyPartExamined", "equals": "breast"},
    {"keyword": "TemporalPositionIdentifier", "equals": 2},
)
SECOND_ECHO = image_input("late", {"keyword": "EchoNumbers", "equals": "2"})


@pytest.fixture(scope="module")
def breast(examples: Path) -> DicomStudy:
    return read_study(examples / "BREAST_DCE")


def as_itk_reads(folder: Path, series_instance_uid: str) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series_instance_uid))
    return reader.Execute()


def in_one_series(write_series: Write, keyword: str, values: tuple[Any, ...], **options: Any) -> list[Path]:
    """Files of one MR series with a volume for each value of an attribute."""
    files: list[Path] = []
    for number, value in enumerate(values):
        uids = {"SOPInstanceUID": lambda k, n=number: generate_uid(entropy_srcs=[keyword, str(n), str(k)])}
        stored = np.full((4, 3, 3), 100 * (number + 1), np.int16)
        series = write_series(modality="MR", stored=stored, attributes={keyword: value, **uids}, **options)
        files += series.files
    return files


# --- input roles -----------------------------------------------------------------------------------


def test_two_phases_are_two_inputs_by_their_rules(breast: DicomStudy, examples: Path) -> None:
    converted = convert_study(breast, [PRE, POST], anchor="post")
    assert list(converted.volumes) == ["pre", "post"]
    for role, folder in (("pre", "pre"), ("post", "post_1")):
        volume = converted.volumes[role]
        uid = dcmread(examples / "BREAST_DCE" / folder / "000000.dcm").SeriesInstanceUID
        assert volume.series_instance_uid == converted.description.series_of_role(role).series_instance_uid == uid
        theirs = as_itk_reads(examples / "BREAST_DCE" / folder, uid)
        np.testing.assert_array_equal(volume.array, sitk.GetArrayViewFromImage(theirs))
        assert volume.quantity is Quantity.MR_SIGNAL
    assert converted.description.series_of_role("post").chosen_because == (
        'Of 4 MR series the one for post fulfils the model\'s rule: BodyPartExamined equals "breast" and '
        'TemporalPositionIdentifier equals "2".'
    )


def test_a_study_of_another_part_of_the_body_is_refused_with_the_rule(breast: DicomStudy) -> None:
    leg = image_input("T1", {"keyword": "BodyPartExamined", "equals": "LEG"})
    with pytest.raises(SeriesNotFound, match=r'input T1: BodyPartExamined equals "LEG"\. .*\(BREAST\)') as caught:
        select_series(breast, [leg])
    assert caught.value.metadata == {"modality": "MR", "input_role": "T1"}


def test_a_request_names_series_by_input_role_and_rules_stay_rules(breast: DicomStudy, examples: Path) -> None:
    uids = {
        name: dcmread(examples / "BREAST_DCE" / name / "000000.dcm").SeriesInstanceUID for name in ("pre", "post_2")
    }
    inputs = [image_input("first"), image_input("second")]
    named = [
        SelectedSeries(input_role="second", series_instance_uid=uids["post_2"]),
        SelectedSeries(input_role="first", series_instance_uid=uids["pre"]),
    ]
    chosen = select_series(breast, inputs, selected=named).chosen
    assert {role: found.series.series_instance_uid for role, found in chosen.items()} == {
        "first": uids["pre"],
        "second": uids["post_2"],
    }
    with pytest.raises(InvalidRequest, match="without saying for which input of the model: first, second"):
        select_series(breast, inputs, selected=[SelectedSeries(series_instance_uid=uids["pre"])])
    with pytest.raises(AmbiguousSeries, match=r"MR \(first\)"):
        select_series(breast, inputs)
    with pytest.raises(SeriesNotFound, match=r"names for the input pre does not fulfil.*Agent \(not shown\)"):
        select_series(
            breast, [PRE, POST], selected=[SelectedSeries(input_role="pre", series_instance_uid=uids["post_2"])]
        )


def test_no_series_serves_two_inputs_and_an_optional_one_may_lack(write_series: Write) -> None:
    study = read_study(write_series(modality="MR").files)
    with pytest.raises(SeriesNotFound, match="used for another input"):
        select_series(study, [image_input("first"), image_input("second")])
    optional = [image_input("second", required=False), image_input("CT", modality="CT", required=False)]
    assert list(convert_study(study, [image_input("first"), *optional]).volumes) == ["first"]


def test_an_optional_series_of_another_frame_of_reference_is_left_out_unless_it_is_named(write_series: Write) -> None:
    mr, ct = write_series(modality="MR"), write_series(frame_of_reference="other")
    study = read_study([*mr.files, *ct.files])
    inputs = [image_input("T1"), image_input("CT", modality="CT", required=False)]
    converted = convert_study(study, inputs)
    assert list(converted.volumes) == ["T1"]
    assert any("optional input CT was left out" in warning for warning in converted.description.warnings)
    with pytest.raises(FrameOfReferenceMismatch):
        convert_study(study, inputs, selected=[SelectedSeries(series_instance_uid=ct.series_instance_uid)])


def test_an_mr_of_one_region_fits_a_scan_of_the_whole_body(write_series: Write) -> None:
    pet = write_series(modality="PT", shape=(60, 10, 10), spacing_mm=(40, 40, 20), origin_mm=(-180, -180, -500))
    mr, away = write_series(modality="MR"), write_series(modality="MR", series="away", origin_mm=(500, 0, 0))
    inputs = [image_input("PET", modality="PT"), image_input("T1")]
    assert list(convert_study(read_study([*pet.files, *mr.files]), inputs).volumes) == ["PET", "T1"]
    with pytest.raises(GeometryMismatch):
        convert_study(read_study([*pet.files, *away.files]), inputs)


# --- volumes inside one series ---------------------------------------------------------------------


def test_volumes_of_one_series_are_chosen_by_the_attribute_that_tells_them_apart(write_series: Write) -> None:
    study = read_study(in_one_series(write_series, "EchoNumbers", (1, 2)))
    with pytest.raises(AmbiguousSeries, match=r"EchoNumbers \(1: 1, 2: 2\).*volumes of one series"):
        select_series(study, [image_input("T2")])
    converted = convert_study(study, [image_input("early", {"keyword": "EchoNumbers", "equals": 1}), SECOND_ECHO])
    assert (converted.volumes["early"].array == 100).all()
    assert (converted.volumes["late"].array == 200).all()
    early, late = converted.description.series
    assert early.series_instance_uid == late.series_instance_uid
    assert not set(early.sop_instance_uids) & set(late.sop_instance_uids)


@pytest.mark.parametrize(
    ("keyword", "values", "names"),
    [
        ("TemporalPositionIdentifier", (10, 9), ["TemporalPositionIdentifier 9", "TemporalPositionIdentifier 10"]),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]), ["M", "P"]),
        ("AcquisitionTime", ("101502", "101542"), ["AcquisitionTime no. 1", "AcquisitionTime no. 2"]),
    ],
)
def test_volumes_are_named_in_order_and_never_by_their_hour(write_series: Write, keyword, values, names) -> None:
    series = read_study(in_one_series(write_series, keyword, values)).series
    assert [len(member.slices) for member in series] == [4, 4]
    assert all(member.volume.endswith(name) for member, name in zip(series, names, strict=True))


def test_volumes_that_nothing_tells_apart_are_refused_with_the_cause(write_series: Write) -> None:
    study = read_study(in_one_series(write_series, "SliceThickness", ("3", "3")))
    with pytest.raises(DuplicateSlices, match=r"TemporalPositionIdentifier.*do not tell these images apart"):
        select_series(study, [image_input("T1")])


def test_a_slice_sent_twice_under_two_uids_does_not_make_two_volumes(write_series: Write) -> None:
    """Numbers and times that differ from slice to slice tell no volumes apart."""
    attributes = {"AcquisitionNumber": lambda k: k, "ContentTime": lambda k: f"10150{k}"}
    series = write_series(modality="MR", attributes=attributes)
    again = write_series(
        modality="MR",
        shape=(1, 6, 7),
        attributes={"AcquisitionNumber": 9, "ContentTime": "101509", "SOPInstanceUID": generate_uid()},
    )
    with pytest.raises(DuplicateSlices, match="1 slice"):
        select_series(read_study([*series.files, *again.files]), [image_input("T1")])


def test_enhanced_magnetic_resonance_is_refused_by_name(write_series: Write) -> None:
    study = read_study(write_series(modality="MR", attributes={"SOPClassUID": EnhancedMRImageStorage}).files)
    with pytest.raises(UnsupportedSopClass, match="MR is stored as enhanced"):
        select_series(study, [image_input("T1")])


# --- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"RescaleSlope": None, "RescaleIntercept": None}, [0.0, 7.0, 100.0]),
        ({"RescaleSlope": "0.5", "RescaleIntercept": "-2"}, [-2.0, 1.5, 48.0]),
        ({"RescaleSlope": "2", "RescaleIntercept": None, "PixelPaddingValue": 100}, [0.0, 14.0, 0.0]),
    ],
)
def test_signal_is_the_stored_value_or_its_rescale(write_series: Write, attributes, expected) -> None:
    stored = np.tile(np.array([0, 7, 100], np.int16), (3, 2, 1))
    study = read_study(write_series(modality="MR", stored=stored, attributes=attributes).files)
    volume = convert_study(study, [image_input("T1")]).volumes["T1"]
    assert volume.array.dtype == np.float32
    assert volume.array[0, 0].tolist() == expected


# --- contours --------------------------------------------------------------------------------------


def test_a_contour_drawn_on_another_phase_lies_in_the_same_place_and_is_told(breast: DicomStudy) -> None:
    volumes = convert_study(breast, [PRE, POST], anchor="post").volumes
    own, other = (read_contour(breast, ContourRequest(), volumes[role]) for role in ("post", "pre"))
    np.testing.assert_array_equal(own.mask.array, other.mask.array)
    assert own.warnings == ()
    assert other.warnings == ("Contour: drawn on another series of the same frame of reference.",)


def test_a_contour_on_mr_measures_in_pet(examples: Path) -> None:
    """The tumor that was contoured on MR holds the uptake that it has inside the contour drawn on PET."""
    study = read_study([*(examples / "STS_032_MR").rglob("*.dcm"), *(examples / "STS_032" / "PET").rglob("*.dcm")])
    volumes = convert_study(study, [image_input("T1"), image_input("PET", modality="PT")], anchor="T1").volumes
    theirs = as_itk_reads(examples / "STS_032_MR" / "MR_T1", volumes["T1"].series_instance_uid)
    np.testing.assert_array_equal(volumes["T1"].array, sitk.GetArrayViewFromImage(theirs))
    drawn = read_contour(study, ContourRequest(), volumes["T1"]).mask
    mask = mask_on_grid(drawn, volumes["PET"])
    volume_ml = drawn.array.sum() * drawn.geometry.voxel_volume_mm3 / 1000
    assert mask.array.sum() * mask.geometry.voxel_volume_mm3 / 1000 == pytest.approx(volume_ml, rel=0.01)
    on_pet = read_contour(study, ContourRequest(), volumes["PET"]).mask
    suv = volumes["PET"].array
    assert suv[mask.array > 0].max() == suv[on_pet.array > 0].max()
    assert 2 * (mask.array & on_pet.array).sum() / (mask.array.sum() + on_pet.array.sum()) > 0.9


@pytest.mark.parametrize("kind", ["rtstruct", "segmentation"])
def test_every_lesion_of_an_object_is_its_own_contour(examples: Path, kind: str) -> None:
    files = [path for path in (examples / "STS_032_TWO_LESIONS").rglob("*.dcm") if path.name != "RTSTRUCT.dcm"]
    files.append(
        examples / "STS_032_TWO_LESIONS" / "RTSTRUCT.dcm"
        if kind == "rtstruct"
        else examples / "segmentations" / "STS_032_TWO_LESIONS.dcm"
    )
    study = read_study(files)
    grid = convert_study(study, ImageInput.any_of("PT")).volumes["PT"]
    contours, warnings = contours_of(study, ContourRequest(), grid)
    assert [(found.label, found.number, found.kind) for found in contours] == [("GTV-1", 1, kind), ("GTV-2", 2, kind)]
    assert warnings == ()
    for found in contours:
        alone = read_contour(study, ContourRequest(structure_name=found.label), grid)
        np.testing.assert_array_equal(found.mask.array, alone.mask.array)


def test_what_the_object_calls_no_lesion_is_left_out_and_named_by_number(draw: Write) -> None:
    square = [(4.5, 4.5), (9.5, 4.5), (9.5, 9.5), (4.5, 9.5)]
    drawing = draw()
    for name, algorithm in (("Node Doe", "MANUAL"), ("GTV edema", "MANUAL"), ("Heart", "MANUAL"), ("GTV", "AUTOMATIC")):
        drawing.structure(name, algorithm)
        for k in (3, 4, 5):
            drawing.contour(k, square)
    drawing.structure("empty")
    path = drawing.save()
    dataset = dcmread(path)
    dataset.RTROIObservationsSequence[2].RTROIInterpretedType = "ORGAN"
    dataset.save_as(path)
    study = read_study([*drawing.files, path])
    contours, warnings = contours_of(study, ContourRequest(), drawing.grid)
    assert [(found.number, int(found.mask.array.sum())) for found in contours] == [(1, 75)]
    assert warnings == (
        "Contour: 4 structures of the object left out: #2 (edema), #3 (ORGAN), #4 (AUTOMATIC), #5 (without contour).",
    )
    named, _ = contours_of(study, ContourRequest(sop_instance_uid=dataset.SOPInstanceUID), drawing.grid)
    assert [(found.number, found.algorithm_type) for found in named] == [(1, "MANUAL"), (4, "AUTOMATIC")]
