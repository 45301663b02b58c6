"""Growth curves on simulated patients, the forecast on hand-made ones, and its training on simulated trials."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from oncoresponse.cli.main import app
from oncoresponse.comparison.forecast import ForecastConstants, forecast, read_constants, shipped_constants
from oncoresponse.comparison.forecast_table import forecast_rows, read_visits
from oncoresponse.comparison.growth import Visit, fit_growth
from oncoresponse.comparison.training.forecast_training import figures_table, train_forecast
from oncoresponse.errors import InvalidRequest, ModelHashMismatch, PredictionTableInvalid, TrainingDataInvalid
from typer.testing import CliRunner

ROOT = Path(__file__).parents[3]
DAYS = np.array([-7.0, 42, 84, 126, 168, 210, 252, 294])


def visits(sizes, days=DAYS):
    return [
        Visit(day=float(day), diameter_mm=None if size < 5 else float(size))
        for day, size in zip(days, sizes, strict=True)
    ]


def stein(decay, growth, first=60.0):
    time = np.maximum(DAYS, 0)
    return first * (np.exp(-decay * time) + np.exp(growth * time) - 1)


def claret(kill, growth, resistance, first=60.0):
    time = np.maximum(DAYS, 0)
    return first * np.exp(growth * time - kill / resistance * (1 - np.exp(-resistance * time)))


@pytest.mark.parametrize(
    ("curve", "rates", "turn"),
    [
        ("Stein", {"decay": 0.02, "growth": 0.003}, np.log(0.02 / 0.003) / 0.023),
        ("Claret", {"kill": 0.02, "growth": 0.003, "resistance": 0.01}, np.log(0.02 / 0.003) / 0.01),
    ],
)
def test_the_truth_of_a_curve_is_found_again(curve, rates, turn):
    sizes = stein(**rates) if curve == "Stein" else claret(**rates)
    found = fit_growth(visits(sizes)[::-1], curve)
    for name, rate in rates.items():
        assert found.rates[name].value == pytest.approx(rate, rel=0.25)
        assert found.rates[name].low < rate < found.rates[name].high
    assert found.days_to_growth.low < turn < found.days_to_growth.high
    assert found.size_mm(168) == pytest.approx(sizes[4], rel=0.03)


def test_interval_of_the_growth_rate_holds_as_often_as_promised():
    random = np.random.default_rng(20261126)
    truth = stein(0.02, 0.003)
    held = 0
    for _ in range(60):
        estimate = fit_growth(visits(random.normal(truth, np.hypot(1, 0.05 * truth)))).rates["growth"]
        held += estimate.low <= 0.003 <= estimate.high
    assert 40 <= held <= 57  # 48 expected; 1 in 500 by chance


def test_too_small_to_measure_is_no_size():
    """A lesion that is gone from view: as a value of 5 mm it would end the decay, left-censored it does not."""
    sizes = 20 * np.exp(-0.03 * np.maximum(DAYS, 0))
    assert fit_growth(visits(sizes)).rates["decay"].value == pytest.approx(0.03, rel=0.1)


@pytest.mark.parametrize("few", [visits([20, 18, 17], DAYS[:3]), visits([2.0] * 8), visits([20] * 4, [0, 1, 1, 2])])
def test_growth_needs_enough_that_is_measured(few):
    with pytest.raises(InvalidRequest):
        fit_growth(few)


def test_forecast_is_the_last_value_and_widens_with_what_is_unknown():
    stable = visits([40, 40, 40], [0, 42, 84])
    six_weeks, twelve = forecast(stable, 126), forecast(stable, 168)
    assert six_weeks.estimate_mm == twelve.estimate_mm == 40
    assert six_weeks.low_mm < 40 < six_weeks.high_mm
    assert twelve.high_mm - twelve.low_mm > six_weeks.high_mm - six_weeks.low_mm
    first = forecast(stable[:1], 42)
    assert first.high_mm - first.low_mm > six_weeks.high_mm - six_weeks.low_mm
    assert "one measurement" in first.note
    growing = forecast(visits([30, 35, 40], [0, 42, 84]), 126)
    assert growing.high_mm > six_weeks.high_mm
    small = forecast(visits([20, 8, 2], [0, 42, 84]), 126)
    assert (small.estimate_mm, small.low_mm) == (5, 0)
    assert "not validated" in forecast(stable, 500).note
    # What comes later than the day wanted is not looked at.
    assert forecast([*stable, Visit(day=200, diameter_mm=90)], 126) == six_weeks


def test_shipped_constants_are_those_of_the_documentation(tmp_path):
    constants = shipped_constants()
    text = (ROOT / "docs" / "follow-up.md").read_text(encoding="utf-8")
    assert figures_table(list(constants.figures.items())) in text
    changed = constants.model_dump(mode="json") | {"trend_share": 0.5}
    (tmp_path / "forecast.json").write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(ModelHashMismatch):
        read_constants(tmp_path / "forecast.json")


TABLE = """study,arm,patient_id,day,target_lesion_long_diameter_mm
1,a,P1,0,30
1,a,P1,42,30
1,a,P1,84,NOT EVALUABLE
1,a,P1,126,
2,a,P1,-3,50
2,a,P1,39,TOO SMALL TO MEASURE
1,a,P2,,12
1,a,P3,7,
"""


def test_command_forecasts_a_table_as_it_is(tmp_path):
    table, out = tmp_path / "in.csv", tmp_path / "out.csv"
    table.write_text(TABLE, encoding="utf-8")
    result = CliRunner().invoke(app, ["forecast", "--table", str(table), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    for text in ("not looked at: arm", "2 rows without a day or not evaluable", "2 patients have no measurement"):
        assert text in result.output
    with out.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["study"], row["patient"], row["day"], row["estimate"]) for row in rows] == [
        ("1", "P1", "126", "30.00"),
        ("2", "P1", "81", "5.00"),
    ]
    assert all(float(row["low"]) <= float(row["estimate"]) <= float(row["high"]) for row in rows)
    every, _ = forecast_rows(read_visits(table), every_visit=True)
    assert [(patient.patient, entry.day) for patient, entry in every] == [("P1", 42), ("P1", 39)]


@pytest.mark.parametrize(
    "text",
    [
        "patient,day\nP,1\n",
        "patient,day,diameter_mm\nP,yesterday,3\n",
        "patient,day,diameter_mm\nP,1,-3\n",
        "patient,day,diameter_mm\nP,1,yesterday\n",
        'patient,day,diameter_mm\nP,1,"12,5"\n',
        "patient,day,diameter_mm\n ,1,3\n",
        "patient;day;diameter_mm\nyesterday;1;3\n",
        "patient,day\n",
    ],
)
def test_wrong_tables_are_refused_without_quoting_them(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(PredictionTableInvalid) as refused:
        read_visits(tmp_path / "t.csv")
    assert "yesterday" not in refused.value.message
    assert "12,5" not in refused.value.message


def test_one_patient_stays_one_whatever_stands_around_the_name(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("patient,STUDY,day,diameter_mm\nP,1,0,30\n , ,,\nP ,1,42,20\nP,1,42,30\nP,2,0,9\n")
    read = read_visits(table)
    assert [(entry.study, entry.patient) for entry in read.patients] == [("1", "P"), ("2", "P")]
    assert [(visit.day, visit.diameter_mm) for visit in read.patients[0].visits] == [(0, 30), (42, 25)]
    assert read.several_a_day == 1


def simulated(path, trials, seed=1):
    random = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as stream:
        stream.write("study,patient,day,diameter_mm\n")
        for trial in range(trials):
            for patient in range(60):
                size = random.uniform(10, 90)
                for visit in range(6):
                    stream.write(f"{trial},P{patient},{42 * visit},{size:.2f}\n")
                    size = max(size + random.normal(0, 0.1 * size), 6.0)
    return path


@pytest.mark.slow
def test_training_promises_what_holds_on_trials_it_never_saw(tmp_path):
    found = train_forecast(simulated(tmp_path / "train.csv", 3), cohort="simulated")
    assert found.point == "last value"  # a random walk has no better one
    new = read_visits(simulated(tmp_path / "new.csv", 2, seed=2))
    measured = {
        (entry.study, entry.patient, visit.day): visit.diameter_mm for entry in new.patients for visit in entry.visits
    }
    rows, _ = forecast_rows(new, every_visit=True, constants=found)
    keys = [key for key in measured if key[2] > 0]
    held = [row.low_mm <= measured[key] <= row.high_mm for key, (_, row) in zip(keys, rows, strict=True)]
    assert np.mean(held) == pytest.approx(0.8, abs=0.05)
    assert ForecastConstants.model_validate_json(found.model_dump_json()).content_sha256() == found.sha256
    with pytest.raises(TrainingDataInvalid):
        train_forecast(simulated(tmp_path / "two.csv", 2), cohort="simulated")
