"""Earlier studies of a patient, fetched from an archive before an assessment starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from oncoresponse.edges.pacs.dicom_peer import find_studies, move_study
from oncoresponse.edges.pacs.peer_study import PeerStudy, StudyQuery
from oncoresponse.edges.routing import PriorsWanted, Rules
from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.v1 import intake_pb2

_MOST_STUDIES = 500


class PriorFetcher:
    """Asks archives for studies; what they send comes to the receiver.

    Args:
        settings: Name the archives and the receiver.

    Raises:
        ConfigurationError: An archive would be asked in the clear over a network, or a TLS file cannot be used.
    """

    def __init__(self, settings: ServerSettings) -> None:
        for peer in settings.dicom_peers.values():
            peer.require_safe_calling(allow_insecure_network=settings.allow_insecure_network)
        self._peers = settings.dicom_peers
        self._receiver = "" if settings.pacs is None else settings.pacs.ae_title
        self._titles = frozenset(peer.calling_ae_title for peer in settings.dicom_peers.values())
        self._asked_for: set[str] = set()

    def require_known(self, rules: Rules) -> None:
        """Refuse rules that ask an archive that is not in the settings.

        Raises:
            ConfigurationError: A rule does, or there is no receiver that priors could come to.
        """
        for rule in rules.rules:
            if rule.priors is None:
                continue
            if rule.priors.peer not in self._peers:
                raise ConfigurationError(
                    f"Rule {rule.name} fetches priors from {rule.priors.peer}, which is not among dicom_peers.",
                    setting="rules",
                )
            if not self._receiver:
                raise ConfigurationError(
                    f"Rule {rule.name} fetches priors, which come to the receiver. Give pacs.", setting="rules"
                )

    async def fetch(self, wanted: PriorsWanted, study: intake_pb2.DescribeReceivedStudyResponse) -> int:
        """Have the newest earlier studies of the patient sent; gives how many came, when all of them are on disk.

        Args:
            wanted: How many of what, and from whom.
            study: The one that they are earlier than. One without a patient or a date has none.

        Raises:
            OncoResponseError: The archive does not answer, refuses, or could not send everything.
        """
        if len(study.patients) != 1 or not study.patients[0].patient_id or not study.study_date:
            return 0
        patient, peer = study.patients[0], self._peers[wanted.peer]
        query = StudyQuery(patient_id=patient.patient_id, study_date_to=study.study_date)
        found = await asyncio.to_thread(find_studies, peer, query, _MOST_STUDIES)
        issuers = ("", patient.issuer_of_patient_id)
        earlier = [
            each
            for each in found
            if each.study_date
            and each.study_date < study.study_date
            and each.study_instance_uid not in study.study_instance_uids
            and set(wanted.modalities) <= set(each.modalities)
            and (not patient.issuer_of_patient_id or each.issuer_of_patient_id in issuers)
        ]
        newest = _newest(earlier)[: wanted.count]
        for prior in newest:
            # For an archive that names no move originator. What it sends by itself later is no prior.
            self._asked_for.add(prior.study_instance_uid)
            try:
                await asyncio.to_thread(move_study, peer, prior.study_instance_uid, self._receiver)
            finally:
                self._asked_for.discard(prior.study_instance_uid)
        return len(newest)

    def has_asked(self, study_instance_uid: str, move_originator: str) -> bool:
        """Whether an object comes because the installation asked for it, and so starts nothing.

        Args:
            study_instance_uid: Of the object.
            move_originator: Move Originator Application Entity Title (0000,1030) of its C-STORE; empty where it has
                none.
        """
        return move_originator in self._titles or study_instance_uid in self._asked_for


def _newest(studies: Iterable[PeerStudy]) -> list[PeerStudy]:
    return sorted(studies, key=lambda each: (each.study_date, each.study_time, each.study_instance_uid), reverse=True)
