"""`ray job submit` of the program to a head: what is uploaded, the job's status, its output and its exit code."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_store import open_ledger
from tests.servers.ray_cluster import RayHead

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

RUNTIME_ENV = "infra/ray/runtime_env.yaml"
ASK = """\
import sys
from ray.job_submission import JobSubmissionClient
info = JobSubmissionClient(sys.argv[1]).get_job_info(sys.argv[2])
print(info.status.value, info.driver_exit_code)
"""


@dataclass(frozen=True)
class Submitted:
    """What a job came to: the exit code and output of `ray job submit`, and what the head says of the job."""

    code: int
    output: str
    status: str


def submit(head: RayHead, *arguments: str) -> Submitted:
    job = f"job-{uuid.uuid4().hex[:8]}"
    ray = ("-m", "ray.scripts.scripts", "job", "submit", "--address", head.dashboard_url, "--submission-id", job)
    ended = head.python(*ray, "--runtime-env", RUNTIME_ENV, "--", "python", "-m", "jobs", *arguments)
    asked = head.python("-c", ASK, head.dashboard_url, job)
    return Submitted(ended.returncode, ended.stdout + ended.stderr, asked.stdout.strip())


def test_ray_job_submit_trains_and_commits(ray_head: RayHead, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    job = submit(ray_head, "train", "examples/plants.yaml", "--json", "--store", store)
    assert (job.code, job.status) == (0, "SUCCEEDED 0"), job.output
    (line,) = re.findall(r'^\{"run_id".*$', job.output, flags=re.MULTILINE)
    best = json.loads(line)["datasets"][0]["best"]
    assert open_ledger(store).champion("plants", "plant_richness").coefficients == pytest.approx(best["coefficients"])
    assert uploaded_bytes(ray_head) < 10 * 2**20


def test_ray_job_submit_of_a_bad_configuration_fails_with_its_exit_code(ray_head: RayHead) -> None:
    job = submit(ray_head, "train", "examples/missing.yaml")
    assert (job.code, job.status) == (1, "FAILED 2"), job.output
    assert re.search(r"^\S+Z ERROR run=none .*missing\.yaml", job.output, flags=re.MULTILINE)
    assert "Traceback" not in job.output


def uploaded_bytes(head: RayHead) -> int:
    (folder,) = head.folder.glob("session_2*/runtime_resources/working_dir_files")
    (package,) = [each for each in folder.iterdir() if each.is_dir() and (each / "jobs" / "run.py").exists()]
    return sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
