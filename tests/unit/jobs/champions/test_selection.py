"""The best trial, whatever the order of the grid; and whether it takes the champion's place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.champions.comparison import FIRST, SAME, Comparison, Comparisons
from jobs.champions.selection import best_points, best_trials, promotable
from jobs.engines.trials import BlockResult
from jobs.recipe import Mode, Policy, Requirement
from tests.samples.datasets import trained

NAN, INF = float("nan"), float("inf")
scores = st.one_of(st.sampled_from([NAN, INF, -INF, 0.5, 1.0]), st.floats(-1e6, 1e6))


def best(values: list[float], rates: list[float], mode: Mode = "min", gaps: list[float] | None = None) -> int | None:
    gaps = [NAN] * len(values) if gaps is None else gaps
    score_mg, gap_mg, rate_mg = (torch.tensor([each], dtype=torch.float64) for each in (values, gaps, rates))
    (point,) = best_trials(score_mg, gap_mg, rate_mg, mode).tolist()
    return None if point < 0 else point


@pytest.mark.parametrize(
    ("values", "mode", "expected"),
    [
        ([3.0, 1.0, 2.0], "min", 1),
        ([0.3, 0.1, 0.2], "max", 0),
        ([NAN, 2.0, INF], "min", 1),
        ([NAN, -2.0, -INF], "max", 1),
        ([NAN, INF, -INF], "min", None),
    ],
)
def test_best_trials_is_the_best_finite(values: list[float], mode: Mode, expected: int | None) -> None:
    assert best(values, [0.1, 0.2, 0.3][: len(values)], mode) == expected


def test_best_trials_are_those_of_each_dataset() -> None:
    score_mg = torch.tensor([[3.0, 1.0], [NAN, NAN], [1.0, 1.0]], dtype=torch.float64)
    gap_mg, rate_mg = torch.full_like(score_mg, NAN), torch.tensor([[0.1, 0.2]]).expand(3, -1)
    assert best_trials(score_mg, gap_mg, rate_mg, "min").tolist() == [1, -1, 0]


def test_best_trials_of_equals_has_the_smaller_rate_then_the_earlier_place() -> None:
    assert best([1.0, 1.0, 1.0], [0.3, 0.1, 0.2]) == 1
    assert best([1.0, 1.0, 2.0], [0.1, 0.1, 0.01]) == 0


def test_best_trials_of_scores_equal_but_for_rounding_is_nearest_to_its_limit() -> None:
    """Wampler 5: a residual so large that a loss of 16 digits does not tell weights of one digit from those of ten."""
    assert best([1.0, 1.0 + 1e-15, 1.1], [0.1, 0.2, 0.3], gaps=[1e-8, 1e-12, 0.0]) == 1
    assert best([0.5, 0.5, 0.4], [0.1, 0.2, 0.3], "max", gaps=[1e-8, 1e-12, 0.0]) == 1
    assert best([1.0, 1.0 + 1e-9], [0.1, 0.2], gaps=[1e-3, 1e-9]) == 0


@given(trials=st.lists(st.tuples(scores, st.integers(1, 10)), min_size=1, max_size=8), data=st.data())
def test_best_trials_does_not_depend_on_the_order(trials: list[tuple[float, int]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(trials))
    chosen = []
    for each in (trials, shuffled):
        place = best([score for score, _ in each], [float(rate) for _, rate in each])
        chosen.append(None if place is None else each[place])
    assert chosen[0] == chosen[1]


def trials(r2: list[float], converged: list[bool]) -> BlockResult:
    """Return the trials of one dataset; only their R² and their state are meant to be read."""
    result = trained(rates=[0.01 * (1 + place) for place in range(len(r2))]).result
    return replace(result, r2_mg=torch.tensor([r2], dtype=torch.float64), converged_mg=torch.tensor([converged]))


@pytest.mark.parametrize(
    ("require", "loss", "expected"),
    [
        ("finite", "mse", [True, True, True, True]),
        ("converged", "mse", [False, False, True, False]),
        ("converged", "quantile", [False, False, True, True]),
        ("no worse than the mean", "mse", [False, True, True, False]),
        ("no worse than the mean", "quantile", [True, True, True, True]),
    ],
)
def test_promotable_trials_meet_the_requirement(require: Requirement, loss: str, expected: list[bool]) -> None:
    result = trials([-7.0, 0.5, 0.9, -7.0], [False, False, True, True])
    assert promotable(result.converged_mg, result.r2_mg, loss, require).tolist() == [expected]


def judged(challenger: float, champion: float | None, basis: int = SAME, **values: Any) -> Comparison:
    scores = [np.array([np.nan if each is None else each]) for each in (challenger, champion)]
    policy = replace(Policy("train_mse", "min"), **values)
    comparisons = Comparisons(policy, *scores, np.array([basis], dtype=np.int8))
    assert comparisons.promoted_m.tolist() == [comparisons[0].promoted]
    return comparisons[0]


@pytest.mark.parametrize(
    ("metric", "decay", "expected"), [("train_mse", 0.1, 1), ("train_mse", 0.0, 0), ("val_mse", 0.1, 0)]
)
def test_best_points_of_training_errors_under_weight_decay_have_converged(
    metric: str, decay: float, expected: int
) -> None:
    found = trained(rates=[0.01, 0.1])
    grid = replace(found.hyperparameters, weight_decay_g=torch.full((2,), decay, dtype=torch.float64))
    errors = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    result = replace(
        found.result,
        converged_mg=torch.tensor([[False, True]]),
        train_mse_mg=errors,
        val_mse_mg=errors,
        r2_mg=1 - errors,
    )
    assert best_points(replace(found, result=result, hyperparameters=grid), Policy(metric, "min")).tolist() == [
        expected
    ]


@pytest.mark.parametrize(
    ("challenger", "champion", "values", "promoted"),
    [
        (5.0, None, {}, True),
        (1.0, 2.0, {}, True),
        (2.0, 2.0, {}, False),
        (3.0, 2.0, {}, False),
        (3.0, 2.0, {"mode": "max"}, True),
        (1.0, 2.0, {"mode": "max"}, False),
        (1.5, 2.0, {"min_improvement": 0.5}, False),
        (1.25, 2.0, {"min_improvement": 0.5}, True),
        (9.0, 2.0, {"promote": "always"}, True),
    ],
)
def test_challenger_is_promoted_where_it_is_better(
    challenger: float, champion: float | None, values: dict[str, Any], promoted: bool
) -> None:
    comparison = judged(challenger, champion, **values)
    assert comparison.promoted == promoted
    assert (comparison.challenger_score, comparison.champion_score) == (challenger, champion)


def test_comparison_says_by_how_much() -> None:
    assert judged(1.0, 2.5).reason == "better by 1.5"
    assert judged(2.0, 2.5, min_improvement=1.0).reason == "not better by more than 1 (by 0.5)"
    assert judged(1.0, None, basis=FIRST).reason == "there was no champion"
