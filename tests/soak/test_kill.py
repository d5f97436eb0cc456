"""SIGKILL of the driver, a worker or a node at random moments of a job: nothing lost, nothing twice, nothing left.

The full counts are those of docs/reliability.md; GRIDLINE_SOAK_SCALE=0.1 runs a tenth. `make test` runs a few.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from model_store import open_ledger
from tests.servers.killed_driver import NUM_DATASETS, NUM_RATES, KilledDriver, champions, stored_keys
from tests.servers.processes import workers_of
from tests.servers.ray_nodes import RayNodes

pytestmark = pytest.mark.ray
SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1"))


def few_and_many(few: int, many: int) -> list[Any]:
    soak = [pytest.mark.soak, pytest.mark.timeout(5400)]
    return [
        pytest.param(few, id="few", marks=pytest.mark.timeout(300)),
        pytest.param(max(few, round(many * SCALE)), id="many", marks=soak),
    ]


@pytest.fixture(scope="module")
def driver(raylets: RayNodes, tmp_path_factory: pytest.TempPathFactory) -> KilledDriver:
    """A job that was run undisturbed."""
    driver = KilledDriver(tmp_path_factory.mktemp("killed"), raylets.address, random.Random(0))
    driver.run_undisturbed()
    return driver


@pytest.mark.parametrize("num_kills", few_and_many(2, 100))
def test_killed_driver_goes_on_where_it_was(driver: KilledDriver, tmp_path: Path, num_kills: int) -> None:
    rounds, last = 0, driver.num_kills + num_kills
    while driver.num_kills < last:
        store = tmp_path / f"store {rounds}"
        driver.run_until_done(store, last - driver.num_kills)
        keys = list(stored_keys(store))
        assert champions(store) == driver.champions
        assert len(keys) == len(set(keys)) == NUM_DATASETS * NUM_RATES
        rounds += 1
    print(f"{num_kills} kills of the driver in {rounds} jobs: same champions, no trial stored twice")


@pytest.mark.parametrize("num_seeds", few_and_many(2, 20))
def test_killed_workers_and_nodes_change_nothing(
    driver: KilledDriver, ray_nodes: RayNodes, tmp_path: Path, num_seeds: int
) -> None:
    ray_nodes.add(num_cpus=1)
    for seed in range(num_seeds):
        generator, store = random.Random(seed), tmp_path / f"store {seed}"
        process = driver.start(store)
        kill = kill_node if seed % 2 else kill_worker
        kill(ray_nodes, process, generator)
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        assert champions(store) == driver.champions
        assert_nothing_is_left(store)
    print(f"{num_seeds} kills of a worker or a node: same champions, nothing left")


def busy_workers() -> list[int]:
    return workers_of("d", os.getpid())  # the names of the datasets


def kill_worker(ray_nodes: RayNodes, process: subprocess.Popen[str], generator: random.Random) -> None:
    os.kill(generator.choice(a_while_after_start(process, generator)), signal.SIGKILL)


def kill_node(ray_nodes: RayNodes, process: subprocess.Popen[str], generator: random.Random) -> None:
    a_while_after_start(process, generator)
    ray_nodes.kill(ray_nodes.nodes[0])
    ray_nodes.add(num_cpus=1)


def a_while_after_start(process: subprocess.Popen[Any], generator: random.Random) -> list[int]:
    """Return the workers that are busy at a random moment of the training."""
    deadline = time.monotonic() + 100
    wanted = 1 + generator.randrange(40)
    seen = 0
    while seen < wanted or not (workers := busy_workers()):
        assert process.poll() is None and time.monotonic() < deadline
        seen += bool(busy_workers())
        time.sleep(0.05)
    return workers


def assert_nothing_is_left(store: Path) -> None:
    deadline = time.monotonic() + 10
    while busy_workers():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (run,) = (path.name for path in (store / "runs").iterdir())
    with open_ledger(str(store)).run(run).claim():
        pass
    keys = list(stored_keys(store))
    assert len(keys) == len(set(keys))
