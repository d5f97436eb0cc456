"""Sums by group: packed moments are those of the rows, and partials can be cut and added up in any order."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from jobs.engines.moments import Moments, moments_of
from jobs.groups.scan import partial
from jobs.groups.scan.packed import FEW_GROUPS, combine, pack, packed_width, sum_rows, unpack
from jobs.groups.scan.partial import Extremes, Partial, Sums, merge

OFFSET = 1e6  # that sums of squares would lose seven digits to


def rows(num_rows: int, num_columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return OFFSET + random.normal(size=(num_rows, num_columns)), random.normal(size=num_rows)


def assert_close(found: Moments, expected: Moments) -> None:
    for field in fields(Moments):
        torch.testing.assert_close(getattr(found, field.name), getattr(expected, field.name), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("num_groups", [1, 2, FEW_GROUPS, FEW_GROUPS + 1, 50])
def test_sum_rows_gives_the_moments_of_each_group(num_groups: int) -> None:
    x_nd, y_n = rows(700, 3)
    code_n = np.random.default_rng(1).integers(0, num_groups, 700)
    found = unpack(sum_rows(x_nd, y_n, code_n, num_groups))
    for code in range(num_groups):
        here = torch.from_numpy(np.flatnonzero(code_n == code))
        expected = moments_of(torch.from_numpy(x_nd), torch.from_numpy(y_n), here)
        assert_close(found.take(slice(code, code + 1)), expected)


@pytest.mark.parametrize("num_groups", [4, FEW_GROUPS + 4])
def test_sum_rows_of_a_group_without_rows_is_zero(num_groups: int) -> None:
    x_nd, y_n = rows(10, 2)
    packed_mf = sum_rows(x_nd, y_n, np.full(10, 2), num_groups)
    assert packed_mf.shape == (num_groups, packed_width(2)) == (num_groups, 1 + 3 + 6)
    assert (np.delete(packed_mf, 2, axis=0) == 0).all()
    assert packed_mf[2, 0] == 10


@pytest.mark.parametrize("num_groups", [1, FEW_GROUPS + 4])
def test_combine_adds_up_what_was_summed_apart(num_groups: int) -> None:
    x_nd, y_n = rows(900, 3)
    code_n = np.random.default_rng(2).integers(0, num_groups, 900)
    whole = sum_rows(x_nd, y_n, code_n, num_groups)
    parts = [sum_rows(x_nd[at::4], y_n[at::4], code_n[at::4], num_groups) for at in range(4)]
    codes = np.tile(np.arange(num_groups), 4)
    np.testing.assert_allclose(combine(np.concatenate(parts), codes, num_groups), whole, rtol=1e-9, atol=1e-8)


def test_pack_and_unpack_undo_each_other() -> None:
    x_nd, y_n = rows(40, 4)
    moments = moments_of(torch.from_numpy(x_nd), torch.from_numpy(y_n))
    assert_close(unpack(pack(moments)), moments)
    assert pack(moments).shape == (1, packed_width(4))


@pytest.mark.parametrize("columns", [[0], [2, 0], [3, 1, 2], []])
def test_unpack_gives_the_moments_of_some_columns(columns: list[int]) -> None:
    x_nd, y_n = rows(60, 4)
    code_n = np.arange(60) % 20
    found = pack(unpack(sum_rows(x_nd, y_n, code_n, 20), np.array(columns, dtype=np.intp)))
    np.testing.assert_allclose(found, sum_rows(x_nd[:, columns], y_n, code_n, 20), rtol=1e-12)


def partial_of(names: list[str], x_nd: np.ndarray, y_n: np.ndarray, failures: dict[str, str] | None = None) -> Partial:
    """Return what a scan knows of rows, of which each validates by itself in one of two folds."""
    distinct, code_n = np.unique(np.array(names, dtype=object), return_inverse=True)
    m = len(distinct)
    fold_n = (y_n > 0).astype(np.int64)
    draw_n, row_nq = (np.tanh(y_n) + 1) / 2, np.concatenate([x_nd, y_n[:, None]], axis=1)
    low_mk, high_mk = np.full((m, row_nq.shape[1]), np.inf), np.full((m, row_nq.shape[1]), -np.inf)
    np.minimum.at(low_mk, code_n, row_nq)
    np.maximum.at(high_mk, code_n, row_nq)
    hash_m2 = np.zeros((m, 2), dtype=np.uint64)
    np.add.at(hash_m2, code_n, np.abs(y_n[:, None] * [1e15, 2e15]).astype(np.uint64))
    first, last = (
        np.array([pick(np.flatnonzero(code_n == c), draw_n) for c in range(m)]) for pick in (lowest, highest)
    )
    return Partial(
        name_m=pa.array(distinct.tolist(), pa.large_string()),
        moments_mhf=sum_rows(x_nd, y_n, code_n * 3 + 1 + fold_n, m * 3).reshape(m, 3, -1),
        low_mk=low_mk,
        high_mk=high_mk,
        hash_m2=hash_m2,
        extremes=Extremes(
            np.stack([draw_n[first], draw_n[last]], axis=1),
            np.ones((m, 2)),
            np.stack([row_nq[first], row_nq[last]], axis=1),
        ),
        failures=failures or {},
    )


def lowest(rows_g: np.ndarray, draw_n: np.ndarray) -> int:
    return int(rows_g[draw_n[rows_g].argmin()])


def highest(rows_g: np.ndarray, draw_n: np.ndarray) -> int:
    return int(rows_g[draw_n[rows_g].argmax()])


def by_name(partial: Partial) -> dict[str, dict[str, Any]]:
    assert partial.extremes is not None
    return {
        name: {
            "moments": partial.moments_mhf[at],
            "low": partial.low_mk[at],
            "high": partial.high_mk[at],
            "hash": partial.hash_m2[at],
            "draw": partial.extremes.draw_m2[at],
            "count": partial.extremes.count_m2[at],
            "row": partial.extremes.row_m2q[at],
        }
        for at, name in enumerate(partial.name_m.to_pylist())
    }


def assert_same(found: Partial, expected: Partial) -> None:
    assert found.failures == expected.failures
    ours, theirs = by_name(found), by_name(expected)
    assert ours.keys() == theirs.keys()
    for name, known in theirs.items():
        for key, value in known.items():
            np.testing.assert_allclose(ours[name][key], value, rtol=1e-9, atol=1e-9, err_msg=f"{key} of {name}")


NAMES = [f"né {code}" for code in range(40)] + ["", "a,b", '"', "x" * 500]


def many_rows() -> tuple[list[str], np.ndarray, np.ndarray]:
    x_nd, y_n = rows(1000, 2, seed=4)
    return [NAMES[code] for code in np.random.default_rng(5).integers(0, len(NAMES), 1000)], x_nd, y_n


@pytest.mark.parametrize("seed", range(3))
def test_merge_is_that_of_all_rows_in_any_order(seed: int) -> None:
    names, x_nd, y_n = many_rows()
    place_n = np.random.default_rng(seed).integers(0, 5, 1000)
    parts = [
        partial_of([names[at] for at in here], x_nd[here], y_n[here])
        for here in (np.flatnonzero(place_n == place) for place in range(5))
    ]
    expected = partial_of(names, x_nd, y_n)
    assert_same(merge(parts), expected)
    assert_same(merge([merge(parts[3:]), merge(parts[:3])]), expected)


def test_merge_keeps_the_first_reason_by_text() -> None:
    names, x_nd, y_n = many_rows()
    parts = [partial_of(names, x_nd, y_n, {"a,b": f"file {at}: row 1"}) for at in (2, 1, 3)]
    assert merge(parts).failures == merge(parts[::-1]).failures == {"a,b": "file 1: row 1"}


def test_merge_counts_equal_draws() -> None:
    names, x_nd, y_n = ["a"] * 3, np.ones((3, 1)), np.array([0.5, -0.5, 0.1])
    merged = merge([partial_of(names, x_nd, y_n), partial_of(names, x_nd, y_n)])
    assert merged.extremes is not None
    assert merged.extremes.count_m2.tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("num_parts", [1, 2, 7, 100])
def test_split_deals_every_group_once_by_its_name_alone(num_parts: int) -> None:
    names, x_nd, y_n = many_rows()
    whole = partial_of(names, x_nd, y_n, {"a,b": "no", "": "empty"})
    parts = whole.split(num_parts)
    assert len(parts) == num_parts
    assert sorted(name for part in parts for name in part.name_m.to_pylist()) == sorted(set(names))
    assert {name for part in parts for name in part.failures} == {"a,b", ""}
    for part in parts:
        assert part.failures.keys() <= set(part.name_m.to_pylist())
    half = partial_of(names[500:], x_nd[500:], y_n[500:])
    place = {name: at for at, part in enumerate(parts) for name in part.name_m.to_pylist()}
    dealt = {name: at for at, part in enumerate(half.split(num_parts)) for name in part.name_m.to_pylist()}
    assert dealt == {name: place[name] for name in names[500:]}
    assert_same(merge(parts), whole)


def test_split_of_many_names_is_even() -> None:
    names = [str(number) for number in range(4000)]
    whole = partial_of(names, np.ones((4000, 1)), np.arange(4000) - 2000.5)
    sizes = [part.num_groups for part in whole.split(8)]
    assert sum(sizes) == 4000
    assert max(sizes) < 600  # 500, give or take five standard deviations of chance


@pytest.mark.parametrize("num_parts", [1, 7, 100])
@pytest.mark.parametrize("merge_at", [1, 60, 10_000])
def test_sums_are_the_parts_of_all_that_came(monkeypatch: pytest.MonkeyPatch, num_parts: int, merge_at: int) -> None:
    monkeypatch.setattr(partial, "MERGE_AT_GROUPS", merge_at)
    names, x_nd, y_n = many_rows()
    sums = Sums(num_parts)
    for start in range(0, 1000, 130):
        here = slice(start, start + 130)
        sums.add(partial_of(names[here], x_nd[here], y_n[here], {"a,b": f"row {start}"}))
    for found, expected in zip(
        sums.parts(), partial_of(names, x_nd, y_n, {"a,b": "row 0"}).split(num_parts), strict=True
    ):
        assert_same(found, expected)
