"""When a run that was resumed counts as resumed in vain."""

import pytest
from oncoresponse.workflow.assessment_workflow import resumed_since_progress


@pytest.mark.parametrize(
    ("starts", "at_progress", "resumed"),
    [
        (1, 1, 0),
        (4, 1, 3),
        # A stage was finished at the third start: only what came after it counts.
        (4, 3, 1),
        (3, 3, 0),
        # Resumed by a tool of the engine: its starts are counted anew.
        (1, 3, 0),
        (2, 5, 1),
    ],
)
def test_only_resumptions_since_the_last_finished_stage_count(starts, at_progress, resumed):
    assert resumed_since_progress(starts, at_progress) == resumed
