"""Gangs of ranks on Ray Train: one start for all blocks, and up again after a loss."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples.jobs import Jobs
from tests.servers.ray_cluster import ROOT, RayHead
from tests.servers.ray_nodes import RayNodes


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_gang_survives_lost_ranks_and_a_block_that_loses_too_many_fails(ray_head: RayHead, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.gang_job", str(tmp_path)],
        cwd=ROOT,
        env=ray_head.environment | {"RAY_ADDRESS": ray_head.address},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    outcomes = document["outcomes"]
    assert list(outcomes) == ["first", "refused", "lost once", "lost always", "last"]
    assert outcomes.pop("refused") == "these rows are of no use to 2 ranks"
    assert outcomes.pop("lost always").startswith("block 'lost always' was lost 2 times; the last: ")
    assert [len(failures) for failures in document["failures"].values()] == [0, 0, 1, 2, 0]
    for weights, alone in zip(outcomes.values(), document["alone"], strict=True):
        assert weights == pytest.approx(alone, abs=1e-6)
    assert document["too many"].startswith("3 ranks need 3 CPUs; the cluster has 2 at ")


@pytest.mark.ray
def test_ranks_that_can_never_fit_end_the_program_at_once(ray_nodes: RayNodes, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, 1)
    training = {"num_workers": 64, "engine": "minibatch"}
    (tmp_path / "job.json").write_text(jobs.config(training=training).model_dump_json(exclude_unset=True))
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "train", str(tmp_path / "job.json"), "--address", ray_nodes.address, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    document = json.loads(done.stdout)
    assert document["error"].startswith("64 ranks need 64 CPUs; the cluster has 1 at ")
    assert document["exit_code"] == 4
