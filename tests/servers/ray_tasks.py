"""What tests run on Ray: functions of a module that workers can import. They die, wait and save as they are told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def double(number: int) -> int:
    return 2 * number


def refuse(number: int, saves: Any = None) -> int:
    raise ValueError(f"{number} is refused")


def die_until(folder: str, num_deaths: int) -> str:
    """Kill this worker, as the kernel would, as often as that."""
    deaths = len(list(Path(folder).iterdir()))
    if deaths < num_deaths:
        Path(folder, str(deaths)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return f"after {deaths}"


def run_out_of_memory(folder: str) -> str:
    if not list(Path(folder).iterdir()):
        Path(folder, "tried").touch()
        raise MemoryError("no room for 1 GB")
    return "done"


def count_up(folder: str, last: int, saves: Any) -> list[int]:
    """Count, saving each number; die once in the middle."""
    begun_at = int(saves.get("number") or b"0")
    for number in range(begun_at + 1, last + 1):
        saves.put("number", str(number).encode())
        if number == last // 2 and not list(Path(folder).iterdir()):
            time.sleep(1)  # an item that was just sent is lost with its worker
            Path(folder, "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return [begun_at, last]


def hold_on(folder: str) -> str:
    """Say on which node this task runs, and take long; the second time not."""
    import ray

    if list(Path(folder).iterdir()):
        return "the second time"
    Path(folder, ray.get_runtime_context().get_node_id()).touch()
    time.sleep(300)
    return "the first time"
