"""Names of environment variables; apart from the settings, which take libraries along."""

from __future__ import annotations

PREFIX = "ONCORESPONSE_"
"""Before the name of a setting in the environment."""

CALLER_VARIABLES = tuple(
    f"{PREFIX}{name}" for name in ("CA", "CLIENT_CERTIFICATE", "CLIENT_KEY", "TOKEN", "TOKEN_FILE")
)
"""Environment variables of commands that call a server; no settings of a server."""
