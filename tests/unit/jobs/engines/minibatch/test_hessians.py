"""Batches by their Hessians: every row once, the same sums however many threads make them, where they pay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jobs.engines.minibatch import hessians
from jobs.engines.minibatch.batches import Samples, epoch_batches
from jobs.engines.minibatch.hessians import HessianLoader, Summed, cross_products, hessians_pay
from jobs.engines.minibatch.loading import PIECE_ROWS
from jobs.engines.scaling import Scaling


def samples_of(num_rows: int, dtype: torch.dtype = torch.float64) -> Samples:
    generator = torch.Generator().manual_seed(1)
    x_nd = torch.randn(num_rows, 3, generator=generator, dtype=dtype)
    return Samples(x_nd, torch.randn(num_rows, generator=generator, dtype=dtype))


def expected(samples: Samples, places_b: Tensor, bias: bool) -> Tensor:
    plain = samples.converted(torch.float64)
    x_bd, y_b = plain.x_nd[places_b.long()], plain.y_n[places_b.long()]
    z_bq = torch.cat([x_bd, torch.ones(len(y_b), int(bias), dtype=torch.float64), y_b[:, None]], dim=1)
    return z_bq.T @ z_bq


def products(summed: Summed) -> Tensor:
    return summed.hessian_qq * (summed.piece.batch_rows / 2)


def batches(loader: HessianLoader, batch_size: int, threads: int = 0) -> tuple[list[Summed], Tensor]:
    plan = epoch_batches(loader.samples, batch_size, 3, 1)
    assert plan.order_n is not None
    return list(loader.epoch(plan, threads)), plan.order_n


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("u", [1, 2])
def test_cross_products_are_those_of_all_columns(u: int, bias: bool) -> None:
    z_kbq = torch.randn(4, 20, 3 + u, dtype=torch.float64)
    torch.testing.assert_close(cross_products(z_kbq[..., :3], z_kbq[..., 3:].mT), z_kbq.mT @ z_kbq)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_size", [11, 100, 997])
def test_epoch_has_the_products_of_each_batch(batch_size: int, bias: bool, kept: bool, threads: int) -> None:
    plain = samples_of(1000)
    scaling = Scaling(torch.ones(1, 3), torch.full((1, 3), 2.0), torch.tensor([3.0]), torch.tensor([0.5]))
    scaled = Samples(plain.x_nd, plain.y_n, torch.arange(0, 1000, 2), scaling)
    for samples in (plain, scaled):
        loader = HessianLoader(samples, torch.float64, bias=bias, kept=kept)
        summed, order_n = batches(loader, min(batch_size, samples.num_rows - 1), threads)
        for each in summed:
            rows_b = order_n[each.piece.begin : each.piece.end]
            torch.testing.assert_close(products(each), expected(samples, rows_b, bias), rtol=1e-12, atol=1e-12)
        assert [each.piece.begin for each in summed[1:]] == [each.piece.end for each in summed[:-1]]
        assert summed[-1].piece.end == samples.num_rows


def test_products_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessians, "LOAD_ROWS", 64)
    found = []
    for threads in (0, 1, 3):
        loader = HessianLoader(samples_of(5000, torch.float32), torch.float32, bias=True)
        found.append(torch.stack([each.hessian_qq for each in batches(loader, 16, threads)[0][:-1]]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_batch_larger_than_a_piece_comes_in_pieces() -> None:
    loader = HessianLoader(samples_of(2 * PIECE_ROWS + 500), torch.float64, bias=True)
    summed, order_n = batches(loader, 2 * PIECE_ROWS)
    assert [each.piece.opens for each in summed] == [True, False, True]
    assert [each.piece.closes for each in summed] == [False, True, True]
    whole_qq = products(summed[0]) + products(summed[1])
    torch.testing.assert_close(whole_qq, expected(loader.samples, order_n[: 2 * PIECE_ROWS], True))


def test_ranks_without_rows_of_a_batch_have_empty_products() -> None:
    part = samples_of(4)
    rank = Samples(part.x_nd, part.y_n, offset=0, total=400)
    plan = epoch_batches(rank, 20, 0, 1)
    summed = list(HessianLoader(rank, torch.float64, bias=True).epoch(plan))
    assert len(summed) == 20
    assert all(torch.isfinite(each.hessian_qq).all() for each in summed)
    counts = [round(products(each)[3, 3].item(), 9) for each in summed]
    assert sorted(counts)[:16] == [0.0] * 16
    assert sum(counts) == 4


def test_hessians_pay_for_few_columns_and_shuffled_batches() -> None:
    assert hessians_pay(34, 1024, 10_000)
    assert not hessians_pay(34, None, 10_000), "a full batch is the plain loop's"
    assert not hessians_pay(34, 10_000, 10_000)
    assert not hessians_pay(200, 1024, 10_000), "many columns"
    assert not hessians_pay(34, 32, 10_000), "small batches"
