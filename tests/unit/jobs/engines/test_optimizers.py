"""Optimisers with hyperparameters for each row: each row moves as torch.optim moves it alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engines.optimizers import OPTIMIZERS
from jobs.engines.settings import OptimizerName, TrainingSettings
from tests.oracles import grid

NUM_STEPS, P = 7, 4


def gradients(g: int, seed: int) -> torch.Tensor:
    """Return gradients of shape (steps, p, g)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(NUM_STEPS, P, g, generator=generator, dtype=torch.float64)


def by_torch(optimizer: type[torch.optim.Optimizer], gradient_sp: torch.Tensor, **values: Any) -> torch.Tensor:
    weight_p = torch.nn.Parameter(torch.linspace(-1, 1, P, dtype=torch.float64))
    stepper = optimizer([weight_p], **values)
    for gradient_p in gradient_sp:
        weight_p.grad = gradient_p.clone()
        stepper.step()
    return weight_p.detach()


def by_row(name: OptimizerName, gradient_spg: torch.Tensor, rates: list[float], **columns: Any) -> torch.Tensor:
    points = grid(rates, **columns)
    recipe = TrainingSettings(1, optimizer=name, betas=(0.8, 0.95), alpha=0.9, eps=1e-6, dtype="float64")
    optimizer = recipe.new_optimizer(points)
    weight_pg = torch.linspace(-1, 1, P, dtype=torch.float64)[:, None].repeat(1, len(rates))
    for gradient_pg in gradient_spg:
        optimizer.step(weight_pg, gradient_pg.clone(), points.learning_rate_mg[0])
    return weight_pg


rates_strategy = st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(rates=rates_strategy, seed=st.integers(0, 99), data=st.data())
def test_sgd_rows_are_torchs(rates: list[float], seed: int, data: st.DataObject) -> None:
    g = len(rates)
    momenta = data.draw(st.lists(st.sampled_from([0.0, 0.5, 0.9]), min_size=g, max_size=g))
    decays = data.draw(st.lists(st.sampled_from([0.0, 0.1]), min_size=g, max_size=g))
    ahead = [m > 0 and data.draw(st.booleans()) for m in momenta]
    gradient_spg = gradients(g, seed)
    columns = {"momentum": momenta, "nesterov": [float(each) for each in ahead], "weight_decay": decays}
    weight_pg = by_row("sgd", gradient_spg, rates, **columns)
    for at in range(g):
        expected_p = by_torch(
            torch.optim.SGD,
            gradient_spg[:, :, at],
            lr=rates[at],
            momentum=momenta[at],
            nesterov=ahead[at],
            weight_decay=decays[at],
        )
        torch.testing.assert_close(weight_pg[:, at], expected_p, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "optimizer"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_adam_rows_are_torchs(name: OptimizerName, optimizer: type[torch.optim.Optimizer]) -> None:
    rates, decays = [0.001, 0.1, 0.1], [0.0, 0.0, 0.3]
    gradient_spg = gradients(3, seed=0)
    weight_pg = by_row(name, gradient_spg, rates, weight_decay=decays)
    for at in range(3):
        expected_p = by_torch(
            optimizer, gradient_spg[:, :, at], lr=rates[at], betas=(0.8, 0.95), eps=1e-6, weight_decay=decays[at]
        )
        torch.testing.assert_close(weight_pg[:, at], expected_p, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("momenta", [[0.0, 0.0, 0.0], [0.0, 0.5, 0.9]])
def test_rmsprop_rows_are_torchs(momenta: list[float]) -> None:
    rates, decays = [0.001, 0.1, 0.1], [0.0, 0.0, 0.3]
    gradient_spg = gradients(3, seed=0)
    weight_pg = by_row("rmsprop", gradient_spg, rates, weight_decay=decays, momentum=momenta)
    for at in range(3):
        expected_p = by_torch(
            torch.optim.RMSprop,
            gradient_spg[:, :, at],
            lr=rates[at],
            alpha=0.9,
            eps=1e-6,
            weight_decay=decays[at],
            momentum=momenta[at],
        )
        torch.testing.assert_close(weight_pg[:, at], expected_p, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_goes_on_with_the_rows_it_is_left(name: OptimizerName) -> None:
    rates, columns = [0.1, 0.2, 0.3], {"momentum": 0.9, "weight_decay": [0.1, 0.2, 0.3]}
    gradient_spg = gradients(3, seed=1)
    whole_pg = by_row(name, gradient_spg, rates, **columns)
    points, keep = grid(rates, **columns), torch.tensor([2, 0])
    recipe = TrainingSettings(1, optimizer=name, betas=(0.8, 0.95), alpha=0.9, eps=1e-6, dtype="float64")
    optimizer = recipe.new_optimizer(points)
    weight_pg = torch.linspace(-1, 1, P, dtype=torch.float64)[:, None].repeat(1, 3)
    rate_g = points.learning_rate_mg[0]
    for step, gradient_pg in enumerate(gradient_spg):
        if step == 3:
            optimizer.take(keep)
            weight_pg, rate_g = weight_pg[:, keep].contiguous(), rate_g[keep]
        optimizer.step(weight_pg, gradient_pg[:, keep].clone() if step >= 3 else gradient_pg.clone(), rate_g)
    torch.testing.assert_close(weight_pg, whole_pg[:, keep])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_goes_on_from_its_state(name: OptimizerName) -> None:
    rates, columns = [0.1, 0.2], {"momentum": 0.9}
    gradient_spg = gradients(2, seed=2)
    points, recipe = grid(rates, **columns), TrainingSettings(1, optimizer=name, dtype="float64")
    rate_g = points.learning_rate_mg[0]
    weight_pg, resumed_pg = torch.zeros(2, P, 2, dtype=torch.float64)
    optimizer = recipe.new_optimizer(points)
    for gradient_pg in gradient_spg:
        optimizer.step(weight_pg, gradient_pg.clone(), rate_g)
    half = recipe.new_optimizer(points)
    for step, gradient_pg in enumerate(gradient_spg):
        if step == 4:
            state = {key: value.clone() for key, value in half.state().items()}
            half = recipe.new_optimizer(points)
            half.load_state(state)
        half.step(resumed_pg, gradient_pg.clone(), rate_g)
    assert torch.equal(resumed_pg, weight_pg)
