"""Serving against what a user would have instead: `python -m benchmarks.serving`.

All servers of a table run at once and are asked in turn, several rounds; a ratio is the median over the rounds.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_load import Rate, measure
from benchmarks.sample_fleets import sample_archive
from benchmarks.torchserve_peers import (
    Subject,
    inference_key,
    linear_checkpoint,
    memory_kib,
    peer_archive,
    register,
    served,
)
from model_store.torchserve.management import Management
from model_store.torchserve.process import TorchServe

ROUNDS = 6
WARM_UP_S, ROUND_S = 4.0, 4.0
ONE_ROW = '{"instances": [[3.0]]}'
ONE_ROW_OF_MANY = '{"dataset": "DATASET", "instances": [[3.0]]}'
THOUSAND_ROWS = json.dumps({"instances": [[row / 7] for row in range(1000)]})


@dataclass(frozen=True)
class Contender:
    """A server, what is asked of it, and of how many datasets."""

    label: str
    server: TorchServe
    model: str
    body: str
    num_datasets: int = 0

    def measure(self, duration_s: float) -> Rate:
        """Ask it for a while, with 8 connections."""
        url = f"{self.server.settings.inference_url}/predictions/{self.model}"
        key = inference_key(self.server)
        return measure(url, key, self.body, num_datasets=self.num_datasets, duration_s=duration_s)


@dataclass(frozen=True)
class Line:
    """A line of the report: what was compared with what, the ratio, and what it has to be."""

    work: str
    reference: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    def __str__(self) -> str:
        met = (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )
        limit = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"
        return (
            f"| {self.work} | {self.reference} | {self.value:.3g} | {limit} | {'yes' if met else 'NO'} | {self.note} |"
        )


def in_turn(contenders: list[Contender], rounds: int = ROUNDS) -> Mapping[str, list[Rate]]:
    """Return the rates of each contender, round by round, after a round that warms all up."""
    rates: dict[str, list[Rate]] = {contender.label: [] for contender in contenders}
    for contender in contenders:
        contender.measure(WARM_UP_S)
    for number in range(rounds):
        for contender in contenders if number % 2 else reversed(contenders):
            rates[contender.label].append(contender.measure(ROUND_S))
    return rates


def ratio(rates: Mapping[str, list[Rate]], ours: str, theirs: str, of: Callable[[Rate], float]) -> float:
    """Return the median over the rounds of ours divided by theirs."""
    return statistics.median(of(a) / of(b) for a, b in zip(rates[ours], rates[theirs], strict=True))


def median_rate(rates: Mapping[str, list[Rate]], label: str) -> float:
    return statistics.median(rate.requests_per_s for rate in rates[label])


def compare_handlers(folder: Path) -> list[Line]:
    """Return ours against the default configuration, a constant, a handler of the examples, and a thousand rows."""
    ours = Subject("ours", sample_archive(1, folder).path, "fleet")
    constant = Subject("constant", peer_archive(folder, "constant", "constant_handler.py", {}), "constant")
    files = {"model.pt": linear_checkpoint()}
    example = Subject("example", peer_archive(folder, "example", "example_handler.py", files), "example")
    with ExitStack() as stack:
        shipped, default, nothing, theirs = (
            stack.enter_context(served(subject, shipped=is_shipped))
            for subject, is_shipped in ((ours, True), (ours, False), (constant, True), (example, True))
        )
        rates = in_turn(
            [
                Contender("ours", shipped, "fleet", ONE_ROW),
                Contender("default", default, "fleet", ONE_ROW),
                Contender("constant", nothing, "constant", ONE_ROW),
                Contender("example", theirs, "example", ONE_ROW),
                Contender("thousand", shipped, "fleet", THOUSAND_ROWS),
            ]
        )

    def rate(one: Rate) -> float:
        return one.requests_per_s

    seen = f"{median_rate(rates, 'ours'):.0f} requests/s"
    return [
        Line(
            "one row, shipped configuration",
            "default configuration",
            ratio(rates, "ours", "default", rate),
            1.8,
            note=seen,
        ),
        Line(
            "the same, p99",
            "default configuration",
            ratio(rates, "ours", "default", lambda one: one.p99_s),
            at_most=1.0,
        ),
        Line("the same", "a handler that returns a constant", ratio(rates, "ours", "constant", rate), 0.9),
        Line("the same", "a handler of TorchServe's examples", ratio(rates, "ours", "example", rate), 1.2),
        Line("1,000 rows, rows/s", "one row", 1000 * ratio(rates, "thousand", "ours", rate), 60),
    ]


def compare_fleets(folder: Path) -> list[Line]:
    """Return archives of 10,000 and of 1,000,000 datasets against an archive of one."""
    lines = []
    archives = {m: sample_archive(m, folder) for m in (1, 10_000, 1_000_000)}
    with ExitStack() as stack:
        servers = {
            m: stack.enter_context(served(Subject(str(m), archive.path, "fleet"))) for m, archive in archives.items()
        }
        contenders = [Contender(str(m), server, "fleet", ONE_ROW_OF_MANY, m) for m, server in servers.items()]
        rates = in_turn(contenders)
    for m in (10_000, 1_000_000):
        value = ratio(rates, str(m), "1", lambda one: one.requests_per_s)
        lines.append(Line(f"an archive of {m:,}", "an archive of one", value, 0.95))
    for m, limit_s in ((10_000, 3.0), (1_000_000, 15.0)):
        seconds = load_seconds(archives[m].path)
        lines.append(Line(f"an archive of {m:,} loads, s", "", seconds, at_most=limit_s))
    return lines


def load_seconds(archive: Path) -> float:
    """Return how long TorchServe takes from the registration of an archive to a worker that is ready."""
    with tempfile.TemporaryDirectory() as folder:
        nothing = peer_archive(Path(folder), "constant", "constant_handler.py", {})
        with served(Subject("constant", nothing, "constant")) as server:
            started = time.perf_counter()
            register(server, archive)
            return time.perf_counter() - started


def compare_memory(folder: Path) -> list[Line]:
    """Return the memory that a second worker has of its own on a million datasets, beyond one on an archive of one.

    A worker's own memory is what it wrote (Private_Dirty): pages of the archive that it only read are the page cache's,
    and are there once, however many workers map them.
    """
    own_kib = {}
    archives = {m: sample_archive(m, folder) for m in (1, 1_000_000)}
    for m, archive in archives.items():
        with served(Subject(str(m), archive.path, "fleet"), workers=2) as server:
            Contender("", server, "fleet", ONE_ROW_OF_MANY, m).measure(WARM_UP_S)
            with Management(server.settings.management_url, server.settings.key_file) as management:
                pids = [worker.pid for worker in management.describe("fleet", "1").workers]
            own_kib[m] = max(memory_kib(pid)["Private_Dirty"] for pid in pids)
    weights_kib = 1_000_000 * 2 * 8 / 1024
    share = (own_kib[1_000_000] - own_kib[1]) / weights_kib
    note = (
        f"archive {archives[1_000_000].path.stat().st_size / 1e6:.0f} MB; own {own_kib[1_000_000]} and {own_kib[1]} KiB"
    )
    return [Line("own memory of a second worker, a million", "weight and bias alone", share, at_most=0.15, note=note)]


def main() -> None:
    """Print the report as a table in Markdown."""
    with tempfile.TemporaryDirectory(prefix="gridline-bench-") as folder:
        print("| work | reference | value | has to be | met | note |\n|---|---|---|---|---|---|")
        for compare in (compare_handlers, compare_fleets, compare_memory):
            for line in compare(Path(folder)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
