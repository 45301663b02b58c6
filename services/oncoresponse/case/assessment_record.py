"""The record of an assessment: what is needed to compute its result again."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from oncoresponse.case.document import VersionedDocument
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.case.stored_artifact import StoredArtifact

RECORD_FILE = "record.json"
"""Its name among what an assessment hands out."""


class AssessmentRecord(VersionedDocument):
    """Contents of ``record.json``. The same study, order, model and software give the same bytes.

    The instances with their SHA-256 are in the study manifest, their SOP Instance UIDs in the index that it names. No
    stage draws random numbers; the seed of a model's training is pinned with the model.

    Attributes:
        assessment: Identifier of the assessment.
        model: ``models/{model}``.
        model_sha256: SHA-256 over the files of the model: weights, settings of the features, response model.
        stages: The plan that was run.
        study_manifest: The instances.
        begun_with: The :class:`~oncoresponse.case.case.Case` before the first stage.
        ended_with: The case after the last one.
        software: What each stage ran with, by its name in the plan.
    """

    VERSION: ClassVar[str] = "1.0"

    assessment: str
    model: str
    model_sha256: str
    stages: tuple[str, ...]
    study_manifest: StoredArtifact
    begun_with: StoredArtifact
    ended_with: StoredArtifact
    software: dict[str, StageSoftware] = Field(default_factory=dict)
