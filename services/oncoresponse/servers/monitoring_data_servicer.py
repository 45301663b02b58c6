"""MonitoringDataService: what the administration asks of the process that keeps predictions and outcomes."""

from __future__ import annotations

import asyncio

import grpc

from oncoresponse.monitoring.store import MonitoringStore
from oncoresponse.stages.v1 import patient_data_pb2, patient_data_pb2_grpc


class MonitoringDataServicer(patient_data_pb2_grpc.MonitoringDataServiceServicer):
    """See ``protos/oncoresponse/stages/v1/patient_data.proto``."""

    def __init__(self, store: MonitoringStore) -> None:
        self._store = store

    async def ForgetRecords(
        self, request: patient_data_pb2.ForgetRecordsRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.ForgetRecordsResponse:
        """Count, or remove, the rows of assessments or of a time."""
        return await asyncio.to_thread(self._forget, request)

    def _forget(self, request: patient_data_pb2.ForgetRecordsRequest) -> patient_data_pb2.ForgetRecordsResponse:
        assessments = list(request.assessments)
        if request.before_month:
            assessments += self._store.assessments_before(request.before_month)
        rows = self._store.count(assessments)
        clean = True
        if not request.dry_run:
            self._store.forget(assessments)
            clean = self._store.compact()
        return patient_data_pb2.ForgetRecordsResponse(rows=rows, clean=clean)
