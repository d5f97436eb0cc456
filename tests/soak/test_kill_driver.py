"""SIGKILL of the driver at random moments of a job, which is run again until it is done: nothing lost, nothing twice.

The full count is that of docs/reliability.md; GRIDLINE_SOAK_SCALE=0.1 runs a tenth. `make test` runs two.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.servers.killed_driver import NUM_DATASETS, NUM_RATES, KilledDriver, champions, stored_keys
from tests.servers.ray_nodes import RayNodes

SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1"))
FEW, MANY = 2, max(3, round(100 * SCALE))


@pytest.mark.ray
@pytest.mark.parametrize(
    "num_kills",
    [
        pytest.param(FEW, id="few", marks=pytest.mark.timeout(300)),
        pytest.param(MANY, id="many", marks=[pytest.mark.soak, pytest.mark.timeout(5400)]),
    ],
)
def test_killed_driver_goes_on_where_it_was(raylets: RayNodes, tmp_path: Path, num_kills: int) -> None:
    driver = KilledDriver(tmp_path, raylets.address, random.Random(0))
    seconds = driver.undisturbed(tmp_path / "undisturbed")
    undisturbed = champions(tmp_path / "undisturbed")
    assert len(undisturbed) == NUM_DATASETS

    rounds = 0
    while driver.num_kills < num_kills:
        store = tmp_path / f"store {rounds}"
        driver.run_until_done(store, seconds)
        keys = list(stored_keys(store))
        assert champions(store) == undisturbed
        assert len(keys) == len(set(keys)) == NUM_DATASETS * NUM_RATES
        rounds += 1
    print(f"{driver.num_kills} kills in {rounds} jobs of {seconds:.1f} s: champions equal, no trial stored twice")
