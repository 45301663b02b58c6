"""What all objects have in common: identifiers, series, patient, study, equipment, and references to their sources."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

from oncoresponse.case.identifiers import derived_dicom_uid
from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.errors import InvalidAttribute, MissingAttribute
from oncoresponse.reporting.dicom_objects.source_study import OF_STUDY, clean_copy, set_times
from oncoresponse.reporting.imaging_study import segmentation_sop_instance_uid
from oncoresponse.reporting.report_content import ReportContext

SERIES_NUMBERS = {
    "structured-report": 9002,
    "encapsulated-report": 9003,
    "key-image": 9004,
    "surfaces": 9005,
    "verified-report": 9006,
    "rejection-note": 9007,
    "verified-page": 9008,
}
"""High, so that they sort behind the acquired series; 9001 is the segmentation."""

_IMPLEMENTATION_CLASS_UID = UID(derived_dicom_uid("implementation"))
_OF_STUDY = ("StudyInstanceUID", *OF_STUDY)
_PERSON_NAMES = frozenset({"PatientName", "ReferringPhysicianName"})
_LONG_STRING, _SHORT_STRING = 64, 16


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The series that the lesions were contoured on.

    Attributes:
        first: What results take over of its first image, values that break DICOM's rules left empty.
        instances: SOP Class UID and SOP Instance UID of each image.
    """

    first: Dataset
    instances: tuple[tuple[str, str], ...]

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.first.SeriesInstanceUID)


def source_series(images: Sequence[Dataset]) -> SourceSeries:
    """Read it off its images; pixel data is not needed.

    Raises:
        MissingAttribute: There is no image, or the first lacks what a reference to it needs.
        InvalidAttribute: The images are of several series, or the patient's identity breaks DICOM's rules.
    """
    if not images:
        raise MissingAttribute("The series the tumor was contoured on has no images. Send the complete study.")
    if len({(str(image.StudyInstanceUID), str(image.SeriesInstanceUID)) for image in images}) != 1:
        raise InvalidAttribute("The source images are of several studies or series. Send one series.")
    with without_pydicom_messages():
        first = clean_copy(images[0])
    return SourceSeries(first, tuple((str(image.SOPClassUID), str(image.SOPInstanceUID)) for image in images))


def object_uid(context: ReportContext, kind: str, *parts: str) -> str:
    """UID of a series or an instance: of this study, model, contour and report, so that a rerun gives it again.

    The contour is that of the segmentation object, to which the others refer.
    """
    return derived_dicom_uid(
        context.assessment_id,
        context.study.study_instance_uid,
        context.model_sha256,
        segmentation_sop_instance_uid(context),
        kind,
        *parts,
    )


def new_object(
    context: ReportContext, source: SourceSeries, kind: str, *, sop_class_uid: str, modality: str, instance: int = 1
) -> Dataset:
    """An object with everything but its content: patient, study, series, equipment, SOP common, times.

    Args:
        context: What is reported.
        source: Series it refers to.
        kind: One of :data:`SERIES_NUMBERS`: one series each.
        sop_class_uid: Of the object.
        modality: Of its series.
        instance: Number of the instance in its series.
    """
    made = Dataset()
    made.SOPClassUID = sop_class_uid
    made.SOPInstanceUID = object_uid(context, kind, "instance", str(instance))
    made.SpecificCharacterSet = "ISO_IR 192"
    copy_study(source.first, made)
    made.Modality = modality
    made.SeriesInstanceUID = object_uid(context, kind, "series")
    made.SeriesNumber = SERIES_NUMBERS[kind]
    made.InstanceNumber = instance
    made.ContentDate = made.ContentTime = made.SeriesDate = made.SeriesTime = None
    set_equipment(made, context)
    set_times(made, context.issued, source.first.get("TimezoneOffsetFromUTC"))
    return made


def copy_study(source: Dataset, made: Dataset) -> None:
    """Take over patient and study, written in Unicode whatever the source was written in."""
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _OF_STUDY:
        if keyword not in source:
            continue
        value = source[keyword].value
        # A PersonName keeps the bytes it was read from; a new one is encoded anew.
        made.add_new(
            source[keyword].tag,
            source[keyword].VR,
            PersonName(str(value)) if keyword in _PERSON_NAMES and value else value,
        )


def set_equipment(made: Dataset, context: ReportContext) -> None:
    """Enhanced General Equipment (PS3.3 C.7.5.2): the software, and which model ran in it."""
    made.Manufacturer = long_string(context.model.manufacturer or "OncoResponse")
    made.ManufacturerModelName = "OncoResponse"
    made.DeviceSerialNumber = context.model_sha256[:_SHORT_STRING]
    made.SoftwareVersions = long_string(context.software_version)
    if context.performing_organization:
        made.InstitutionName = long_string(context.performing_organization)


def set_sources(made: Dataset, source: SourceSeries) -> None:
    """Common Instance Reference (PS3.3 C.12.2): the images of the series."""
    series = Dataset()
    series.SeriesInstanceUID = source.uid
    series.ReferencedInstanceSequence = references(source)
    made.ReferencedSeriesSequence = [series]


def references(source: SourceSeries) -> list[Dataset]:
    """SOP Instance References to the images of the series (PS3.3 Table 10-11)."""
    return [reference(*instance) for instance in source.instances]


def reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """SOP Instance Reference (PS3.3 Table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """Item of a code sequence (PS3.3 Table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def long_string(text: str) -> str:
    """A text as a value of LO: one line, no backslash, at most 64 characters."""
    return " ".join(text.replace("\\", "/").split())[:_LONG_STRING].strip()


def verifier_name(text: str) -> str:
    """The name of a person in free words as PN: without its delimiters, at most 64 characters."""
    plain = "".join(" " if letter in "\\^=" else letter for letter in text)
    return " ".join(plain.split())[:_LONG_STRING].strip()


def part10(made: Dataset) -> bytes:
    """The object as a DICOM Part 10 file in explicit VR little endian."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.ImplementationClassUID = _IMPLEMENTATION_CLASS_UID
    made.file_meta.ImplementationVersionName = "ONCORESPONSE"
    buffer = io.BytesIO()
    with without_pydicom_messages():
        made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def time_of(made: Dataset, moment: datetime) -> None:
    """Give a copy of an object, with the zone that it states, another time."""
    set_times(made, moment, made.get("TimezoneOffsetFromUTC"))
