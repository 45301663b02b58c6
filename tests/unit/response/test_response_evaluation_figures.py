"""The plots of the card: nothing clipped, nothing covered, no line where nothing was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from oncoresponse.response.training.evaluation_figures import plot_calibration, plot_decision_curve, plot_roc
from oncoresponse.response.training.validation import Evaluation

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(params=["sts-petct", "breast-nac"])
def evaluation(request: pytest.FixtureRequest) -> Evaluation:
    return Evaluation.model_validate_json((MODELS / request.param / "response" / "evaluation.json").read_bytes())


def test_both_models_are_whole_in_the_decision_curve(evaluation: Evaluation, tmp_path: Path) -> None:
    low, high = plot_decision_curve(evaluation, tmp_path / "curve.png").axes[0].get_ylim()
    curve = evaluation.decision_curve
    assert low < min(*curve.booster, *curve.baseline)
    assert high > max(*curve.booster, *curve.baseline)


def test_no_line_joins_the_groups_of_the_calibration(evaluation: Evaluation, tmp_path: Path) -> None:
    axes = plot_calibration(evaluation, tmp_path / "calibration.png").axes[0]
    drawn = [container[0] for container in axes.containers]
    assert len(drawn) == 2
    assert {line.get_linestyle() for line in drawn} == {"None"}


def test_no_legend_lies_on_the_data(evaluation: Evaluation, tmp_path: Path) -> None:
    for plot in (plot_roc, plot_calibration, plot_decision_curve):
        figure = plot(evaluation, tmp_path / "plot.png")
        axes = figure.axes[0]
        legend = axes.get_legend().get_window_extent()
        assert legend.y1 <= axes.get_window_extent().y0, plot.__name__


def test_nothing_leaves_the_picture(evaluation: Evaluation, tmp_path: Path) -> None:
    for plot in (plot_roc, plot_calibration, plot_decision_curve):
        figure = plot(evaluation, tmp_path / "plot.png")
        drawn = figure.axes[0].get_tightbbox()
        assert drawn is not None
        assert figure.bbox.x0 <= drawn.x0 < drawn.x1 <= figure.bbox.x1, plot.__name__
        assert figure.bbox.y0 <= drawn.y0 < drawn.y1 <= figure.bbox.y1, plot.__name__
