"""Cross-products: exact around the mean, and the same in whatever parts the rows come."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jobs.engines.moments import Moments, concatenate, empty_moments, moments_of, mse
from jobs.engines.row_sums import CHUNK_ROWS


def rows(num_rows: int, num_columns: int, seed: int = 0, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(num_rows, num_columns, generator=generator, dtype=torch.float64) + offset
    return x_nd, torch.randn(num_rows, generator=generator, dtype=torch.float64) + x_nd.sum(1)


def assert_same(actual: Moments, expected: Moments) -> None:
    for name in (name for name in vars(expected) if "_low_" not in name):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name), rtol=1e-9, atol=1e-9)


def test_moments_are_centred_sums() -> None:
    x_nd, y_n = rows(CHUNK_ROWS + 17, 3)
    moments = moments_of(x_nd, y_n)
    x_centred, y_centred = x_nd - x_nd.mean(0), y_n - y_n.mean()
    assert moments.num_rows_m.item() == CHUNK_ROWS + 17
    torch.testing.assert_close(moments.mean_md[0], x_nd.mean(0))
    torch.testing.assert_close(moments.scatter_mdd[0], x_centred.T @ x_centred)
    torch.testing.assert_close(moments.cross_md[0], x_centred.T @ y_centred)
    torch.testing.assert_close(moments.y_scatter_m[0], y_centred.square().sum())


def test_moments_keep_their_digits_under_a_large_offset() -> None:
    x_nd, y_n = rows(1000, 2)
    near, far = moments_of(x_nd, y_n), moments_of(x_nd + 2.0**26, y_n + 2.0**26)
    torch.testing.assert_close(far.scatter_mdd, near.scatter_mdd, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(far.cross_md, near.cross_md, rtol=1e-6, atol=1e-6)


def test_moments_of_float32_rows_are_summed_in_float64() -> None:
    x_nd, y_n = rows(5000, 2, offset=100.0)
    assert_same(moments_of(x_nd.float(), y_n.float()), moments_of(x_nd.float().double(), y_n.float().double()))


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5), offset=st.floats(-100, 100))
def test_moments_merge_whatever_the_parts(sizes: list[int], offset: float) -> None:
    x_nd, y_n = rows(sum(sizes), 3, offset=offset)
    merged = empty_moments(1, 3)
    for x_part, y_part in zip(x_nd.split(sizes), y_n.split(sizes), strict=True):
        merged = merged.merge(moments_of(x_part, y_part))
    assert_same(merged, moments_of(x_nd, y_n))


def test_moments_without_a_part_are_those_of_the_rest() -> None:
    x_nd, y_n = rows(50, 3, offset=10.0)
    assert_same(moments_of(x_nd, y_n).without(moments_of(x_nd[:20], y_n[:20])), moments_of(x_nd[20:], y_n[20:]))


def test_moments_without_all_rows_are_empty() -> None:
    whole = moments_of(*rows(5, 2))
    assert whole.without(whole).num_rows_m.item() == 0


def test_moments_take_and_concatenate_are_inverse() -> None:
    both = concatenate([moments_of(*rows(9, 2, seed=1)), moments_of(*rows(7, 2, seed=2))])
    assert both.num_datasets == 2
    assert_same(both.take(slice(1, 2)), moments_of(*rows(7, 2, seed=2)))
    assert_same(concatenate([both.take(slice(0, 1)), both.take(torch.tensor([1]))]), both)


def test_mse_is_that_of_the_residuals_over_datasets_and_points() -> None:
    x_nd, y_n = rows(40, 3, offset=5.0)
    both = concatenate([moments_of(x_nd, y_n), moments_of(x_nd[:20], y_n[:20])])
    weight_mgp = torch.randn(2, 5, 4, dtype=torch.float64)
    for dataset, n in enumerate((40, 20)):
        for point in range(5):
            weight_p = weight_mgp[dataset, point]
            expected = (x_nd[:n] @ weight_p[:3] + weight_p[3] - y_n[:n]).square().mean()
            torch.testing.assert_close(mse(both, weight_mgp, bias=True)[dataset, point], expected)


def test_mse_without_a_bias_is_through_the_origin() -> None:
    x_nd, y_n = rows(40, 3, offset=5.0)
    weight_p = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    actual = mse(moments_of(x_nd, y_n), weight_p[None, None], bias=False)[0, 0]
    torch.testing.assert_close(actual, (x_nd @ weight_p - y_n).square().mean())


def test_mse_of_a_perfect_fit_is_not_negative() -> None:
    x_nd, _ = rows(1000, 3, offset=1e4)
    weight_p = torch.tensor([1.0, -2.0, 3.0, 4.0], dtype=torch.float64)
    error = mse(moments_of(x_nd, x_nd @ weight_p[:3] + 4.0), weight_p[None, None], bias=True).item()
    assert 0 <= error < 1e-12
