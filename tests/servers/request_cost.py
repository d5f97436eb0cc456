"""Measure what each of the worst bodies costs the handler, in a process of its own: CPU seconds, and memory.

`python -m tests.servers.request_cost STORE` prints a line of JSON for each.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.worst_bodies import WORST_BODIES, WorstBody
from handler.hosting.endpoint import Endpoint
from handler.models.fleet import Fleet
from handler.requests.payload import Field, Request
from model_store import open_ledger
from model_store.archives.version_fleet import fleet_of_version

LIBC = ctypes.CDLL(None)
STATUS, RESET, PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs"), "5"


@dataclass(frozen=True)
class Cost:
    """What one request cost: its status, CPU seconds, and MB beside what the process and its body took."""

    name: str
    status: int
    message: str
    cpu_s: float
    extra_mb: float


def memory_mb(key: str) -> float:
    """Return `VmRSS` or `VmHWM` (the most since the last reset) of this process."""
    return int(STATUS.read_text().partition(f"{key}:")[2].split()[0]) / 1000


def request_of(worst: WorstBody) -> Request:
    """Return the request as a host hands it to the handler."""
    headers = {name.lower(): value for name, value in worst.headers.items()}
    if worst.content_type.startswith("multipart"):
        form = {f"f{number}": Field(b"1", "") for number in range(90_000)}
        return Request(b"", worst.content_type, headers=headers, form=form)
    return Request(worst.body(), worst.content_type, headers=headers)


def cost(fleet: Fleet, worst: WorstBody) -> Cost:
    """Return the cost of one request."""
    request = request_of(worst)
    gc.collect()
    LIBC.malloc_trim(0)  # what making the body took is not what reading it takes
    RESET.write_text(PEAK_RESET)
    before_mb = memory_mb("VmRSS")
    started = time.process_time()
    [answered] = Endpoint(fleet).respond([request])
    cpu_s = time.process_time() - started
    message = str(json.loads(answered.body).get("message", "")) if answered.status != 200 else ""
    return Cost(worst.name, answered.status, message, cpu_s, memory_mb("VmHWM") - before_mb)


def main(store: str) -> None:
    """Print the cost of each body."""
    fleet = fleet_of_version(open_ledger(store).version("stores"))
    Endpoint(fleet).respond([Request(b'{"dataset": "north", "instances": [[3, 1]], "interval": 0.9}')])
    for worst in WORST_BODIES:
        print(json.dumps(asdict(cost(fleet, worst))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
