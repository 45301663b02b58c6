"""The state machine of reports, every cell of it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest
from oncoresponse.case.sign_off import (
    TRANSITIONS,
    ReportAction,
    ReportStatus,
    SignOff,
    current_status,
    current_version,
    status_after,
)
from oncoresponse.errors import ReportStatusForbids

SIGN, AMEND, WITHDRAW = ReportAction
PRELIMINARY, FINAL, AMENDED, WITHDRAWN = ReportStatus
# Written out a second time, by hand: who changes the table has to change both.
EXPECTED = {
    PRELIMINARY: {SIGN: FINAL, AMEND: None, WITHDRAW: WITHDRAWN},
    FINAL: {SIGN: None, AMEND: AMENDED, WITHDRAW: WITHDRAWN},
    AMENDED: {SIGN: None, AMEND: AMENDED, WITHDRAW: WITHDRAWN},
    WITHDRAWN: {SIGN: None, AMEND: None, WITHDRAW: None},
}


@pytest.mark.parametrize(("status", "action"), list(product(ReportStatus, ReportAction)))
def test_every_step(status, action):
    expected = EXPECTED[status][action]
    if expected is None:
        with pytest.raises(ReportStatusForbids) as refused:
            status_after(status, action)
        assert refused.value.metadata == {"status": status.value, "action": action.value}
    else:
        assert status_after(status, action) is expected


def test_nothing_leads_back_to_preliminary_or_out_of_entered_in_error():
    assert PRELIMINARY not in TRANSITIONS.values()
    assert not any(status is WITHDRAWN for status, _ in TRANSITIONS)


def test_the_last_step_says_where_a_report_stands():
    time = datetime(2026, 11, 26, tzinfo=UTC)
    steps = [SignOff(2, FINAL, "dr", "", time), SignOff(3, AMENDED, "dr", "Dr", time)]
    assert (current_status([]), current_version([])) == (PRELIMINARY, 1)
    assert (current_status(steps), current_version(steps)) == (AMENDED, 3)
    assert [step.shown_signer for step in steps] == ["dr", "Dr"]
