"""Buffers for loaded rows: in the memory of the device, or in pinned memory, copied to a GPU while it works.

Shapes: c rows of a chunk · q columns of z.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Slot(Protocol):
    """A buffer for one load. It is filled, made ready, used, released; and filled again."""

    def fill(self, num_rows: int, write: Callable[[Tensor], None]) -> Tensor:
        """Let `write` write the rows; return them on the device that uses them."""

    def make_ready(self) -> None:
        """Make the current CUDA stream wait for the copy, if the slot copies."""
        return

    def release(self) -> None:
        """Record an event after the last kernel that reads the copy, if the slot copies."""
        return


class PlainSlot(Slot):
    """Rows are written into the memory that the step reads."""

    def __init__(self, num_rows: int, num_q: int, dtype: torch.dtype, device: torch.device) -> None:
        self._buffer_cq = torch.empty(num_rows, num_q, dtype=dtype, device=device)

    def fill(self, num_rows: int, write: Callable[[Tensor], None]) -> Tensor:
        z_cq = self._buffer_cq[:num_rows]
        write(z_cq)
        return z_cq


class PinnedSlot:
    """Rows are written to pinned memory, and copied to the GPU in a stream of their own."""

    def __init__(self, num_rows: int, num_q: int, dtype: torch.dtype, device: torch.device) -> None:
        self._host_cq = torch.empty(num_rows, num_q, dtype=dtype, pin_memory=True)
        self._device_cq = torch.empty(num_rows, num_q, dtype=dtype, device=device)
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._copied, self._used = _event(), _event()

    def fill(self, num_rows: int, write: Callable[[Tensor], None]) -> Tensor:
        self._copied.synchronize()  # the rows before have left the host
        write(self._host_cq[:num_rows])
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self._used)
            self._device_cq[:num_rows].copy_(self._host_cq[:num_rows], non_blocking=True)
            self._copied.record(self._stream)
        return self._device_cq[:num_rows]

    def make_ready(self) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._copied)

    def release(self) -> None:
        self._used.record(torch.cuda.current_stream(self._device))


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]
