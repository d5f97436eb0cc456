"""Rows on their way to a step: every row once, whatever the pieces, and whoever loads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from jobs.engines.minibatch import engine as minibatch
from jobs.engines.minibatch.batches import Samples, epoch_batches
from jobs.engines.minibatch.evaluation import MomentsEvaluator, Scores
from jobs.engines.minibatch.fitting import fit
from jobs.engines.minibatch.loading import Fetching, Loader, worth_keeping
from jobs.engines.minibatch.ranks import SingleProcess
from jobs.engines.moments import moments_of
from jobs.engines.scaling import Scaling
from jobs.engines.settings import TrainingSettings
from jobs.engines.threads import map_in_threads, num_threads
from tests.oracles import grid

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


def samples_of(num_rows: int, chosen: bool = False, scaled: bool = False) -> Samples:
    generator = torch.Generator().manual_seed(1)
    x_nd = torch.randn(num_rows, 3, generator=generator, dtype=torch.float64)
    y_n = torch.arange(num_rows, dtype=torch.float64)
    rows_n = torch.arange(0, num_rows, 2) if chosen else None
    units = torch.full((1, 3), 0.5), torch.full((1, 3), 2.0), torch.tensor([3.0]), torch.tensor([0.5])
    return Samples(x_nd, y_n, rows_n, Scaling(*units) if scaled else None)


def expected(samples: Samples, order_n: Tensor | None, bias: bool) -> Tensor:
    plain = samples.converted(torch.float64)
    z_nq = torch.cat([plain.x_nd, torch.ones(plain.num_rows, int(bias)), plain.y_n[:, None]], dim=1)
    return (z_nq if order_n is None else z_nq[order_n.long()]).float()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("batch_size", [None, 7, 100, 999])
def test_epoch_has_every_row_once_in_order(batch_size: int | None, ahead: bool, kept: bool) -> None:
    samples = samples_of(1000, chosen=True, scaled=True)
    loader = Loader(samples, torch.float32, bias=True, kept=kept, piece_rows=64)
    plan = epoch_batches(samples, batch_size, 3, 1)

    loaded = [(each.piece, each.z_cq.clone()) for each in loader.batches(batch_size, 3, 1, threads=int(ahead))]

    torch.testing.assert_close(torch.cat([z_cq for _, z_cq in loaded]), expected(samples, plan.order_n, True))
    assert max(len(z_cq) for _, z_cq in loaded) <= 64
    assert sum(piece.closes for piece, _ in loaded) == len(plan.batch_rows)
    assert sum(piece.opens for piece, _ in loaded) == len(plan.batch_rows)


def test_rows_without_bias_have_no_ones() -> None:
    samples = samples_of(10)
    (loaded,) = Loader(samples, torch.float32, bias=False).batches(None, 0, 1)
    assert torch.equal(loaded.z_cq, expected(samples, None, False))


def test_ranks_have_every_row_of_each_batch_between_them() -> None:
    whole = samples_of(103)
    plan = epoch_batches(whole, 10, 5, 2)
    shares = [
        replace(samples_of(stop - start), offset=start, total=103) for start, stop in ((0, 60), (60, 60), (60, 103))
    ]
    plans = [epoch_batches(share, 10, 5, 2) for share in shares]

    assert plan.order_n is not None
    for batch in range(11):
        rows = []
        for share, own in zip(shares, plans, strict=True):
            assert own.order_n is not None and own.batch_rows == plan.batch_rows
            rows += (own.order_n[own.bounds[batch] : own.bounds[batch + 1]] + share.offset).tolist()
        assert sorted(rows) == sorted(plan.order_n[plan.bounds[batch] : plan.bounds[batch + 1]].tolist())


def test_copy_is_kept_where_it_is_read_often_and_small() -> None:
    cpu, samples = torch.device("cpu"), samples_of(100)
    assert worth_keeping(samples, torch.float32, 100, cpu)
    assert not worth_keeping(samples, torch.float32, 1, cpu)
    huge = replace(samples, x_nd=torch.empty(10**8, 1).expand(10**8, 3), y_n=torch.empty(1).expand(10**8))
    assert not worth_keeping(huge, torch.float32, 100, cpu)


def test_threads_are_as_before_even_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda value: 1 // value, [1, 0], 2, "test")
    with num_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    x_nd, y_n = torch.randn(200_000, 2), torch.randn(200_000)
    with num_threads(1):
        one = moments_of(x_nd, y_n)
    with num_threads(3):
        three = moments_of(x_nd, y_n)
    assert torch.equal(one.scatter_mdd, three.scatter_mdd)
    assert torch.equal(one.mean_md, three.mean_md)


def test_out_of_memory_halves_the_work_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    allocated = []

    def start(*arguments: object) -> object:
        allocated.append(arguments[-1])
        if len(allocated) < 3:
            raise torch.OutOfMemoryError("no memory")
        return real(*arguments)  # type: ignore[arg-type]

    real = minibatch.start
    monkeypatch.setattr(minibatch, "start", start)
    samples = samples_of(100)
    scores = Scores(MomentsEvaluator(moments_of(samples.x_nd, samples.y_n)))

    settings = TrainingSettings(epochs=1, batch_size=8)
    fit(minibatch.prepare(samples, grid([0.01]), settings), scores, settings)

    assert allocated == [4096, 2048, 1024]
    assert "cpu is out of memory: going on by 2048 rows at a time (no memory)" in caplog.text


@pytest.mark.gpu
@NO_GPU
@pytest.mark.parametrize("epochs", [1, 5])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_gpu_gives_what_the_cpu_gives(optimizer: str, epochs: int) -> None:
    samples = samples_of(20_000)
    samples = replace(samples, y_n=samples.x_nd.sum(1))
    scores = Scores(MomentsEvaluator(moments_of(samples.x_nd, samples.y_n)))
    settings = TrainingSettings(epochs=epochs, batch_size=1000, optimizer=optimizer)  # type: ignore[arg-type]
    fits = [
        fit(
            minibatch.prepare(samples, grid([0.001, 0.05]), settings, SingleProcess(torch.device(name))),
            scores,
            settings,
        )
        for name in ("cpu", "cuda")
    ]
    torch.testing.assert_close(fits[1].weight_pg, fits[0].weight_pg, atol=1e-4, rtol=1e-4)


def test_a_value_may_be_fetched_before_it_is_asked_for() -> None:
    asked = []

    def values() -> Iterator[int]:
        for value in range(3):
            asked.append(value)
            yield value

    fetching = Fetching(values())
    assert next(fetching) == 0
    fetching.fetch()
    fetching.fetch()
    assert asked == [0, 1]
    assert list(fetching) == [1, 2]
    fetching.fetch()
    assert list(fetching) == []
