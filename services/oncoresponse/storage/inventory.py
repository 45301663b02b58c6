"""Everything that keeps or hands out data of a patient: each table, each kind of file, each RPC.

The rule for whatever is added: it gets its line here, which says how an erasure removes it, under which kind of
retention it falls, whether a backup holds it, by what it is found, and what an RPC hands out. Tests walk the tables of
real databases, the files of a real data folder and the RPCs of all protos, and fail where one has no line, or a line
stands for nothing (tests/integration/test_patient_erasure.py, tests/unit/storage/test_inventory.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Erased(StrEnum):
    """How ErasePatient removes it."""

    ROWS = "the rows go, and the database is written anew"
    WITH_ASSESSMENT = "the rows go with those of the assessment, and the database is written anew"
    FILES = "the files go to which nothing refers any more; the last sweep takes what belongs to nobody"
    WITH_STUDY = "the files go with the study"
    OVERWRITTEN = "the row stays, and what it says is overwritten"
    BY_LAW = "stays by law; it holds a keyed digest of the patient in place of the identifier"
    NEVER_THERE = "holds no data of a patient"
    SHORT_LIVED = (
        "goes when the call, the stage or the process that made it ends; a later start removes what a crash left"
    )


class Kind(StrEnum):
    """Kind of retention."""

    IMAGES = "retention_days.images"
    VOLUMES = "retention_days.volumes"
    REPORTS = "retention_days.reports"
    MONITORING = "retention_days.monitoring"
    INCOMPLETE = "retention_days.incomplete_studies"
    ORDERS = "retention_days.orders"
    SEVERAL = "that of the study or the assessment that refers to it"
    WORKFLOW = "workflow_retention_days"
    AUDIT = "none: the audit record is kept as long as the law asks"
    NONE = "none"


@dataclass(frozen=True)
class Kept:
    """A table or a kind of file.

    Attributes:
        erased: How it ends with its patient.
        retention: How it ends with its age.
        backed_up: Whether a backup has to hold it, so that nothing is lost; what it holds can be made again otherwise.
        found_by: What finds the rows or files of a patient; empty where there are none.
    """

    erased: Erased
    retention: Kind
    backed_up: bool
    found_by: str = ""


class Handles(StrEnum):
    """What an RPC takes in or hands out."""

    IMAGES = "images and their headers"
    IDENTITY = "who a patient is"
    RESULTS = "what was found of a patient"
    NAMES = "names of studies, assessments and artifacts, which stand for a patient"
    AGGREGATES = "numbers of many patients"
    NOTHING = "nothing of a patient"


_RUN = Kept(Erased.WITH_ASSESSMENT, Kind.WORKFLOW, True, "id of the run, that of the assessment")
_CHART = Kept(Erased.WITH_ASSESSMENT, Kind.REPORTS, True, "assessment; chart_patient has the Patient ID")
_RESOURCE = Kept(Erased.WITH_ASSESSMENT, Kind.REPORTS, True, "id of the resource; fhir_use has the assessment")
_STUDY = Kept(Erased.ROWS, Kind.IMAGES, True, "study; study_patient has the patient")
_MONITORING = Kept(Erased.WITH_ASSESSMENT, Kind.MONITORING, True, "assessment")
_ENGINE = Kept(Erased.NEVER_THERE, Kind.NONE, True)
_NO_PATIENT = Kept(Erased.NEVER_THERE, Kind.NONE, True)

TABLES: Mapping[str, Kept] = MappingProxyType(
    {
        "study": _STUDY,
        "instance": _STUDY,
        "series": _STUDY,
        "study_patient": _STUDY,
        "received_study": _STUDY,
        "study_accession": _STUDY,
        "imaging_order": Kept(Erased.ROWS, Kind.ORDERS, True, "Patient ID and issuer"),
        "patient": Kept(Erased.ROWS, Kind.IMAGES, True, "Patient ID and issuer; goes with the last study"),
        "chart_assessment": _CHART,
        "chart_patient": Kept(Erased.WITH_ASSESSMENT, Kind.REPORTS, True, "Patient ID and issuer"),
        "chart_former_patient": Kept(Erased.WITH_ASSESSMENT, Kind.REPORTS, True, "Patient ID and issuer"),
        "chart_result": _CHART,
        "report_version": _CHART,
        "report_object": _CHART,
        "report_judgement": _CHART,
        "report_replacement": _CHART,
        "delivery": _CHART,
        "delivery_count": _NO_PATIENT,
        "cds_card": _CHART,
        "cds_feedback": _CHART,
        "cds_token": _NO_PATIENT,
        "fhir_report": _CHART,
        "fhir_patient": Kept(Erased.WITH_ASSESSMENT, Kind.REPORTS, True, "assessment, and Patient ID or reference"),
        "fhir_use": _RESOURCE,
        "fhir_resource": _RESOURCE,
        "fhir_token": _RESOURCE,
        "fhir_date": _RESOURCE,
        "fhir_reference": _RESOURCE,
        "contour_correction": _CHART,
        "model_use": _CHART,
        "monitoring_prediction": _MONITORING,
        "monitoring_outcome": _MONITORING,
        "workflow_status": _RUN,
        "workflow_input": _RUN,
        "workflow_output": _RUN,
        "operation_outputs": _RUN,
        "notifications": _RUN,
        "workflow_events": _RUN,
        "workflow_events_history": _RUN,
        "streams": _RUN,
        "administration_erasure": Kept(Erased.OVERWRITTEN, Kind.NONE, True, "id of the request"),
        "administration_daily_task": _NO_PATIENT,
        "audit_event": Kept(Erased.BY_LAW, Kind.AUDIT, True, "keyed digest of the patient"),
        "store_total": _NO_PATIENT,
        "model_change": _NO_PATIENT,
        "worker": _NO_PATIENT,
        "oncoresponse_schema": _NO_PATIENT,
        "workflow_schedules": _ENGINE,
        "application_versions": _ENGINE,
        "queues": _ENGINE,
        "dbos_migrations": _ENGINE,
        "event_dispatch_kv": _ENGINE,
    }
)
"""Every table, of ours and of the workflow engine, by name."""

_DATABASE = Kept(Erased.ROWS, Kind.SEVERAL, True, "its tables")
_SHORT = Kept(Erased.SHORT_LIVED, Kind.NONE, False)
_PART = Kept(Erased.WITH_STUDY, Kind.INCOMPLETE, True, "study, and the headers of the files")

FILES: Mapping[str, Kept] = MappingProxyType(
    {
        r"(oncoresponse|studies/studies)\.sqlite(-wal|-shm|-journal)?": _DATABASE,
        r"audit\.sqlite(-wal|-shm|-journal)?": Kept(Erased.BY_LAW, Kind.AUDIT, True, "keyed digest of the patient"),
        r"artifacts/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{64}": Kept(
            Erased.FILES, Kind.SEVERAL, True, "digest, from the rows and documents that refer to it"
        ),
        r"artifacts/scratch/.*": _SHORT,
        r"studies/parts/[0-9a-f-]{36}/[0-9a-f]{64}\.(part|header\.json)": _PART,
        r"studies/copies/.*": _SHORT,
        r"sockets/.*": _SHORT,
        r"edges/open-studies(-pacs)?(\.new)?": Kept(Erased.NEVER_THERE, Kind.NONE, True),
        r"workers/[A-Za-z0-9._-]+\.lock": Kept(Erased.NEVER_THERE, Kind.NONE, False),
        r"secrets/.*": Kept(Erased.NEVER_THERE, Kind.NONE, True),
        r"(users|revoked)\.yaml": Kept(Erased.NEVER_THERE, Kind.NONE, True),
        r"erasures\.jsonl": Kept(Erased.BY_LAW, Kind.AUDIT, True, "keyed digest of the patient"),
        r"backup/.*": _SHORT,
    }
)
"""Every kind of file in the data folder, by a pattern of its path there."""

RPCS: Mapping[str, Handles] = MappingProxyType(
    {
        "oncoresponse.v1.AccessService/GetCaller": Handles.NOTHING,
        "oncoresponse.v1.StudyService/CreateStudy": Handles.NAMES,
        "oncoresponse.v1.StudyService/UploadInstances": Handles.IMAGES,
        "oncoresponse.v1.StudyService/StoreInstances": Handles.IMAGES,
        "oncoresponse.v1.StudyService/ListInstances": Handles.NAMES,
        "oncoresponse.v1.StudyService/CompleteStudy": Handles.NAMES,
        "oncoresponse.v1.StudyService/ImportDirectory": Handles.IMAGES,
        "oncoresponse.v1.StudyService/ImportDicomWeb": Handles.IMAGES,
        "oncoresponse.v1.StudyService/FindDicomWebStudies": Handles.IDENTITY,
        "oncoresponse.v1.StudyService/GetStudy": Handles.NAMES,
        "oncoresponse.v1.StudyService/ListStudies": Handles.IDENTITY,
        "oncoresponse.v1.StudyService/ReadInstances": Handles.IMAGES,
        "oncoresponse.v1.StudyService/DeleteStudy": Handles.NAMES,
        "oncoresponse.v1.IntakeService/ListReceivedStudies": Handles.NAMES,
        "oncoresponse.v1.IntakeService/NoteReceivedStudy": Handles.NAMES,
        "oncoresponse.v1.IntakeService/DescribeReceivedStudy": Handles.IDENTITY,
        "oncoresponse.v1.OrderService/ListOrders": Handles.IDENTITY,
        "oncoresponse.v1.OrderService/GetOrder": Handles.IDENTITY,
        "oncoresponse.v1.OrderService/CancelOrder": Handles.IDENTITY,
        "oncoresponse.v1.OrderService/RecordOrder": Handles.IDENTITY,
        "oncoresponse.v1.OrderService/SettleOrder": Handles.IDENTITY,
        "oncoresponse.v1.AssessmentService/CreateAssessment": Handles.IDENTITY,
        "oncoresponse.v1.AssessmentService/GetAssessment": Handles.RESULTS,
        "oncoresponse.v1.AssessmentService/ListAssessments": Handles.IDENTITY,
        "oncoresponse.v1.AssessmentService/CancelAssessment": Handles.RESULTS,
        "oncoresponse.v1.AssessmentService/WatchAssessment": Handles.RESULTS,
        "oncoresponse.v1.AssessmentService/GetArtifact": Handles.RESULTS,
        "oncoresponse.v1.AssessmentService/RefineContour": Handles.RESULTS,
        "oncoresponse.v1.AssessmentService/ListContourCorrections": Handles.RESULTS,
        "oncoresponse.v1.ReportService/GetReport": Handles.RESULTS,
        "oncoresponse.v1.ReportService/SignReport": Handles.RESULTS,
        "oncoresponse.v1.ReportService/AmendReport": Handles.RESULTS,
        "oncoresponse.v1.ReportService/WithdrawReport": Handles.RESULTS,
        "oncoresponse.v1.ReportService/RecordJudgement": Handles.RESULTS,
        "oncoresponse.v1.CardService/CheckCardClient": Handles.NOTHING,
        "oncoresponse.v1.CardService/GetCards": Handles.RESULTS,
        "oncoresponse.v1.CardService/RecordCardFeedback": Handles.RESULTS,
        "oncoresponse.v1.ModelService/ListModels": Handles.NOTHING,
        "oncoresponse.v1.ModelService/GetModel": Handles.NOTHING,
        "oncoresponse.v1.ModelControlService/ProposeState": Handles.NOTHING,
        "oncoresponse.v1.ModelControlService/ApproveState": Handles.NOTHING,
        "oncoresponse.v1.ModelControlService/GetModelControl": Handles.NOTHING,
        "oncoresponse.v1.ModelControlService/ListModelChanges": Handles.NOTHING,
        "oncoresponse.v1.ModelControlService/StopRelease": Handles.NOTHING,
        "oncoresponse.v1.ModelControlService/ResumeRelease": Handles.NOTHING,
        "oncoresponse.v1.ModelControlService/RollbackModel": Handles.NOTHING,
        "oncoresponse.v1.ModelControlService/RecallModel": Handles.IDENTITY,
        "oncoresponse.v1.ResponseService/PredictResponse": Handles.RESULTS,
        "oncoresponse.v1.MonitoringService/RecordPrediction": Handles.RESULTS,
        "oncoresponse.v1.MonitoringService/RecordOutcome": Handles.RESULTS,
        "oncoresponse.v1.MonitoringService/GetMonitoringReport": Handles.AGGREGATES,
        "oncoresponse.v1.OperationsService/GetMetrics": Handles.AGGREGATES,
        "oncoresponse.v1.AdministrationService/ErasePatient": Handles.IDENTITY,
        "oncoresponse.v1.AdministrationService/DeleteAssessment": Handles.NAMES,
        "oncoresponse.v1.AdministrationService/MergePatients": Handles.IDENTITY,
        "oncoresponse.v1.AdministrationService/MoveStudy": Handles.IDENTITY,
        "oncoresponse.v1.AdministrationService/ApplyRetention": Handles.AGGREGATES,
        "oncoresponse.v1.ReplayService/ReplayAssessment": Handles.RESULTS,
        "oncoresponse.v1.ResourceService/ReadResource": Handles.RESULTS,
        "oncoresponse.v1.ResourceService/SearchResources": Handles.RESULTS,
        "oncoresponse.v1.DeliveryService/ListDeliveries": Handles.NAMES,
        "oncoresponse.v1.DeliveryService/GetDelivery": Handles.NAMES,
        "oncoresponse.v1.DeliveryService/ResendDelivery": Handles.NAMES,
        "oncoresponse.v1.DeliveryService/DropDelivery": Handles.NAMES,
        "oncoresponse.v1.DeliveryService/TakeDeliveries": Handles.NAMES,
        "oncoresponse.v1.DeliveryService/ExtendLease": Handles.NAMES,
        "oncoresponse.v1.DeliveryService/SettleDelivery": Handles.NAMES,
        "oncoresponse.stages.v1.StudyDataService/FindStudies": Handles.IDENTITY,
        "oncoresponse.stages.v1.StudyDataService/ListStudyArtifacts": Handles.NAMES,
        "oncoresponse.stages.v1.StudyDataService/ForgetStudies": Handles.NAMES,
        "oncoresponse.stages.v1.StudyDataService/FindOrders": Handles.IDENTITY,
        "oncoresponse.stages.v1.StudyDataService/MergeOrders": Handles.IDENTITY,
        "oncoresponse.stages.v1.StudyDataService/ForgetOrders": Handles.NAMES,
        "oncoresponse.stages.v1.StudyDataService/FindUsedArtifacts": Handles.NAMES,
        "oncoresponse.stages.v1.StudyDataService/CorrectStudies": Handles.IDENTITY,
        "oncoresponse.stages.v1.StudyDataService/CompactStudies": Handles.NOTHING,
        "oncoresponse.stages.v1.MonitoringDataService/ForgetRecords": Handles.NAMES,
        "oncoresponse.stages.v1.StageService/RunStage": Handles.RESULTS,
        "oncoresponse.stages.v1.ProcessService/DescribeProcess": Handles.AGGREGATES,
        "oncoresponse.stages.v1.ContourService/Refine": Handles.RESULTS,
        "oncoresponse.stages.v1.StudyCheckService/CheckStudy": Handles.IDENTITY,
    }
)
"""Every RPC by its full name. Who may call it, and its action in the audit record, says access.rpc_rules."""


def kept_file(path: str) -> Kept | None:
    """The line of a file, by its path in the data folder; ``None`` where it has none."""
    return next((kept for pattern, kept in FILES.items() if re.fullmatch(pattern, path)), None)
