"""One dataset that does not fit in memory: both engines beside pyarrow reading the same file into numpy.

GRIDLINE_BENCH_SCALE (1 by default) multiplies the number of rows: 0.01 for a quick look.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.footprint import Footprint, measure
from benchmarks.measuring import MIB, Ratio, child, machine, print_ratios
from benchmarks.tables import RATES, job, write_rows

SCALE = float(os.environ.get("GRIDLINE_BENCH_SCALE", "1"))
NUM_ROWS, NUM_FEATURES = max(700_000, int(40_000_000 * SCALE)), 16
FEW_ROWS = 700_000  # the fewest that are scanned: more than a quarter of 128 MiB
BATCH_ROWS = 4096
MEMORY_LIMIT_MIB = 1536


def main() -> None:
    """Print the tables."""
    print(f"{machine()}; {NUM_ROWS:,} × {NUM_FEATURES} float32 in parquet, {len(RATES)} rates; medians of 3\n")
    with tempfile.TemporaryDirectory(prefix="gridline-bench-") as name:
        folder = Path(name)
        source = write_rows(folder / "rows.parquet", NUM_ROWS, NUM_FEATURES)
        small = write_rows(folder / "few.parquet", FEW_ROWS, NUM_FEATURES)
        peer_s = statistics.median(child("benchmarks.peers.pyarrow_read", source)["seconds"] for _ in range(3))
        path, warm = (job(file, NUM_FEATURES, grouped=False, memory_mb=128) for file in (source, small))
        batches = {"epochs": 1, "batch_size": BATCH_ROWS, "memory_mb": 128}
        path_b, warm_b = (job(file, NUM_FEATURES, grouped=False, **batches) for file in (source, small))
        full_s, minibatch_s = phase_s(path, warm), phase_s(path_b, warm_b)
        whole, idle, one_epoch = trained(path, "full"), trained(warm, "few"), trained(path_b, "minibatch")
        peer = "pyarrow to numpy"
        print_ratios(
            [
                Ratio("full batch, whole grid, 1,000 epochs", peer, full_s, peer_s, at_most=2),
                Ratio("the same, whole process with Ray and commit", peer, whole.seconds, peer_s),
                Ratio(f"minibatches of {BATCH_ROWS:,}, one epoch", peer, minibatch_s, peer_s, at_most=4),
                Ratio("the same, whole process with Ray and commit", peer, one_epoch.seconds, peer_s),
            ]
        )
    for label, found in (("full batch", whole), ("minibatch", one_epoch)):
        beyond_mib = (found.peak_bytes - idle.peak_bytes) / MIB
        verdict = "holds" if beyond_mib <= MEMORY_LIMIT_MIB else "MISSED"
        print(
            f"{label}: {found.peak_bytes / MIB:,.0f} MiB over all processes, {beyond_mib:,.0f} MiB beyond the same job "
            f"over {FEW_ROWS:,} rows (≤ {MEMORY_LIMIT_MIB:,}: {verdict})"
        )
    print(flush=True)


def phase_s(path: Path, warm_up: Path) -> float:
    """Return the median seconds of a job on a Ray that is up."""
    return statistics.median(child("benchmarks.phase", path, warm_up)["seconds"] for _ in range(3))


def trained(path: Path, store: str) -> Footprint:
    """Return what a whole `gridline train` takes."""
    where = str(path.parent / store)
    return measure([sys.executable, "-m", "jobs", "train", str(path), "--address", "local", "--store", where, "--json"])


if __name__ == "__main__":
    main()
