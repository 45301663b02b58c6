"""What replaces identifiers: the same for the same secret of a site, and nothing that leads back without it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from dataclasses import dataclass

_PSEUDONYM_CHARACTERS = 16
_SHORTEST_SHIFT_DAYS = 30
_SHIFTS = 3620


@dataclass(frozen=True)
class SitePseudonyms:
    """Keyed by HMAC-SHA256 (RFC 2104).

    Attributes:
        key: The secret of the site; who has it can tell whether a pseudonym is that of an identifier at hand.
    """

    key: bytes

    def patient(self, patient_id: str, issuer: str) -> str:
        """Pseudonym of a patient: 16 letters and digits of 80 bits."""
        digest = self._digest("patient", issuer.strip(), patient_id.strip())
        return base64.b32encode(digest).decode()[:_PSEUDONYM_CHARACTERS]

    def shift_days(self, patient_id: str, issuer: str) -> int:
        """Days by which every date of a patient is moved, always back: 30 to 3649."""
        digest = self._digest("dates", issuer.strip(), patient_id.strip())
        return -(_SHORTEST_SHIFT_DAYS + int.from_bytes(digest[:8], "big") % _SHIFTS)

    def uid(self, uid: str) -> str:
        """A UID in place of another (PS3.5 B.2: 2.25. and a UUID)."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', uid.strip())[:16], version=4).int}"

    def _digest(self, *parts: str) -> bytes:
        return hmac.new(self.key, "\0".join(parts).encode(), hashlib.sha256).digest()
