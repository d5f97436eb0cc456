"""Stored trials: what is read is what was written, equal trials give equal bytes, and anything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments, moments_of
from jobs.engines.trials import BlockResult
from jobs.trials.columns import KeyedTrials, columns_of, join
from jobs.trials.serialization import NotTrialsError, read_trials, write_trials


def sample(seed: int, num_columns: int = 2, num_points: int = 3, held_out: bool = False) -> KeyedTrials:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    g, e = num_points, 4
    nothing = torch.full((1, g), torch.nan, dtype=torch.float64)
    trained = moments_of(random(9, num_columns), random(9))
    return KeyedTrials(
        key_mgz=torch.randint(0, 256, (1, g, 32), generator=generator, dtype=torch.uint8),
        hyperparameters=Hyperparameters(
            random(1, g), torch.zeros(g), torch.zeros(g, dtype=torch.bool), torch.zeros(g), torch.ones(g), torch.ones(g)
        ),
        result=BlockResult(
            engine="minibatch",
            epochs_e=torch.arange(1, e + 1),
            weight_mgp=random(1, g, num_columns + 1),
            epoch_mg=torch.ones(1, g, dtype=torch.int64),
            converged_mg=torch.ones(1, g, dtype=torch.bool),
            gap_mg=random(1, g),
            diverged_at_mg=torch.zeros(1, g, dtype=torch.int64),
            train_mse_mg=random(1, g),
            val_mse_mg=random(1, g) if held_out else nothing,
            train_loss_mg=random(1, g),
            val_loss_mg=random(1, g) if held_out else nothing,
            r2_mg=random(1, g),
            train_curve_mge=random(1, g, e),
            val_curve_mge=random(1, g, e) if held_out else nothing[..., None].expand(1, g, e),
            wall_s=0.0,
        ),
        train_moments=trained,
        score_moments=moments_of(random(5, num_columns), random(5)) if held_out else trained,
    )


def assert_equal(a: KeyedTrials, b: KeyedTrials) -> None:
    assert a.result.engine == b.result.engine
    ours, theirs = columns_of(a), columns_of(b)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("held_out", [False, True])
def test_read_trials_returns_what_was_written(held_out: bool) -> None:
    (group,) = read_trials(write_trials([sample(0, held_out=held_out)]))
    assert_equal(group, sample(0, held_out=held_out))


@pytest.mark.parametrize("held_out", [False, True])
def test_rows_with_weights_are_stored_with_their_number(held_out: bool) -> None:
    plain = sample(0, held_out=held_out)
    number_m = torch.tensor([9.0], dtype=torch.float64)
    trained = replace(plain.train_moments, count_m=number_m)
    scored = replace(plain.score_moments, count_m=number_m - 4) if held_out else trained
    weighted = replace(plain, train_moments=trained, score_moments=scored)
    with_weights, without = sorted(
        read_trials(write_trials([weighted, plain])), key=lambda group: group.train_moments.count_m is None
    )
    assert_equal(with_weights, weighted)
    assert_equal(without, plain)
    assert without.train_moments.count_m is None


def test_datasets_of_one_shape_are_one_group() -> None:
    groups = read_trials(write_trials([sample(0), sample(1, num_columns=3), sample(2)]))
    assert sorted(len(group.key_mgz) for group in groups) == [1, 2]


def test_equal_trials_give_equal_bytes_in_whatever_order() -> None:
    parts = [sample(0), sample(1, num_columns=3), sample(2), sample(3, held_out=True)]
    assert write_trials(parts) == write_trials(parts[::-1])
    assert write_trials([join("m", [parts[0], parts[2]])]) == write_trials([parts[2], parts[0]])


def test_stored_trials_do_not_hold_how_long_they_took() -> None:
    assert b"wall" not in write_trials([sample(0)])


def test_take_and_join_undo_each_other() -> None:
    whole = join("m", [sample(0), sample(1)])
    assert_equal(join("m", [whole.take("m", torch.tensor([0])), whole.take("m", torch.tensor([1]))]), whole)
    points = [whole.take("g", torch.tensor([place])) for place in range(3)]
    assert_equal(join("g", points), whole)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "SafetensorError"),
        (b"nothing of the kind", "SafetensorError"),
        (save({"x": torch.zeros(1)}), "KeyError"),
        (save({"0/x": torch.zeros(1)}, {"gridline": json.dumps({"format": 1, "engines": ["minibatch"]})}), "KeyError"),
        (save({"0/x": torch.zeros(1)}, {"gridline": json.dumps({"format": 2})}), "format 2, and this gridline reads"),
    ],
)
def test_read_trials_refuses_anything_else(data: bytes, reason: str) -> None:
    with pytest.raises(NotTrialsError, match=reason):
        read_trials(data)


def test_moments_are_stored_with_all_their_columns() -> None:
    (group,) = read_trials(write_trials([sample(0)]))
    assert isinstance(group.train_moments, Moments)
    assert group.train_moments.scatter_mdd.shape == (1, 2, 2)
