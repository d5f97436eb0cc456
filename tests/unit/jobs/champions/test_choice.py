"""Why a trial was chosen: the sentence names the rates that are equal, and the rule that decided."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from jobs.champions.choice import why_chosen
from jobs.champions.selection import best_trials
from jobs.recipe import Policy

NAN = float("nan")
RATES = [0.01, 0.02, 0.12]


def why(scores: list[float], gaps: list[float] | None = None, rates: list[float] | None = None, **policy: Any) -> str:
    rule = Policy(**({"metric": "train_mse", "mode": "min"} | policy))
    columns = [scores, gaps or [NAN] * len(scores), rates or RATES[: len(scores)]]
    score_mg, gap_mg, rate_mg = (torch.tensor([column], dtype=torch.float64) for column in columns)
    point_m = best_trials(score_mg, gap_mg, rate_mg, rule.mode)
    (sentence,) = why_chosen(score_mg, gap_mg, rate_mg, point_m, rule)
    return sentence


@pytest.mark.parametrize(
    ("scores", "gaps", "sentence"),
    [
        ([3.0, 2.0, 1.0], None, "the lowest MSE of 3 trials"),
        ([NAN, NAN, 1.0], None, "the only trial to choose from"),
        (
            [2.0, 1.0, 1.0],
            None,
            "2 of 3 trials have the same MSE to 6 digits, at learning rates from 0.02 to 0.12: "
            "the smallest rate was chosen",
        ),
        (
            [2.0, 1.0, 1.0],
            [NAN, 1e-7, 1e-9],
            "2 of 3 trials have the same MSE to 6 digits, at learning rates from 0.02 to 0.12: "
            "the nearest to the limit was chosen",
        ),
        (
            [1.0 + 1e-8, 1.0, 1.0],
            [1e-5, 1e-16, 1e-16],
            "3 of 3 trials have the same MSE to 6 digits, at learning rates from 0.01 to 0.12: "
            "the smallest rate of the 2 nearest to the limit was chosen",
        ),
        (
            [1.0 + 1e-8, 1.0, 1.0],
            None,
            "3 of 3 trials have the same MSE to 6 digits, at learning rates from 0.01 to 0.12: "
            "the smallest rate of the 2 lowest was chosen",
        ),
        (
            [2.0, 1.0 + 1e-8, 1.0],
            None,
            "2 of 3 trials have the same MSE to 6 digits, at learning rates from 0.02 to 0.12: "
            "the lowest by the digits after them was chosen",
        ),
        (
            [1.0, 1.0, 1.0],
            [1e-16, 1e-15, 1e-16],
            "3 of 3 trials have the same MSE to 6 digits, at learning rates from 0.01 to 0.12: "
            "the smallest rate was chosen",
        ),
    ],
)
def test_choice_names_the_equal_rates_and_the_rule(scores: list[float], gaps: Any, sentence: str) -> None:
    assert why(scores, gaps) == sentence


def test_choice_among_equal_points_at_one_rate_names_it() -> None:
    said = why([1.0, 1.0], rates=[0.1, 0.1])
    assert said == "2 of 2 trials have the same MSE to 6 digits, at learning rate 0.1: the first was chosen"


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"metric": "r2", "mode": "max"}, "the highest R² of 2 trials"),
        ({"metric": "val_loss"}, "the lowest validation loss of 2 trials"),
        ({"require": "converged"}, "the lowest MSE of 2 trials that converged"),
    ],
)
def test_choice_names_the_metric_and_what_was_required(policy: dict[str, Any], sentence: str) -> None:
    assert why([0.5, 0.75], **policy) == sentence


def test_choice_of_the_only_trial_that_converged_says_so() -> None:
    assert why([NAN, 0.75], require="converged") == "the only trial that converged"
