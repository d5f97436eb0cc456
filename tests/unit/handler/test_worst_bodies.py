"""The worst bodies, answered by the handler in a process of its own: each within its bounds of time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.worst_bodies import SIZE, WORST_BODIES
from model_store.ledger.ledger import Ledger

MAX_CPU_S = 1.0
MAX_EXTRA_MB = 200.0

Cost = dict[str, Any]


@pytest.fixture(scope="module")
def cost_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cost]:
    """The cost of each body by its name."""
    from model_store import open_ledger
    from tests.samples.fleets import commit_models, sample_stores

    store = str(tmp_path_factory.mktemp("store"))
    ledger: Ledger = open_ledger(store)
    commit_models(ledger, "stores", sample_stores())
    command = [sys.executable, "-m", "tests.servers.request_cost", store]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return {cost["name"]: cost for cost in map(json.loads, done.stdout.splitlines())}


def test_there_are_forty_worst_bodies_and_more_which_a_host_takes() -> None:
    assert len({worst.name for worst in WORST_BODIES}) == len(WORST_BODIES) > 40
    assert max(len(worst.body()) for worst in WORST_BODIES) <= 1.1 * SIZE


@pytest.mark.parametrize("name", [worst.name for worst in WORST_BODIES])
def test_no_body_takes_a_worker_for_long_or_fills_its_memory(cost_of: dict[str, Cost], name: str) -> None:
    cost = cost_of[name]
    assert cost["cpu_s"] < MAX_CPU_S
    assert cost["extra_mb"] < MAX_EXTRA_MB
    assert cost["status"] in (200, 400, 404, 413)
    assert len(cost["message"]) < 600
    assert "\n" not in cost["message"]
