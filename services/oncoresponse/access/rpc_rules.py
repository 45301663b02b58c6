"""The one table of who may call what. A test walks every cell, and fails for an RPC that has no line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from oncoresponse.access.audit_event import AuditAction
from oncoresponse.access.roles import USER_ROLES, AccessRole

_SUBMIT, _READ, _SIGN = AccessRole.SUBMIT, AccessRole.READ, AccessRole.SIGN
_TRAIN, _ADMINISTER, _STAGE = AccessRole.TRAIN, AccessRole.ADMINISTER, AccessRole.STAGE
_METRICS = AccessRole.METRICS


@dataclass(frozen=True)
class Rule:
    """Of one RPC.

    Attributes:
        roles: A caller with any of these may call it.
        action: What it is to the audit record.
    """

    roles: frozenset[AccessRole]
    action: AuditAction

    @property
    def allows_emergency_access(self) -> bool:
        """Whether a caller who may break the glass may call it without the role: reading, and nothing else."""
        return self.action is AuditAction.READ and _READ in self.roles


def _rule(action: AuditAction, *roles: AccessRole) -> Rule:
    return Rule(frozenset(roles), action)


_C, _R, _U = AuditAction.CREATE, AuditAction.READ, AuditAction.UPDATE
_D, _E = AuditAction.DELETE, AuditAction.EXECUTE

RPC_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "oncoresponse.v1.AccessService/GetCaller": Rule(USER_ROLES | {_STAGE}, _R),
        "oncoresponse.v1.StudyService/CreateStudy": _rule(_C, _SUBMIT),
        "oncoresponse.v1.StudyService/UploadInstances": _rule(_C, _SUBMIT),
        "oncoresponse.v1.StudyService/StoreInstances": _rule(_C, _SUBMIT),
        "oncoresponse.v1.StudyService/ListInstances": _rule(_R, _SUBMIT),
        "oncoresponse.v1.StudyService/CompleteStudy": _rule(_U, _SUBMIT),
        "oncoresponse.v1.StudyService/ImportDirectory": _rule(_C, _SUBMIT),
        "oncoresponse.v1.StudyService/ImportDicomWeb": _rule(_C, _SUBMIT),
        "oncoresponse.v1.StudyService/FindDicomWebStudies": _rule(_R, _SUBMIT),
        "oncoresponse.v1.StudyService/GetStudy": _rule(_R, _READ, _SUBMIT, _STAGE),
        "oncoresponse.v1.StudyService/ListStudies": _rule(_R, _READ),
        "oncoresponse.v1.StudyService/ReadInstances": _rule(_R, _ADMINISTER),
        "oncoresponse.v1.StudyService/DeleteStudy": _rule(_D, _ADMINISTER),
        "oncoresponse.v1.IntakeService/ListReceivedStudies": _rule(_R, _READ),
        "oncoresponse.v1.IntakeService/NoteReceivedStudy": _rule(_U, _STAGE),
        "oncoresponse.v1.IntakeService/DescribeReceivedStudy": _rule(_R, _STAGE),
        "oncoresponse.v1.OrderService/ListOrders": _rule(_R, _READ),
        "oncoresponse.v1.OrderService/GetOrder": _rule(_R, _READ),
        "oncoresponse.v1.OrderService/CancelOrder": _rule(_U, _SUBMIT),
        "oncoresponse.v1.OrderService/RecordOrder": _rule(_C, _STAGE),
        "oncoresponse.v1.OrderService/SettleOrder": _rule(_U, _STAGE),
        "oncoresponse.v1.AssessmentService/CreateAssessment": _rule(_C, _SUBMIT),
        "oncoresponse.v1.AssessmentService/GetAssessment": _rule(_R, _READ),
        "oncoresponse.v1.AssessmentService/ListAssessments": _rule(_R, _READ),
        "oncoresponse.v1.AssessmentService/CancelAssessment": _rule(_U, _SUBMIT),
        "oncoresponse.v1.AssessmentService/WatchAssessment": _rule(_R, _READ),
        "oncoresponse.v1.AssessmentService/GetArtifact": _rule(_R, _READ),
        "oncoresponse.v1.AssessmentService/RefineContour": _rule(_C, _SUBMIT, _SIGN),
        "oncoresponse.v1.AssessmentService/ListContourCorrections": _rule(_R, _READ),
        "oncoresponse.v1.ReportService/GetReport": _rule(_R, _READ),
        "oncoresponse.v1.ReportService/SignReport": _rule(_U, _SIGN),
        "oncoresponse.v1.ReportService/AmendReport": _rule(_U, _SIGN),
        "oncoresponse.v1.ReportService/WithdrawReport": _rule(_U, _SIGN),
        "oncoresponse.v1.ReportService/RecordJudgement": _rule(_C, _SIGN),
        "oncoresponse.v1.CardService/CheckCardClient": _rule(_R, _STAGE),
        "oncoresponse.v1.CardService/GetCards": _rule(_R, _STAGE),
        "oncoresponse.v1.CardService/RecordCardFeedback": _rule(_C, _STAGE),
        "oncoresponse.v1.ModelService/ListModels": Rule(USER_ROLES | {_STAGE}, _R),
        "oncoresponse.v1.ModelService/GetModel": Rule(USER_ROLES | {_STAGE}, _R),
        "oncoresponse.v1.ModelControlService/ProposeState": _rule(_U, _ADMINISTER),
        "oncoresponse.v1.ModelControlService/ApproveState": _rule(_U, _ADMINISTER, _SIGN),
        "oncoresponse.v1.ModelControlService/GetModelControl": Rule(USER_ROLES | {_STAGE}, _R),
        "oncoresponse.v1.ModelControlService/ListModelChanges": Rule(USER_ROLES, _R),
        "oncoresponse.v1.ModelControlService/StopRelease": _rule(_U, _ADMINISTER, _SIGN),
        "oncoresponse.v1.ModelControlService/ResumeRelease": _rule(_U, _ADMINISTER),
        "oncoresponse.v1.ModelControlService/RollbackModel": _rule(_U, _ADMINISTER),
        "oncoresponse.v1.ModelControlService/RecallModel": _rule(_R, _ADMINISTER),
        "oncoresponse.v1.ResponseService/PredictResponse": _rule(_E, _SUBMIT),
        "oncoresponse.v1.MonitoringService/RecordPrediction": _rule(_C, _STAGE),
        "oncoresponse.v1.MonitoringService/RecordOutcome": _rule(_U, _SUBMIT, _SIGN),
        "oncoresponse.v1.MonitoringService/GetMonitoringReport": _rule(_R, _TRAIN, _ADMINISTER, _STAGE),
        "oncoresponse.v1.OperationsService/GetMetrics": _rule(_R, _METRICS, _ADMINISTER),
        "oncoresponse.v1.AdministrationService/ErasePatient": _rule(_D, _ADMINISTER),
        "oncoresponse.v1.AdministrationService/DeleteAssessment": _rule(_D, _ADMINISTER),
        "oncoresponse.v1.AdministrationService/MergePatients": _rule(_U, _ADMINISTER, _STAGE),
        "oncoresponse.v1.AdministrationService/MoveStudy": _rule(_U, _ADMINISTER),
        "oncoresponse.v1.AdministrationService/ApplyRetention": _rule(_D, _ADMINISTER),
        "oncoresponse.v1.ReplayService/ReplayAssessment": _rule(_E, _ADMINISTER),
        "oncoresponse.v1.ResourceService/ReadResource": _rule(_R, _READ),
        "oncoresponse.v1.ResourceService/SearchResources": _rule(_R, _READ),
        "oncoresponse.v1.DeliveryService/ListDeliveries": _rule(_R, _READ, _ADMINISTER),
        "oncoresponse.v1.DeliveryService/GetDelivery": _rule(_R, _READ, _ADMINISTER),
        "oncoresponse.v1.DeliveryService/ResendDelivery": _rule(_U, _ADMINISTER),
        "oncoresponse.v1.DeliveryService/DropDelivery": _rule(_U, _ADMINISTER),
        "oncoresponse.v1.DeliveryService/TakeDeliveries": _rule(_U, _STAGE),
        "oncoresponse.v1.DeliveryService/ExtendLease": _rule(_U, _STAGE),
        "oncoresponse.v1.DeliveryService/SettleDelivery": _rule(_U, _STAGE),
        "oncoresponse.stages.v1.StudyDataService/FindStudies": _rule(_R, _STAGE),
        "oncoresponse.stages.v1.StudyDataService/ListStudyArtifacts": _rule(_R, _STAGE),
        "oncoresponse.stages.v1.StudyDataService/ForgetStudies": _rule(_D, _STAGE),
        "oncoresponse.stages.v1.StudyDataService/FindOrders": _rule(_R, _STAGE),
        "oncoresponse.stages.v1.StudyDataService/MergeOrders": _rule(_U, _STAGE),
        "oncoresponse.stages.v1.StudyDataService/ForgetOrders": _rule(_D, _STAGE),
        "oncoresponse.stages.v1.StudyDataService/FindUsedArtifacts": _rule(_R, _STAGE),
        "oncoresponse.stages.v1.StudyDataService/CorrectStudies": _rule(_U, _STAGE),
        "oncoresponse.stages.v1.StudyDataService/CompactStudies": _rule(_U, _STAGE),
        "oncoresponse.stages.v1.MonitoringDataService/ForgetRecords": _rule(_D, _STAGE),
        "oncoresponse.stages.v1.StageService/RunStage": _rule(_E, _STAGE),
        "oncoresponse.stages.v1.ProcessService/DescribeProcess": _rule(_R, _STAGE),
        "oncoresponse.stages.v1.ContourService/Refine": _rule(_E, _STAGE),
        "oncoresponse.stages.v1.StudyCheckService/CheckStudy": _rule(_R, _STAGE),
    }
)
"""By full name of the RPC. What is not here, nobody may call."""
