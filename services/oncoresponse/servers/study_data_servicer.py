"""StudyDataService: what the administration asks of the process that keeps studies."""

from __future__ import annotations

import asyncio
import datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.dicom.patient_correction import CorrectIdentity, corrected_index
from oncoresponse.stages.v1 import patient_data_pb2, patient_data_pb2_grpc
from oncoresponse.storage.order_store import OrderStore
from oncoresponse.storage.study_manifest import IdentityCorrection
from oncoresponse.storage.study_patients import StoredStudy, StudyPatients

DIGEST_BYTES = 32


class StudyDataServicer(patient_data_pb2_grpc.StudyDataServiceServicer):
    """See ``protos/oncoresponse/stages/v1/patient_data.proto``."""

    def __init__(self, patients: StudyPatients, orders: OrderStore) -> None:
        self._patients = patients
        self._orders = orders

    async def FindStudies(
        self, request: patient_data_pb2.FindStudiesRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.FindStudiesResponse:
        """Find studies."""
        before: Timestamp | None = request.create_time_before if request.HasField("create_time_before") else None
        found = await asyncio.to_thread(
            self._patients.find,
            request.patient_id,
            created_before_ns=None if before is None else before.ToNanoseconds(),
            complete=request.complete if request.HasField("complete") else None,
        )
        return patient_data_pb2.FindStudiesResponse(studies=map(_found, found))

    async def FindOrders(
        self, request: patient_data_pb2.FindOrdersRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.FindOrdersResponse:
        """Find orders."""
        if request.HasField("unchanged_since"):
            names = await asyncio.to_thread(self._orders.unchanged_since, request.unchanged_since.ToNanoseconds())
            return patient_data_pb2.FindOrdersResponse(
                orders=[patient_data_pb2.FoundOrder(name=name) for name in names]
            )
        found = await asyncio.to_thread(self._orders.of_patient, request.patient_id)
        return patient_data_pb2.FindOrdersResponse(
            orders=[patient_data_pb2.FoundOrder(name=each.name, issuer=each.issuer_of_patient_id) for each in found]
        )

    async def MergeOrders(
        self, request: patient_data_pb2.MergeOrdersRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.MergeOrdersResponse:
        """Let orders follow a merge."""
        given_up = IndexedPatient(patient_id=request.from_patient_id, issuer_of_patient_id=request.from_issuer)
        kept = IndexedPatient(patient_id=request.into_patient_id, issuer_of_patient_id=request.into_issuer)
        return patient_data_pb2.MergeOrdersResponse(orders=await asyncio.to_thread(self._orders.merge, given_up, kept))

    async def ForgetOrders(
        self, request: patient_data_pb2.ForgetOrdersRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.ForgetOrdersResponse:
        """Remove orders."""
        await asyncio.to_thread(self._orders.forget, list(request.orders))
        return patient_data_pb2.ForgetOrdersResponse()

    async def ListStudyArtifacts(
        self, request: patient_data_pb2.ListStudyArtifactsRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.ListStudyArtifactsResponse:
        """Digests of one study."""
        digests = await asyncio.to_thread(self._patients.artifacts_of, request.study)
        return patient_data_pb2.ListStudyArtifactsResponse(digests=joined(digests))

    async def ForgetStudies(
        self, request: patient_data_pb2.ForgetStudiesRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.ForgetStudiesResponse:
        """Remove studies from the index."""
        await asyncio.to_thread(self._patients.forget, list(request.studies))
        return patient_data_pb2.ForgetStudiesResponse()

    async def FindUsedArtifacts(
        self, request: patient_data_pb2.FindUsedArtifactsRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.FindUsedArtifactsResponse:
        """Which artifacts a study uses."""
        used = await asyncio.to_thread(self._patients.used, divided(request.digests), list(request.except_studies))
        return patient_data_pb2.FindUsedArtifactsResponse(digests=joined(used))

    async def CorrectStudies(
        self, request: patient_data_pb2.CorrectStudiesRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.CorrectStudiesResponse:
        """Give studies to another patient."""
        await asyncio.to_thread(self._correct, request)
        return patient_data_pb2.CorrectStudiesResponse()

    def _correct(self, request: patient_data_pb2.CorrectStudiesRequest) -> None:
        identity = CorrectIdentity(
            request.patient_id,
            request.issuer_of_patient_id,
            request.other_person,
            request.patient_name,
            request.birth_date,
            request.sex,
        )
        correction = IdentityCorrection(
            corrected=datetime.datetime.now(datetime.UTC).date(),
            other_person=request.other_person,
            reason=request.reason,
        )
        for name in request.studies:
            self._patients.correct(name, correction, lambda index: corrected_index(index, identity))

    async def CompactStudies(
        self, request: patient_data_pb2.CompactStudiesRequest, context: grpc.aio.ServicerContext
    ) -> patient_data_pb2.CompactStudiesResponse:
        """Overwrite what was removed."""
        return patient_data_pb2.CompactStudiesResponse(clean=await asyncio.to_thread(self._patients.compact))


def joined(digests: list[str]) -> bytes:
    """Digests as bytes, one behind another."""
    return b"".join(map(bytes.fromhex, digests))


def divided(digests: bytes) -> list[str]:
    """Inverse of :func:`joined`; a rest that is no digest is left out."""
    return [
        digests[start : start + DIGEST_BYTES].hex() for start in range(0, len(digests) - DIGEST_BYTES + 1, DIGEST_BYTES)
    ]


def _found(study: StoredStudy) -> patient_data_pb2.FoundStudy:
    return patient_data_pb2.FoundStudy(
        name=study.name,
        issuers=study.issuers,
        instances=study.instances,
        index_rows=study.index_rows,
        files=study.files,
        bytes=study.size_bytes,
    )
