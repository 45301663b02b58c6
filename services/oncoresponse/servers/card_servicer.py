"""CardService: cards of CDS Hooks for the EHR, and what physicians say to them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import grpc

from oncoresponse.access.call import current_call
from oncoresponse.access.cds_clients import CdsClients, KnownClient
from oncoresponse.case.prediction import Answer
from oncoresponse.case.sign_off import PhysicianJudgement, RecordedJudgement, ReportStatus, current_status
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import JudgementAlreadyRecorded, NotAuthenticated
from oncoresponse.rpc.cds_settings import CdsHooksSettings
from oncoresponse.storage.card_store import CardStore, GivenCard, ReportForCard
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.v1 import card_pb2, card_pb2_grpc

_NAMESPACE = uuid.UUID("c4b8f1de-29c2-5cf2-8a3e-9f6a6f0a1d57")
_LONGEST_SUMMARY = 139  # CDS Hooks 2.0: under 140 characters
_LONGEST_PHYSICIAN = 255
_RESEARCH = "For research use only. The physician decides."
_JUDGEMENTS: Mapping[str, PhysicianJudgement] = {
    "judgement-favorable": PhysicianJudgement.FAVORABLE,
    "judgement-unfavorable": PhysicianJudgement.UNFAVORABLE,
    "judgement-uncertain": PhysicianJudgement.UNCERTAIN,
}


class CardServicer(card_pb2_grpc.CardServiceServicer):
    """See ``protos/oncoresponse/v1/card.proto``.

    Args:
        settings: Of CDS Hooks; ``None`` where nobody may ask for cards.
        store: Cards and tokens.
        reports: Judgements.
    """

    def __init__(self, settings: CdsHooksSettings | None, store: CardStore, reports: ReportStore) -> None:
        self._settings = settings
        self._store = store
        self._reports = reports
        self._clients: CdsClients | None = None
        if settings is not None:
            known = {
                each.issuer: KnownClient(name, each.jwks_file, each.jwks_url) for name, each in settings.clients.items()
            }
            self._clients = CdsClients(known, settings.tls_authority)

    async def CheckCardClient(
        self, request: card_pb2.CheckCardClientRequest, context: grpc.aio.ServicerContext
    ) -> card_pb2.CheckCardClientResponse:
        """Say whose token it is."""
        return card_pb2.CheckCardClientResponse(name=await asyncio.to_thread(self._client, request.client))

    async def GetCards(
        self, request: card_pb2.GetCardsRequest, context: grpc.aio.ServicerContext
    ) -> card_pb2.GetCardsResponse:
        """Give the card of the newest report."""
        client = await asyncio.to_thread(self._client, request.client)
        patients = self._patients(request)
        current_call().concerns(f"cds-clients/{client}", patients=patients)
        if not patients:
            return card_pb2.GetCardsResponse()
        report = await asyncio.to_thread(self._store.newest_report, patients)
        if report is None:
            return card_pb2.GetCardsResponse(patient_known=True)
        current_call().concerns(f"assessments/{report.assessment}")
        # With the user: what is said to a card is the judgement of the one who got it.
        identity = "\n".join((client, request.hook_instance, request.user, report.assessment, str(report.version)))
        card = card_of(str(uuid.uuid5(_NAMESPACE, identity)), report)
        physician = f"{client}#{request.user}"[:_LONGEST_PHYSICIAN]
        given = GivenCard(card.uuid, client, report.assessment, report.version, physician)
        await asyncio.to_thread(self._store.give, given)
        return card_pb2.GetCardsResponse(cards=[card], patient_known=True)

    async def RecordCardFeedback(
        self, request: card_pb2.RecordCardFeedbackRequest, context: grpc.aio.ServicerContext
    ) -> card_pb2.RecordCardFeedbackResponse:
        """Keep what a physician said to a card."""
        client = await asyncio.to_thread(self._client, request.client)
        cards = [await asyncio.to_thread(self._store.given, each.card, client) for each in request.feedback]
        current_call().concerns(f"cds-clients/{client}", *(f"assessments/{each.assessment}" for each in cards))
        judged = [await asyncio.to_thread(self._kept, *pair) for pair in zip(cards, request.feedback, strict=True)]
        return card_pb2.RecordCardFeedbackResponse(judgements=sum(judged))

    def _kept(self, card: GivenCard, said: card_pb2.CardFeedback) -> bool:
        """Keep what was said to one card; whether it is a judgement of the case."""
        outcome = card_pb2.CardOutcome.Name(said.outcome).removeprefix("CARD_OUTCOME_").lower()
        known = said.override_reason if said.override_reason in _JUDGEMENTS else ""
        self._store.note_outcome(card.card, outcome, known)
        judgement = _JUDGEMENTS.get(known)
        # Who accepts a card says that it was read, which is no judgement of the case.
        if judgement is None or card.physician.endswith("#"):
            return False
        history = self._reports.history(card.assessment)
        if current_status(history.sign_offs) is ReportStatus.ENTERED_IN_ERROR:
            # As with RecordJudgement: of a withdrawn report there is nothing to judge.
            return False
        now = datetime.now(UTC)
        # The EHR's clock may be wrong; nobody has judged in the future.
        made = min(said.outcome_time.ToDatetime(UTC), now) if said.HasField("outcome_time") else now
        try:
            self._reports.judge(card.assessment, RecordedJudgement(card.physician, "", judgement, said.comment, made))
        except JudgementAlreadyRecorded:
            # The first stays.
            return False
        return True

    def _client(self, shown: card_pb2.CardClientToken) -> str:
        """Name of the client, whose token is used by that.

        Raises:
            NotAuthenticated: It is not right, or was used before.
        """
        if self._clients is None:
            raise NotAuthenticated("No EHR may ask for cards here (cds_hooks).")
        token = self._clients.require(shown.token, shown.endpoint)
        if not self._store.use_token(token.client, token.token_id, token.end_time_ms):
            raise NotAuthenticated("The token was used before. Sign a new one for each call.")
        return token.client

    def _patients(self, request: card_pb2.GetCardsRequest) -> list[IndexedPatient]:
        """Identifiers as DICOM has them: those of systems in the settings alone."""
        systems = {} if self._settings is None else self._settings.patient_identifiers
        return [
            IndexedPatient(patient_id=each.value, issuer_of_patient_id=systems[each.system])
            for each in request.identifiers
            if each.system in systems and each.value
        ]


def card_of(name: str, report: ReportForCard) -> card_pb2.Card:
    """The card of a report.

    Args:
        name: UUID of the card.
        report: The report.
    """
    content: dict[str, Any] = json.loads(report.content)
    first, _, rest = str(content.get("conclusion", "")).partition("\n")
    codes = {coding["code"] for each in content.get("conclusionCode", []) for coding in each.get("coding", [])}
    lines = [line.strip() for line in rest.split("\n") if line.strip()]
    if not any("research" in line.lower() for line in lines):
        lines.append(_RESEARCH)
    return card_pb2.Card(
        uuid=name,
        summary=first if len(first) <= _LONGEST_SUMMARY else f"{first[: _LONGEST_SUMMARY - 1]}…",
        unfavorable=Answer.UNFAVORABLE.value in codes,
        detail="\n\n".join(map(_plain, lines)),
        report=report.report,
    )


def _plain(text: str) -> str:
    """Text as Markdown that shows it as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!" else letter for letter in text)
