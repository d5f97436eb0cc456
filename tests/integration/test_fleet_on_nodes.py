"""A fleet on nodes that have no folder in common: its data and its store are in S3."""

from __future__ import annotations

import io
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from jobs.config import JobConfig
from jobs.progress import Progress
from jobs.run import run_job
from model_store import open_ledger
from tests.integration.farms import WEIGHTS, document, groups, statuses
from tests.servers.ray_nodes import RayNodes
from tests.servers.stores import S3Server


@pytest.mark.ray
@pytest.mark.s3
@pytest.mark.timeout(300)
def test_fleet_on_nodes_that_share_nothing_but_s3(
    ray_nodes: RayNodes, ceph_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray_nodes.add(num_cpus=1)
    settings, bucket = ceph_server.settings, ceph_server.new_bucket()
    monkeypatch.setenv("AWS_ENDPOINT_URL", settings.endpoint_url or "")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", settings.access_key_id or "")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", settings.secret_access_key or "")
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
    )
    keys = [f"site {number}" for number in range(30)]
    table = groups(keys)
    for number in range(6):  # every group in every file
        client.put_object(
            Bucket=bucket, Key=f"data/{number}.parquet", Body=parquet(table.take(list(range(number, 360, 6))))
        )
    config = JobConfig.model_validate(document(f"s3://{bucket}/data/*.parquet"))
    ledger = open_ledger(f"s3://{bucket}/store")
    outcome = run_job(config, tmp_path / "nothing", ledger, address=ray_nodes.address, progress=Progress(quiet=True))
    assert outcome.exit_code == 0
    assert statuses(outcome) == dict.fromkeys(keys, "promoted")
    champion = open_ledger(f"s3://{bucket}/store").champion("farms", "site 29")
    assert champion.coefficients == pytest.approx(WEIGHTS, abs=0.05)
    assert champion.row["num_rows"] == 12
    assert not list(tmp_path.iterdir())


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["sites.parquet", "sites.csv"])
def test_fleet_on_nodes_that_work_in_another_folder_finds_relative_sources(
    ray_nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the nodes were started elsewhere
    table, path = groups(["a", "b"]), tmp_path / "conf" / name
    path.parent.mkdir()
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    config = JobConfig.model_validate(document(name))
    ledger = open_ledger(str(tmp_path / "store"))
    outcome = run_job(config, Path("conf"), ledger, address=ray_nodes.address, progress=Progress(quiet=True))
    assert statuses(outcome) == {"a": "promoted", "b": "promoted"}
