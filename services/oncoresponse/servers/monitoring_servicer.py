"""MonitoringService: keeps predictions and outcomes without identifiers, and reports on them."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import grpc

from oncoresponse.access.call import current_call
from oncoresponse.case.prediction import Prediction
from oncoresponse.case.study_description import StudyDescription
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.cache import ModelCache
from oncoresponse.monitoring.prometheus import prometheus_text
from oncoresponse.monitoring.records import OutcomeRecord, prediction_record
from oncoresponse.monitoring.report import MonitoredModel, monitoring_report
from oncoresponse.monitoring.store import MonitoringStore, prediction_not_found
from oncoresponse.rpc.artifact_messages import stored_artifact
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.chart_store import ChartStore
from oncoresponse.v1 import monitoring_pb2, monitoring_pb2_grpc

_FAVORABLE = {
    monitoring_pb2.OUTCOME_FAVORABLE: True,
    monitoring_pb2.OUTCOME_UNFAVORABLE: False,
    monitoring_pb2.OUTCOME_UNKNOWN: None,
}


class MonitoringServicer(monitoring_pb2_grpc.MonitoringServiceServicer):
    """See ``protos/oncoresponse/v1/monitoring.proto``.

    Args:
        store: Predictions and outcomes.
        chart: Says whose an assessment is.
        artifacts: The store.
        models_directory: Installed models.
    """

    def __init__(
        self, store: MonitoringStore, chart: ChartStore, artifacts: ArtifactStore, models_directory: Path
    ) -> None:
        self._store = store
        self._chart = chart
        self._artifacts = artifacts
        self._models = ModelCache(models_directory, MonitoredModel.open)

    async def make_ready(self) -> None:
        """Reach the database and make its tables."""
        await asyncio.to_thread(self._store.prepare)
        await asyncio.to_thread(self._chart.prepare)

    async def close(self) -> None:
        """Close the connections to the database."""
        await asyncio.to_thread(self._store.close)
        await asyncio.to_thread(self._chart.close)

    async def RecordPrediction(
        self, request: monitoring_pb2.RecordPredictionRequest, context: grpc.aio.ServicerContext
    ) -> monitoring_pb2.RecordPredictionResponse:
        """Keep a prediction."""
        return await asyncio.to_thread(self._record_prediction, request)

    def _record_prediction(
        self, request: monitoring_pb2.RecordPredictionRequest
    ) -> monitoring_pb2.RecordPredictionResponse:
        prediction = self._artifacts.read_document(stored_artifact(request.prediction_document), Prediction)
        study = None
        if request.HasField("study_description"):
            study = self._artifacts.read_document(stored_artifact(request.study_description), StudyDescription)
        record = prediction_record(
            request.assessment,
            request.create_time.ToDatetime(tzinfo=datetime.UTC),
            prediction,
            study=study,
            covariates={covariate.name: covariate.value for covariate in request.covariates},
        )
        return monitoring_pb2.RecordPredictionResponse(newly_recorded=self._store.record_prediction(record))

    async def RecordOutcome(
        self, request: monitoring_pb2.RecordOutcomeRequest, context: grpc.aio.ServicerContext
    ) -> monitoring_pb2.RecordOutcomeResponse:
        """Keep an outcome."""
        call = current_call()
        call.concerns(request.assessment)
        identifier = request.assessment.removeprefix("assessments/")
        call.concerns(patients=await asyncio.to_thread(self._chart.patients_of, identifier))
        if (tenant := call.tenant) is not None:
            of = await asyncio.to_thread(self._chart.tenant_of, identifier)
            if (of or "") != tenant:
                raise prediction_not_found()
        names = [group.name for group in request.groups]
        if len(set(names)) < len(names):
            raise InvalidRequest("An audit group is given twice. Give each name once.")
        record = OutcomeRecord(
            request.assessment,
            _FAVORABLE[request.outcome],
            request.follow_up_months if request.HasField("follow_up_months") else None,
            {group.name: group.value for group in request.groups},
        )
        replaced = await asyncio.to_thread(self._store.record_outcome, record)
        return monitoring_pb2.RecordOutcomeResponse(replaced=replaced)

    async def GetMonitoringReport(
        self, request: monitoring_pb2.GetMonitoringReportRequest, context: grpc.aio.ServicerContext
    ) -> monitoring_pb2.GetMonitoringReportResponse:
        """Compute the report."""
        return await asyncio.to_thread(self._report, request)

    def _report(self, request: monitoring_pb2.GetMonitoringReportRequest) -> monitoring_pb2.GetMonitoringReportResponse:
        _, model = self._models.get(request.model)
        cases = self._store.cases(model.name, since_month=request.since_month, until_month=request.until_month)
        report = monitoring_report(model, cases)
        return monitoring_pb2.GetMonitoringReportResponse(
            report_json=report.model_dump_json(indent=2), metrics=prometheus_text(report)
        )
