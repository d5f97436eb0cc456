"""What is called converged, by every engine, and after how many epochs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from jobs.engines.closed_form.certificate import automatic_rates
from jobs.engines.closed_form.convergence import epochs_to_converge
from jobs.engines.closed_form.engine import train
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import concatenate, moments_of
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import BlockResult
from tests.oracles import article, certified, digits_of, grid


def rows(seed: int = 0, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    return x_nd, x_nd.sum(1) + 3 + noise * torch.randn(60, generator=generator, dtype=torch.float64)


def looped(
    x_nd: Tensor, y_n: Tensor, rates: list[float], points: dict[str, Any] | None = None, **values: Any
) -> BlockResult:
    values = {"epochs": 300, "batch_size": 16} | values
    return block_training.train(Rows(x_nd, y_n), grid(rates, **(points or {})), TrainingSettings(**values))


def test_adam_at_rest_far_from_least_squares_has_not_converged() -> None:
    """Its steps do not grow with the target: after 300 epochs it is a millionth of the way, on a plateau."""
    x_nd, y_n = rows()
    result = looped(x_nd, 1e9 * y_n, [0.01, 1.0], optimizer="adam", normalize="features")
    assert [result.status(0, g) for g in range(2)] == ["not_converged", "not_converged"]
    assert bool((result.gap_mg > 1).all())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_minibatches_near_least_squares_have_converged(optimizer: str) -> None:
    result = looped(*rows(), [0.03], optimizer=optimizer)
    assert result.status(0, 0) == "converged"
    assert 0 < result.gap_mg.item() < 0.0316


def test_minibatches_on_a_plateau_far_from_least_squares_have_not_converged() -> None:
    """A rate near the limit keeps jumping about: its loss stands still, its predictions do not."""
    x_nd, y_n = rows(noise=1.0)
    result = looped(x_nd, y_n, [0.35], batch_size=4, epochs=2000)
    assert result.gap_mg.item() > 0.0316
    assert result.status(0, 0) == "not_converged"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_minibatches_with_weight_decay_are_held_to_the_ridge(optimizer: str) -> None:
    result = looped(*rows(), [0.002], {"weight_decay": 0.5}, optimizer=optimizer, keep="last", epochs=1000)
    assert result.gap_mg.item() < 0.005
    assert result.r2_mg.item() < 0.8


def test_decoupled_weight_decay_has_no_known_limit() -> None:
    result = looped(*rows(), [0.03, 0.03], {"weight_decay": [0.5, 0.0]}, optimizer="adamw", keep="last")
    assert result.gap_mg.isnan().tolist() == [[True, False]]
    assert result.status(0, 1) == "converged"


@pytest.mark.parametrize("loss", ["mae", "huber"])
def test_other_loss_at_rest_worse_than_the_mean_has_not_converged(loss: str) -> None:
    x_nd, y_n = rows()
    result = looped(x_nd, y_n + 1e4, [1e-9], loss=loss)
    assert result.gap_mg.isnan().all()
    assert result.status(0, 0) == "not_converged"


def test_quantile_at_rest_has_converged_though_the_mean_is_nearer() -> None:
    x_nd, y_n = rows(noise=3.0)
    result = looped(x_nd, y_n, [0.05], {"quantile": 0.99}, loss="quantile", epochs=2000)
    assert result.r2_mg.item() < 0
    assert result.status(0, 0) == "converged"


@pytest.mark.parametrize(("dtype", "allowed"), [("float64", 1e-6), ("float32", 1e-4)])
def test_full_batch_loop_converges_as_far_as_its_precision(dtype: str, allowed: float) -> None:
    result = looped(*rows(), [0.1, 0.001], dtype=dtype, batch_size=None)
    assert [result.status(0, g) for g in range(2)] == ["converged", "not_converged"]
    assert result.gap_mg[0, 0].item() <= allowed


def test_loop_with_rows_that_validate_is_judged_by_its_last_epoch() -> None:
    x_nd, y_n = rows()
    y_n[50:] = 3 + 0.5 * (y_n[50:] - 3)  # what validates has flatter slopes: an early epoch is kept
    part_n = torch.where(torch.arange(60) < 50, -1, 0)
    recipe = TrainingSettings(500, dtype="float64")
    result = block_training.train(Rows(x_nd, y_n, part_n, 1), grid([0.1]), recipe)
    exact = train(moments_of(x_nd, y_n), [moments_of(x_nd[50:], y_n[50:])], grid([0.1]), recipe)
    assert result.epoch_mg.item() == exact.epoch_mg.item() < 500
    assert result.status(0, 0) == exact.status(0, 0) == "converged"


def two_datasets() -> tuple[Any, Hyperparameters]:
    moments = concatenate([moments_of(*rows(1)), moments_of(rows(2)[0] * torch.tensor([1.0, 0.1]), rows(2)[1])])
    points = grid([0.0, 0.0, 0.0], momentum=[0.0, 0.5, 0.0])
    rate_mg = torch.tensor([[0.1, 0.02, 1e-12], [0.3, 0.05, 1.5]], dtype=torch.float64)
    return moments, Hyperparameters(**(vars(points) | {"learning_rate_mg": rate_mg}))


def test_epochs_to_converge_are_the_fewest_for_each_dataset_and_rate() -> None:
    moments, points = two_datasets()
    needed_mg = epochs_to_converge(moments, points, TrainingSettings(1))
    assert (needed_mg == 0).tolist() == [[False, False, True], [False, False, True]]  # too slow; too large
    for m in range(2):
        for g in range(2):
            epochs = int(needed_mg[m, g])
            alone = points.datasets(slice(m, m + 1)).take(torch.tensor([g]))
            for number, expected in ((epochs, "converged"), (epochs - 1, "not_converged")):
                result = train(moments.take(slice(m, m + 1)), [], alone, TrainingSettings(number, keep="last"))
                assert result.status(0, 0) == expected


def test_epochs_to_stand_still_change_no_digit_that_counts() -> None:
    moments, points = two_datasets()
    still_mg = epochs_to_converge(moments, points, TrainingSettings(1), still=True)
    converged_mg = epochs_to_converge(moments, points, TrainingSettings(1))
    assert bool(((still_mg == 0) == (converged_mg == 0)).all())
    assert bool((still_mg >= converged_mg).all())
    assert bool((still_mg <= 8 * converged_mg).all())


@pytest.mark.parametrize(("name", "expected"), [("wampler4", 7), ("wampler5", 5), ("longley", 8)])
def test_epochs_to_stand_still_are_enough_for_certified_digits(name: str, expected: int) -> None:
    fit = certified(name)
    moments = moments_of(fit.x_nd, fit.y_n)
    rates = automatic_rates(moments, TrainingSettings(1, normalize="features"))[0].tolist()
    needed_g = epochs_to_converge(moments, grid(rates), TrainingSettings(1, normalize="features"), still=True)[0]
    fastest = int(torch.where(needed_g > 0, needed_g, 10**18).argmin())
    settings = TrainingSettings(int(needed_g[fastest]), normalize="features")
    result = train(moments, [], grid([rates[fastest]]), settings)
    assert digits_of(result.weight_mgp[0, 0], fit.coefficient_p) >= expected


def test_epochs_to_converge_of_the_article() -> None:
    moments = moments_of(*article("area"))
    needed_g = epochs_to_converge(moments, grid([0.0005, 0.12, 0.13]), TrainingSettings(6000))[0].tolist()
    assert needed_g[0] > 40 * needed_g[1] > 0
    assert needed_g[2] == 0
