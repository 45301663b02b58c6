"""Everything a report is made of, as one frozen object.

The same content gives the same bytes: the time of issue and the identity of the assessment come in from outside, and
every identifier of the report derives from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from oncoradiomics.features import Feature, FeatureDocument, Measure

from oncoresponse.case.case import LesionMeasure
from oncoresponse.case.contour_summary import SegmentationSummary
from oncoresponse.case.prediction import Prediction
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.definition import ImagingResponse
from oncoresponse.reporting.lesion_distances import LesionDistances
from oncoresponse.reporting.report_site import NO_SITE, ReportSite

_PATIENT_REFERENCE = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}")
_SERVICE_REQUEST_REFERENCE = re.compile(r"ServiceRequest/[A-Za-z0-9.-]{1,64}")
_ENCOUNTER_REFERENCE = re.compile(r"Encounter/[A-Za-z0-9.-]{1,64}")


@dataclass(frozen=True)
class SourceArtifact:
    """Something the report was computed from.

    Attributes:
        role: What it is, such as ``features`` or ``mask of lesion 2``; shown in the Provenance.
        identifier: Where the store keeps it.
        sha256: Lower-case hexadecimal digest of its bytes.
    """

    role: str
    identifier: str
    sha256: str


@dataclass(frozen=True)
class ReportedLesion:
    """One lesion of the report. Its mask is passed beside, as the report describes and does not hold voxels.

    Attributes:
        number: From 1, in the order of the request.
        label: Name of the structure in the contour that came with the study; empty for any other.
        features: Features and measures.
        segmentation: How the contour came to be.
        distances: To bone and skin; ``None`` without a CT in the frame of reference of the lesions.
    """

    number: int
    label: str
    features: FeatureDocument
    segmentation: SegmentationSummary
    distances: LesionDistances | None = None

    @property
    def contour_is_automatic(self) -> bool:
        """Whether the model's own network drew the contour."""
        return self.segmentation.method == "automatic"

    @property
    def contour_is_by_algorithm(self) -> bool:
        """Whether an algorithm alone drew the contour: the network, or other software before the study was sent."""
        return self.contour_is_automatic or self.segmentation.supplied_algorithm_type == "AUTOMATIC"

    def measure(self, name: str) -> Measure | None:
        """The measure of that name, if the feature document holds it."""
        return next((measure for measure in self.features.measures if measure.name == name), None)

    def feature(self, name: str) -> Feature | None:
        """The radiomics feature of that name, if the feature document holds it."""
        return next((feature for feature in self.features.features if feature.name == name), None)


@dataclass(frozen=True)
class ReportContext:
    """What is reported, and from what it came.

    Attributes:
        assessment_id: Identity of the assessment; all FHIR identifiers and DICOM UIDs of the report derive from it.
        issued: When the report was made, with a time zone (FHIR ``DiagnosticReport.issued``).
        model: Definition of the model that was used.
        model_sha256: ``ModelFolder.sha256`` of that model.
        study: The study and its patient.
        lesions: Numbered from 1 without a gap, in this order.
        prediction: Answer of the response stage; ``None`` when no prediction was made.
        software_version: Version of OncoResponse.
        totals: What all lesions measure together; reported where there are several.
        predicted_lesions: Numbers of the lesions that the prediction was made from; all of them where it was made from
            the totals, none where it was made from no lesion.
        predicted_from: The same in words, such as ``the largest lesion (number 1 of 3)``.
        planned_treatment: Treatment that is planned, in the words of the order; shown, never an input.
        artifacts: What the report was computed from.
        settings_sha256: Name and digest of each settings file used beyond those of the model.
        patient_reference: FHIR reference of the patient in the EHR (``Patient/123``). Without it the report refers to
            the patient by DICOM Patient ID and creates no Patient.
        service_request_reference: FHIR reference of the order in the EHR (``ServiceRequest/123``).
        encounter_reference: FHIR reference of the encounter in the EHR (``Encounter/123``).
        performing_organization: Name of the institution that ran the assessment, if it wants to be named.
        site: What else is known of the institution.
        model_card: The card of the model, Markdown in UTF-8; empty for none.
        replaces: Identifier of the earlier assessment that this one replaces; empty for none.

    Raises:
        InvalidRequest: ``issued`` has no time zone, a reference is malformed, the lesions are not numbered from 1, or
            the prediction is of another model or lesion.
    """

    assessment_id: str
    issued: datetime
    model: ImagingResponse
    model_sha256: str
    study: StudyDescription
    lesions: tuple[ReportedLesion, ...]
    prediction: Prediction | None
    software_version: str
    totals: tuple[LesionMeasure, ...] = ()
    predicted_lesions: tuple[int, ...] = (1,)
    predicted_from: str = ""
    planned_treatment: str | None = None
    artifacts: tuple[SourceArtifact, ...] = ()
    settings_sha256: tuple[tuple[str, str], ...] = ()
    patient_reference: str | None = None
    service_request_reference: str | None = None
    encounter_reference: str | None = None
    performing_organization: str | None = None
    site: ReportSite = NO_SITE
    model_card: bytes = b""
    replaces: str = ""

    def __post_init__(self) -> None:
        if self.issued.tzinfo is None:
            raise InvalidRequest("The time of issue has no time zone. Send it in UTC.", field="issued")
        if self.patient_reference and not _PATIENT_REFERENCE.fullmatch(self.patient_reference):
            raise InvalidRequest(
                "The patient reference is not of the form 'Patient/id'. Send the EHR's own reference, or none.",
                field="patient_reference",
            )
        if self.service_request_reference and not _SERVICE_REQUEST_REFERENCE.fullmatch(self.service_request_reference):
            raise InvalidRequest(
                "The order's reference is not of the form 'ServiceRequest/id'. Send the EHR's own reference, or none.",
                field="service_request_reference",
            )
        if self.encounter_reference and not _ENCOUNTER_REFERENCE.fullmatch(self.encounter_reference):
            raise InvalidRequest(
                "The encounter's reference is not of the form 'Encounter/id'. Send the EHR's own reference, or none.",
                field="encounter_reference",
            )
        numbers = [lesion.number for lesion in self.lesions]
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            raise InvalidRequest("A report needs lesions that are numbered from 1, in order.", field="lesions")
        if not set(self.predicted_lesions) <= set(numbers):
            raise InvalidRequest(
                "The prediction was made from a lesion that is not reported. Pass the case on unchanged.",
                field="predicted_lesions",
            )
        prediction = self.prediction
        if prediction is not None and (prediction.model_name, prediction.model_sha256) != (
            self.model.name,
            self.model_sha256,
        ):
            raise InvalidRequest(
                "The prediction was made by another model than the one that is reported. "
                "Report a prediction together with the model that made it.",
                field="prediction",
            )

    @property
    def has_several_lesions(self) -> bool:
        """Whether lesions have to be told apart, and have totals."""
        return len(self.lesions) > 1

    @property
    def predicts_from_totals(self) -> bool:
        """Whether the prediction was made from what all lesions measure together."""
        return len(self.predicted_lesions) > 1

    @property
    def main_lesion(self) -> ReportedLesion:
        """The one lesion that the prediction was made from; without one, the largest (of equals the first)."""
        if len(self.predicted_lesions) == 1:
            return self.lesions[self.predicted_lesions[0] - 1]
        return max(self.lesions, key=lambda lesion: lesion.segmentation.volume_ml)

    @property
    def any_contour_is_by_algorithm(self) -> bool:
        """Whether an algorithm alone drew a contour."""
        return any(lesion.contour_is_by_algorithm for lesion in self.lesions)

    @property
    def network_sha256(self) -> str | None:
        """Identity of the network that drew a contour; ``None`` where none did."""
        drawn = (lesion.segmentation.network_sha256 for lesion in self.lesions if lesion.contour_is_automatic)
        return next(drawn, None)

    @property
    def scan_date_time(self) -> str | None:
        """FHIR dateTime of the study; R4 allows a time only with a zone, so without one the date alone.

        The zone is the one that the study states, else that of the site.
        """
        stated = self.study.study_date_time
        if not stated:
            return None
        date, _, time = stated.partition("T")
        if not re.fullmatch(r"\d{2}:\d{2}:\d{2}(\.\d+)?", time):
            return date
        zone = fhir_time_zone(self.study.timezone_offset) or _offset_at(self.site.time_zone, f"{date}T{time[:8]}")
        return f"{date}T{time}{zone}" if zone else date


def fhir_time_zone(dicom_offset: str | None) -> str | None:
    """``+0100`` (DICOM (0008,0201)) as ``+01:00`` (FHIR); ``None`` for anything else."""
    match = re.fullmatch(r"([+-]\d{2}):?(\d{2})", (dicom_offset or "").strip())
    return f"{match[1]}:{match[2]}" if match else None


def _offset_at(time_zone: str, local: str) -> str | None:
    """Offset of an IANA zone at a local time, as FHIR writes it; ``None`` without a zone or for no calendar date."""
    if not time_zone:
        return None
    try:
        moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(time_zone))
    except ValueError:
        return None
    return fhir_time_zone(moment.strftime("%z"))
