"""The case: what travels between the stages of a plan, as one document.

A case goes into each stage and comes out of it with what the stage found. Voxels and long documents stay in the
artifact store; the case holds references to them (claim check). Stages know nothing of one another but this.

The document carries its version, ``major.minor``. Fields may be added with a new minor version: who reads a case of a
newer one ignores what it does not know. A new major version means that a field changed its meaning, and is refused by
name.

The patient's identity may be in here (``order.expected_patient``) and behind a reference (``study``). It goes into the
report, never into a log, an error or a metric.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from oncoresponse.case.document import Tolerant, VersionedDocument
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.case.stored_artifact import StoredArtifact

PositionMm = tuple[float, float, float]
"""LPS, mm."""

ContourKind = Literal["rtstruct", "segmentation", "correction"]
AlgorithmType = Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"]


class NamedContour(Tolerant):
    """A contour in the study, as a request names it.

    Attributes:
        sop_instance_uid: Of the RTSTRUCT or DICOM SEG; empty for the only one.
        structure_name: ROI Name or Segment Label, or ``#`` and its number; empty for the only gross tumor volume.
        every_structure: Take every structure of the object, each as one lesion.
    """

    sop_instance_uid: str = ""
    structure_name: str = ""
    every_structure: bool = False


class BoxMm(Tolerant):
    """A box with faces along the patient's axes (LPS, mm)."""

    low: PositionMm
    high: PositionMm


class CorrectedContour(Tolerant):
    """A contour that a person corrected in an earlier assessment of the study.

    Attributes:
        name: ``assessments/{assessment}/corrections/{correction}``.
        mask: On the grid of the image that was contoured there.
    """

    name: str
    mask: StoredArtifact


class LesionRequest(Tolerant):
    """Which lesion is meant: exactly one of the attributes is given.

    Attributes:
        point: In the lesion; the network draws the outline.
        box: Around the lesion; likewise.
        rough_contour: Around the lesion; the box around it is used.
        contour: To be used instead of segmentation.
        correction: Likewise.
    """

    point: PositionMm | None = None
    box: BoxMm | None = None
    rough_contour: NamedContour | None = None
    contour: NamedContour | None = None
    correction: CorrectedContour | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = (self.point, self.box, self.rough_contour, self.contour, self.correction)
        if sum(item is not None for item in given) != 1:
            raise ValueError("a lesion is named by exactly one of point, box, rough_contour, contour and correction")
        return self


class SelectedSeries(Tolerant):
    """A series to use for one input; without an input role, for the only input that takes its modality."""

    input_role: str = ""
    series_instance_uid: str


class ExpectedPatientValues(Tolerant):
    """Who the patient should be; ``None`` is not compared."""

    patient_id: str | None = None
    birth_date: str | None = None
    sex: str | None = None


class Order(Tolerant):
    """What was asked, as far as the stages need it.

    Attributes:
        report_id: Identifier of the report; all FHIR identifiers and DICOM UIDs derive from it.
        issued: When the assessment was created, with a time zone.
        lesions: Which lesions; none: the one that the network finds.
        covariates: Clinical inputs by name, in the unit that the model declares.
        planned_treatment: In the words of the order; shown, never an input.
        patient_reference, service_request_reference, encounter_reference: FHIR references of the EHR.
        replaces: Identifier of the earlier assessment that this one replaces; empty for none.
    """

    report_id: str
    issued: datetime
    lesions: tuple[LesionRequest, ...] = ()
    series: tuple[SelectedSeries, ...] = ()
    expected_patient: ExpectedPatientValues | None = None
    covariates: dict[str, float] = Field(default_factory=dict)
    planned_treatment: str = ""
    patient_reference: str = ""
    service_request_reference: str = ""
    encounter_reference: str = ""
    replaces: str = ""


class CaseImage(Tolerant):
    """A converted series.

    Attributes:
        input_role: Which input of the model it is.
        modality: DICOM modality.
        series_instance_uid: Of the series it came from.
        volume: NRRD; what its voxels measure stands in the file.
    """

    input_role: str
    modality: str
    series_instance_uid: str
    volume: StoredArtifact


class MaskVariant(Tolerant):
    """Another mask that is as plausible as the first.

    Attributes:
        name: ``smaller`` and ``larger``: the ends of the volume interval; ``network_1`` and so on: a single network.
        mask: On the grid of the lesion's own mask.
    """

    name: str
    mask: StoredArtifact


class LesionMeasure(Tolerant):
    """One measure of a lesion or total of a patient, in short.

    Attributes:
        name: As in the feature document.
        unit: UCUM.
        ibsi_id: Permanent IBSI identifier, where one exists.
    """

    name: str
    value: float
    unit: str
    ibsi_id: str = ""


class Lesion(Tolerant):
    """One lesion, as far as the stages have come with it.

    Attributes:
        number: From 1, in the order of the request.
        label: Name of the structure in the contour that came with the study; empty for any other.
        request: How it was asked for; ``None`` for the one that the network was to find by itself.
        supplied_mask: What intake made of a contour or rough contour, on the grid of the input that is segmented on.
        supplied_kind, supplied_algorithm_type: What that contour says of itself.
        mask: The lesion, 0 or 1, on the same grid.
        probability: Voxelwise, on the same grid; only where a network drew the lesion.
        summary: :class:`~oncoresponse.case.contour_summary.SegmentationSummary`.
        volume_ml: Of the mask.
        volume_high_ml: Upper bound of the whole lesion where the images show a part of it; 0 where it is seen whole.
        needs_review, review_reasons: Why the contour must not be believed before a physician has looked at it.
        variants: Other masks as plausible.
        features: ``FeatureDocument``.
        variant_features: The same of the variants that could be measured.
        measures: The measures of ``features`` in short.
    """

    number: int = Field(ge=1)
    label: str = ""
    request: LesionRequest | None = None
    supplied_mask: StoredArtifact | None = None
    supplied_kind: ContourKind | None = None
    supplied_algorithm_type: AlgorithmType | None = None
    mask: StoredArtifact | None = None
    probability: StoredArtifact | None = None
    summary: StoredArtifact | None = None
    volume_ml: float = 0.0
    volume_high_ml: float = 0.0
    needs_review: bool = False
    review_reasons: tuple[str, ...] = ()
    variants: tuple[MaskVariant, ...] = ()
    features: StoredArtifact | None = None
    variant_features: tuple[StoredArtifact, ...] = ()
    measures: tuple[LesionMeasure, ...] = ()

    def measure(self, name: str) -> float | None:
        """Value of the measure of that name."""
        return next((item.value for item in self.measures if item.name == name), None)


class Candidate(Tolerant):
    """A place in a large scan that may be a lesion, for a physician to choose from.

    Attributes:
        number: 1 for the most likely.
        box: Around it; sent back as a lesion, it chooses this candidate.
        hottest: Centre of the voxel with the highest value.
        suv_max: Highest SUV, g/mL; 0 where the image is no PET in SUV.
        confidence: Mean probability of its voxels.
    """

    number: int
    box: BoxMm
    hottest: PositionMm
    volume_ml: float
    suv_max: float
    confidence: float


class Finding(Tolerant):
    """What a model says about the patient.

    Attributes:
        kind: What kind of answer the document is.
        document: :class:`~oncoresponse.case.prediction.Prediction`.
        lesions: Numbers of the lesions that it was made from.
        made_from: The same in words, such as ``the largest lesion (1 of 3)``.
    """

    kind: Literal["therapy response"] = "therapy response"
    document: StoredArtifact
    lesions: tuple[int, ...] = ()
    made_from: str = ""


class Prior(Tolerant):
    """An earlier case of the same patient, for comparison."""

    assessment: str
    study_date_time: str | None = None
    case: StoredArtifact


class Case(VersionedDocument):
    """Everything known about one assessment; each stage gives back a copy with what it found.

    Attributes:
        order: What was asked.
        study_manifest: The instances of the study.
        study: :class:`~oncoresponse.case.study_description.StudyDescription`; holds the patient's identity.
        images: By input role.
        lesions: In the order of the request.
        candidates: Not empty where a physician has to choose the lesions; the plan ends there.
        totals: Of all lesions together: number, total volume, MTV, TLG, sum of diameters.
        findings: What models say.
        priors: Earlier cases of the patient.
        outputs: What the assessment hands out, by file name.
        result_summary: The result in a few lines of plain text, without patient identity.
        software: What each stage ran with, by its name in the plan.
    """

    VERSION: ClassVar[str] = "1.3"

    order: Order
    study_manifest: StoredArtifact
    study: StoredArtifact | None = None
    images: tuple[CaseImage, ...] = ()
    lesions: tuple[Lesion, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    totals: tuple[LesionMeasure, ...] = ()
    findings: tuple[Finding, ...] = ()
    priors: tuple[Prior, ...] = ()
    outputs: dict[str, StoredArtifact] = Field(default_factory=dict)
    result_summary: str = ""
    software: dict[str, StageSoftware] = Field(default_factory=dict)

    def image(self, input_role: str) -> CaseImage | None:
        """The image of an input."""
        return next((item for item in self.images if item.input_role == input_role), None)

    def with_changes(self, **changes: object) -> Self:
        """A copy with other values, validated."""
        return type(self).model_validate({**dict(self), "document_version": self.VERSION, **changes})
