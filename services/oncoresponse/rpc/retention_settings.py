"""Settings of how long data are kept."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RetentionDays(BaseModel):
    """How many days data are kept, by kind; 0 keeps them until somebody erases them.

    Of the rows of the workflow engine ``workflow_retention_days`` says it.

    Attributes:
        images: DICOM instances of complete studies, from their creation. Assessments and reports stay.
        volumes: Volumes and masks that were computed for an assessment, from its creation. Its report stays.
        reports: Assessments with everything that was made for them, signed reports too.
        monitoring: Predictions and outcomes, by month.
        incomplete_studies: Studies that nobody completed, from their creation, or while the service runs from the last
            addition.
        orders: Orders, from their last change; the study of one that still waits has not come.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(default=0, ge=0, le=36_500)
    volumes: int = Field(default=0, ge=0, le=36_500)
    reports: int = Field(default=0, ge=0, le=36_500)
    monitoring: int = Field(default=0, ge=0, le=36_500)
    incomplete_studies: int = Field(default=7, ge=0, le=36_500)
    orders: int = Field(default=90, ge=0, le=36_500)
