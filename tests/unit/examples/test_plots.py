"""The pictures of a trained dataset."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from examples.plots import _drawn, loss_curves, regression_plot
from jobs.config import load_config
from jobs.recipe import make_recipe
from jobs.sources.dataset import Dataset
from jobs.sources.job_datasets import read_datasets
from jobs.training.datasets import TrainedDatasets, train_dataset

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PNG = b"\x89PNG\r\n\x1a\n"
DIVERGED, BEST = 9, 4


def trained(name: str) -> tuple[Dataset, TrainedDatasets]:
    config = load_config(EXAMPLES / f"{name}.yaml")
    [dataset] = read_datasets(config, EXAMPLES.parent)
    return dataset, train_dataset(dataset, make_recipe(config))


@pytest.fixture(scope="module")
def plants() -> tuple[Dataset, TrainedDatasets]:
    return trained("plants")


def test_regression_plot_of_one_column_is_a_png(plants: tuple[Dataset, TrainedDatasets]) -> None:
    assert regression_plot(*plants, BEST).startswith(PNG)


def test_regression_plot_of_several_columns_is_a_png() -> None:
    assert regression_plot(*trained("plants_all_features"), 0).startswith(PNG)


def test_regression_plot_differs_where_the_weights_do(plants: tuple[Dataset, TrainedDatasets]) -> None:
    assert regression_plot(*plants, 0) != regression_plot(*plants, BEST)


def test_regression_plot_of_a_diverged_point_is_refused(plants: tuple[Dataset, TrainedDatasets]) -> None:
    with pytest.raises(ValueError, match="grid point 9 of dataset 'plant_richness' diverged"):
        regression_plot(*plants, DIVERGED)


def test_loss_curves_without_a_best_trial_are_a_png(plants: tuple[Dataset, TrainedDatasets]) -> None:
    assert loss_curves(plants[1], None).startswith(PNG)


def test_loss_curves_show_which_trial_is_best(plants: tuple[Dataset, TrainedDatasets]) -> None:
    assert loss_curves(plants[1], BEST) != loss_curves(plants[1], 0)


def test_plots_of_equal_input_have_equal_bytes(plants: tuple[Dataset, TrainedDatasets]) -> None:
    assert loss_curves(plants[1], BEST) == loss_curves(plants[1], BEST)
    assert regression_plot(*plants, BEST) == regression_plot(*plants, BEST)


def test_plots_leave_pyplot_alone(plants: tuple[Dataset, TrainedDatasets]) -> None:
    before = "matplotlib.pyplot" in sys.modules
    regression_plot(*plants, BEST)
    loss_curves(plants[1], BEST)
    assert ("matplotlib.pyplot" in sys.modules) is before


def test_plots_take_a_title_that_looks_like_mathematics(plants: tuple[Dataset, TrainedDatasets]) -> None:
    dataset, result = plants
    assert regression_plot(replace(dataset, name="price_in_$_and_$x^"), result, BEST).startswith(PNG)


@pytest.mark.parametrize("num_rows", [1, 5000, 5001, 1_000_000])
def test_drawn_rows_are_within_the_limit(num_rows: int) -> None:
    shown_n = _drawn(num_rows)
    assert len(shown_n) <= 5000
    assert np.all(np.diff(shown_n) > 0)
    assert shown_n[-1] < num_rows
