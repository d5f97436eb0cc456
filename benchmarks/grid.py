"""A whole grid for the price of one pass: both engines beside plain loops, scikit-learn, Ray Tune and one X.T @ X."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

from benchmarks.measuring import MIB, Ratio, child, duration, machine, medians, print_ratios, process_seconds, seconds
from benchmarks.peers import plain_loops, sklearn_sgd
from benchmarks.synthetic import ARTICLE, ARTICLE_RATES, article, rates_grid, regression, spaced_rates
from jobs.engines.closed_form import engine as closed_form
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch import engine as minibatch
from jobs.engines.minibatch.batches import Samples
from jobs.engines.minibatch.evaluation import MomentsEvaluator, Scores
from jobs.engines.minibatch.fitting import fit
from jobs.engines.minibatch.rows import Rows
from jobs.engines.moments import moments_of
from jobs.engines.settings import TrainingSettings
from jobs.engines.threads import num_threads

EPOCHS = 6000
NUM_ROWS, NUM_COLUMNS, NUM_RATES, BATCH_SIZE = 1_000_000, 32, 16, 1024
MEMORY_LIMIT_MIB = 200
SIZES = {"rows": (250_000, 500_000, 1_000_000), "features": (8, 32, 128), "rates": (4, 16, 64)}


def main() -> None:
    """Print the tables."""
    print(f"{machine()}; medians of 5 (of 3 where a peer takes 10 s or more), taken in turns\n")
    ratios = [article_engine(), *minibatches(), *full_batch(), article_process()]
    print_ratios(ratios)
    print_growth()


def article_engine() -> Ratio:
    """The article's grid: from the rows to every trial, against a loop for each learning rate."""
    data, grid = article(), rates_grid(torch.tensor(ARTICLE_RATES))
    settings = TrainingSettings(epochs=EPOCHS)

    def ours() -> None:
        closed_form.train(moments_of(data.x_nd, data.y_n), [], grid, settings)

    def peer() -> None:
        plain_loops.train_full_batch(data.x_nd, data.y_n, ARTICLE_RATES, EPOCHS)

    (ours_s,) = medians(ours, repeats=25)
    with faster_threads(lambda: plain_loops.train_full_batch(data.x_nd, data.y_n, ARTICLE_RATES[:1], EPOCHS)):
        peer_s = median(seconds(peer) for _ in range(3))
    return Ratio(f"{len(ARTICLE_RATES)} rates × {EPOCHS} epochs", "plain loops", ours_s, peer_s, at_least=1000)


def article_process() -> Ratio:
    """The same as a user starts it, with Ray and the store, against the same grid in Ray Tune."""
    tune = [sys.executable, "-m", "benchmarks.peers.ray_tune_grid", str(EPOCHS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(_article_job()))
        times = [(process_seconds(_train(path, attempt)), process_seconds(tune)) for attempt in range(3)]
    ours_s, peer_s = (median(column) for column in zip(*times, strict=True))
    return Ratio("the same, whole process with Ray", "Ray Tune", ours_s, peer_s, at_least=4)


def _train(path: Path, attempt: int) -> list[str]:
    store = str(path.parent / f"store-{attempt}")
    return [sys.executable, "-m", "jobs", "train", str(path), "--address", "local", "--store", store, "--json"]


def _article_job() -> dict[str, object]:
    dataset = {"name": "plant_richness", "source": str(ARTICLE), "target": "ntv_rich", "features": ["area"]}
    return {
        "name": "plants",
        "datasets": [dataset],
        "grid": {"learning_rate": list(ARTICLE_RATES)},
        "training": {"epochs": EPOCHS},
    }


def minibatches() -> list[Ratio]:
    """One epoch of minibatches for 16 learning rates, by sgd and adam, against 16 epochs of one each."""
    data = regression(NUM_ROWS, NUM_COLUMNS)
    rates = spaced_rates(NUM_RATES)
    scores = Scores(MomentsEvaluator(moments_of(data.x_nd, data.y_n)))
    samples, grid = Samples(data.x_nd, data.y_n), rates_grid(rates)

    def ours(optimizer: str) -> Callable[[], object]:
        settings = TrainingSettings(epochs=1, batch_size=BATCH_SIZE, optimizer=optimizer)  # type: ignore[arg-type]
        return lambda: fit(minibatch.prepare(samples, grid, settings), scores, settings)

    def loops(kind: type[torch.optim.Optimizer], count: int = NUM_RATES) -> Callable[[], object]:
        return lambda: plain_loops.train_minibatches(data.x_nd, data.y_n, rates.tolist()[:count], BATCH_SIZE, kind)

    def whole() -> None:
        settings = TrainingSettings(epochs=1, batch_size=BATCH_SIZE)
        block_training.train(Rows(data.x_nd, data.y_n), grid, settings)

    sgd_s, adam_s, whole_s = medians(ours("sgd"), ours("adam"), whole)
    with faster_threads(loops(torch.optim.SGD, 1)):
        loops_sgd_s, loops_adam_s = medians(loops(torch.optim.SGD), loops(torch.optim.Adam), repeats=3)
    x_nd, y_n = data.x_nd.numpy(), data.y_n.numpy()
    sklearn_s = median(seconds(lambda: sklearn_sgd.train(x_nd, y_n, rates.tolist())) for _ in range(3))
    work = f"{NUM_ROWS:,} × {NUM_COLUMNS}, {NUM_RATES} rates, batch {BATCH_SIZE:,}, one epoch"
    return [
        Ratio(f"{work}, sgd", f"{NUM_RATES} plain loops", sgd_s, loops_sgd_s, at_least=25),
        Ratio("the same", f"{NUM_RATES} SGDRegressor", sgd_s, sklearn_s, at_least=80),
        Ratio("the same with adam", f"{NUM_RATES} plain loops", adam_s, loops_adam_s, at_least=15),
        Ratio("sgd, with the sums for certificate and scores", f"{NUM_RATES} plain loops", whole_s, loops_sgd_s),
    ]


@contextmanager
def faster_threads(work: Callable[[], object]) -> Iterator[None]:
    """Run the block with one thread, or with all: whichever is faster at the work."""
    all_s = seconds(work)
    with num_threads(1):
        one_s = seconds(work)
    with num_threads(1 if one_s < all_s else torch.get_num_threads()):
        yield


def full_batch() -> list[Ratio]:
    """Every learning rate of full-batch descent, from the rows, against one product of the rows with themselves."""
    data, grid = regression(NUM_ROWS, NUM_COLUMNS), rates_grid(spaced_rates(NUM_RATES))
    settings = TrainingSettings(epochs=1000)
    work = f"full batch on {NUM_ROWS:,} × {NUM_COLUMNS}, {NUM_RATES} rates, 1,000 epochs"
    ratios = []
    for dtype in (torch.float32, torch.float64):
        x_nd, y_n = data.x_nd.to(dtype), data.y_n.to(dtype)
        times = medians(
            lambda x=x_nd, y=y_n: closed_form.train(moments_of(x, y), [], grid, settings),  # type: ignore[misc]
            lambda x=x_nd: x.T @ x,  # type: ignore[misc]
        )
        ratios.append(Ratio(work, f"one X.T @ X, {str(dtype).removeprefix('torch.')}", *times, at_most=3))
        work = "the same"
    return ratios


def print_growth() -> None:
    """Print time and memory at three sizes each of rows, features and rates, each in a process of its own."""
    print(f"Growth, from {NUM_ROWS:,} rows, {NUM_COLUMNS} features and {NUM_RATES} rates; with the sums for scores\n")
    print("| engine | of | size | time | data | beyond the data, at most | |\n|---|---|---|---|---|---|---|")
    for engine in ("closed_form", "minibatch"):
        for of, sizes in SIZES.items():
            for size in sizes:
                shape = {"rows": NUM_ROWS, "features": NUM_COLUMNS, "rates": NUM_RATES} | {of: size}
                found = child("benchmarks.growth", engine, *shape.values())
                data_mib, work_mib = found["data_bytes"] / MIB, found["work_bytes"] / MIB
                verdict = "holds" if work_mib <= MEMORY_LIMIT_MIB else "MISSED"
                memory = f"{data_mib:.0f} MiB | {work_mib:.0f} MiB | {verdict}"
                print(f"| {engine} | {of} | {size:,} | {duration(found['seconds'])} | {memory} |", flush=True)
