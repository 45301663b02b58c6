"""IntakeService: what came in by the edges."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import grpc
from prometheus_client.core import GaugeMetricFamily, Metric

from oncoresponse.access.call import current_call
from oncoresponse.errors import OncoResponseError, StudyNotFound
from oncoresponse.servers.order_servicer import order_message
from oncoresponse.storage.order_store import OrderStore
from oncoresponse.storage.received_studies import ReceivedState, ReceivedStudies, ReceivedStudy
from oncoresponse.storage.study_store import StudyStore
from oncoresponse.v1 import intake_pb2, intake_pb2_grpc

_DEFAULT_PAGE_SIZE = 50
_STATES = {
    intake_pb2.RECEIVED_STATE_WAITING: ReceivedState.WAITING,
    intake_pb2.RECEIVED_STATE_STARTED: ReceivedState.STARTED,
    intake_pb2.RECEIVED_STATE_KEPT: ReceivedState.KEPT,
    intake_pb2.RECEIVED_STATE_REFUSED: ReceivedState.REFUSED,
}
_WAYS = {
    intake_pb2.RECEIVED_WAY_C_STORE: "c-store",
    intake_pb2.RECEIVED_WAY_HTTP: "http",
    intake_pb2.RECEIVED_WAY_CLIENT: "client",
}

_log = logging.getLogger(__name__)


def received_families(received: ReceivedStudies) -> Iterator[Metric]:
    """What came in, for Prometheus."""
    try:
        totals = received.totals()
    except OncoResponseError as error:
        _log.warning("studies that came in are not counted now: %s", error.reason)
        return
    family = GaugeMetricFamily(
        "oncoresponse_received_studies", "Studies that came in by an edge, by what became of them.", labels=("state",)
    )
    for state in ReceivedState:
        family.add_metric((state.value,), totals.get(state.value, 0))
    yield family


class IntakeServicer(intake_pb2_grpc.IntakeServiceServicer):
    """See ``protos/oncoresponse/v1/intake.proto``.

    Args:
        received: What came in.
        studies: All studies.
        orders: That ask for assessments of them.
    """

    def __init__(self, received: ReceivedStudies, studies: StudyStore, orders: OrderStore) -> None:
        self._received = received
        self._studies = studies
        self._orders = orders

    async def ListReceivedStudies(
        self, request: intake_pb2.ListReceivedStudiesRequest, context: grpc.aio.ServicerContext
    ) -> intake_pb2.ListReceivedStudiesResponse:
        """List them, newest first."""
        call = current_call()
        found, token = await asyncio.to_thread(
            self._received.page,
            request.page_size or _DEFAULT_PAGE_SIZE,
            request.page_token,
            state=_STATES.get(request.state),
            way=_WAYS.get(request.way, ""),
            tenant=call.tenant,
        )
        names = [each.study for each in found]
        call.concerns(*names, patients=await asyncio.to_thread(self._studies.patients_of, names))
        return intake_pb2.ListReceivedStudiesResponse(studies=map(_message, found), next_page_token=token)

    async def NoteReceivedStudy(
        self, request: intake_pb2.NoteReceivedStudyRequest, context: grpc.aio.ServicerContext
    ) -> intake_pb2.NoteReceivedStudyResponse:
        """Note one."""
        await self._concerning(request.study.study)
        noted = ReceivedStudy(
            study=request.study.study,
            way=_WAYS[request.study.way],
            ae_title=request.study.ae_title,
            state=_STATES[request.study.state],
            rule=request.study.rule,
            assessment=request.study.assessment,
            reason=request.study.reason,
            prior_count=request.study.prior_count,
        )
        return intake_pb2.NoteReceivedStudyResponse(study=_message(await asyncio.to_thread(self._received.note, noted)))

    async def DescribeReceivedStudy(
        self, request: intake_pb2.DescribeReceivedStudyRequest, context: grpc.aio.ServicerContext
    ) -> intake_pb2.DescribeReceivedStudyResponse:
        """Say what one holds."""
        await self._concerning(request.study)
        contents = await asyncio.to_thread(self._received.contents, request.study)
        received = await asyncio.to_thread(self._received.of, request.study)
        return intake_pb2.DescribeReceivedStudyResponse(
            sop_instance_uids=contents.sop_instance_uids,
            patients=[
                intake_pb2.ReceivedPatient(patient_id=each.patient_id, issuer_of_patient_id=each.issuer_of_patient_id)
                for each in contents.patients
            ],
            study_instance_uids=contents.study_instance_uids,
            study_date=contents.study_date,
            received=None if received is None else _message(received),
            orders=map(order_message, await asyncio.to_thread(self._orders.of_study, request.study)),
        )

    async def _concerning(self, study: str) -> None:
        call = current_call()
        call.concerns(study)
        if call.tenant is not None:
            # Of what came in for a tenant only the edges, which are of the installation, say what became of it.
            raise StudyNotFound("There is no study of this name. ListStudies gives the names.")
        call.concerns(patients=await asyncio.to_thread(self._studies.patients_of, (study,)))


def _message(received: ReceivedStudy) -> intake_pb2.ReceivedStudy:
    message = intake_pb2.ReceivedStudy(
        study=received.study,
        way=next(way for way, name in _WAYS.items() if name == received.way),
        ae_title=received.ae_title,
        state=next(state for state, name in _STATES.items() if name is received.state),
        rule=received.rule,
        assessment=received.assessment,
        reason=received.reason,
        prior_count=received.prior_count,
    )
    message.complete_time.FromNanoseconds(received.complete_time_ns)
    return message
