"""Times and memory, taken side by side in one run, and the table that says how they compare with what was aimed at."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


@dataclass(frozen=True)
class Ratio:
    """How much longer a peer takes than we do (`at_least` is aimed at), or we than it (`at_most`)."""

    work: str
    peer: str
    ours_s: float
    peer_s: float
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return self.ours_s / self.peer_s if self.at_most is not None else self.peer_s / self.ours_s

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return "" if self.at_least is None else f"≥ {self.at_least:g}"

    @property
    def verdict(self) -> str:
        if self.at_most is not None:
            return "holds" if self.value <= self.at_most else "MISSED"
        return "" if self.at_least is None else ("holds" if self.value >= self.at_least else "MISSED")


def seconds(function: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    gc.collect()
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def medians(*functions: Callable[[], object], repeats: int = 5) -> list[float]:
    """Return the median seconds of each function; they take turns, so that all see the same machine."""
    for function in functions:
        function()
    rounds = [[seconds(function) for function in functions] for _ in range(repeats)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def process_seconds(command: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """Return the seconds of a whole process, which has to succeed."""
    started = time.perf_counter()
    run(command, environment)
    return time.perf_counter() - started


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """Return the standard output of a process, which has to succeed."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def child(module: str, *arguments: object) -> dict[str, Any]:
    """Return what `python -m module arguments` prints as JSON on its last line."""
    output = run([sys.executable, "-m", module, *map(str, arguments)])
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answer


def memory_bytes(field: str) -> int:
    """Return a field of this process's memory: `VmRSS` now, `VmHWM` at its highest since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}: peak memory can be measured on Linux only")


def forget_peak() -> None:
    """Let `VmHWM` start from what is in use now."""
    Path("/proc/self/clear_refs").write_text("5")


def machine() -> str:
    """Return the machine, in words."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{os.cpu_count()} cores of {model}; Python {platform.python_version()}, torch {torch.__version__}"


def print_ratios(ratios: Sequence[Ratio]) -> None:
    """Print the comparisons as a table."""
    print("| work | peer | ours | peer's | ratio | aimed at | |\n|---|---|---|---|---|---|---|")
    for r in ratios:
        times = f"{duration(r.ours_s)} | {duration(r.peer_s)}"
        print(
            f"| {r.work} | {r.peer} | {times} | {r.value:.3g} | {r.target} | {' '.join((r.verdict, r.note)).strip()} |"
        )
    print(flush=True)


def duration(value_s: float) -> str:
    """Return seconds as a person reads them."""
    return f"{value_s:.3g} s" if value_s >= 1 else f"{value_s * 1e3:.3g} ms"
