"""The units of training: what is trained in scaled units is the same model, in whichever units the data come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs.engines.closed_form import engine as closed_form
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import block_training, bucket_training
from jobs.engines.minibatch.bucket_training import BucketRows
from jobs.engines.minibatch.ragged import Ragged
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import concatenate, moments_of
from jobs.engines.scaling import feature_scaling, scaled, scaling_of
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import BlockResult
from tests.oracles import grid

UNIT, OFFSET = 1e6, 3e7  # of a target in cents since long ago
RATES = [0.05, 0.3]
LOSS_DEGREE = {"mse": 2, "huber": 2, "mae": 1, "quantile": 1}


def rows(n: int, d: int, offset: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(n, d, generator=generator, dtype=torch.float64) + offset
    return x_nd, x_nd.sum(1) + torch.randn(n, generator=generator, dtype=torch.float64)


def in_memory(x_nd: Tensor, y_n: Tensor, points: Hyperparameters, settings: TrainingSettings) -> BlockResult:
    return block_training.train(Rows(x_nd, y_n, torch.arange(len(y_n)) % 3, 3), points, settings)


def in_closed_form(x_nd: Tensor, y_n: Tensor, points: Hyperparameters, settings: TrainingSettings) -> BlockResult:
    data = Rows(x_nd, y_n, torch.arange(len(y_n)) % 3, 3)
    return closed_form.train(data.all_rows, data.held_out, points, settings)


def in_a_bucket(x_nd: Tensor, y_n: Tensor, points: Hyperparameters, settings: TrainingSettings) -> BlockResult:
    """Return the result of the rows beside those of a dataset in another unit."""
    made = [Rows(x_nd, y_n, torch.arange(len(y_n)) % 3, 3), Rows(x_nd, y_n * 7.0 + 1.0, torch.arange(len(y_n)) % 3, 3)]
    data = BucketRows(
        rows=Ragged(
            x_nd=torch.cat([each.x_nd for each in made]),
            y_n=torch.cat([each.y_n for each in made]),
            place_n=torch.arange(2 * len(y_n)),
            size_m=torch.tensor([len(y_n), len(y_n)]),
        ),
        fold_n=torch.cat([each.fold_n for each in made if each.fold_n is not None]),
        all_rows=concatenate([each.all_rows for each in made]),
        held_out=tuple(concatenate(list(fold)) for fold in zip(*(each.held_out for each in made), strict=True)),
    )
    return bucket_training.train(data, points.for_datasets(2), settings)


CASES = [
    (in_closed_form, {}),
    (in_closed_form, {"weight_decay": 0.1}),
    *((engine, {"loss": loss}) for engine in (in_memory, in_a_bucket) for loss in LOSS_DEGREE),
    (in_memory, {"optimizer": "adam", "batch_size": 8}),
    (in_a_bucket, {"optimizer": "adam", "loss": "huber", "batch_size": 8}),
]


def split(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of the grid, and those of the settings."""
    return {name: each for name, each in values.items() if name == "weight_decay"}, {
        name: each for name, each in values.items() if name != "weight_decay"
    }


@pytest.mark.parametrize(("engine", "values"), CASES)
def test_training_does_not_depend_on_the_unit_and_the_origin_of_the_target(engine: Any, values: dict[str, Any]) -> None:
    x_nd, y_n = rows(31, 2, offset=2.0)
    columns, training = split(values)
    settings = TrainingSettings(epochs=40, normalize=True, dtype="float64", **training)
    plain = engine(x_nd, y_n, grid(RATES, huber_delta=0.5, **columns), settings)
    moved = engine(x_nd, UNIT * y_n + OFFSET, grid(RATES, huber_delta=0.5 * UNIT, **columns), settings)
    expected_gp = UNIT * plain.weight_mgp[0]
    expected_gp[:, -1] += OFFSET
    torch.testing.assert_close(moved.weight_mgp[0], expected_gp, rtol=1e-8, atol=UNIT * 1e-8)
    loss_unit = UNIT ** LOSS_DEGREE[settings.loss]
    torch.testing.assert_close(moved.train_curve_mge[0], plain.train_curve_mge[0] * loss_unit, rtol=1e-7, atol=0)
    torch.testing.assert_close(moved.val_curve_mge[0], plain.val_curve_mge[0] * loss_unit, rtol=1e-7, atol=0)
    torch.testing.assert_close(moved.val_mse_mg[0], plain.val_mse_mg[0] * UNIT**2, rtol=1e-7, atol=0)
    torch.testing.assert_close(moved.gap_mg[0], plain.gap_mg[0], rtol=1e-6, atol=1e-9, equal_nan=True)
    assert torch.equal(moved.epoch_mg[0], plain.epoch_mg[0])
    assert torch.equal(moved.converged_mg[0], plain.converged_mg[0])


@pytest.mark.parametrize(("engine", "values"), CASES)
@pytest.mark.parametrize("bias", [True, False])
def test_training_in_scaled_units_is_training_on_rows_scaled_by_hand(
    engine: Any, values: dict[str, Any], bias: bool
) -> None:
    x_nd, y_n = rows(31, 2, offset=2.0)
    y_n = 50 * y_n + 9
    columns, training = split(values)
    settings = TrainingSettings(epochs=40, normalize=True, dtype="float64", bias=bias, **training, keep="last")
    found = engine(x_nd, y_n, grid(RATES, huber_delta=20.0, **columns), settings)

    scaling = scaling_of(moments_of(x_nd, y_n), settings)
    assert scaling is not None
    by_hand = (
        scaling.columns(x_nd),
        scaling.target(y_n),
        grid(RATES, huber_delta=20.0 / scaling.y_scale_m[0], **columns),
    )
    expected = engine(*by_hand, replace(settings, normalize=False))
    folded_gp = scaling.fold_back(expected.weight_mgp[:1], bias)[0]
    torch.testing.assert_close(found.weight_mgp[0], folded_gp, rtol=1e-8, atol=1e-8)
    loss_unit = scaling.y_scale_m[0] ** LOSS_DEGREE[settings.loss]
    torch.testing.assert_close(found.train_curve_mge[0], expected.train_curve_mge[0] * loss_unit, rtol=1e-7, atol=0)


@pytest.mark.parametrize("bias", [True, False])
def test_scaled_moments_are_those_of_scaled_rows(bias: bool) -> None:
    x_nd, y_n = rows(100, 3, offset=1000.0)
    settings = TrainingSettings(1, normalize=True, bias=bias)
    moments = moments_of(x_nd, y_n)
    scaling = scaling_of(moments, settings)
    assert scaling is not None
    expected = moments_of(scaling.columns(x_nd), scaling.target(y_n))
    for name in ("mean_md", "scatter_mdd", "y_mean_m", "cross_md", "y_scatter_m"):
        close = {"rtol": 1e-9, "atol": 1e-9}
        torch.testing.assert_close(getattr(scaled(moments, settings), name), getattr(expected, name), **close)
    mean_square = (expected.y_scatter_m / 100 + expected.y_mean_m.square()).item()
    assert mean_square == pytest.approx(1.0, abs=1e-9)


def test_scaling_of_features_alone_leaves_the_target() -> None:
    x_nd, y_n = rows(30, 2, offset=7.0)
    scaling = scaling_of(moments_of(x_nd, y_n), TrainingSettings(1, normalize="features"))
    assert scaling is not None
    assert scaling.target(y_n).equal(y_n)
    assert scaling_of(moments_of(x_nd, y_n), TrainingSettings(1)) is None


def test_scaling_leaves_a_constant_target_in_its_unit() -> None:
    x_nd, _ = rows(30, 2)
    scaling = scaling_of(moments_of(x_nd, torch.full((30,), 0.1)), TrainingSettings(1, normalize=True))
    assert scaling is not None
    assert scaling.y_scale_m.tolist() == [1.0]


def test_scaling_gives_mean_zero_and_variance_one() -> None:
    x_nd, y_n = rows(100, 3, 1000.0)
    moments = moments_of(x_nd * torch.tensor([1.0, 1e-3, 1e6]), y_n)
    applied = feature_scaling(moments, bias=True).apply(moments)
    torch.testing.assert_close(applied.mean_md, torch.zeros(1, 3, dtype=torch.float64), rtol=0, atol=1e-12)
    ones_d = torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(applied.scatter_mdd[0].diagonal() / 100, ones_d)


def test_scaling_without_a_bias_does_not_centre() -> None:
    x_nd, y_n = rows(100, 2, offset=3.0)
    scaling = feature_scaling(moments_of(x_nd, y_n), bias=False)
    assert scaling.offset_md.tolist() == [[0.0, 0.0]]
    torch.testing.assert_close(scaling.scale_md[0], x_nd.square().mean(0).sqrt())


def test_scaling_folded_back_predicts_the_same() -> None:
    x_nd, y_n = rows(30, 2, offset=7.0)
    scaling = feature_scaling(moments_of(x_nd, y_n), bias=True)
    weight_p = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)
    raw_p = scaling.fold_back(weight_p[None], bias=True)[0]
    scaled_nd = (x_nd - scaling.offset_md[0]) / scaling.scale_md[0]
    torch.testing.assert_close(x_nd @ raw_p[:2] + raw_p[2], scaled_nd @ weight_p[:2] + weight_p[2])


def test_scaling_leaves_a_constant_column_as_it_is() -> None:
    x_nd, y_n = rows(30, 2)
    x_nd[:, 1] = 4.0
    assert feature_scaling(moments_of(x_nd, y_n), bias=True).scale_md[0, 1].item() == 1.0
