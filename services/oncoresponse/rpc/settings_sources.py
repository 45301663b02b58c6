"""Where settings are read from, beside the command line and the environment: a YAML file, and earlier names."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import PydanticBaseSettingsSource

from oncoresponse.errors import ConfigurationError
from oncoresponse.rpc.caller_variables import PREFIX

EARLIER_NAMES = {"roles": "services"}
"""Settings by the name that they had before release 0.3.0; still read."""

_log = logging.getLogger(__name__)


class SettingsFile(PydanticBaseSettingsSource):
    """Reads the YAML file that ``ONCORESPONSE_SETTINGS_FILE`` names."""

    def get_field_value(self, field: object, field_name: str) -> tuple[object, str, bool]:  # noqa: ARG002
        """Not used: the whole mapping is given at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The settings in the file, by their names of today."""
        path = os.environ.get(f"{PREFIX}SETTINGS_FILE")
        if not path:
            return {}
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise ConfigurationError("The settings file must be a mapping of setting names to values.")
        return _by_their_names_of_today(content)


class EarlierVariables(PydanticBaseSettingsSource):
    """Reads environment variables whose setting has another name by now."""

    def get_field_value(self, field: object, field_name: str) -> tuple[object, str, bool]:  # noqa: ARG002
        """Not used: the whole mapping is given at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The settings in such variables, by their names of today."""
        found = {old: os.environ[name] for old in EARLIER_NAMES if (name := f"{PREFIX}{old.upper()}") in os.environ}
        return _by_their_names_of_today(found)


def _by_their_names_of_today(values: dict[str, Any]) -> dict[str, Any]:
    renamed = dict(values)
    for old, new in EARLIER_NAMES.items():
        if old in values:
            if new in values:
                raise ConfigurationError(f"{old} is the earlier name of {new}. Set {new} alone.", setting=new)
            _log.warning("the setting %s is called %s now; write %s", old, new, new)
            renamed[new] = renamed.pop(old)
    return renamed
