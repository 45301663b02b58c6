"""Access roles: what a caller may do."""

from __future__ import annotations

from enum import StrEnum


class AccessRole(StrEnum):
    """An access role. A caller may have several; none includes another.

    Attributes:
        SUBMIT: Send studies and ask for assessments.
        READ: See studies, assessments and reports.
        SIGN: Sign, amend and withdraw reports, under the caller's own name.
        TRAIN: See what training and monitoring of models need: no patient, no report.
        METRICS: Read how the installation does: numbers of many patients, and nothing else.
        ADMINISTER: Delete, erase, change models, read the audit record.
        STAGE: What services and edges of one installation do among themselves. No user ever has it.
    """

    SUBMIT = "submit"
    READ = "read"
    SIGN = "sign"
    TRAIN = "train"
    METRICS = "metrics"
    ADMINISTER = "administer"
    STAGE = "stage"


USER_ROLES = frozenset(AccessRole) - {AccessRole.STAGE}
"""What people and systems outside the installation may be given."""
