"""The tables that people read."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from jobs.champions.batch import Batch
from jobs.champions.challengers import challengers_of
from jobs.cli.tables import print_outcome, print_plan
from jobs.groups.plan import GroupsPlan
from jobs.plan import Plan
from jobs.recipe import Policy
from jobs.reports.outcome import DatasetOutcome, JobOutcome
from jobs.training.datasets import train_dataset
from tests.oracles import grid
from tests.samples.datasets import dataset, recipe


def test_table_of_a_grid_has_a_column_for_what_any_trial_has() -> None:
    way = recipe()
    points = grid([0.01, 0.01], momentum=[0.0, 0.9])
    trained = train_dataset(dataset(), replace(way, hyperparameters=points))
    text = io.StringIO()
    outcome = JobOutcome("run", "plants", 1, True, (DatasetOutcome("a", "kept", trained, None),))
    print_outcome(Console(file=text, width=200), outcome)
    assert "momentum" in text.getvalue()
    assert "weight_decay" not in text.getvalue()


def printed(width: int, *outcomes: DatasetOutcome) -> str:
    text = io.StringIO()
    print_outcome(Console(file=text, width=width), JobOutcome("run", "plants", 1, True, outcomes))
    return text.getvalue()


def outcome(name: str, rates: list[float], columns: dict[str, list[float]], **settings: Any) -> DatasetOutcome:
    """Return the outcome of a dataset at these grid points; the best of them is promoted."""
    way = replace(recipe(**settings), hyperparameters=grid(rates, **columns))
    trained = train_dataset(dataset(name), way)
    policy = Policy("train_mse" if trained.settings.loss == "mse" else "train_loss", "min")
    best = challengers_of(trained, trained.trials(detailed=False), policy, inference_statistics=True)
    assert best is not None
    return DatasetOutcome(name, "promoted", trained, Batch(best, policy))


def test_best_is_named_by_every_hyperparameter_that_varies() -> None:
    varied = outcome("a", [0.01, 0.01, 0.1, 0.1], {"momentum": [0.0, 0.9] * 2, "weight_decay": [1e-9] * 4}, epochs=6000)
    text = printed(200, varied)
    assert "a: best at learning rate 0.01, momentum 0.9: " in text
    assert "momentum" in text.splitlines()[2]
    assert "weight decay" not in text


def test_table_has_the_loss_that_was_trained() -> None:
    text = printed(200, outcome("a", [0.01, 0.1], {}, engine="minibatch", loss="mae"))
    assert "│     loss │" in text or " loss " in text.splitlines()[2]


def test_table_has_the_epochs_to_converge_and_the_choice() -> None:
    text = printed(200, outcome("a", [0.001, 0.1, 0.15], {}, epochs=6000))
    assert "epochs to converge" in text
    assert "a: chosen: 2 of 3 trials have the same MSE to 6 digits, at learning rates from 0.1 to 0.15: " in text


@pytest.mark.parametrize("width", [70, 80, 99, 100, 160])
def test_table_of_any_width_has_whole_numbers(width: int) -> None:
    many = {"momentum": [0.0, 0.5, 0.9]}
    text = printed(width, outcome("a", [0.01, 0.05, 0.1], many), outcome("b", [0.01, 50.0], {}, epochs=3))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_champion_that_has_not_converged_is_warned_of() -> None:
    assert "a: warning: not converged: " in printed(200, outcome("a", [0.001], {}, epochs=2000))


def test_plan_of_groups_has_the_first_reasons_and_the_number_of_the_others() -> None:
    failures = {f"store-{i:02d}": "it has no rows" for i in range(25)}
    text = io.StringIO()
    plan = Plan("stores", recipe(), (), (), (GroupsPlan("stores", 30, failures, {}, ()),))
    print_plan(Console(file=text, width=200), plan)
    lines = text.getvalue().splitlines()
    assert "stores: store-19: it has no rows" in lines
    assert lines[-1] == "stores: and 5 more: see --json"
