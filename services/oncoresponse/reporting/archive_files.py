"""DICOM objects of a report as FHIR sees them: which series they add to the study, and where an archive gives them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydicom import dcmread

from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.reporting.code_systems import DCM, DICOM_UID, MODALITIES, URI, Code, Json

OBJECT_ENDING = ".dcm"
_WANTED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesDescription")


@dataclass(frozen=True)
class ArchiveFile:
    """What FHIR says of one DICOM object.

    Attributes:
        data: The Part 10 file.
    """

    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    modality: str
    series_description: str
    data: bytes

    def address(self, dicomweb_url: str) -> str:
        """WADO-RS address of the instance (PS3.18 section 10.4)."""
        return f"{dicomweb_url}/studies/{self.study_uid}/series/{self.series_uid}/instances/{self.sop_instance_uid}"


def archive_file(data: bytes) -> ArchiveFile:
    """Read what FHIR needs of a DICOM object that the report made."""
    with without_pydicom_messages():
        made = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=list(_WANTED))
    study, series, sop_class, instance, modality, description = (str(made.get(keyword, "")) for keyword in _WANTED)
    return ArchiveFile(study, series, sop_class, instance, modality, description, data)


def archive_files(objects: Mapping[str, bytes]) -> dict[str, ArchiveFile]:
    """The DICOM objects among files, by file name, in the order of their names."""
    return {name: archive_file(objects[name]) for name in sorted(objects) if name.endswith(OBJECT_ENDING)}


def series_of(files: Iterable[ArchiveFile]) -> list[Json]:
    """``ImagingStudy.series`` that the objects make up, in order, each instance by its UID."""
    series: dict[str, Json] = {}
    for file in files:
        entry = series.setdefault(
            file.series_uid,
            {
                "uid": file.series_uid,
                "modality": (MODALITIES.get(file.modality) or Code(DCM, file.modality, None)).coding,
                **({"description": file.series_description} if file.series_description else {}),
                "numberOfInstances": 0,
                "instance": [],
            },
        )
        entry["numberOfInstances"] += 1
        entry["instance"].append(
            {"uid": file.sop_instance_uid, "sopClass": {"system": URI, "code": f"urn:oid:{file.sop_class_uid}"}}
        )
    return list(series.values())


def dicom_format(file: ArchiveFile, display: str) -> Json:
    """``DocumentReference.content.format``: the SOP Class."""
    return {"system": DICOM_UID, "code": file.sop_class_uid, "display": display}
