"""Gangs of ranks on Ray Train: one start for all blocks, and up again after a loss."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.ray_cluster import ROOT, RayHead


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_gang_survives_a_lost_rank(ray_head: RayHead, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.gang_job", str(tmp_path)],
        cwd=ROOT,
        env=ray_head.environment | {"RAY_ADDRESS": ray_head.address},
        capture_output=True,
        text=True,
        timeout=350,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    outcomes = document["outcomes"]
    assert list(outcomes) == ["first", "refused", "lost once", "last"]
    assert outcomes.pop("refused") == "these rows are of no use to 2 ranks"
    assert (tmp_path / "lost").exists()
    for weights, alone in zip(outcomes.values(), document["alone"], strict=True):
        assert weights == pytest.approx(alone, abs=1e-6)
    assert document["too many"].startswith("3 ranks need 3 CPUs; the cluster has 2 at ")
