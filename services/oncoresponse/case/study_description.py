"""What a DICOM study says about itself, as plain data that travels beside the volumes.

The identity of the patient is in here. It goes into the report, never into a log, an error or a metric.
"""

from __future__ import annotations

from oncoresponse.case.document import Tolerant


class PatientIdentity(Tolerant):
    """DICOM Patient Module (PS3.3 C.7.1.1), as found, empty values as ``None``."""

    patient_id: str | None
    issuer_of_patient_id: str | None = None
    name: str | None = None
    birth_date: str | None = None
    sex: str | None = None
    age_years: float | None = None
    weight_kg: float | None = None


class CodedRegion(Tolerant):
    """An item of Anatomic Region Sequence (0008,2218), as found."""

    value: str
    scheme: str
    meaning: str = ""


class SeriesDescription(Tolerant):
    """One image series that forms one regular volume.

    Attributes:
        input_role: Input of the model that it was chosen for; empty in documents of releases before 0.3, where the
            modality said it.
        chosen_because: Why this one of several series of the modality, in one sentence; ``None`` where it is the only
            one. It is among the warnings too, which reports print.
        sop_instance_uids: In slice order, the order of index axis k of the volume.
        sequence_name: Of MR: DICOM (0018,0024), or Protocol Name (0018,1030); as found.
        contrast_agent: Contrast/Bolus Agent (0018,0010), as found; ``None`` where none is named.
        magnetic_field_strength_t: Of MR: DICOM (0018,0087).
        body_part_examined: DICOM (0018,0015), as found.
        anatomic_regions: Of its first image.
        laterality: DICOM (0020,0060), or (0020,0062) of the images; as found, never derived from pixels.
        instance_sha256: Digest of each file, same order; finds the file in the store.
    """

    series_instance_uid: str
    modality: str
    sop_class_uid: str
    frame_of_reference_uid: str
    description: str | None = None
    manufacturer: str | None = None
    manufacturer_model_name: str | None = None
    slice_thickness_mm: float | None = None
    convolution_kernel: str | None = None
    sequence_name: str | None = None
    contrast_agent: str | None = None
    magnetic_field_strength_t: float | None = None
    radiopharmaceutical: str | None = None
    suv_method: str | None = None
    acquisition_date_time: str | None = None
    body_part_examined: str | None = None
    anatomic_regions: tuple[CodedRegion, ...] = ()
    laterality: str | None = None
    input_role: str = ""
    chosen_because: str | None = None
    sop_instance_uids: tuple[str, ...]
    instance_sha256: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class StudyDescription(Tolerant):
    """The study and the series that were chosen from it.

    Attributes:
        admission_id: DICOM (0038,0010), the visit, as found.
        study_date_time: ISO 8601 without zone where the study gives none (DICOM DA + TM).
        description: DICOM (0008,1030), as found.
        series: The chosen image series, one for each input of the model that was found.
        warnings: What was odd but not wrong enough to refuse, in plain sentences without PHI.
    """

    study_instance_uid: str
    accession_number: str | None = None
    admission_id: str | None = None
    study_date_time: str | None = None
    timezone_offset: str | None = None
    description: str | None = None
    patient: PatientIdentity
    series: tuple[SeriesDescription, ...]
    warnings: tuple[str, ...] = ()

    def series_of_role(self, input_role: str) -> SeriesDescription | None:
        """The series chosen for an input of the model, if there is one."""
        return next((series for series in self.series if (series.input_role or series.modality) == input_role), None)
