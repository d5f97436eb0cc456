"""Many small datasets in one batched step: each becomes what it becomes alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch import block_training, bucket_training
from jobs.engines.minibatch.batches import shuffled
from jobs.engines.minibatch.bucket_training import BucketRows
from jobs.engines.minibatch.ragged import Batches, Ragged
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import concatenate, empty_moments
from jobs.engines.settings import EarlyStopping, Schedule, TrainingSettings
from jobs.engines.threads import num_threads
from jobs.engines.trials import BlockResult
from tests.oracles import grid

RATES = [0.002, 0.02, 0.2]
FIELDS = ("epoch_mg", "diverged_at_mg", "converged_mg")
NUMBERS = ("train_mse_mg", "val_mse_mg", "train_loss_mg", "val_loss_mg", "r2_mg", "train_curve_mge", "val_curve_mge")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in a task; and for products this small a second thread is only waited for."""
    with num_threads(1):
        yield


def datasets(num: int, num_folds: int, rows: tuple[int, int] = (8, 41), seed: int = 0) -> list[Rows]:
    """Return random datasets; with several parts a small one may have none of its rows in some."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    made: list[Rows] = []
    for n in torch.randint(*rows, (num,), generator=generator).tolist():
        x_nd = normal(n, 3) * torch.tensor([1.0, 2.0, 0.5]) + 0.3
        y_n = x_nd @ normal(3) + 0.5 + 0.4 * normal(n)
        fold_n = torch.randint(0, max(num_folds, 1), (n,), generator=generator)
        if num_folds == 1:
            fold_n = torch.where(torch.arange(n) < max(1, n // 5), 0, -1)
        made.append(Rows(x_nd, y_n, fold_n if num_folds else None, num_folds))
    return made


def alone(rows: Rows, hyper: Hyperparameters, settings: TrainingSettings) -> BlockResult:
    if rows.fold_n is None or rows.num_folds == 1:
        return block_training.train(rows, hyper, settings)
    parts, fold_n = torch.unique(rows.fold_n, return_inverse=True)
    return block_training.train(Rows(rows.x_nd, rows.y_n, fold_n, len(parts)), hyper, settings)


def together(made: list[Rows]) -> BucketRows:
    return BucketRows(
        rows=Ragged(
            x_nd=torch.cat([rows.x_nd for rows in made]),
            y_n=torch.cat([rows.y_n for rows in made]),
            place_n=torch.arange(sum(len(rows.y_n) for rows in made)),
            size_m=torch.tensor([len(rows.y_n) for rows in made]),
        ),
        fold_n=torch.cat([rows.fold_n for rows in made if rows.fold_n is not None]) if made[0].num_folds else None,
        all_rows=concatenate([rows.all_rows for rows in made]),
        held_out=tuple(concatenate(list(part)) for part in zip(*(rows.held_out for rows in made), strict=True)),
    )


def assert_equal_alone(made: list[Rows], settings: TrainingSettings, tolerance: float, **columns: Any) -> BlockResult:
    hyper = grid(RATES, **columns)
    found = bucket_training.train(together(made), hyper.for_datasets(len(made)), settings)
    expected = [alone(rows, hyper, settings) for rows in made]

    def of_all(name: str) -> Tensor:
        return torch.cat([getattr(one, name) for one in expected])

    for name in FIELDS:
        assert getattr(found, name).tolist() == of_all(name).tolist(), name
    scale_mg1 = of_all("weight_mgp").abs().amax(2, keepdim=True).nan_to_num().clamp(min=1.0)
    close = partial(torch.testing.assert_close, equal_nan=True, atol=tolerance)
    close(found.weight_mgp / scale_mg1, of_all("weight_mgp") / scale_mg1, rtol=0)
    for name in NUMBERS:
        close(getattr(found, name), of_all(name), rtol=100 * tolerance)
    return found


@pytest.mark.parametrize(
    ("num_folds", "training", "columns"),
    [
        (0, {"optimizer": "adam", "loss": "huber"}, {"huber_delta": 0.4}),
        (1, {}, {"momentum": 0.5, "nesterov": True}),
        (3, {"optimizer": "adam", "normalize": True}, {}),
        (1, {"optimizer": "rmsprop", "normalize": True}, {"momentum": 0.5}),
    ],
)
def test_train_200_datasets_equals_each_alone(
    num_folds: int, training: dict[str, Any], columns: dict[str, Any]
) -> None:
    settings = TrainingSettings(epochs=3, num_evaluations=2, batch_size=16, **training)
    assert_equal_alone(datasets(200, num_folds), settings, 1e-5, **columns)


@pytest.mark.parametrize(
    ("num_folds", "training"),
    [
        (0, {"loss": "mae", "bias": False, "schedule": Schedule("step", every=3, factor=0.5)}),
        (1, {"loss": "quantile", "optimizer": "adamw", "normalize": True}),
        (1, {"loss": "huber", "optimizer": "rmsprop"}),
        (1, {"early_stopping": EarlyStopping(2, 0.05), "epochs": 60}),
        (4, {"loss": "huber", "batch_size": None}),
        (1, {"batch_size": 1 << 40, "keep": "last"}),
        (4, {"early_stopping": EarlyStopping(2, 0.05), "epochs": 60, "batch_size": 16}),
    ],
)
def test_train_in_float64_equals_each_alone_to_rounding(num_folds: int, training: dict[str, Any]) -> None:
    values = {"epochs": 12, "batch_size": 7, "dtype": "float64", "num_evaluations": 8} | training
    assert_equal_alone(datasets(12, num_folds, seed=1), TrainingSettings(**values), 1e-12, weight_decay=0.01)


def test_train_lets_a_trial_diverge_beside_others_that_go_on() -> None:
    made = datasets(6, 1, seed=2)
    made[2] = Rows(made[2].x_nd * 1e6, made[2].y_n, made[2].fold_n, 1)
    found = assert_equal_alone(made, TrainingSettings(epochs=20, batch_size=8, dtype="float64"), 1e-9)
    assert (found.diverged_at_mg[2] > 0).all()
    assert found.weight_mgp[[0, 1, 3, 4, 5]].isfinite().all()


def test_train_does_not_depend_on_how_buckets_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    made, settings = datasets(20, 3, seed=3), TrainingSettings(epochs=4, batch_size=8, dtype="float64")
    whole = assert_equal_alone(made, settings, 1e-12)
    monkeypatch.setattr(bucket_training, "BUCKET_BYTES", 2500)  # a few to a bucket, and some too large for one
    parts = assert_equal_alone(made, settings, 1e-12)
    torch.testing.assert_close(parts.weight_mgp, whole.weight_mgp, rtol=0, atol=1e-12)


def test_train_without_curves_keeps_the_last_epoch_of_each() -> None:
    data, settings = together(datasets(5, 1)), TrainingSettings(epochs=4, batch_size=8)
    hyper = grid(RATES).for_datasets(5)
    full = bucket_training.train(data, hyper, settings)
    brief = bucket_training.train(data, hyper, settings, want_curves=False)
    assert brief.train_curve_mge.tolist() == full.train_curve_mge[:, :, -1:].tolist()
    assert brief.weight_mgp.tolist() == full.weight_mgp.tolist()


def test_batches_of_a_dataset_are_those_that_it_has_alone() -> None:
    batches = Batches(torch.tensor([10, 12]), 4, seed=5)
    places = torch.cat([place for place in batches.epoch(3) if place is not None], dim=1)
    assert places[0].tolist() == [*shuffled(10, 4, 5, 3)[0].tolist(), 12, 12]  # place 12 is a row of zeros
    assert places[1].tolist() == (shuffled(12, 4, 5, 3)[0] + 13).tolist()
    assert [batches.num_rows(number).tolist() for number in range(3)] == [[4, 4], [4, 4], [2, 4]]


def test_parts_without_rows_of_a_dataset_are_left_out() -> None:
    made = datasets(3, 4, rows=(12, 20), seed=4)
    rows = made[1]
    made[1] = Rows(rows.x_nd, rows.y_n, torch.arange(len(rows.y_n)) % 2 * 3, 4)  # in parts 0 and 3 alone
    assert made[1].held_out[1].num_rows_m.tolist() == empty_moments(1, 3).num_rows_m.tolist()
    assert_equal_alone(made, TrainingSettings(epochs=6, batch_size=5, dtype="float64"), 1e-12)
