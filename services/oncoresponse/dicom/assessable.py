"""Whether a study can be assessed, from its headers alone: everything that would be refused before anybody looks at a
pixel or a contour point, with the same errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from oncoresponse.case.case import ExpectedPatientValues, LesionRequest, NamedContour, Order
from oncoresponse.case.left_out import LeftOutInstance, unreadable_sentence
from oncoresponse.case.lesion_errors import about_lesion, no_network, outside_image
from oncoresponse.dicom import attributes
from oncoresponse.dicom.computed_tomography import require_hounsfield_scale
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.contours import require_structure
from oncoresponse.dicom.patient_identity import ExpectedPatient
from oncoresponse.dicom.positron_emission import suv_of_headers
from oncoresponse.dicom.selection import ChosenSeries
from oncoresponse.dicom.study import DicomStudy, select_series
from oncoresponse.errors import ContourNotFound, NoImages, SeriesError, error_for_reason
from oncoresponse.model.definition import ImagingResponse


def require_assessable(
    study: DicomStudy,
    model: ImagingResponse,
    order: Order,
    left_out: Sequence[LeftOutInstance] = (),
    *,
    has_network: bool = True,
) -> None:
    """Refuse what conversion would refuse, and what segmentation would for a lesion that it cannot draw.

    Args:
        study: From a study index or from files.
        model: Says which series are needed.
        order: Which series, which lesions, which patient.
        left_out: Objects of the study that could not be read.
        has_network: Whether the model draws lesions; without, each needs a contour.

    Raises:
        NoImages, PatientMismatch, SeriesError, InvalidRequest: As :func:`~oncoresponse.dicom.study.select_series`.
        SuvError, MissingAttribute, InvalidAttribute: A header lacks what its values are converted with.
        ContourError: A contour that the order names is not in the study, or one is needed and none named.
        InvalidRequest: A point, or the middle of a box, lies outside the image that is segmented.
        DicomError: An object of a chosen series could not be read.
    """
    with true_cause(left_out):
        selection = select_series(
            study,
            model.inputs,
            selected=order.series,
            anchor=model.segment_on,
            expected_patient=expected_patient(order.expected_patient),
        )
        for chosen in selection.chosen.values():
            _require_convertible(chosen)
        require_whole(
            {each.series.series_instance_uid: each.series.modality for each in selection.chosen.values()}, left_out
        )
        contoured = selection.chosen[model.segment_on]
        if not order.lesions and not has_network:
            raise no_network()
        for number, lesion in enumerate(order.lesions, start=1):
            with about_lesion(number, len(order.lesions)):
                _require_drawable(study, contoured, lesion, has_network=has_network)


def expected_patient(values: ExpectedPatientValues | None) -> ExpectedPatient | None:
    """What an order says about the patient, for comparison."""
    if values is None:
        return None
    return ExpectedPatient(patient_id=values.patient_id, birth_date=values.birth_date, sex=values.sex)


def contour_request(named: NamedContour) -> ContourRequest:
    """A contour that an order names."""
    return ContourRequest(named.sop_instance_uid, named.structure_name)


@contextmanager
def true_cause(left_out: Sequence[LeftOutInstance]) -> Iterator[None]:
    """Say of a study that lacks something that objects of it could not be read."""
    try:
        yield
    except (SeriesError, ContourNotFound, NoImages) as error:
        if not left_out:
            raise
        raise type(error)(f"{error.message} {unreadable_sentence(left_out)}", **error.metadata) from error


def require_whole(modality_of_series: Mapping[str, str], left_out: Sequence[LeftOutInstance]) -> None:
    """Refuse a series of which an object could not be read, also where the rest makes a regular volume.

    Args:
        modality_of_series: Chosen series by Series Instance UID.
        left_out: Objects that could not be read.

    Raises:
        DicomError: The error of the first object of such a series.
    """
    for item in left_out:
        modality = modality_of_series.get(item.series_instance_uid)
        if modality is not None:
            raise error_for_reason(
                item.reason,
                f"Object number {item.number} of the import belongs to the {modality} series that the model needs, and "
                "cannot be read. Correct it in the archive, then import the study again.",
                {"modality": modality},
            )


def _require_drawable(study: DicomStudy, contoured: ChosenSeries, lesion: LesionRequest, *, has_network: bool) -> None:
    named = lesion.contour or lesion.rough_contour
    if named is not None:
        wanted, every = contour_request(named), named.every_structure
        require_structure(study.instances, study.series, wanted, contoured.series, every_structure=every)
    if lesion.contour is None and lesion.correction is None and not has_network:
        raise no_network()
    position = np.mean([lesion.box.low, lesion.box.high], axis=0) if lesion.box is not None else lesion.point
    if position is not None:
        index = np.linalg.solve(contoured.stack.index_to_patient, [*position, 1.0])[:3]
        if (index < -0.5).any() or (index > np.array(contoured.stack.size) - 0.5).any():
            raise outside_image()


def _require_convertible(chosen: ChosenSeries) -> None:
    stack = chosen.stack
    if chosen.series.modality == "PT":
        suv_of_headers(stack)
    elif chosen.series.modality == "CT":
        for instance in stack.instances:
            require_hounsfield_scale(instance)
    if stack.instances[0].frame_of_reference_uid is None:
        raise attributes.missing("FrameOfReferenceUID")
