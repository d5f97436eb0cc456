"""A cluster without a token takes drivers and submissions that have one, and those that have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.ray_cluster import head_of_two_cpus

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(400)]


def test_a_cluster_without_a_token_takes_everybody(tmp_path: Path) -> None:
    with head_of_two_cpus("disabled") as head:
        train = ("-m", "jobs", "train", "examples/plants.yaml", "--store")
        for mode in ("disabled", "token"):
            joined = head.python(*train, str(tmp_path / mode), "--address", head.address, RAY_AUTH_MODE=mode)
            assert joined.returncode == 0, joined.stderr
            submit = ("-m", "ray.scripts.scripts", "job", "submit", "--address", head.dashboard_url, "--", "echo", mode)
            submitted = head.python(*submit, RAY_AUTH_MODE=mode)
            assert submitted.returncode == 0, submitted.stdout + submitted.stderr
