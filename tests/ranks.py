"""Processes that train together, on this machine, without Ray."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing as mp

TIMEOUT_S = 60


def run_ranks(number: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return what `work(gang, *arguments)` returns on each of a number of ranks, over gloo: tensors and plain values.

    Raises RuntimeError with the first error of a rank.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    answers = context.SimpleQueue()
    processes = [
        context.Process(target=_rank, args=(rank, number, port, answers, work, arguments)) for rank in range(number)
    ]
    for process in processes:
        process.start()
    values: dict[int, Any] = {}
    for _ in processes:
        rank, data, error = answers.get()
        if error:
            raise RuntimeError(f"rank {rank}: {error}")
        values[rank] = torch.load(io.BytesIO(data), weights_only=True)
    for process in processes:
        process.join()
    return [values[rank] for rank in range(number)]


def _rank(
    rank: int, number: int, port: int, answers: Any, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    from jobs.ddp import joined

    os.environ.update(RANK=str(rank), WORLD_SIZE=str(number), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    data = io.BytesIO()
    try:
        with joined(torch.device("cpu"), timeout_s=TIMEOUT_S) as gang:
            torch.save(work(gang, *arguments), data)
        answers.put((rank, data.getvalue(), ""))
    except BaseException as exc:  # noqa: BLE001  it is raised again by whoever waits
        answers.put((rank, b"", f"{type(exc).__name__}: {exc}"))
