"""SIGKILL of a worker or of a node at random moments of a job: it ends as the undisturbed one, and leaves nothing.

The full count is that of docs/reliability.md; GRIDLINE_SOAK_SCALE=0.1 runs a tenth. `make test` runs two.
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
from tests.servers.killed_driver import KilledDriver, champions, stored_keys
from tests.servers.processes import workers_of
from tests.servers.ray_nodes import RayNodes

SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1"))
FEW, MANY = 2, max(2, round(20 * SCALE))


@pytest.mark.ray
@pytest.mark.parametrize(
    "num_seeds",
    [
        pytest.param(FEW, id="few", marks=pytest.mark.timeout(300)),
        pytest.param(MANY, id="many", marks=[pytest.mark.soak, pytest.mark.timeout(5400)]),
    ],
)
def test_killed_workers_and_nodes_change_nothing(ray_nodes: RayNodes, tmp_path: Path, num_seeds: int) -> None:
    driver = KilledDriver(tmp_path, ray_nodes.address, random.Random(0), epochs=400)
    ray_nodes.add(num_cpus=1)
    driver.undisturbed(tmp_path / "undisturbed")
    undisturbed = champions(tmp_path / "undisturbed")

    for seed in range(num_seeds):
        generator, store = random.Random(seed), tmp_path / f"store {seed}"
        process = driver.start(store)
        kill = kill_node if seed % 2 else kill_worker
        kill(ray_nodes, process, generator)
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        assert champions(store) == undisturbed
        assert_nothing_is_left(store)


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
