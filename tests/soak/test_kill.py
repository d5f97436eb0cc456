"""SIGKILL of the driver, a worker, a rank or a node at random moments of a job: nothing lost or twice, nothing left.

The full counts are those of docs/reliability.md; GRIDLINE_SOAK_SCALE=0.1 runs a tenth, and two at least.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs.cluster.ray_cluster import connect
from model_store import open_ledger
from tests.servers.killed_driver import (
    NUM_DATASETS,
    NUM_RATES,
    KilledDriver,
    champions,
    num_stored_in_parts,
    stored_keys,
)
from tests.servers.processes import jobs_below, workers_of
from tests.servers.ray_nodes import RayNodes

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(5400)]
SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1"))
NUM_KILLS, NUM_SEEDS = (max(2, round(count * SCALE)) for count in (100, 20))
LAST_MOMENT = 20  # by which workers are killed, in glances: a job is seen at work more often than that
GANG = {"num_workers": 2, "epochs": 1500, "wait_for_resources_s": 100}  # a killed node comes back


@pytest.fixture(scope="module")
def driver(raylets: RayNodes, tmp_path_factory: pytest.TempPathFactory) -> KilledDriver:
    """A job that was run undisturbed."""
    driver = KilledDriver(tmp_path_factory.mktemp("killed"), raylets.address, random.Random(0))
    driver.run_undisturbed()
    return driver


def test_killed_driver_goes_on_where_it_was(driver: KilledDriver, tmp_path: Path) -> None:
    rounds, last = 0, driver.num_kills + NUM_KILLS
    while driver.num_kills < last:
        store = tmp_path / f"store {rounds}"
        driver.run_until_done(store, last - driver.num_kills)
        keys = list(stored_keys(store))
        assert champions(store) == driver.champions
        assert len(keys) == len(set(keys)) == NUM_DATASETS * NUM_RATES
        rounds += 1
    print(f"{NUM_KILLS} kills of the driver in {rounds} jobs: same champions, no trial stored twice")


def test_killed_driver_of_groups_goes_on_with_the_parts_that_are_missing(ray_nodes: RayNodes, tmp_path: Path) -> None:
    ray_nodes.add(num_cpus=3)  # with the head's one: four parts of each source
    driver = KilledDriver(
        tmp_path, ray_nodes.address, random.Random(0), num_datasets=60, num_sources=5, training={"epochs": 15_000}
    )
    driver.run_undisturbed()
    rounds = 0
    while driver.num_kills < NUM_SEEDS:
        store = tmp_path / f"store {rounds}"
        driver.run_until_done(store, NUM_SEEDS - driver.num_kills)
        assert champions(store) == driver.champions
        assert num_stored_in_parts(store) == driver.num_datasets * NUM_RATES
        rounds += 1
    assert driver.num_goings_on >= NUM_SEEDS // 4
    went_on = f"{driver.num_goings_on} runs went on in the middle"
    print(
        f"{NUM_SEEDS} kills of the driver in {rounds} jobs of groups, {went_on}: same champions, no part trained twice"
    )


@pytest.mark.parametrize("victim", ["worker", "node"])
def test_killed_workers_and_nodes_change_nothing(
    driver: KilledDriver, ray_nodes: RayNodes, tmp_path: Path, victim: str
) -> None:
    ray_nodes.add(num_cpus=1)
    for seed in range(NUM_SEEDS):
        with started(driver, tmp_path / f"store {seed}") as process:
            kill(victim, "d", ray_nodes, process, random.Random(seed))  # tasks have the names of the datasets
            assert_ends_as_undisturbed(driver, ray_nodes, process, tmp_path / f"store {seed}")
    print(f"{NUM_SEEDS} kills of a {victim}: same champions, nothing left")


@pytest.mark.parametrize("victim", ["rank", "node"])
def test_killed_ranks_and_their_nodes_change_nothing(ray_nodes: RayNodes, tmp_path: Path, victim: str) -> None:
    ray_nodes.add(num_cpus=1)
    driver = KilledDriver(tmp_path, ray_nodes.address, random.Random(0), num_datasets=4, training=GANG)
    driver.run_undisturbed()
    assert_nothing_is_left(ray_nodes.address, tmp_path / "undisturbed")
    for seed in range(NUM_SEEDS):
        with started(driver, tmp_path / f"store {seed}") as process:
            kill(victim, "RayTrainWorker", ray_nodes, process, random.Random(seed))
            assert_ends_as_undisturbed(driver, ray_nodes, process, tmp_path / f"store {seed}")
    print(f"{NUM_SEEDS} kills of a {victim} of a gang: same champions, nothing left")


@contextmanager
def started(driver: KilledDriver, store: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the job; it does not outlive the block."""
    process = driver.start(store)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def kill(victim: str, task: str, ray_nodes: RayNodes, process: subprocess.Popen[str], generator: random.Random) -> None:
    """Kill a process that runs the task, or a node, at a random moment while the task is run."""
    busy = a_while_after_start(task, process, generator)
    if victim == "node":
        ray_nodes.kill(ray_nodes.nodes[0])
        ray_nodes.add(num_cpus=1)
    else:
        os.kill(generator.choice(busy), signal.SIGKILL)


def a_while_after_start(task: str, process: subprocess.Popen[Any], generator: random.Random) -> list[int]:
    """Return the workers that are busy with a task at a random moment of the training."""
    deadline = time.monotonic() + 200
    wanted = 1 + generator.randrange(LAST_MOMENT)
    seen = 0
    while seen < wanted or not (workers := workers_of(task, os.getpid())):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"the workers were seen {seen} times, and not {wanted}"
        seen += bool(workers_of(task, os.getpid()))
        time.sleep(0.05)
    return workers


def assert_ends_as_undisturbed(
    driver: KilledDriver, ray_nodes: RayNodes, process: subprocess.Popen[str], store: Path
) -> None:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert json.loads(output)["computed"] == driver.num_datasets * NUM_RATES
    assert champions(store) == driver.champions
    assert_nothing_is_left(ray_nodes.address, store)


def assert_nothing_is_left(address: str, store: Path) -> None:
    """Neither a process of the job, nor places that it reserved, nor its claim; nothing was stored twice."""
    deadline = time.monotonic() + 20
    while left := jobs_below(os.getpid()):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert places_held(address) == set()
    (run,) = (path.name for path in (store / "runs").iterdir())
    with open_ledger(str(store)).run(run).claim():
        pass
    keys = list(stored_keys(store))
    assert len(keys) == len(set(keys))


def places_held(address: str) -> set[str]:
    """Return the placement groups of the cluster that are not removed."""
    from ray.util.placement_group import placement_group_table

    with connect(address):
        return {key for key, group in placement_group_table().items() if group["state"] != "REMOVED"}
