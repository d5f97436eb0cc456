"""Serving against what a user would have instead: `python -m benchmarks.serving`.

All servers of a table run at once and are asked in turn, several rounds; a ratio is the median over the rounds.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import hosts
from benchmarks.contenders import (
    ONE_ROW,
    ONE_ROW_OF_MANY,
    WARM_UP_S,
    Contender,
    Line,
    in_turn,
    median_rate,
    p99_s,
    ratio,
    requests_per_s,
)
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

THOUSAND_ROWS = json.dumps({"instances": [[row / 7] for row in range(1000)]})


def asked(label: str, server: TorchServe, model: str, body: str, num_datasets: int = 0) -> Contender:
    """Return a model of a TorchServe, and what is asked of it."""
    url = f"{server.settings.inference_url}/predictions/{model}"
    return Contender(label, url, body, inference_key(server), num_datasets)


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
                asked("ours", shipped, "fleet", ONE_ROW),
                asked("default", default, "fleet", ONE_ROW),
                asked("constant", nothing, "constant", ONE_ROW),
                asked("example", theirs, "example", ONE_ROW),
                asked("thousand", shipped, "fleet", THOUSAND_ROWS),
            ]
        )

    seen = f"{median_rate(rates, 'ours'):.0f} requests/s"
    return [
        Line(
            "one row, shipped configuration",
            "default configuration",
            ratio(rates, "ours", "default", requests_per_s),
            1.8,
            note=seen,
        ),
        Line(
            "the same, p99",
            "default configuration",
            ratio(rates, "ours", "default", p99_s),
            at_most=1.0,
        ),
        Line("the same", "a handler that returns a constant", ratio(rates, "ours", "constant", requests_per_s), 0.9),
        Line("the same", "a handler of TorchServe's examples", ratio(rates, "ours", "example", requests_per_s), 1.2),
        Line("1,000 rows, rows/s", "one row", 1000 * ratio(rates, "thousand", "ours", requests_per_s), 60),
    ]


def compare_fleets(folder: Path) -> list[Line]:
    """Return archives of 10,000 and of 1,000,000 datasets against an archive of one."""
    lines = []
    archives = {m: sample_archive(m, folder) for m in (1, 10_000, 1_000_000)}
    with ExitStack() as stack:
        servers = {
            m: stack.enter_context(served(Subject(str(m), archive.path, "fleet"))) for m, archive in archives.items()
        }
        contenders = [asked(str(m), server, "fleet", ONE_ROW_OF_MANY, m) for m, server in servers.items()]
        rates = in_turn(contenders)
    for m in (10_000, 1_000_000):
        value = ratio(rates, str(m), "1", requests_per_s)
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
            asked("", server, "fleet", ONE_ROW_OF_MANY, m).measure(WARM_UP_S)
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
        for compare in (compare_handlers, compare_fleets, compare_memory, *hosts.COMPARISONS):
            for line in compare(Path(folder)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
