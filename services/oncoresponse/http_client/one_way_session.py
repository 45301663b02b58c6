"""A session that calls one server of others, as the settings say and nothing of the environment changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from oncoresponse.http_client.metered_connections import Meter, MeteredAdapter


class OneWaySession(requests.Session):
    """Bounded by a meter; the authority of the settings comes before that of the environment.

    Args:
        meter: What it may take.
        authority: PEM file of the authority to trust; ``None``: those that the machine trusts.

    Attributes:
        meter: What it may take.
    """

    def __init__(self, meter: Meter, authority: Path | None) -> None:
        super().__init__()
        self.meter = meter
        for scheme in ("http", "https"):
            self.mount(f"{scheme}://", MeteredAdapter(meter))
        self._authority = None if authority is None else str(authority)

    def merge_environment_settings(self, url: str, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """See requests."""
        own = verify if self._authority is None else self._authority
        return super().merge_environment_settings(url, proxies, stream, own, cert)
