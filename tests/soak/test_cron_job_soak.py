"""The command of the CronJob that submits, as it stands in its file, at a real head: what it trains, how it ends."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from model_store import open_ledger
from tests.infra_files import INFRA, ROOT, containers_of, documents
from tests.servers.ray_cluster import RayHead

pytestmark = [pytest.mark.soak, pytest.mark.ray, pytest.mark.timeout(400)]

CRON_JOB = INFRA / "schedules" / "cron_job_submit.yaml"
JOB = INFRA / "kubernetes" / "base" / "job"


def config_map(folder: Path, files: dict[str, str]) -> Path:
    """Write files as Kubernetes mounts a ConfigMap: each is a link into a folder that is exchanged as a whole."""
    data = folder / "..2026_11_26"
    data.mkdir(parents=True)
    (folder / "..data").symlink_to(data.name)
    for name, text in files.items():
        (data / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def submitted(head: RayHead, job: Path) -> subprocess.CompletedProcess[str]:
    """Run what the pod runs, with its mounts and its address replaced."""
    [document] = documents(CRON_JOB)
    [container] = containers_of(CRON_JOB, document)
    schedules = str(INFRA / "schedules")
    words = [
        word.replace("/etc/gridline-schedules", schedules).replace("/etc/gridline", str(job))
        for word in container.words
    ]
    assert str(job) in words[-1] and schedules in words[-1]
    own = {"RAY_ADDRESS": head.dashboard_url, "SUBMISSION": f"gridline-train-{uuid.uuid4().hex[:8]}"}
    assert own.keys() <= container.env.keys()
    env = head.environment | own
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=150, check=False)


def test_cron_job_trains_from_a_configmap_and_ends_with_the_exit_code_of_gridline(
    ray_head: RayHead, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    files = {path.name: path.read_text() for path in JOB.iterdir()}
    files["job.yaml"] += f"store: {{uri: {store}}}\n"
    night = submitted(ray_head, config_map(tmp_path / "job", files))
    assert night.returncode == 0, night.stdout + night.stderr
    ledger = open_ledger(store)
    assert ledger.version("plants").number == 1
    files["job.yaml"] = files["job.yaml"].replace("ntv_rich", "no_such_column")
    wrong = submitted(ray_head, config_map(tmp_path / "wrong", files))
    assert wrong.returncode == 2, wrong.stdout + wrong.stderr
    assert ledger.version("plants").number == 1
