"""Processes that train together, on this machine, without Ray."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.multiprocessing as mp

TIMEOUT_S = 60


def run_ranks(number: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return what `work(gang, *arguments)` returns on each of a number of ranks, over gloo: tensors and plain values.

    Raises RuntimeError with the first error of a rank.
    """
    return run_rank_groups({number: arguments}, work)[number]


def run_rank_groups(arguments: Mapping[int, tuple[Any, ...]], work: Callable[..., Any]) -> dict[int, list[Any]]:
    """Return the same of gangs of several sizes, which the same processes form, one after the other.

    Raises RuntimeError with the first error of a rank.
    """
    sizes = sorted(arguments, reverse=True)  # so that none waits for a gang that is not its own
    gangs = [(size, port, arguments[size]) for size, port in zip(sizes, _free_ports(len(sizes)), strict=True)]
    context = mp.get_context("spawn")
    answers = context.SimpleQueue()
    processes = [context.Process(target=_rank, args=(rank, gangs, answers, work)) for rank in range(sizes[0])]
    for process in processes:
        process.start()
    values: dict[int, list[Any]] = {size: [None] * size for size in sizes}
    for _ in range(sum(sizes)):
        size, rank, data, error = answers.get()
        if error:
            raise RuntimeError(f"rank {rank} of {size}: {error}")
        values[size][rank] = torch.load(io.BytesIO(data), weights_only=True)
    for process in processes:
        process.join()
    return values


def _rank(rank: int, gangs: Sequence[tuple[int, int, tuple[Any, ...]]], answers: Any, work: Callable[..., Any]) -> None:
    from jobs.cluster.ddp import joined

    torch.set_num_threads(1)
    for size, port, arguments in gangs:
        if rank >= size:
            return
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        data = io.BytesIO()
        try:
            with joined(torch.device("cpu"), timeout_s=TIMEOUT_S) as rank_group:
                torch.save(work(rank_group, *arguments), data)
            answers.put((size, rank, data.getvalue(), ""))
        except BaseException as exc:  # noqa: BLE001  it is raised again by whoever waits
            answers.put((size, rank, b"", f"{type(exc).__name__}: {exc}"))


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
