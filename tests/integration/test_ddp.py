"""The number of ranks changes nothing: neither with uneven shares, nor with one that has no rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs.engines.closed_form import engine as closed_form
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.ranks import SINGLE_PROCESS, Ranks
from jobs.engines.minibatch.rows import Rows
from jobs.engines.settings import EarlyStopping, TrainingSettings
from jobs.engines.trials import BlockResult
from tests.oracles import article, grid
from tests.ranks import run_rank_groups, run_ranks

STOPPING = EarlyStopping(patience=2, tolerance=1e-3)
ISLANDS = TrainingSettings(epochs=60, batch_size=8)
MANY = TrainingSettings(epochs=3, batch_size=1000)
ISLANDS_STOPPING = replace(ISLANDS, epochs=60, early_stopping=STOPPING)
MANY_STOPPING = replace(MANY, epochs=30, early_stopping=STOPPING)
SCENARIOS = {
    f"{name}{' stopping' if settings.early_stopping else ''} {optimizer}": (
        num_rows,
        0.9 if optimizer == "momentum" else 0.0,
        replace(settings, optimizer="adam" if optimizer == "adam" else "sgd"),
    )
    for name, num_rows, settings in (
        ("islands", 22, ISLANDS),
        ("islands", 22, ISLANDS_STOPPING),
        ("rows", 10_007, MANY),
        ("rows", 10_007, MANY_STOPPING),
    )
    for optimizer in ("sgd", "momentum", "adam")
}
SCENARIOS["islands huber, full batch, scaled"] = (22, 0.0, TrainingSettings(epochs=60, loss="huber", normalize=True))
RATES = [0.001, 0.01, 0.05, 1e4]  # by sgd on mse the last diverges; by others it does not come to rest, and is left out
SHARES = {2: (0.3, 1.0), 3: (0.5, 0.5, 1.0), 4: (0.0, 0.5, 0.9, 1.0)}  # where each rank's rows end; two have none


def problem(num_rows: int, parts: int = 0) -> Rows:
    """Return the islands, or as many made-up rows as are asked for; with parts, each row is held out in one."""
    if num_rows == 22:
        x_nd, y_n = article("area")
    else:
        generator = torch.Generator().manual_seed(0)
        x_nd = torch.randn(num_rows, 3, generator=generator, dtype=torch.float64)
        y_n = x_nd @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 3
        y_n += 0.3 * torch.randn(num_rows, generator=generator, dtype=torch.float64)
    fold_n = torch.arange(num_rows) % parts if parts else None
    return Rows(x_nd, y_n, fold_n, parts)


def split(rows: Rows, ends: Sequence[float], ranks: Ranks) -> Rows:
    """Return a rank's rows, in uneven shares."""
    bounds = [0, *(int(end * len(rows.y_n)) for end in ends)]
    own = slice(bounds[ranks.rank], bounds[ranks.rank + 1])
    fold_n = None if rows.fold_n is None else rows.fold_n[own]
    return Rows(rows.x_nd[own], rows.y_n[own], fold_n, rows.num_folds, ranks)


def told(result: BlockResult) -> dict[str, Tensor]:
    names = ("weight_mgp", "epoch_mg", "diverged_at_mg", "train_mse_mg", "val_mse_mg", "train_curve_mge")
    return {name: getattr(result, name) for name in names}


def everything(ranks: Ranks, ends: Sequence[float]) -> dict[str, dict[str, Tensor]]:
    """Return what every scenario comes to."""
    results = {}
    for name, (num_rows, momentum, settings) in SCENARIOS.items():
        rates = RATES if settings.optimizer == "sgd" and settings.loss == "mse" else RATES[:3]
        points = grid(rates, momentum=momentum)
        results[name] = told(block_training.train(split(problem(num_rows), ends, ranks), points, settings))
    folds = split(problem(10_007, parts=3), ends, ranks)
    results["folds"] = told(block_training.train(folds, grid(RATES), MANY))
    settings = TrainingSettings(epochs=100)
    results["closed form"] = told(closed_form.train(folds.all_rows, folds.held_out, grid(RATES), settings))
    return results


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, Tensor]]:
    return everything(SINGLE_PROCESS, (1.0,))


@pytest.fixture(scope="module")
def ranked() -> dict[int, list[Any]]:
    return run_rank_groups({number: (ends,) for number, ends in {1: (1.0,), **SHARES}.items()}, everything)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [*SCENARIOS, "folds", "closed form"])
@pytest.mark.parametrize("number", [1, *SHARES])
def test_ranks_change_nothing(
    alone: dict[str, dict[str, Tensor]], ranked: dict[int, list[Any]], number: int, name: str
) -> None:
    tolerance = 1e-4 if "adam" in name else 1e-6
    expected = alone[name]
    for result in (answer[name] for answer in ranked[number]):
        assert torch.equal(result["epoch_mg"], expected["epoch_mg"])
        assert torch.equal(result["diverged_at_mg"], expected["diverged_at_mg"])
        for column in ("weight_mgp", "train_mse_mg", "val_mse_mg"):
            torch.testing.assert_close(result[column], expected[column], atol=tolerance, rtol=tolerance, equal_nan=True)


def test_ranks_agree_bit_by_bit(ranked: dict[int, list[Any]]) -> None:
    for answers in ranked.values():
        for answer in answers[1:]:
            for name, columns in answer.items():
                for column, value in columns.items():
                    torch.testing.assert_close(value, answers[0][name][column], atol=0, rtol=0, equal_nan=True)


def lose_one(ranks: Ranks) -> str:
    if ranks.rank == 1:
        return "gone"
    try:
        ranks.total(torch.zeros(1), "a sum that never comes")
    except Exception as exc:  # noqa: BLE001  its text is what is tested
        return f"{type(exc).__name__}: {exc}"
    return "no error"


def test_lost_rank_is_said() -> None:
    message, _ = run_ranks(2, lose_one)
    assert message.startswith("ClusterError: rank 0 of 2 did not get a sum that never comes from the others (timeout ")
