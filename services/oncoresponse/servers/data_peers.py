"""What the administration asks of the services that keep patient data, wherever they run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.rpc.peers import Peers
from oncoresponse.rpc.settings import ServerSettings, Service
from oncoresponse.servers.study_data_servicer import divided, joined
from oncoresponse.stages.v1 import patient_data_pb2, patient_data_pb2_grpc

_Answer = TypeVar("_Answer", bound=Message)
# Large files of a database are written anew within minutes.
_CALL_SECONDS = 600.0
_DIGESTS_AT_ONCE = 50_000
_NAMES_AT_ONCE = 10_000


class DataPeers:
    """The services that keep patient data. Errors are those of :meth:`~oncoresponse.rpc.peers.Peers.call`."""

    def __init__(self, peers: Peers, settings: ServerSettings) -> None:
        self._peers = peers
        self._monitored = Service.MONITORING in (*settings.services, *settings.addresses)

    async def studies(
        self, patient_id: str = "", *, created_before_ms: int | None = None, complete: bool | None = None
    ) -> list[patient_data_pb2.FoundStudy]:
        """Studies by patient, age and completeness."""
        request = patient_data_pb2.FindStudiesRequest(patient_id=patient_id, complete=complete)
        if created_before_ms is not None:
            request.create_time_before.CopyFrom(Timestamp())
            request.create_time_before.FromMilliseconds(created_before_ms)
        found = await self._study("FindStudies", request, patient_data_pb2.FindStudiesResponse)
        return list(found.studies)

    async def artifacts_of(self, study: str) -> list[str]:
        """Digests of one study."""
        request = patient_data_pb2.ListStudyArtifactsRequest(study=study)
        found = await self._study("ListStudyArtifacts", request, patient_data_pb2.ListStudyArtifactsResponse)
        return divided(found.digests)

    async def forget_studies(self, studies: Iterable[str]) -> None:
        """Remove studies from the index."""
        for page in _pages(list(studies), _NAMES_AT_ONCE):
            request = patient_data_pb2.ForgetStudiesRequest(studies=page)
            await self._study("ForgetStudies", request, patient_data_pb2.ForgetStudiesResponse)

    async def orders(self, patient_id: str) -> list[patient_data_pb2.FoundOrder]:
        """Orders of a patient."""
        request = patient_data_pb2.FindOrdersRequest(patient_id=patient_id)
        found = await self._study("FindOrders", request, patient_data_pb2.FindOrdersResponse)
        return list(found.orders)

    async def orders_unchanged_since(self, time_ms: int) -> list[str]:
        """Names of orders that nothing has changed since a time, milliseconds since 1970 (UTC)."""
        request = patient_data_pb2.FindOrdersRequest()
        request.unchanged_since.FromMilliseconds(time_ms)
        found = await self._study("FindOrders", request, patient_data_pb2.FindOrdersResponse)
        return [each.name for each in found.orders]

    async def merge_orders(self, given_up: IndexedPatient, kept: IndexedPatient) -> None:
        """Make orders that wait for a study of one patient those of another."""
        request = patient_data_pb2.MergeOrdersRequest(
            from_patient_id=given_up.patient_id,
            from_issuer=given_up.issuer_of_patient_id,
            into_patient_id=kept.patient_id,
            into_issuer=kept.issuer_of_patient_id,
        )
        await self._study("MergeOrders", request, patient_data_pb2.MergeOrdersResponse)

    async def forget_orders(self, orders: Iterable[str]) -> None:
        """Remove orders."""
        for page in _pages(list(orders), _NAMES_AT_ONCE):
            request = patient_data_pb2.ForgetOrdersRequest(orders=page)
            await self._study("ForgetOrders", request, patient_data_pb2.ForgetOrdersResponse)

    async def used(self, digests: Collection[str], except_studies: Collection[str] = ()) -> set[str]:
        """Which of these artifacts a study uses."""
        used: set[str] = set()
        for page in _pages(sorted(digests), _DIGESTS_AT_ONCE):
            request = patient_data_pb2.FindUsedArtifactsRequest(digests=joined(page), except_studies=except_studies)
            found = await self._study("FindUsedArtifacts", request, patient_data_pb2.FindUsedArtifactsResponse)
            used.update(divided(found.digests))
        return used

    async def correct(self, request: patient_data_pb2.CorrectStudiesRequest) -> None:
        """Give studies to another patient."""
        await self._study("CorrectStudies", request, patient_data_pb2.CorrectStudiesResponse)

    async def compact_studies(self) -> bool:
        """Overwrite what was removed from the database of studies; whether that was possible."""
        request = patient_data_pb2.CompactStudiesRequest()
        found = await self._study("CompactStudies", request, patient_data_pb2.CompactStudiesResponse)
        return found.clean

    async def forget_records(
        self, assessments: Collection[str] = (), *, before_month: str = "", dry_run: bool
    ) -> patient_data_pb2.ForgetRecordsResponse:
        """Count, or remove, rows of monitoring; there are none where nothing is monitored.

        Args:
            assessments: Identifiers.
            before_month: Or everything before this month, YYYY-MM.
            dry_run: Only count.
        """
        answer = patient_data_pb2.ForgetRecordsResponse(clean=True)
        if not self._monitored:
            return answer
        names = [f"assessments/{each}" for each in sorted(assessments)]
        for page in _pages(names, _NAMES_AT_ONCE) if not before_month else [[]]:
            found = await self._peers.call(
                Service.MONITORING,
                patient_data_pb2_grpc.MonitoringDataServiceStub,
                "ForgetRecords",
                patient_data_pb2.ForgetRecordsRequest(assessments=page, before_month=before_month, dry_run=dry_run),
                patient_data_pb2.ForgetRecordsResponse,
                timeout_seconds=_CALL_SECONDS,
            )
            answer.rows += found.rows
            answer.clean = answer.clean and found.clean
        return answer

    async def _study(self, method: str, request: Message, answer_type: type[_Answer]) -> _Answer:
        return await self._peers.call(
            Service.STUDY,
            patient_data_pb2_grpc.StudyDataServiceStub,
            method,
            request,
            answer_type,
            timeout_seconds=_CALL_SECONDS,
        )


def _pages(values: list[str], size: int) -> list[list[str]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
