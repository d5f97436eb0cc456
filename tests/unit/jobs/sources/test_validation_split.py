"""Which rows validate: by seed and content, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import DataError
from jobs.sources.columns import Columns, Fragment, Text
from jobs.sources.delimited import Delimited
from jobs.sources.row_keys import row_keys
from jobs.sources.validation_split import TRAINS, Split, draw, fold_of_dataset, fold_of_rows


def columns(values: dict[str, np.ndarray], codes: np.ndarray | None = None) -> Columns:
    texts = {} if codes is None else {"t": Text(codes.astype(np.int32), np.array(["a", "b"], dtype=object))}
    return Columns(Fragment("t.csv", 0, Delimited(",")), 0, len(next(iter(values.values()))), values, texts)


def keys(num_rows: int = 20_000, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return row_keys(
        columns({"x": random.integers(0, 1000, num_rows) / 8, "y": random.normal(size=num_rows)}), ["x", "y"]
    )


def test_validation_keys_go_by_the_row_alone() -> None:
    random = np.random.default_rng(0)
    values = {"x": random.normal(size=100_000), "y": random.normal(size=100_000)}
    whole = row_keys(columns(values), ["x", "y"])
    order = random.permutation(100_000)
    shuffled = row_keys(columns({name: each[order] for name, each in values.items()}), ["x", "y"])
    assert np.array_equal(shuffled, whole[order])
    assert np.array_equal(row_keys(columns(values).take(slice(7, 90_000)), ["x", "y"]), whole[7:90_000])
    assert len(np.unique(whole)) == len(whole)
    assert not np.array_equal(row_keys(columns(values), ["y", "x"]), whole)


def test_validation_keys_go_by_value_not_by_type() -> None:
    wide, narrow = np.array([1.0, 0.0, 3.0]), np.array([1, 0, 3], dtype=np.int8)
    assert np.array_equal(row_keys(columns({"x": wide}), ["x"]), row_keys(columns({"x": narrow}), ["x"]))
    zeros, missing = np.array([0.0, -0.0]), np.array([np.nan, -np.nan])
    assert len(np.unique(row_keys(columns({"x": zeros}), ["x"]))) == 1
    assert len(np.unique(row_keys(columns({"x": missing}), ["x"]))) == 1


def test_validation_keys_go_by_the_text_not_by_its_code() -> None:
    values = {"x": np.zeros(4)}
    one = row_keys(columns(values, np.array([0, 1, -1, 0])), ["x", "t"])
    swapped = Columns(
        Fragment("t.csv", 0, Delimited(",")),
        0,
        4,
        values,
        {"t": Text(np.array([1, 0, -1, 1], np.int32), np.array(["b", "a"], object))},
    )
    assert np.array_equal(row_keys(swapped, ["x", "t"]), one)
    assert len(np.unique(one)) == 3


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.9])
def test_validation_fraction_is_about_that_share(fraction: float) -> None:
    validates = fold_of_dataset(draw(keys(), seed=3), Split(3, fraction, None)) == 0
    spread = np.sqrt(fraction * (1 - fraction) / 20_000)
    assert abs(validates.mean() - fraction) < 5 * spread


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_validation_folds_are_about_equal_and_all_rows_validate(folds: int) -> None:
    fold_n = fold_of_dataset(draw(keys(), seed=3), Split(3, None, folds))
    count = np.bincount(fold_n, minlength=folds)
    assert (fold_n.min(), fold_n.max()) == (0, folds - 1)
    assert np.abs(count - 20_000 / folds).max() < 5 * np.sqrt(20_000 / folds)


def test_validation_seeds_are_independent() -> None:
    one, other = (draw(keys(), seed) < 0.5 for seed in (0, 1))
    assert abs((one == other).mean() - 0.5) < 0.02
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03


def test_validation_draw_does_not_follow_the_data() -> None:
    values = np.linspace(0, 1, 20_000)
    drawn = draw(row_keys(columns({"x": values, "y": 2 * values}), ["x", "y"]), seed=0)
    assert abs(np.corrcoef(values, drawn)[0, 1]) < 0.03
    assert abs(drawn.mean() - 0.5) < 0.01


def test_validation_of_the_past_is_that_of_today() -> None:
    drawn = draw(row_keys(columns({"x": np.array([1.0, 2.0]), "y": np.array([3.0, 4.0])}), ["x", "y"]), seed=0)
    assert drawn.tolist() == [0.17302616613616562, 0.711858487658547]


@given(num_rows=st.integers(2, 30), seed=st.integers(0, 1000), fraction=st.floats(0.001, 0.999))
def test_validation_fraction_always_leaves_rows_on_both_sides(num_rows: int, seed: int, fraction: float) -> None:
    fold_n = fold_of_dataset(draw(keys(num_rows, seed), seed), Split(seed, fraction, None))
    assert set(fold_n.tolist()) == {TRAINS, 0}


@given(num_rows=st.integers(2, 30), seed=st.integers(0, 1000), folds=st.integers(2, 10))
def test_validation_folds_always_leave_rows_to_train(num_rows: int, seed: int, folds: int) -> None:
    fold_n = fold_of_dataset(draw(keys(num_rows, seed), seed), Split(seed, None, folds))
    assert len(set(fold_n.tolist())) >= 2
    assert fold_n.min() >= 0 and fold_n.max() < folds


def test_validation_equal_rows_go_the_same_way() -> None:
    key_n = np.repeat(keys(50), 3)
    for fraction, folds in ((0.3, None), (None, 4)):
        fold_n = fold_of_dataset(draw(key_n, 0), Split(0, fraction, folds))
        assert np.array_equal(fold_n.reshape(50, 3), np.repeat(fold_n[::3, None], 3, axis=1))


def test_validation_of_a_part_is_that_of_the_whole() -> None:
    draw_n = draw(keys(), seed=5)
    whole = fold_of_dataset(draw_n, Split(0, 0.2))
    assert np.array_equal(fold_of_rows(draw_n[100:200], Split(0, 0.2)), whole[100:200])


@pytest.mark.parametrize("num_rows", [1, 5])
def test_validation_of_equal_rows_is_refused(num_rows: int) -> None:
    with pytest.raises(DataError, match="two different rows or more"):
        fold_of_dataset(np.full(num_rows, 0.3), Split(0, 0.5))
