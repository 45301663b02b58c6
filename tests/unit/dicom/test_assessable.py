"""What headers show is refused from the index as conversion refuses it from the files, and no file is opened for it."""

from __future__ import annotations

import datetime

import pydicom
import pytest
import yaml
from oncoresponse.case.case import ExpectedPatientValues, LesionRequest, NamedContour, Order, SelectedSeries
from oncoresponse.case.left_out import LeftOutInstance
from oncoresponse.case.study_index import StudyIndex
from oncoresponse.dicom.assessable import contour_request, expected_patient, require_assessable
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.dicom.study_index import read_object, study_from_index
from oncoresponse.errors import ContourNotFound, InvalidRequest, OncoResponseError, TruncatedFile
from oncoresponse.model.definition import parse_definition

ISSUED = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def model(examples):
    return parse_definition(yaml.safe_load((examples.parent / "models" / "sts-petct" / "model.yaml").read_bytes()))


def from_index(files):
    index = StudyIndex.of(map(read_object, files))
    return study_from_index(index, lambda _: pytest.fail("a file was opened"))


def refusal_of_conversion(files, model, order):
    study = read_study(files)
    expected = expected_patient(order.expected_patient)
    with pytest.raises(OncoResponseError) as caught:
        found = convert_study(
            study, model.inputs, selected=order.series, anchor=model.segment_on, expected_patient=expected
        )
        for lesion in order.lesions:
            read_contour(study, contour_request(lesion.contour), found.volumes[model.segment_on])
    return caught.value


PET = {"modality": "PT"}
CT = {"modality": "CT"}
CASES = {
    "no CT": ([PET], {}, "REQUIRED_SERIES_MISSING"),
    "two PETs": ([PET, {**PET, "series": "again"}, CT], {}, "AMBIGUOUS_SERIES"),
    "a series that is not there": (
        [PET, CT],
        {"series": (SelectedSeries(series_instance_uid="1.2.3"),)},
        "REQUIRED_SERIES_MISSING",
    ),
    "two patients": ([PET, {**CT, "patient_id": "OTHER"}], {}, "PATIENT_MISMATCH"),
    "another patient": ([PET, CT], {"expected_patient": ExpectedPatientValues(patient_id="OTHER")}, "PATIENT_MISMATCH"),
    "other frames of reference": ([PET, {**CT, "frame_of_reference": "b"}], {}, "FRAME_OF_REFERENCE_MISMATCH"),
    "no dose": ([{**PET, "attributes": {"RadionuclideTotalDose": None}}, CT], {}, "MISSING_INJECTED_DOSE"),
    "no weight": ([{**PET, "attributes": {"PatientWeight": None}}, CT], {}, "MISSING_PATIENT_WEIGHT"),
    "CT without HU": ([PET, {**CT, "attributes": {"RescaleType": "OD"}}], {}, "INVALID_ATTRIBUTE"),
    "no contour": ([PET, CT], {"lesions": (LesionRequest(contour=NamedContour()),)}, "CONTOUR_NOT_FOUND"),
}


@pytest.mark.parametrize("case", CASES)
def test_refusal_from_headers_is_that_of_conversion(write_series, model, case):
    series, asked, reason = CASES[case]
    files = [file for options in series for file in write_series(**options).files]
    order = Order(report_id="one", issued=ISSUED, **asked)
    with pytest.raises(OncoResponseError) as caught:
        require_assessable(from_index(files), model, order)
    expected = refusal_of_conversion(files, model, order)
    assert (caught.value.reason, caught.value.message) == (reason, expected.message)
    assert caught.value.metadata == expected.metadata


@pytest.mark.parametrize("structure", ["", "GTV_Mass", "#7"])
def test_named_contour_of_a_real_study(examples, model, structure):
    files = sorted((examples / "STS_032").rglob("*.dcm"))
    study = from_index(files)
    (pet,) = (file for file in files if file.name == "RTSTRUCT.dcm" and file.parent.name == "PET")
    drawn = {item.ROIName for item in pydicom.dcmread(pet).StructureSetROISequence}
    order = Order(
        report_id="one", issued=ISSUED, lesions=(LesionRequest(contour=NamedContour(structure_name=structure)),)
    )
    if not structure or structure in drawn:
        require_assessable(study, model, order)
        return
    with pytest.raises(OncoResponseError) as caught:
        require_assessable(study, model, order)
    expected = refusal_of_conversion(files, model, order)
    assert (caught.value.reason, caught.value.message) == ("CONTOUR_NOT_FOUND", expected.message)


def test_of_several_lesions_the_one_is_named_that_is_not_there(examples, model):
    study = from_index(sorted((examples / "STS_032_TWO_LESIONS").rglob("*.dcm")))
    contours = [LesionRequest(contour=NamedContour(structure_name=name)) for name in ("GTV-1", "GTV-9")]
    require_assessable(study, model, Order(report_id="one", issued=ISSUED, lesions=contours[:1]))
    with pytest.raises(OncoResponseError, match="Lesion 2") as caught:
        require_assessable(study, model, Order(report_id="one", issued=ISSUED, lesions=contours))
    assert caught.value.reason == "CONTOUR_NOT_FOUND"


def test_point_outside_the_image_that_is_segmented(examples, model):
    """The first voxel of the PET lies at (-107.42, -1.95, 370.37), its edge 1.95 mm before."""
    study = from_index(sorted((examples / "STS_032").rglob("*.dcm")))

    def order(*points):
        return Order(report_id="one", issued=ISSUED, lesions=[LesionRequest(point=point) for point in points])

    inside, first_voxel, before_it = (-31.0, 76.0, 459.0), (-107.4, -1.9, 370.4), (-109.5, -1.9, 370.4)
    require_assessable(study, model, order(inside, first_voxel))
    with pytest.raises(InvalidRequest, match="Lesion 2: The lesion prompt lies outside the image"):
        require_assessable(study, model, order(inside, before_it))


@pytest.mark.parametrize("lesion", [None, LesionRequest(point=(-31.0, 76.0, 459.0))])
def test_model_without_network_needs_a_contour(examples, model, lesion):
    study = from_index(sorted((examples / "STS_032").rglob("*.dcm")))
    order = Order(report_id="one", issued=ISSUED, lesions=() if lesion is None else (lesion,))
    require_assessable(study, model, order)
    with pytest.raises(ContourNotFound, match="no network"):
        require_assessable(study, model, order, has_network=False)


def test_series_of_which_an_object_was_left_out(write_series, model):
    files = [file for options in (PET, CT) for file in write_series(**options).files]
    uid = str(pydicom.dcmread(files[0]).SeriesInstanceUID)
    left_out = [LeftOutInstance(number=3, reason="TRUNCATED_FILE", modality="PT", series_instance_uid=uid)]
    with pytest.raises(TruncatedFile, match="Object number 3"):
        require_assessable(from_index(files), model, Order(report_id="one", issued=ISSUED), left_out)
