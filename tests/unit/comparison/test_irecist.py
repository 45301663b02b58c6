"""iRECIST against table 2 and table 3 of the paper and the working group's scenarios."""

from itertools import product

import pytest
from oncoresponse.comparison.answer import NOT_EVALUABLE
from oncoresponse.comparison.irecist import ImmuneTimePoint, assess, best_overall_response
from oncoresponse.comparison.recist import NonTarget, Target
from oncoresponse.errors import InvalidRequest

ANY = "iCR iPR iSD iUPD iCPD NE"
TABLE_3 = [
    (["iCR", "iCR iPR iUPD NE", "iCR iPR iUPD NE", "iUPD", "iCPD"], "iCR"),
    (["iUPD", "iPR iSD NE", "iCR", "iCR iUPD NE", ANY], "iCR"),
    (["iUPD", "iPR", "iPR iSD iUPD NE", "iPR iSD iUPD NE iCPD", "iPR iSD iUPD NE iCPD"], "iPR"),
    (["iUPD", "iSD NE", "iPR", "iPR iSD iUPD NE", "iPR iSD iUPD iCPD NE"], "iPR"),
    (["iUPD", "iSD", "iSD iUPD NE", "iSD iUPD iCPD NE", "iSD iUPD iCPD NE"], "iSD"),
    (["iUPD", "iCPD", ANY, ANY, ANY], "iCPD"),
    (["iUPD", "iUPD", "iCPD", ANY, ANY], "iCPD"),
    (["iUPD", "NE", "NE", "NE", "NE"], "iUPD"),
]


@pytest.mark.parametrize(("time_points", "expected"), TABLE_3)
def test_best_response_of_the_eight_examples_of_table_3(time_points, expected):
    for chosen in product(*(cell.split() for cell in time_points)):
        responses = [(float(day), NOT_EVALUABLE if name == "NE" else name) for day, name in enumerate(chosen)]
        assert best_overall_response(responses).category == expected


def scan(weeks, target, *, count=0, new_mm=0.0, non_targets="NON_CR_NON_PD", **rest):
    return ImmuneTimePoint(
        day=7.0 * weeks,
        targets={"a": Target(is_node=False, diameter_mm=target)},
        non_targets=NonTarget(non_targets),
        new_lesions=count > 0,
        new_lesion_count=count,
        new_target_sum_mm=new_mm,
        **rest,
    )


@pytest.mark.parametrize(
    ("scans", "expected"),
    [
        # Targets: 5 mm more confirm, 4.9 do not; 4 weeks are asked for; after iCPD it stays.
        ([scan(8, 130), scan(12, 134.9)], "iUPD iUPD"),
        ([scan(8, 130), scan(12, 135), scan(16, 20)], "iUPD iCPD iCPD"),
        ([scan(8, 130), scan(11.9, 140), scan(12, 140)], "iUPD iUPD iCPD"),
        # Reset: after iSD or iPR progression has to occur and be confirmed anew.
        ([scan(8, 130), scan(12, 100), scan(16, 140), scan(20, 145)], "iUPD iSD iUPD iCPD"),
        ([scan(8, 130), scan(12, 70), scan(16, 90), scan(20, 90)], "iUPD iPR iUPD iUPD"),
        # Non-targets: any further increase, or a kind that had not progressed.
        ([scan(8, 100, non_targets="PD"), scan(12, 100, non_targets="PD")], "iUPD iUPD"),
        ([scan(8, 100, non_targets="PD"), scan(12, 100, non_targets_increased=True)], "iUPD iCPD"),
        ([scan(8, 130), scan(12, 130, non_targets="PD")], "iUPD iCPD"),
        ([scan(8, 130), scan(12, 130, count=1)], "iUPD iCPD"),
        # New lesions: number, 5 mm of the measured ones, any increase of the others.
        ([scan(8, 100, count=1), scan(12, 100, count=1)], "iUPD iUPD"),
        ([scan(8, 100, count=1), scan(12, 100, count=2)], "iUPD iCPD"),
        ([scan(8, 100, count=1, new_mm=12), scan(12, 100, count=1, new_mm=16.9)], "iUPD iUPD"),
        ([scan(8, 100, count=1, new_mm=12), scan(12, 100, count=1, new_mm=17)], "iUPD iCPD"),
        ([scan(8, 100, count=1), scan(12, 100, count=1, new_non_targets_increased=True)], "iUPD iCPD"),
        # Scenario B: a new lesion, then targets shrink. Scenario F: they had shrunk before, and nothing changes.
        ([scan(8, 100, count=1), scan(12, 60, count=1)], "iUPD iPR"),
        ([scan(8, 70), scan(12, 70, count=1), scan(16, 70, count=1)], "iPR iUPD iUPD"),
        # A lasting new lesion leaves no iCR; a vanished one does.
        ([scan(8, 100, count=1), scan(12, 0, count=1, non_targets="CR")], "iUPD iPR"),
        ([scan(8, 100, count=1), scan(12, 0, non_targets="CR")], "iUPD iCR"),
        # What was not evaluated leaves the progression open.
        ([scan(8, 130), scan(12, None), scan(16, 135)], "iUPD NE iCPD"),
        # The working group's answer on a response that changes slightly.
        ([scan(8 * i, s) for i, s in enumerate((70, 70, 80, 80, 80), 1)], "iPR iPR iPR iPR iPR"),
    ],
)
def test_time_points_by_table_2(scans, expected):
    answers = assess({"a": Target(is_node=False, diameter_mm=100)}, scans[::-1])
    assert [answer.category.replace(NOT_EVALUABLE, "NE") for answer in answers] == expected.split()


def test_late_confirmation_is_said_and_contradictions_are_refused():
    baseline = {"a": Target(is_node=False, diameter_mm=100)}
    assert "later than 8 weeks" in assess(baseline, [scan(8, 130), scan(17, 140)])[1].sentence
    with pytest.raises(InvalidRequest):
        assess(baseline, [scan(8, 100, count=0, new_mm=3)])
