from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
import torch

from handler.answers.scoring import contributions, intervals, outside_range, predict
from handler.models.stack import ServedStack, Stack, Statistics
from handler.rows.encoding import encode
from jobs.engines.closed_form.inference_statistics import statistics_of
from jobs.engines.moments import moments_of
from tests.samples.fleets import DEEP, NUM_ROWS, fitted

MODEL = np.zeros(1, np.intp)


@pytest.fixture(scope="module")
def fit() -> tuple[ServedStack, np.ndarray, np.ndarray]:
    """A served stack of one model, with the rows and targets that it was fitted to."""
    stack = fitted(DEEP, seed=7)
    random = np.random.default_rng(7)
    columns = {"area": random.uniform(1, 10, NUM_ROWS), "depth": random.uniform(0, 5, NUM_ROWS)}
    random.choice(np.array(["blue", "green", "red"], dtype=object), NUM_ROWS)
    x_nd = encode(DEEP, columns)
    y_n = x_nd @ random.normal(size=2) + 2.0 + random.normal(scale=0.3, size=NUM_ROWS)
    return stack.arrays(), x_nd, y_n


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_intervals_are_those_of_statsmodels(fit: tuple[ServedStack, np.ndarray, np.ndarray], level: float) -> None:
    stack, x_nd, y_n = fit
    ours = intervals(stack, 0, x_nd, predict(stack, 0, x_nd), level)
    oracle = sm.OLS(y_n, sm.add_constant(x_nd)).fit().get_prediction(sm.add_constant(x_nd)).summary_frame(1 - level)
    np.testing.assert_allclose(ours.confidence_n2, oracle[["mean_ci_lower", "mean_ci_upper"]], rtol=1e-8)
    np.testing.assert_allclose(ours.prediction_n2, oracle[["obs_ci_lower", "obs_ci_upper"]], rtol=1e-8)


def test_one_model_for_all_rows_is_the_same_as_one_for_each(fit: tuple[ServedStack, np.ndarray, np.ndarray]) -> None:
    stack, x_nd, _ = fit
    each = np.zeros(len(x_nd), np.intp)
    np.testing.assert_allclose(predict(stack, 0, x_nd), predict(stack, each, x_nd), rtol=1e-15)
    one = intervals(stack, 0, x_nd, predict(stack, 0, x_nd), 0.9)
    many = intervals(stack, each, x_nd, predict(stack, 0, x_nd), 0.9)
    np.testing.assert_allclose(one.prediction_n2, many.prediction_n2, rtol=1e-12)


def test_contributions_add_up_to_the_difference_from_the_mean_row(
    fit: tuple[ServedStack, np.ndarray, np.ndarray],
) -> None:
    stack, x_nd, _ = fit
    assert stack.statistics is not None
    contribution_nd = contributions(stack, 0, x_nd)
    assert contribution_nd is not None
    baseline_1 = predict(stack, 0, stack.statistics.column_mean_md)
    np.testing.assert_allclose(baseline_1 + contribution_nd.sum(axis=1), predict(stack, 0, x_nd), rtol=1e-12)


def test_outside_range_marks_what_training_did_not_see(fit: tuple[ServedStack, np.ndarray, np.ndarray]) -> None:
    stack, _, _ = fit
    raw_nk = np.array([[5.0, 2.0], [100.0, 2.0], [5.0, -0.5], [5.0, np.nan]])
    assert outside_range(stack, 0, raw_nk).tolist() == [[False, False], [True, False], [False, True], [False, False]]


def test_a_stack_without_statistics_says_so(fit: tuple[ServedStack, np.ndarray, np.ndarray]) -> None:
    _, x_nd, _ = fit
    whole = fitted(DEEP, seed=7)
    stack = Stack(whole.card, whole.weight_md, whole.bias_m).arrays()
    prediction_n = predict(stack, 0, x_nd)
    assert np.isnan(intervals(stack, 0, x_nd, prediction_n, 0.9).prediction_n2).all()
    assert contributions(stack, 0, x_nd) is None
    assert not outside_range(stack, 0, np.full((3, 2), 1e9)).any()


def test_intervals_are_nan_without_degrees_of_freedom() -> None:
    whole = fitted(DEEP, seed=7)
    assert whole.statistics is not None
    whole.statistics.num_rows_m[0] = 3.0
    stack = whole.arrays()
    x_nd = np.ones((2, 2))
    assert np.isnan(intervals(stack, MODEL[[0, 0]], x_nd, np.ones(2), 0.9).confidence_n2).all()


def test_intervals_of_dependent_columns_are_those_of_statsmodels_where_a_row_keeps_the_dependence() -> None:
    random = np.random.default_rng(0)
    depth_n = random.normal(5, 2, 40)
    x_nd, y_n = np.column_stack([depth_n, 2 * depth_n + 1]), depth_n + random.normal(size=40)
    moments = moments_of(torch.from_numpy(x_nd), torch.from_numpy(y_n))
    weight_p = np.linalg.lstsq(sm.add_constant(x_nd, prepend=False), y_n)[0]
    inferred = statistics_of(moments, torch.from_numpy(weight_p)[None], bias=True)
    nothing_mk = torch.full((1, 2), torch.nan, dtype=torch.float64)
    known = Statistics(nothing_mk, nothing_mk, nothing_mk, moments.mean_md, moments.num_rows_m, **vars(inferred))
    stack = Stack(DEEP, torch.from_numpy(weight_p[None, :2]), torch.from_numpy(weight_p[2:]), known).arrays()
    ours = intervals(stack, 0, x_nd, predict(stack, 0, x_nd), 0.9)
    fit = sm.OLS(y_n, sm.add_constant(depth_n)).fit()
    oracle = fit.get_prediction().summary_frame(0.1)
    np.testing.assert_allclose(ours.confidence_n2, oracle[["mean_ci_lower", "mean_ci_upper"]], rtol=1e-8)
    np.testing.assert_allclose(ours.prediction_n2, oracle[["obs_ci_lower", "obs_ci_upper"]], rtol=1e-8)
    broken_nd = x_nd[:2] + np.array([[0.0, 1.0], [0.0, 0.0]])
    found = intervals(stack, MODEL[[0, 0]], broken_nd, predict(stack, 0, broken_nd), 0.9)
    assert (
        np.isnan(found.confidence_n2).all(1).tolist() == np.isnan(found.prediction_n2).all(1).tolist() == [True, False]
    )
