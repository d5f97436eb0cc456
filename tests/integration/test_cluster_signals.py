"""Ctrl-C and SIGTERM: a job ends within 10 s with exit code 130, keeps what is finished, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from model_store import open_ledger
from tests.servers.processes import descendants, is_running, jobs_below
from tests.servers.ray_nodes import RayNodes
from tests.servers.stores import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

RUN = "a-run"
START_S = 150.0  # until a first checkpoint: 10 where the machine is not busy


class Job:
    """A quick dataset, then one that takes minutes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, num_rows in (("quick", 20), ("slow", 400_000)):
            x_n = np.random.default_rng(0).normal(size=num_rows)
            rows = "\n".join(f"{x!r},{2 * x!r}" for x in x_n.tolist())
            (folder / f"{name}.csv").write_text(f"x,y\n{rows}\n")

    @contextmanager
    def started(self, *names: str, address: str, num_workers: int = 1) -> Iterator[subprocess.Popen[str]]:
        datasets = [{"name": n, "source": f"{n}.csv", "target": "y", "features": ["x"]} for n in names]
        training = {"engine": "minibatch", "epochs": 2000, "checkpoint_every_s": 0.1, "num_workers": num_workers}
        config = self.folder / "job.yaml"
        grid = {"learning_rate": [0.01]}
        config.write_text(json.dumps({"name": "two", "datasets": datasets, "grid": grid, "training": training}))
        command = [sys.executable, "-m", "jobs", "train", str(config), "--store", str(self.folder / "store"), "--json"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [*command, "--run-id", RUN, "--address", address],
            **pipes,  # type: ignore[call-overload]
            text=True,
            cwd=ROOT,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def has(self, what: str) -> bool:
        return bool(open_ledger(str(self.folder / "store")).run(RUN).names(what))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sigterm_ends_a_job_and_keeps_what_is_finished(raylets: RayNodes, job: Job) -> None:
    with job.started("quick", "slow", address=raylets.address) as process:
        wait_until(lambda: job.has("blocks/") and job.has("checkpoints/"), START_S)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=10)
    assert process.returncode == 130, errors
    assert json.loads(output)["exit_code"] == 130
    assert "Traceback" not in errors

    with job.started("quick", address=raylets.address) as process:
        output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert json.loads(output)["computed"] == 0


def test_sigterm_ends_a_gang_and_leaves_nothing_of_it(ray_nodes: RayNodes, job: Job) -> None:
    ray_nodes.add(num_cpus=1)
    with job.started("slow", address=ray_nodes.address, num_workers=2) as process:
        wait_until(lambda: job.has("checkpoints/"), START_S)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=10)
    assert process.returncode == 130, errors
    assert json.loads(output)["exit_code"] == 130
    wait_until(lambda: not jobs_below(os.getpid()), 20)


def test_ctrl_c_stops_the_ray_that_the_job_started(ray_token: str, job: Job) -> None:
    with job.started("quick", "slow", address="local") as process:
        wait_until(lambda: job.has("checkpoints/"), START_S)
        others = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 130, errors
    assert len(others) > 3
    wait_until(lambda: not any(is_running(each) for each in others), 10)
