"""From a configuration to a recipe: the engine with its reason, the settings, the grid."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from jobs.config import JobConfig
from jobs.recipe import make_recipe
from tests.oracles import grid


def config(training: dict[str, Any], **points: Any) -> JobConfig:
    source = {"name": "a", "source": "a.csv", "target": "y", "features": ["x"]}
    return JobConfig.model_validate(
        {"name": "j", "datasets": [source], "grid": {"learning_rate": [0.1], **points}, "training": training}
    )


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ({"optimizer": "adam"}, "minibatch: optimizer adam has no closed form"),
        ({"loss": "huber"}, "minibatch: loss huber has no closed form"),
        ({"batch_size": 32}, "minibatch: batch size 32 has no closed form"),
        ({"schedule": {"cosine": {}}}, "minibatch: a learning-rate schedule has no closed form"),
        ({"early_stopping": {}}, "minibatch: early stopping has no closed form"),
        ({"engine": "minibatch"}, "minibatch, as the configuration says"),
        ({"engine": "closed_form"}, "closed_form, as the configuration says"),
        ({}, "closed_form: full-batch sgd on mse at constant rates is answered by one pass over the data"),
        ({"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "normalize": True}, "closed_form: full-batch sgd"),
    ],
)
def test_recipe_says_in_a_sentence_why_its_engine(training: dict[str, Any], reason: str) -> None:
    recipe = make_recipe(config(training))
    assert recipe.reason.startswith(reason)
    assert recipe.engine == reason.partition(":")[0].partition(",")[0]


def test_recipe_takes_the_settings_over() -> None:
    training = {
        "epochs": 7,
        "batch_size": 5,
        "optimizer": "adamw",
        "betas": [0.5, 0.6],
        "eps": 0.1,
        "loss": "mae",
        "normalize": True,
        "bias": False,
        "seed": 3,
        "keep": "last",
        "eval_epochs": 4,
        "early_stopping": {"patience": 2, "tolerance": 0.5},
        "schedule": {"step": {"every": 2, "factor": 0.5}},
        "dtype": "float64",
    }
    settings = make_recipe(config(training)).settings
    assert (settings.epochs, settings.batch_size, settings.optimizer, settings.loss) == (7, 5, "adamw", "mae")
    assert (settings.betas, settings.eps, settings.seed, settings.keep) == ((0.5, 0.6), 0.1, 3, "last")
    assert (settings.normalize, settings.bias, settings.num_evaluations) == (True, False, 4)
    assert settings.early_stopping is not None
    assert (settings.early_stopping.patience, settings.early_stopping.tolerance) == (2, 0.5)
    assert (settings.schedule.kind, settings.schedule.every, settings.schedule.factor) == ("step", 2, 0.5)
    assert settings.torch_dtype == torch.float64


def test_recipe_of_the_full_batch_has_no_batch_size() -> None:
    assert make_recipe(config({})).settings.batch_size is None


@pytest.mark.parametrize(
    ("learning_rate", "training", "expected"),
    [
        ("auto", {}, (10**9, True, True)),
        ("auto", {"epochs": "auto", "normalize": "auto"}, (10**9, True, True)),
        ("auto", {"epochs": 500}, (500, False, True)),
        ("auto", {"normalize": False}, (10**9, True, False)),
        ("auto", {"normalize": "features"}, (10**9, True, "features")),
        ("auto", {"verify": True}, (1000, False, True)),
        ("auto", {"optimizer": "adam"}, (1000, False, True)),
        ("auto", {"batch_size": 8}, (1000, False, True)),
        ("auto", {"engine": "minibatch"}, (1000, False, True)),
        ([0.1], {}, (1000, False, False)),
        ([0.1], {"epochs": "auto"}, (10**9, True, False)),
        ([0.1], {"normalize": True}, (1000, False, True)),
    ],
)
def test_recipe_finds_epochs_and_units_where_it_finds_the_rates(
    learning_rate: Any, training: dict[str, Any], expected: tuple[int, bool, Any]
) -> None:
    settings = make_recipe(config(training, learning_rate=learning_rate)).settings
    assert (settings.epochs, settings.automatic_epochs, settings.normalize) == expected


def test_recipe_has_a_grid_point_for_each_combination() -> None:
    points = make_recipe(config({}, learning_rate=[0.1, 0.2], momentum=[0.0, 0.9])).hyperparameters
    pairs = zip(points.learning_rate_mg[0].tolist(), points.momentum_g.tolist(), strict=True)
    assert list(pairs) == [(0.1, 0.0), (0.1, 0.9), (0.2, 0.0), (0.2, 0.9)]


def test_recipe_of_automatic_rates_leaves_them_to_the_data() -> None:
    recipe = make_recipe(config({}, learning_rate="auto", momentum=[0.0, 0.9]))
    assert recipe.automatic_rates
    assert recipe.hyperparameters.learning_rate_mg.isnan().all()


def test_rates_are_combined_with_the_other_hyperparameters() -> None:
    others = grid([0.0, 0.0], momentum=[0.0, 0.9], nesterov=[0.0, 1.0])
    points = others.with_rates(torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64))
    assert points.learning_rate_mg.tolist() == [[0.1, 0.1, 0.2, 0.2], [0.3, 0.3, 0.4, 0.4]]
    assert points.momentum_g.tolist() == [0.0, 0.9, 0.0, 0.9]
    assert points.nesterov_g.tolist() == [False, True, False, True]
