"""Ten thousand datasets and a million: beside scikit-learn, Ray Tune and Ray Data; and how time grows.

GRIDLINE_BENCH_SCALE (1 by default) multiplies the numbers of groups: 0.01 for a quick look.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.footprint import Footprint, measure
from benchmarks.measuring import MIB, Ratio, child, duration, machine, print_ratios, process_seconds
from benchmarks.tables import NUM_FEATURES, RATES, job, write_groups

SCALE = float(os.environ.get("GRIDLINE_BENCH_SCALE", "1"))
GROUPS, ROWS, EPOCHS = max(20, int(10_000 * SCALE)), 100, 1000
MILLION, FEW_ROWS = 100 * GROUPS, 20
SAMPLE_GROUPS, SAMPLE_TRIALS = 12, 30
PHASE_LIMIT_S, PROCESS_LIMIT_S, MILLION_LIMIT_S, MEMORY_LIMIT_MIB = 4.0, 20.0, 180.0, 6144
SHOW_LIMIT_S = 2.0
A_FIFTH = {"fraction": 0.2}  # of the rows validates


def main() -> None:
    """Print the tables."""
    print(f"{machine()}; {len(RATES)} rates, {EPOCHS:,} epochs, {NUM_FEATURES} features, float64, parquet\n")
    with tempfile.TemporaryDirectory(prefix="gridline-bench-") as name:
        folder = Path(name)
        whole = print_ten_thousand(folder)
        print_million(folder, whole)
        print_growth(folder)


def table(folder: Path, num_groups: int, rows_each: int, *, validation: object = "none") -> Path:
    """Return the job over a table of groups; the table is written once."""
    path = folder / f"{num_groups}x{rows_each}.parquet"
    if not path.exists():
        write_groups(path, num_groups, rows_each)
    return job(path, NUM_FEATURES, grouped=True, validation=validation)


def trained(path: Path, store: str) -> Footprint:
    """Return what a whole `gridline train` takes, with Ray and the commit."""
    where = str(path.parent / store)
    return measure([sys.executable, "-m", "jobs", "train", str(path), "--address", "local", "--store", where, "--json"])


def print_ten_thousand(folder: Path) -> float:
    """Print the ratios of the smaller fleet; return the median seconds of its whole process."""
    path, source = table(folder, GROUPS, ROWS, validation=A_FIFTH), str(folder / f"{GROUPS}x{ROWS}.parquet")
    warm = table(folder, 20, ROWS)
    phase_s = statistics.median(child("benchmarks.phase", path, warm)["seconds"] for _ in range(3))
    whole_s = statistics.median(trained(path, f"store-{attempt}").seconds for attempt in range(3))
    sample = child("benchmarks.peers.sklearn_fleet", source, min(SAMPLE_GROUPS, GROUPS), EPOCHS)
    trial = child("benchmarks.peers.ray_tune_trials", SAMPLE_TRIALS)
    data_s = process_seconds([sys.executable, "-m", "benchmarks.peers.ray_data_groups", source])
    num_models = GROUPS * len(RATES)
    weights_s, curves_s = (sample[name] / sample["models"] * num_models for name in ("weights_s", "curves_s"))
    tune_s = trial["seconds"] / trial["trials"] * num_models
    work = f"{GROUPS:,} groups × {ROWS} rows, {num_models:,} models"
    scaled = "joblib (a sample, scaled)"
    note = within(phase_s, PHASE_LIMIT_S)
    print_ratios(
        [
            Ratio(f"{work}, training phase", f"SGDRegressor with curves, {scaled}", phase_s, curves_s, 500, note=note),
            Ratio("the same", f"SGDRegressor, weights alone, {scaled}", phase_s, weights_s),
            Ratio(
                "the same, whole process",
                "a no-op trial of Ray Tune × models",
                whole_s,
                tune_s,
                8000,
                note=within(whole_s, PROCESS_LIMIT_S),
            ),
            Ratio("the same", "Ray Data groupby().map_groups(), one least squares each", whole_s, data_s, 3),
        ]
    )
    return whole_s


def print_million(folder: Path, ten_thousand_s: float) -> None:
    """Print the ratio of the larger fleet to the smaller, its memory, and what it takes to look one model up."""
    path = table(folder, MILLION, FEW_ROWS)
    found = trained(path, "store-million")
    work = f"{MILLION:,} groups × {FEW_ROWS} rows, whole process"
    note = within(found.seconds, MILLION_LIMIT_S)
    print_ratios([Ratio(work, f"{GROUPS:,} groups × 100", found.seconds, 100 * ten_thousand_s, at_most=1.0, note=note)])
    peak_mib = found.peak_bytes / MIB
    verdict = "holds" if peak_mib <= MEMORY_LIMIT_MIB else "MISSED"
    print(f"memory of all processes together, at most: {peak_mib:,.0f} MiB (≤ {MEMORY_LIMIT_MIB:,}: {verdict})")
    gridline, store = [sys.executable, "-m", "jobs", "models"], ["--store", str(folder / "store-million"), "--json"]
    dataset = str(MILLION // 2)
    show_s = statistics.median(process_seconds([*gridline, "show", "bench", dataset, *store]) for _ in range(3))
    print(f"models show of one: {duration(show_s)}; {within(show_s, SHOW_LIMIT_S)}")
    listed = measure([*gridline, "list", "bench", *store])
    print(f"models list of all: {duration(listed.seconds)}, {listed.peak_bytes / MIB:,.0f} MiB\n", flush=True)


def within(seconds: float, limit_s: float) -> str:
    """Return whether a time keeps to its limit, in words."""
    return f"{'within' if seconds <= limit_s else 'MORE than'} {limit_s:g} s"


def print_growth(folder: Path) -> None:
    """Print how the whole process grows with rows and with groups; its fixed cost makes a slope smaller, not larger."""
    print("| with validation, of | size | time | memory | slope |\n|---|---|---|---|---|")
    by_rows = [(GROUPS, ROWS * times) for times in (1, 2, 4)]
    by_groups = [(GROUPS * times, FEW_ROWS) for times in (1, 10, 100)]
    for of, shapes in (("rows", by_rows), ("groups", by_groups)):
        before: Footprint | None = None
        for at, (num_groups, rows_each) in enumerate(shapes):
            found = trained(table(folder, num_groups, rows_each, validation=A_FIFTH), f"store-{of}-{at}")
            ratio = num_groups * rows_each / math.prod(shapes[at - 1]) if before else 1.0
            slope = f"{math.log(found.seconds / before.seconds) / math.log(ratio):.2f}" if before else ""
            verdict = "" if not before else ("holds" if float(slope) <= 1.05 else "MISSED")
            size = f"{num_groups:,} × {rows_each}"
            memory = f"{found.peak_bytes / MIB:,.0f} MiB"
            print(f"| {of} | {size} | {duration(found.seconds)} | {memory} | {slope} {verdict} |", flush=True)
            before = found
    print()


if __name__ == "__main__":
    main()
