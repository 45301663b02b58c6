"""CardService: cards of CDS Hooks for the EHR, and what physicians say to them."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime

import grpc

from oncoresponse.access.call import current_call
from oncoresponse.access.cds_clients import CdsClients, KnownClient
from oncoresponse.case.sign_off import RecordedJudgement, ReportStatus, current_status
from oncoresponse.case.study_index import IndexedPatient
from oncoresponse.errors import CardNotFound, JudgementAlreadyRecorded, NotAuthenticated
from oncoresponse.rpc.cds_settings import CdsHooksSettings
from oncoresponse.servers.card_text import JUDGEMENTS, card_of
from oncoresponse.storage.card_store import CardStore, CardWord, GivenCard, ReportForCard
from oncoresponse.storage.database_errors import once_more
from oncoresponse.storage.report_store import ReportStore
from oncoresponse.v1 import card_pb2, card_pb2_grpc

_NAMESPACE = uuid.UUID("c4b8f1de-29c2-5cf2-8a3e-9f6a6f0a1d57")
_LONGEST_PHYSICIAN = 255
_OUTCOMES = {card_pb2.CARD_OUTCOME_ACCEPTED: "accepted", card_pb2.CARD_OUTCOME_OVERRIDDEN: "overridden"}


class CardServicer(card_pb2_grpc.CardServiceServicer):
    """See ``protos/oncoresponse/v1/card.proto``.

    Args:
        settings: Of CDS Hooks; ``None`` where nobody may ask for cards.
        store: Cards and tokens.
        reports: Judgements.
        code_system: URL of the local codes, in which the override reasons are.
    """

    def __init__(
        self, settings: CdsHooksSettings | None, store: CardStore, reports: ReportStore, code_system: str
    ) -> None:
        self._settings = settings
        self._store = store
        self._reports = reports
        self._code_system = code_system
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
        """Give a card for each model."""
        client = await asyncio.to_thread(self._client, request.client)
        patients = self._patients(request)
        current_call().concerns(f"cds-clients/{client}", patients=patients)
        if not patients:
            return card_pb2.GetCardsResponse()
        reports = await asyncio.to_thread(once_more, self._store.newest_reports, patients)
        if not reports:
            return card_pb2.GetCardsResponse(patient_known=True)
        current_call().concerns(*(f"assessments/{each.assessment}" for each in reports))
        physician = f"{client}#{request.user}"[:_LONGEST_PHYSICIAN]
        cards = [
            card_of(_card_name(client, request, each), each, self._code_system, asks=bool(request.user))
            for each in reports
        ]
        given = [
            GivenCard(card.uuid, client, each.assessment, each.version, physician, each.withheld)
            for card, each in zip(cards, reports, strict=True)
        ]
        await asyncio.to_thread(once_more, self._store.give, given)
        return card_pb2.GetCardsResponse(cards=cards, patient_known=True)

    async def RecordCardFeedback(
        self, request: card_pb2.RecordCardFeedbackRequest, context: grpc.aio.ServicerContext
    ) -> card_pb2.RecordCardFeedbackResponse:
        """Keep what physicians said to cards."""
        client = await asyncio.to_thread(self._client, request.client)
        last_words: dict[GivenCard, CardWord] = {}
        current_call().concerns(f"cds-clients/{client}")
        unknown = 0
        for said in request.feedback:
            card = await asyncio.to_thread(once_more, self._store.given, said.card, client)
            if card is None:
                unknown += 1
                continue
            current_call().concerns(f"assessments/{card.assessment}")
            last_words[card] = await asyncio.to_thread(once_more, self._store.note, card, self._word(said))
        judged = [await asyncio.to_thread(once_more, self._judge, card, word) for card, word in last_words.items()]
        if unknown:
            raise CardNotFound("This client was given no card of this name. What was said to other cards is kept.")
        return card_pb2.RecordCardFeedbackResponse(judgements=sum(judged))

    def _word(self, said: card_pb2.CardFeedback) -> CardWord:
        reason = said.override_reason
        if reason and said.reason_system not in ("", self._code_system):
            reason = f"{said.reason_system}|{reason}"
        # The EHR's clock may be wrong; the store lets nobody say anything in the future.
        time = said.outcome_time.ToDatetime(UTC) if said.HasField("outcome_time") else datetime.now(UTC)
        return CardWord(_OUTCOMES[said.outcome], reason, said.comment, int(1000 * time.timestamp()))

    def _judge(self, card: GivenCard, word: CardWord) -> bool:
        """Keep the last word to a card as the physician's judgement of the case; whether it is one."""
        # Who accepts a card says that it was read, which is no judgement of the case.
        if word.outcome != "overridden" or word.override_reason not in JUDGEMENTS or card.physician.endswith("#"):
            return False
        history = self._reports.history(card.assessment)
        if current_status(history.sign_offs) is ReportStatus.ENTERED_IN_ERROR:
            # As with RecordJudgement: of a withdrawn report there is nothing to judge.
            return False
        judgement, _ = JUDGEMENTS[word.override_reason]
        # From the first judgement on the answer is shown to everybody.
        withheld = (
            card.answer_withheld
            and not history.judgements
            and not self._store.was_shown_answer(card.assessment, card.physician)
        )
        made = datetime.fromtimestamp(word.time_ms // 1000, UTC)
        try:
            self._reports.judge(
                card.assessment, RecordedJudgement(card.physician, "", judgement, word.comment, made, withheld)
            )
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
        if not once_more(self._store.use_token, token.client, token.token_id, token.end_time_ms):
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


def _card_name(client: str, request: card_pb2.GetCardsRequest, report: ReportForCard) -> str:
    """UUID of a card: the same for the same call of the hook, user and version of the report.

    With the user: what is said to a card is the judgement of the one who got it. A card that told nothing is another
    one than that which tells the answer afterwards.
    """
    parts = [client, request.hook_instance, request.user, report.assessment, str(report.version)]
    return str(uuid.uuid5(_NAMESPACE, "\n".join([*parts, *(["withheld"] if report.withheld else [])])))
