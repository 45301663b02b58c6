"""The intake stage: DICOM files in, study description and volumes out.

>>> study = read_study(directory)                               # doctest: +SKIP
>>> converted = convert_study(study, model.inputs, anchor=model.segment_on)      # doctest: +SKIP
>>> mask = read_contour(study, ContourRequest(), converted.volumes[model.segment_on]).mask   # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from oncoresponse.case.case import SelectedSeries
from oncoresponse.case.directory_walk import files_below
from oncoresponse.case.study_description import CodedRegion, SeriesDescription, StudyDescription
from oncoresponse.case.volume import Volume
from oncoresponse.dicom import attributes
from oncoresponse.dicom.computed_tomography import convert_computed_tomography
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.contours import Contour, contour_mask, every_contour
from oncoresponse.dicom.date_times import date_and_time
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.dicom.magnetic_resonance import convert_magnetic_resonance
from oncoresponse.dicom.patient_identity import ExpectedPatient, require_expected_patient, single_patient
from oncoresponse.dicom.positron_emission import convert_positron_emission
from oncoresponse.dicom.reading import Instance, is_dicom, is_media_directory, read_instance
from oncoresponse.dicom.selection import ChosenSeries, SeriesSelection, choose_series
from oncoresponse.dicom.series import ImageSeries, group_series, without_repeats
from oncoresponse.dicom.standardized_uptake_value import SuvConversion
from oncoresponse.errors import InvalidAttribute, NoImages
from oncoresponse.model.definition import ImageInput

_SIDES = {"R": "right", "L": "left"}


@dataclass(frozen=True, eq=False)
class DicomStudy:
    """Everything that was sent, read and grouped.

    Attributes:
        instances: Without repeats, ordered by SOP Instance UID.
        left_out: Number of files in the directory that are not DICOM instances.
    """

    instances: tuple[Instance, ...]
    left_out: int = 0

    @cached_property
    def series(self) -> tuple[ImageSeries, ...]:
        """Image series, without localizers, projections and secondary captures."""
        return group_series(self.instances)


@dataclass(frozen=True, eq=False)
class ConvertedStudy:
    """What the later stages work on.

    Attributes:
        description: The study and the chosen series; holds the patient's identity.
        volumes: By input role: CT in HU (int16), PET in body-weight SUV (g/mL, float32), MR in arbitrary units
            (float32).
    """

    description: StudyDescription
    volumes: dict[str, Volume]


def read_study(source: Path | Iterable[Path], limits: DicomLimits = DEFAULT_LIMITS) -> DicomStudy:
    """Read the files of a study.

    Args:
        source: A directory, searched to its depths, in which files that are not DICOM are left out and counted;
            or the files themselves, in any order and of any name, which must all be DICOM. Relative paths stay valid
            when the working directory changes.
        limits: How large a file may be and become.

    Raises:
        NoImages: There is no DICOM file.
        NotDicom: One of the files given is not DICOM.
        DicomLimitExceeded, TruncatedFile, UnsupportedTransferSyntax, MissingAttribute, InvalidAttribute: As
            :func:`~oncoresponse.dicom.reading.read_instance`.
        DuplicateSlices: Two files hold different data under one SOP Instance UID.
    """
    is_directory = isinstance(source, (str, os.PathLike))
    files = files_below(Path(source)) if isinstance(source, (str, os.PathLike)) else source
    instances, left_out = [], 0
    for file in files:
        path = Path(file).absolute()
        if is_directory and _is_no_instance(path):
            left_out += 1
            continue
        instances.append(read_instance(path, limits))
    if not instances:
        raise NoImages("There is no DICOM file. Send the DICOM files of the study.")
    return DicomStudy(without_repeats(instances), left_out)


def select_series(
    study: DicomStudy,
    inputs: Sequence[ImageInput],
    *,
    selected: Sequence[SelectedSeries] = (),
    anchor: str | None = None,
    expected_patient: ExpectedPatient | None = None,
) -> SeriesSelection:
    """Choose the series a model needs from the headers alone, as :func:`convert_study` does.

    Args:
        study: From :func:`read_study`.
        inputs: Of the model.
        selected: Series that the request names for inputs.
        anchor: Input role of the image that is segmented on; ``None``: the first input.
        expected_patient: Who the patient should be.

    Raises:
        NoImages: The study has no image series at all.
        PatientMismatch: The files, or the files and the request, name different patients.
        SeriesError, InvalidRequest, MissingAttribute: As :func:`~oncoresponse.dicom.selection.choose_series`.
    """
    patient = single_patient(study.instances)
    if expected_patient is not None:
        require_expected_patient(patient, expected_patient)
    if not study.series:
        raise NoImages("The study holds no CT, PET or MR images. Send image series.")
    return choose_series(study.series, inputs, selected=selected, anchor=anchor)


def convert_study(
    study: DicomStudy,
    inputs: Sequence[ImageInput],
    *,
    selected: Sequence[SelectedSeries] = (),
    anchor: str | None = None,
    expected_patient: ExpectedPatient | None = None,
) -> ConvertedStudy:
    """Choose the series a model needs and convert them.

    Args:
        study: From :func:`read_study`.
        inputs: Of the model; optional ones may be missing in the study.
        selected: Series that the request names for inputs.
        anchor: Input role of the image that is segmented on, to which the choice of the others is fitted; ``None``: the
            first input.
        expected_patient: Who the patient should be.

    Raises:
        NoImages, PatientMismatch, SeriesError, InvalidRequest: As :func:`select_series`.
        SuvError: PET values cannot be turned into SUV.
        DicomError: An attribute is absent or impossible, or pixel data is damaged.
    """
    selection = select_series(study, inputs, selected=selected, anchor=anchor, expected_patient=expected_patient)
    volumes: dict[str, Volume] = {}
    descriptions = []
    for item in inputs:
        chosen = selection.chosen.get(item.role)
        if chosen is None:
            continue
        conversion = None
        if item.modality == "PT":
            volumes[item.role], conversion = convert_positron_emission(chosen.stack)
        elif item.modality == "MR":
            volumes[item.role] = convert_magnetic_resonance(chosen.stack)
        else:
            volumes[item.role] = convert_computed_tomography(chosen.stack)
        descriptions.append(_describe(item.role, chosen, conversion))
    first = next(iter(selection.chosen.values())).stack.instances[0]
    warnings = (*selection.warnings, *_different_sides(descriptions))
    if study.left_out:
        warnings = (*warnings, f"{study.left_out} file(s) that are no DICOM instances were left out.")
    description = StudyDescription(
        study_instance_uid=first.study_instance_uid,
        accession_number=attributes.text(first.dataset, "AccessionNumber"),
        admission_id=attributes.text(first.dataset, "AdmissionID"),
        study_date_time=_iso_date_time(first, "StudyDate", "StudyTime"),
        timezone_offset=attributes.text(first.dataset, "TimezoneOffsetFromUTC"),
        description=attributes.text(first.dataset, "StudyDescription"),
        patient=single_patient(study.instances),
        series=tuple(descriptions),
        warnings=warnings,
    )
    return ConvertedStudy(description, volumes)


def read_contour(
    study: DicomStudy, request: ContourRequest, grid: Volume, *, expected_patient: ExpectedPatient | None = None
) -> Contour:
    """A contour that came with the study as a mask on the grid of a converted volume.

    Args:
        study: From :func:`read_study`.
        request: Which contour.
        grid: One of :attr:`ConvertedStudy.volumes`, or another volume on the grid of a series.
        expected_patient: Who the patient should be.

    Raises:
        ContourError, SeriesError: As :func:`~oncoresponse.dicom.contours.contour_mask`.
        PatientMismatch: The files, or the files and the request, name different patients.
    """
    patient = single_patient(study.instances)
    if expected_patient is not None:
        require_expected_patient(patient, expected_patient)
    return contour_mask(study.instances, study.series, request, grid)


def contours_of(
    study: DicomStudy, request: ContourRequest, grid: Volume, *, expected_patient: ExpectedPatient | None = None
) -> tuple[tuple[Contour, ...], tuple[str, ...]]:
    """Every lesion of a contour object that came with the study, each as a mask on the grid of a converted volume.

    Args:
        study: From :func:`read_study`.
        request: Which object; the name of a structure is not looked at.
        grid: As in :func:`read_contour`.
        expected_patient: Who the patient should be.

    Returns:
        The contours in the order of the object, and warnings about what was left out.

    Raises:
        ContourError, SeriesError: As :func:`~oncoresponse.dicom.contours.every_contour`.
        PatientMismatch: The files, or the files and the request, name different patients.
    """
    patient = single_patient(study.instances)
    if expected_patient is not None:
        require_expected_patient(patient, expected_patient)
    return every_contour(study.instances, study.series, request, grid)


def _is_no_instance(file: Path) -> bool:
    if not file.is_file():
        return True
    with file.open("rb") as stream:
        head = stream.read(1024)
    return not is_dicom(head) or is_media_directory(head)


def _describe(input_role: str, chosen: ChosenSeries, conversion: SuvConversion | None) -> SeriesDescription:
    instances = chosen.stack.instances
    first = instances[0]
    times = [
        found for instance in instances if (found := _iso_date_time(instance, "AcquisitionDate", "AcquisitionTime"))
    ]
    warnings = [chosen.reason] if chosen.reason else []
    warnings += conversion.warnings if conversion else ()
    if attributes.text(first.dataset, "LossyImageCompression") == "01":
        warnings.append("The images were compressed with loss.")
    return SeriesDescription(
        series_instance_uid=first.series_instance_uid,
        modality=first.modality,
        sop_class_uid=first.sop_class_uid,
        frame_of_reference_uid=first.frame_of_reference_uid or "",
        description=attributes.text(first.dataset, "SeriesDescription"),
        manufacturer=attributes.text(first.dataset, "Manufacturer"),
        manufacturer_model_name=attributes.text(first.dataset, "ManufacturerModelName"),
        slice_thickness_mm=_lenient_number(first, "SliceThickness"),
        convolution_kernel=attributes.text(first.dataset, "ConvolutionKernel"),
        sequence_name=attributes.text(first.dataset, "SequenceName") or attributes.text(first.dataset, "ProtocolName"),
        contrast_agent=attributes.text(first.dataset, "ContrastBolusAgent"),
        magnetic_field_strength_t=_lenient_number(first, "MagneticFieldStrength"),
        radiopharmaceutical=conversion.radiopharmaceutical if conversion else None,
        suv_method=conversion.method if conversion else None,
        acquisition_date_time=min(times, default=None),
        body_part_examined=attributes.text(first.dataset, "BodyPartExamined"),
        anatomic_regions=_anatomic_regions(first),
        laterality=attributes.text(first.dataset, "ImageLaterality") or attributes.text(first.dataset, "Laterality"),
        input_role=input_role,
        chosen_because=chosen.reason,
        sop_instance_uids=tuple(instance.sop_instance_uid for instance in instances),
        instance_sha256=tuple(instance.sha256 for instance in instances),
        warnings=tuple(warnings),
    )


def _anatomic_regions(instance: Instance) -> tuple[CodedRegion, ...]:
    """An unreadable one is no reason to refuse the study."""
    try:
        return tuple(
            CodedRegion(
                value=attributes.text(item, "CodeValue") or "",
                scheme=attributes.text(item, "CodingSchemeDesignator") or "",
                meaning=attributes.text(item, "CodeMeaning") or "",
            )
            for item in attributes.items(instance.dataset, "AnatomicRegionSequence")
        )
    except InvalidAttribute:
        return ()


def _different_sides(series: Sequence[SeriesDescription]) -> tuple[str, ...]:
    """That series of one assessment say to be of different sides of the body."""
    sides = {item.input_role: item.laterality for item in series if item.laterality in _SIDES}
    if len(set(sides.values())) < 2:
        return ()
    said = ", ".join(f"{role} {_SIDES[side]}" for role, side in sides.items())
    return (f"The series name different sides of the body ({said}). Check on which side the tumor is.",)


def _lenient_number(instance: Instance, keyword: str) -> float | None:
    """A value that only the report shows; an unreadable one is no reason to refuse the study."""
    try:
        return attributes.number(instance.dataset, keyword)
    except InvalidAttribute:
        return None


def _iso_date_time(instance: Instance, date_keyword: str, time_keyword: str) -> str | None:
    try:
        found = date_and_time(instance.dataset, date_keyword, time_keyword)
    except InvalidAttribute:
        return None
    return found.isoformat() if found else None
