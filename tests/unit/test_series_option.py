"""``--series`` of ``oncoresponse assess``."""

from __future__ import annotations

import pytest
from oncoresponse.cli.assess import selected_series
from oncoresponse.errors import ConfigurationError


def test_a_series_is_a_uid_or_a_uid_for_an_input() -> None:
    selected = selected_series(["1.2.3", "CT=1.2.4"])
    assert [(item.input_role, item.series_instance_uid) for item in selected] == [("", "1.2.3"), ("CT", "1.2.4")]


@pytest.mark.parametrize("item", ["", "PT=", "PT", "PET 2", "1.2.3=PT", "1.2.3,1.2.4", "1." * 33])
def test_what_is_no_uid_is_refused(item: str) -> None:
    with pytest.raises(ConfigurationError, match="Series Instance UID"):
        selected_series([item])
