"""A job's sources are resolved once: files are found, and the environment is read, once for all that comes after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.config import JobConfig
from jobs.plan import make_plan
from jobs.progress import Progress
from jobs.run import run_job
from jobs.sources import job_datasets
from model_store import open_ledger
from model_store.objects.s3_settings import S3Settings
from tests.integration.farms import document, groups, statuses
from tests.servers.inline_cluster import InlineCluster


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of what is called: files are looked for, the environment is read."""
    called: list[str] = []

    def counting(name: str, function: Any) -> Any:
        return lambda *args, **kwargs: called.append(name) or function(*args, **kwargs)

    monkeypatch.setattr(job_datasets, "find_fragments", counting("files", job_datasets.find_fragments))
    monkeypatch.setattr(S3Settings, "from_environment", counting("environment", S3Settings.from_environment))
    return called


@pytest.fixture
def config(tmp_path: Path) -> JobConfig:
    """A job of a listed and a grouped dataset."""
    pq.write_table(groups(["a", "b"]), tmp_path / "sites.parquet")
    pq.write_table(groups(["alone"]), tmp_path / "alone.parquet")
    job = document("sites.parquet")
    alone = {key: value for key, value in job["datasets"][0].items() if key != "group_by"}
    job["datasets"].append(alone | {"name": "alone", "source": "alone.parquet"})
    return JobConfig.model_validate(job)


def test_plan_resolves_each_source_once(config: JobConfig, tmp_path: Path, calls: list[str]) -> None:
    plan = make_plan(config, tmp_path)
    assert sorted(certificate.dataset for certificate in plan.certificates) == ["a", "alone", "b"]
    assert calls == ["environment", "files", "files"]


def test_job_resolves_each_source_and_joins_the_cluster_once(
    config: JobConfig, tmp_path: Path, calls: list[str], inline_cluster: InlineCluster
) -> None:
    ledger = open_ledger(str(tmp_path / "store"))
    outcome = run_job(config, tmp_path, ledger, progress=Progress(quiet=True))
    assert statuses(outcome) == dict.fromkeys(["a", "alone", "b"], "promoted")
    assert calls == ["environment", "files", "files"]
    assert inline_cluster.num_joined == 1
