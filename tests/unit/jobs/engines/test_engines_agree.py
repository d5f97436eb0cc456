"""The closed form, the minibatch engine (full batch) and the plain loop are one descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jobs.engines.closed_form import engine as closed_form
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import moments_of
from jobs.engines.settings import TrainingSettings, evaluated_epochs
from jobs.engines.trials import BlockResult
from tests.oracles import LoopRun, grid, plain_loop

EPOCHS = 50
FEW = settings(max_examples=15, deadline=None)


@dataclass(frozen=True)
class Problem:
    """Rows of moderate scale, and learning rates as shares of the stability limit of plain descent."""

    x_nd: Tensor
    y_n: Tensor
    limit: float


@st.composite
def problems(draw: st.DrawFn, bias: bool = True) -> Problem:
    d = draw(st.integers(1, 5))
    n = draw(st.integers(d + 3, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x_nd = normal(n, d) * (0.5 + torch.rand(d, generator=generator, dtype=torch.float64)) + normal(d)
    y_n = x_nd @ normal(d) + draw(st.floats(-3, 3)) + 0.3 * normal(n)
    x_np = torch.cat([x_nd, torch.ones(n, 1, dtype=torch.float64)], dim=1) if bias else x_nd
    limit = 2 / torch.linalg.eigvalsh(2 / n * x_np.T @ x_np)[-1].item()
    # The engines are given what a float32 loop is given: no rounding of the data comes between them.
    return Problem(x_nd.float().double(), y_n.float().double(), limit)


hyperparameters = st.fixed_dictionaries(
    {
        "momentum": st.sampled_from([0.0, 0.3, 0.9]),
        "weight_decay": st.sampled_from([0.0, 0.01, 0.3]),
        "nesterov": st.booleans(),
    }
).map(lambda values: values | {"nesterov": values["nesterov"] and values["momentum"] > 0})

stable_shares = st.lists(st.floats(0.01, 0.6), min_size=1, max_size=2)
unstable_shares = st.lists(st.floats(1.3, 6.0), min_size=1, max_size=2)


def both(problem: Problem, points: Hyperparameters, **values: Any) -> tuple[BlockResult, BlockResult]:
    recipe = TrainingSettings(**values)
    exact = closed_form.train(moments_of(problem.x_nd, problem.y_n), [], points, recipe)
    return exact, block_training.train(Rows(problem.x_nd, problem.y_n), points, recipe)


def loops(
    problem: Problem, points: Hyperparameters, epochs: int, shared: dict[str, Any], **values: Any
) -> list[LoopRun]:
    epochs_e = evaluated_epochs(epochs, 64).tolist()
    rates = points.learning_rate_mg[0].tolist()
    return [plain_loop(problem.x_nd, problem.y_n, epochs_e, rate, **shared, **values) for rate in rates]


@FEW
@given(problem=problems(), shares=stable_shares, shared=hyperparameters, seed=st.integers(0, 2**31))
def test_engines_agree_with_the_plain_loop_in_weights_losses_and_best_epoch(
    problem: Problem, shares: list[float], shared: dict[str, Any], seed: int
) -> None:
    points = grid([share * problem.limit for share in shares], **shared)
    exact, stepped = both(problem, points, epochs=EPOCHS, seed=seed, dtype="float64")
    for g, run in enumerate(loops(problem, points, EPOCHS, shared, seed=seed, dtype=torch.float64)):
        within = torch.nonzero(run.mse_e <= run.mse_e.min() * (1 + 1e-7))[:, 0]
        for result in (exact, stepped):
            torch.testing.assert_close(result.train_curve_mge[0, g], run.mse_e, rtol=1e-8, atol=1e-10)
            assert result.epoch_mg[0, g] == result.epochs_e[within[-1]]
            torch.testing.assert_close(result.weight_mgp[0, g], run.weight_ep[within[-1]], rtol=1e-8, atol=1e-9)
            assert result.diverged_at_mg[0, g] == 0
    assert torch.equal(exact.converged_mg, stepped.converged_mg)


@FEW
@given(problem=problems(bias=False), shares=stable_shares, shared=hyperparameters)
def test_engines_agree_with_the_plain_loop_through_the_origin(
    problem: Problem, shares: list[float], shared: dict[str, Any]
) -> None:
    points = grid([share * problem.limit for share in shares], **shared)
    exact, stepped = both(problem, points, epochs=EPOCHS, bias=False, dtype="float64", keep="last")
    for g, run in enumerate(loops(problem, points, EPOCHS, shared, bias=False, dtype=torch.float64)):
        for result in (exact, stepped):
            torch.testing.assert_close(result.weight_mgp[0, g], run.weight_ep[-1], rtol=1e-8, atol=1e-9)


@FEW
@given(problem=problems(), shares=stable_shares, shared=hyperparameters)
def test_engines_agree_with_the_plain_loop_in_float32(
    problem: Problem, shares: list[float], shared: dict[str, Any]
) -> None:
    points = grid([share * problem.limit for share in shares], **shared)
    exact, stepped = both(problem, points, epochs=EPOCHS, keep="last")
    for g, run in enumerate(loops(problem, points, EPOCHS, shared)):
        for result in (exact, stepped):
            torch.testing.assert_close(result.weight_mgp[0, g], run.weight_ep[-1], rtol=1e-4, atol=1e-4)


@FEW
@given(problem=problems(), shares=unstable_shares, shared=hyperparameters, seed=st.integers(0, 2**31))
def test_engines_agree_with_the_plain_loop_in_the_epoch_of_divergence(
    problem: Problem, shares: list[float], shared: dict[str, Any], seed: int
) -> None:
    epochs = 200
    points = grid([share * problem.limit for share in shares], **shared)
    exact, stepped = both(problem, points, epochs=epochs, seed=seed)

    def seen(epoch: int) -> int:
        return epoch if epoch > 0 else epochs + 1

    for g, run in enumerate(loops(problem, points, epochs, shared, seed=seed)):
        for result in (exact, stepped):
            assert abs(seen(int(result.diverged_at_mg[0, g])) - seen(run.diverged_at)) <= 2
            assert bool(result.weight_mgp[0, g].isnan().all()) == (result.status(0, g) == "diverged")


@FEW
@given(problem=problems(), share=st.floats(0.05, 0.6), shared=hyperparameters)
def test_engines_agree_on_normalized_features(problem: Problem, share: float, shared: dict[str, Any]) -> None:
    limit = 1 / problem.x_nd.shape[1]  # λmax of d features of variance 1 is 2d at most
    points = grid([share * limit, share * limit / 3], **shared)
    exact, stepped = both(problem, points, epochs=EPOCHS, normalize="features", dtype="float64", keep="last")
    torch.testing.assert_close(exact.weight_mgp, stepped.weight_mgp, rtol=1e-6, atol=1e-8)
    x_nd = (problem.x_nd - problem.x_nd.mean(0)) / problem.x_nd.std(0, correction=0)
    for g, rate in enumerate(points.learning_rate_mg[0].tolist()):
        run = plain_loop(x_nd, problem.y_n, [EPOCHS], rate, dtype=torch.float64, **shared)
        scaled_n = x_nd @ run.weight_ep[0, :-1] + run.weight_ep[0, -1]
        raw_n = problem.x_nd @ exact.weight_mgp[0, g, :-1] + exact.weight_mgp[0, g, -1]
        torch.testing.assert_close(raw_n, scaled_n, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_engines_agree_after_few_epochs(epochs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x_nd = torch.randn(9, 2, generator=generator, dtype=torch.float64)
    problem = Problem(x_nd, x_nd.sum(1), 1.0)
    points = grid([0.01, 0.1], momentum=[0.0, 0.9])
    exact, stepped = both(problem, points, epochs=epochs, dtype="float64")
    assert exact.epochs_e.tolist() == stepped.epochs_e.tolist() == list(range(1, epochs + 1))
    torch.testing.assert_close(exact.weight_mgp, stepped.weight_mgp)
    torch.testing.assert_close(exact.train_curve_mge, stepped.train_curve_mge)
