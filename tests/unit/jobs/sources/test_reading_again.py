"""A source in S3 whose server goes away while it is read: the rows are those of a server that never went."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from jobs.errors import DataError, SourceError
from jobs.sources.columns import Fragment, Wanted
from jobs.sources.filesystems import stamps_of
from jobs.sources.fragments import find_fragments
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import read_columns
from model_store.objects.retry import RetryPolicy
from model_store.objects.s3_settings import S3Settings
from tests.servers.fault_proxy import FaultProxy, Request, fault_proxy
from tests.servers.stores import S3Server

ROWS = 4000
WANTED = [Wanted("area"), Wanted("price")]


def table() -> pa.Table:
    area = np.arange(ROWS, dtype=np.float64)
    return pa.table({"area": area, "price": area * 3 % 17})


def files() -> dict[str, bytes]:
    csv, parquet = io.BytesIO(), io.BytesIO()
    pyarrow.csv.write_csv(table(), csv)
    pq.write_table(table(), parquet, row_group_size=900)
    return {"t.csv": csv.getvalue(), "t.parquet": parquet.getvalue()}


@contextmanager
def behind_proxy(
    server: S3Server, bodies: dict[str, bytes], deadline_s: float
) -> Iterator[tuple[str, S3Settings, FaultProxy]]:
    """Give the address of a folder with the files, the settings of a client, and the proxy between."""
    bucket = server.new_bucket()
    client = boto3.client(
        "s3",
        endpoint_url=server.settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=server.settings.access_key_id,
        aws_secret_access_key=server.settings.secret_access_key,
    )
    for key, body in bodies.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    with fault_proxy(server.settings.endpoint_url or "") as proxy:
        policy = RetryPolicy(deadline_s=deadline_s, base_s=0.01, cap_s=0.05)
        yield f"s3://{bucket}", replace(server.settings, endpoint_url=proxy.endpoint_url, retry=policy), proxy


def away_once(after: int, num_requests: int) -> Callable[[Request], str | None]:
    """Return faults: the server is away for some requests, after so many reads of an object."""
    lock, seen = threading.Lock(), []

    def faults(request: Request) -> str | None:
        if request.method != "GET" or "list-type" in request.path:
            return None
        with lock:
            seen.append(request)
            return "cut_request" if after < len(seen) <= after + num_requests else None

    return faults


def fragments_of(location: str, s3: S3Settings) -> tuple[Fragment, ...]:
    return find_fragments([location], file_format="auto", options=ReadOptions(), folder=Path(), s3=s3)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_read_columns_goes_on_where_it_was_when_the_server_comes_back(
    moto_server: S3Server, name: str, after: int
) -> None:
    with behind_proxy(moto_server, files(), deadline_s=60.0) as (folder, s3, proxy):
        fragments = fragments_of(f"{folder}/{name}", s3)
        proxy.faults = away_once(after, 7)
        read = list(read_columns(fragments, WANTED, s3, batch_rows=300))
    assert np.concatenate([each.numbers["area"] for each in read]).tolist() == list(range(ROWS))
    assert [each.file_row(0) for each in read] == np.cumsum([0, *(each.num_rows for each in read[:-1])]).tolist()


def test_find_fragments_waits_for_the_server(moto_server: S3Server) -> None:
    with behind_proxy(moto_server, files(), deadline_s=60.0) as (folder, s3, proxy):
        broken = iter(range(9))
        proxy.faults = lambda request: None if next(broken, None) is None else "cut_request"
        assert sum(fragment.num_rows or 0 for fragment in fragments_of(f"{folder}/t.parquet", s3)) == ROWS


@pytest.mark.parametrize("fault", ["cut_request", "503", "500"])
def test_read_columns_gives_up_at_the_end_of_the_time(moto_server: S3Server, fault: str) -> None:
    with behind_proxy(moto_server, files(), deadline_s=0.2) as (folder, s3, proxy):
        fragments = fragments_of(f"{folder}/t.parquet", s3)
        proxy.faults = lambda request: fault
        with pytest.raises(SourceError, match=r"t\.parquet: S3 can't be reached: .* \(tried for 0.2 s\)$"):
            list(read_columns(fragments, WANTED, s3))


def test_read_columns_refuses_at_once_what_the_server_refuses(moto_server: S3Server) -> None:
    with behind_proxy(moto_server, files(), deadline_s=60.0) as (folder, s3, proxy):
        fragments = fragments_of(f"{folder}/t.parquet", s3)
        before = len(proxy.requests)
        proxy.faults = lambda request: "403 AccessDenied"
        with pytest.raises(DataError):
            list(read_columns(fragments, WANTED, s3))
        assert len(proxy.requests) - before <= 2


def test_read_columns_refuses_rows_of_a_file_that_changed_in_an_outage(moto_server: S3Server) -> None:
    bodies = files()
    with behind_proxy(moto_server, bodies, deadline_s=60.0) as (folder, s3, proxy):
        location = f"{folder}/t.parquet"
        fragments = fragments_of(location, s3)
        read = read_columns(fragments, WANTED, s3, batch_rows=300)
        next(read)
        next(read)
        buffer = io.BytesIO()
        pq.write_table(table().set_column(1, "price", pa.array(np.zeros(ROWS))), buffer, row_group_size=900)
        client = boto3.client(
            "s3",
            endpoint_url=s3.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=s3.access_key_id,
            aws_secret_access_key=s3.secret_access_key,
        )
        client.put_object(Bucket=folder.removeprefix("s3://"), Key="t.parquet", Body=buffer.getvalue())
        proxy.faults = away_once(0, 6)
        with pytest.raises(DataError, match=r"t\.parquet: the file changed while it was read: start again"):
            list(read)
        assert stamps_of([location], s3)[0][1] == len(buffer.getvalue())
