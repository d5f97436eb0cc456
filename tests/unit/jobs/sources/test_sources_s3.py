"""The same data, from S3."""

from __future__ import annotations

import io
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.config import DatasetConfig
from jobs.errors import DataError, SourceError
from jobs.sources.columns import Wanted
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.fragments import find_fragments
from jobs.sources.job_datasets import resolve_source
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import read_columns
from model_store.objects.retry import RetryPolicy
from model_store.objects.s3_settings import S3Settings
from tests.servers.stores import S3Server

CSV = b"area,rooms,price\n50,2,100\n60,3,130\n80,3,150\n120,5,-260\n"


@dataclass(frozen=True)
class Bucket:
    """A bucket and how to reach it."""

    name: str
    settings: S3Settings

    def put(self, key: str, body: bytes) -> None:
        client = boto3.client(
            "s3",
            endpoint_url=self.settings.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.settings.access_key_id,
            aws_secret_access_key=self.settings.secret_access_key,
        )
        client.put_object(Bucket=self.name, Key=key, Body=body)

    def read(self, source: Any) -> Dataset:
        config = {"name": "houses", "source": source, "target": "price", "features": ["area", "rooms"]}
        return read_dataset(resolve_source(DatasetConfig.model_validate(config), Path(), self.settings), bias=True)


@pytest.fixture
def bucket(s3_server: S3Server) -> Bucket:
    return Bucket(s3_server.new_bucket(), s3_server.settings)


def parquet(num_rows: int, row_group_size: int) -> bytes:
    rows = list(range(num_rows))
    buffer = io.BytesIO()
    table = pa.table({"area": rows, "rooms": [row % 7 for row in rows], "price": [row * row % 11 for row in rows]})
    pq.write_table(table, buffer, row_group_size=row_group_size)
    return buffer.getvalue()


def test_sources_s3_files_folders_and_patterns(bucket: Bucket, tmp_path: Path) -> None:
    lines = CSV.split(b"\n")
    bucket.put("data/a.csv", b"\n".join(lines[:3]))
    bucket.put("data/deep/b.csv", b"\n".join([lines[0], *lines[3:]]))
    bucket.put("data/notes.txt", b"not data")
    bucket.put("whole/t.csv", CSV)
    whole = bucket.read(f"s3://{bucket.name}/whole/t.csv")
    assert whole.y_n.tolist() == [100.0, 130.0, 150.0, -260.0]
    assert bucket.read(f"s3://{bucket.name}/whole").fingerprint == whole.fingerprint
    assert bucket.read(f"s3://{bucket.name}/data/**/*.csv").fingerprint == whole.fingerprint


def test_sources_s3_parquet_by_row_groups_in_blocks(bucket: Bucket) -> None:
    bucket.put("t.parquet", parquet(1000, 300))
    source = f"s3://{bucket.name}/t.parquet"
    fragments = find_fragments([source], file_format="auto", options=ReadOptions(), folder=Path(), s3=bucket.settings)
    assert [fragment.num_rows for fragment in fragments] == [300, 300, 300, 100]
    parts = list(read_columns(fragments, [Wanted("area")], bucket.settings, batch_rows=128))
    assert [value for part in parts for value in part.numbers["area"].tolist()] == list(range(1000))


@pytest.mark.parametrize("key", ["none.csv", "none/*.csv", "none/"])
def test_sources_s3_missing_object_is_named(key: str, bucket: Bucket) -> None:
    with pytest.raises(DataError, match=f"s3://{bucket.name}/none") as caught:
        bucket.read(f"s3://{bucket.name}/{key}")
    assert "\n" not in str(caught.value)


def test_sources_s3_missing_bucket_is_named(bucket: Bucket) -> None:
    with pytest.raises(DataError, match=f"{bucket.name}-none/t.csv: no such file"):
        bucket.read(f"s3://{bucket.name}-none/t.csv")


def test_sources_s3_bad_cell_and_damaged_file_are_named(bucket: Bucket) -> None:
    bucket.put("t.csv", CSV.replace(b"80", b"eighty"))
    bucket.put("t.parquet", parquet(10, 10)[:-20])
    with pytest.raises(DataError, match=r"t\.csv:4: column 'area': 'eighty' is not a number"):
        bucket.read(f"s3://{bucket.name}/t.csv")
    with pytest.raises(DataError, match=r"t\.parquet: the file is not parquet, or is damaged"):
        bucket.read(f"s3://{bucket.name}/t.parquet")


@pytest.mark.s3
def test_sources_s3_refused_credentials_are_told_without_them(ceph_server: S3Server) -> None:
    bucket = Bucket(ceph_server.new_bucket(), ceph_server.settings)
    bucket.put("t.csv", CSV)
    wrong = Bucket(bucket.name, replace(bucket.settings, secret_access_key="hushhush"))
    with pytest.raises(DataError, match=r"t\.csv") as caught:
        wrong.read(f"s3://{bucket.name}/t.csv")
    assert "hushhush" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sources_s3_that_is_not_there_is_exit_code_4() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    settings = S3Settings(f"http://127.0.0.1:{port}", "us-east-1", "name", "hushhush", retry=RetryPolicy(0.2))
    with pytest.raises(SourceError, match=r"s3://bucket/t\.csv: S3 can't be reached") as caught:
        Bucket("bucket", settings).read("s3://bucket/t.csv")
    assert caught.value.exit_code == 4
    assert "hushhush" not in str(caught.value)
