"""Weighted rows through both engines: the same as rows that are repeated, with folds and in batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from jobs.engines.closed_form import engine as closed_form
from jobs.engines.losses import LOSSES, row_factors
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.hessians import HessianLoader
from jobs.engines.minibatch.loading import Loader
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import concatenate, empty_moments, moments_of, mse
from jobs.engines.settings import TrainingSettings
from tests.oracles import grid

FOLDS = {"none": 0, "fraction": 1, "folds": 3}


def rows(folds: int = 0, num_rows: int = 50, dtype: torch.dtype = torch.float64) -> Rows:
    random = np.random.default_rng(0)
    x_nd = torch.from_numpy(random.normal([5.0, -2.0, 0.0], [1, 3, 0.5], (num_rows, 3))).to(dtype)
    y_n = x_nd @ torch.tensor([1.0, -0.5, 2.0], dtype=dtype) + torch.from_numpy(random.normal(size=num_rows)).to(dtype)
    fold_n = torch.from_numpy(random.integers(0 if folds > 1 else -1, folds, num_rows)) if folds else None
    return Rows(x_nd, y_n, fold_n, folds, weight_n=torch.from_numpy(random.integers(1, 5, num_rows).astype(float)))


def repeated(of: Rows) -> Rows:
    assert of.weight_n is not None
    index_n = torch.arange(len(of.y_n)).repeat_interleave(of.weight_n.long())
    fold_n = None if of.fold_n is None else of.fold_n[index_n]
    return Rows(of.x_nd[index_n], of.y_n[index_n], fold_n, of.num_folds)


def assert_same(ours: Any, theirs: Any) -> None:
    for name in (
        "weight_mgp",
        "train_mse_mg",
        "val_mse_mg",
        "train_loss_mg",
        "val_loss_mg",
        "r2_mg",
        "train_curve_mge",
    ):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-10, equal_nan=True)
    assert torch.equal(ours.epoch_mg, theirs.epoch_mg)
    assert torch.equal(ours.converged_mg, theirs.converged_mg)


@pytest.mark.parametrize("folds", FOLDS)
@pytest.mark.parametrize("normalize", [False, True, "features"])
def test_closed_form_of_weights_is_that_of_repeated_rows(folds: str, normalize: Any) -> None:
    of, settings = rows(FOLDS[folds]), TrainingSettings(epochs=300, normalize=normalize)
    points = grid([0.001, 0.02], momentum=[0.0, 0.5])
    ours = closed_form.train(of.all_rows, of.held_out, points, settings)
    other = repeated(of)
    assert_same(ours, closed_form.train(other.all_rows, other.held_out, points, settings))


@pytest.mark.parametrize("folds", FOLDS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_loop_on_weights_is_that_on_repeated_rows(folds: str, normalize: bool, loss: str) -> None:
    of = rows(FOLDS[folds])
    settings = TrainingSettings(epochs=20, dtype="float64", loss=loss, normalize=normalize)
    points = grid([0.001, 0.01], huber_delta=0.7, quantile=0.2)
    assert_same(block_training.train(of, points, settings), block_training.train(repeated(of), points, settings))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [3, 16])
def test_a_step_on_a_batch_has_the_weights_of_its_rows(loss: str, bias: bool, size: int) -> None:
    """Source of the oracle: autograd on Σ w · loss / (w̄ · rows), batch by batch."""
    if loss == "huber" and not bias:
        return  # refused by the configuration: the factor of a row is in the column of ones
    of = rows()
    assert of.weight_n is not None
    settings = TrainingSettings(epochs=1, dtype="float64", loss=loss, batch_size=size, bias=bias, num_evaluations=1)
    result = block_training.train(of, grid([0.003], huber_delta=0.7, quantile=0.2), settings)
    weight_n = of.weight_n / of.weight_n.mean()
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1, bias=bias).double()
    optimizer = torch.optim.SGD(model.parameters(), 0.003)
    values = {"huber": {"huber_delta": 0.7}, "quantile": {"quantile": 0.2}}.get(loss, {})
    function = torch.func.vmap(LOSSES[loss].torch_loss(**values))
    loader = Loader(replace(of.training(None, without=None, loss=loss), factor_n=None), torch.float64, bias=bias)
    for loaded in loader.batches(size, 0, 1):
        optimizer.zero_grad()
        x_bd, y_b = loaded.z_cq[:, :3].clone(), loaded.z_cq[:, -1].clone()
        place_b = torch.tensor([int((of.y_n == value).nonzero()[0, 0]) for value in y_b])
        (weight_n[place_b] * function(model(x_bd), y_b[:, None])).mean().backward()
        optimizer.step()
    expected = [*model.weight.detach()[0].tolist(), *([model.bias.item()] if bias else [])]
    assert result.weight_mgp[0, 0].tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kept", [False, True])
def test_hessians_of_weighted_rows_are_those_of_their_pieces(kept: bool) -> None:
    samples = rows().training(None, without=None, loss="mse")
    hessians = [
        each.hessian_qq for each in HessianLoader(samples, torch.float64, bias=True, kept=kept).batches(20, 0, 1)
    ]
    pieces = [each.z_cq.clone() for each in Loader(samples, torch.float64, bias=True, kept=kept).batches(20, 0, 1)]
    for hessian_qq, z_cq in zip(hessians, pieces, strict=True):
        torch.testing.assert_close(hessian_qq, z_cq.T @ z_cq * 2 / len(z_cq))


def test_moments_of_weights_merge_as_those_of_rows() -> None:
    of = rows(dtype=torch.float64)
    assert of.weight_n is not None
    small_n = of.weight_n * 1e-12
    halves = [
        moments_of(of.x_nd, of.y_n, torch.arange(start, stop), weight_n=small_n) for start, stop in ((0, 20), (20, 50))
    ]
    whole = moments_of(of.x_nd, of.y_n, weight_n=small_n)
    for merged in (halves[0].merge(halves[1]), whole.merge(empty_moments(1, 3)), whole.without(empty_moments(1, 3))):
        for name, value in vars(whole).items():
            if value is not None:
                torch.testing.assert_close(getattr(merged, name), value, rtol=1e-12, atol=1e-24)
    torch.testing.assert_close(whole.without(halves[0]).count_m, torch.tensor([30.0], dtype=torch.float64))
    both = concatenate([whole, moments_of(of.x_nd, of.y_n)])
    assert both.rows_m.tolist() == [50.0, 50.0]
    weight_11p = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]], dtype=torch.float64)
    residual_n = of.x_nd @ weight_11p[0, 0, :3] + 4.0 - of.y_n
    expected = (of.weight_n * residual_n.square()).sum() / of.weight_n.sum()
    assert mse(whole, weight_11p, bias=True).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("loss", LOSSES)
def test_factors_give_each_row_its_share_of_the_loss(loss: str) -> None:
    weight_n, residual_n = torch.tensor([[1.0, 4.0, 0.25], [0.3, -2.0, 5.0]], dtype=torch.float64)
    of = TrainingSettings(epochs=1, loss=loss).new_loss(grid([0.1], huber_delta=1.0, quantile=0.2))
    factor_n = row_factors(weight_n, torch.tensor(2.0), loss)
    found_n = of.of_rows(factor_n[:, None]).total((factor_n * residual_n)[None, :, None])[:, 0]
    torch.testing.assert_close(found_n, weight_n / 2 * of.total(residual_n[None, :, None])[:, 0])
