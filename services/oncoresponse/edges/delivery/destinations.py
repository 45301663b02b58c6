"""The senders that the settings name."""

from __future__ import annotations

from collections.abc import Mapping

from oncoresponse.edges.delivery.c_store import CStoreSender
from oncoresponse.edges.delivery.commitment import CommitmentResults
from oncoresponse.edges.delivery.fhir_push import FhirSender
from oncoresponse.edges.delivery.hl7_push import Hl7Sender
from oncoresponse.edges.delivery.sending import DeliverySender
from oncoresponse.edges.delivery.smart_login import SmartLogin, signing_key
from oncoresponse.edges.delivery.stow import StowSender, server_of
from oncoresponse.edges.delivery.subscription import SubscriptionSender
from oncoresponse.edges.delivery.webhook import WebhookSender
from oncoresponse.rpc.ehr_settings import (
    FhirDestination,
    FhirServer,
    MllpDestination,
    SubscriptionDestination,
    WebhookDestination,
)
from oncoresponse.rpc.settings import ServerSettings


def senders_of(settings: ServerSettings, results: CommitmentResults) -> Mapping[str, tuple[DeliverySender, int]]:
    """A sender for each destination, and how many deliveries it sends at the same time.

    Args:
        settings: Of the process.
        results: Where the receiver hands in what archives say of storage commitment.

    Raises:
        ConfigurationError: A destination would get patient data in the clear, or names a server that is not there.
    """
    senders: dict[str, tuple[DeliverySender, int]] = {}
    for name, destination in settings.destinations.items():
        destination.require_safe_sending(allow_insecure_network=settings.allow_insecure_network)
        sender: DeliverySender
        if isinstance(destination, FhirDestination):
            sender = FhirSender(destination, smart_login_of(destination, settings))
        elif isinstance(destination, MllpDestination):
            sender = Hl7Sender(destination)
        elif isinstance(destination, WebhookDestination):
            sender = WebhookSender(destination)
        elif isinstance(destination, SubscriptionDestination):
            sender = SubscriptionSender(name, destination, smart_login_of(destination, settings))
        elif destination.kind == "stow":
            sender = StowSender(destination, server_of(destination, settings.dicomweb_servers, name))
        else:
            sender = CStoreSender(destination, results)
        senders[name] = (sender, destination.parallel)
    return senders


def smart_login_of(destination: FhirServer, settings: ServerSettings) -> SmartLogin | None:
    """Tokens of a destination; ``None`` where it has no such login.

    Raises:
        ConfigurationError: The key cannot be used.
    """
    if destination.smart is None:
        return None
    signing_key(destination.smart)
    timeouts = (destination.connect_seconds, destination.idle_seconds)
    insecure = settings.allow_insecure_network
    return SmartLogin(destination.smart, destination.url, timeouts, allow_insecure_network=insecure)
