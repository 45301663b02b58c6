"""The orders for one study: which of them may be carried out, what they ask for, and what became of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import grpc

from oncoresponse.edges.front_door import FrontDoor
from oncoresponse.errors import PatientMismatch
from oncoresponse.v1 import assessment_pb2, assessment_pb2_grpc, intake_pb2, intake_pb2_grpc, order_pb2, order_pb2_grpc

_CALL_SECONDS = 60.0
_WAITING, _STARTED, _REFUSED, _CANCELLED = (
    order_pb2.ORDER_STATE_WAITING,
    order_pb2.ORDER_STATE_STARTED,
    order_pb2.ORDER_STATE_REFUSED,
    order_pb2.ORDER_STATE_CANCELLED,
)

SEVERAL_STUDIES = "SEVERAL_STUDIES"
"""Why nothing is started for an order: which of the studies with its accession number is meant, a person has to say."""

_log = logging.getLogger(__name__)


class StudyOrders:
    """Asks and tells the front door. Every method raises :class:`grpc.RpcError` where that does not answer.

    Args:
        front_door: Whom it calls.
    """

    def __init__(self, front_door: FrontDoor) -> None:
        self._front_door = front_door
        self._channel: grpc.aio.Channel | None = None

    def start(self, channel: grpc.aio.Channel) -> None:
        """Begin, on a channel to the front door."""
        self._channel = channel

    async def of(self, study: str, described: intake_pb2.DescribeReceivedStudyResponse) -> list[order_pb2.Order]:
        """The orders for a study that are about its patient; others are refused: the accession number is of another.

        Refused too is one with several studies, and one that is carried out for another of them stays with that.
        """
        fit = []
        for order in described.orders:
            if order.state == _STARTED and order.study != study and order.study in order.studies:
                await self._settle(order, _STARTED, order.study, order.assessment, SEVERAL_STUDIES)
            elif order.state == _WAITING and len(order.studies) > 1:
                await self.refused(order, SEVERAL_STUDIES)
            elif any(_is_same_patient(order, each) for each in described.patients):
                fit.append(order)
            else:
                _log.warning("%s is about another patient than the study of its accession number", order.name)
                await self.refused(order, PatientMismatch.reason)
        return fit

    async def refused(self, order: order_pb2.Order, reason: str) -> None:
        """Nothing is started for an order."""
        await self._settle(order, _REFUSED, reason=reason)

    async def started(self, orders: Sequence[order_pb2.Order], study: str, assessment: str) -> None:
        """An assessment was started for them; one whose orders were all cancelled meanwhile is cancelled."""
        settled = [await self._settle(each, _STARTED, study=study, assessment=assessment) for each in orders]
        if settled and all(each.state == _CANCELLED for each in settled):
            stub = assessment_pb2_grpc.AssessmentServiceStub(self._channel)
            await stub.CancelAssessment(assessment_pb2.CancelAssessmentRequest(name=assessment), **self._call)

    async def waiting(self, orders: Sequence[order_pb2.Order], reason: str) -> None:
        """Nothing is started for them yet."""
        for each in orders:
            if each.state == _WAITING:
                await self._settle(each, _WAITING, reason=reason)

    async def stopped(self, study: str, reason: str, *, passing: bool) -> None:
        """What the orders of a study ask for was refused, for good or for a reason that passes."""
        stub = intake_pb2_grpc.IntakeServiceStub(self._channel)
        request = intake_pb2.DescribeReceivedStudyRequest(study=study)
        described = await stub.DescribeReceivedStudy(request, **self._call)
        for each in described.orders:
            if each.state == _WAITING and each.reason != reason:
                await self._settle(each, _WAITING if passing else _REFUSED, reason=reason)

    async def _settle(
        self,
        order: order_pb2.Order,
        state: order_pb2.OrderState,
        study: str = "",
        assessment: str = "",
        reason: str = "",
    ) -> order_pb2.Order:
        request = order_pb2.SettleOrderRequest(
            name=order.name, state=state, study=study, assessment=assessment, reason=reason
        )
        answer = await order_pb2_grpc.OrderServiceStub(self._channel).SettleOrder(request, **self._call)
        settled: order_pb2.Order = answer.order
        return settled

    @property
    def _call(self) -> dict[str, Any]:
        return {"metadata": self._front_door.own_metadata, "timeout": _CALL_SECONDS}


def order_codes(orders: Sequence[order_pb2.Order]) -> tuple[str, ...] | None:
    """Codes of all of them; ``None`` where there is no order."""
    return tuple(code for each in orders for code in each.codes) if orders else None


def what_an_order_says(order: order_pb2.Order) -> assessment_pb2.CreateAssessmentRequest:
    """What a request for an assessment takes from an order."""
    request = assessment_pb2.CreateAssessmentRequest(
        patient_reference=order.patient_reference,
        service_request_reference=order.service_request_reference,
        encounter_reference=order.encounter_reference,
    )
    request.expected_patient.patient_id = order.patient_id
    if order.birth_date:
        request.expected_patient.birth_date = order.birth_date
    if order.sex:
        request.expected_patient.sex = order.sex
    return request


def _is_same_patient(order: order_pb2.Order, patient: intake_pb2.ReceivedPatient) -> bool:
    """Whether Patient IDs agree; an issuer counts where both are known. An order without a patient fits none."""
    issuers = {order.issuer_of_patient_id, patient.issuer_of_patient_id} - {""}
    return bool(order.patient_id) and order.patient_id == patient.patient_id and len(issuers) < 2
