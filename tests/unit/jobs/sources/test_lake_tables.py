"""Tables of Delta Lake, Iceberg and Hudi are refused by name: a folder of theirs holds files that were removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from jobs.config import DatasetConfig
from jobs.errors import DataError
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.job_datasets import resolve_source
from jobs.sources.lake_tables import refuse_lake_tables
from model_store.objects.s3_settings import S3Settings
from tests.servers.stores import S3Server

RISING = b"x,y\n0,0\n1,1\n2,2\n"
FALLING = b"x,y\n0,0\n1,-1\n2,-2\n"
DELTA = {"a.csv": RISING, "b.csv": FALLING, "_delta_log/00000000000000000000.json": b"{}"}
ICEBERG = {"data/a.csv": RISING, "data/p=1/b.csv": FALLING, "metadata/v1.metadata.json": b"{}"}
HUDI = {"p/a.csv": RISING, "p/b.csv": FALLING, ".hoodie/hoodie.properties": b"", ".hoodie/metadata/.hoodie/x": b""}


ADVICE = (
    "whose log says which of its files are current: export a snapshot to plain parquet files, or name the current "
    "files one by one in 'source'"
)


class Folder:
    """Files below a root, on this machine or in a bucket, that a dataset can be read from."""

    def __init__(self, root: str, settings: S3Settings, put: Callable[[str, bytes], object]) -> None:
        self.root, self._settings, self._put = root, settings, put

    def write(self, prefix: str, files: dict[str, bytes]) -> None:
        for name, body in files.items():
            self._put(prefix + name, body)

    def read(self, *sources: str) -> Dataset:
        config = {
            "name": "d",
            "source": [f"{self.root}/{source}" for source in sources],
            "target": "y",
            "features": ["x"],
        }
        return read_dataset(resolve_source(DatasetConfig.model_validate(config), Path(), self._settings), bias=True)

    def refusal(self, *sources: str) -> str:
        with pytest.raises(DataError) as caught:
            self.read(*sources)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
        return str(caught.value)


def on_disk(root: Path) -> Callable[[str, bytes], object]:
    def put(name: str, body: bytes) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(body)

    return put


def in_bucket(server: S3Server, bucket: str) -> Callable[[str, bytes], object]:
    settings = server.settings
    client: Any = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
    )
    return lambda name, body: client.put_object(Bucket=bucket, Key=f"lake/{name}", Body=body)


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "local":
        yield Folder(str(tmp_path), S3Settings(), on_disk(tmp_path))
        return
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = server.new_bucket()
    yield Folder(f"s3://{bucket}/lake", server.settings, in_bucket(server, bucket))


TABLES = {
    "Delta Lake": (DELTA, "t is a Delta Lake table", ["t", "t/", "t/*.csv", "t/**/*.csv", "**/*.csv", "*/a.csv", ""]),
    "Iceberg": (ICEBERG, "t is an Apache Iceberg table", ["t", "t/data", "t/data/p=1", "t/data/p=1/*.csv", "**.csv"]),
    "Hudi": (HUDI, "t is an Apache Hudi table", ["t", "t/p", "t/p/*.csv", "t/*/[ab].csv", "**/*.csv"]),
}


@pytest.mark.parametrize("kind", TABLES)
def test_lake_table_is_refused_however_its_folder_is_named(kind: str, lake: Folder) -> None:
    files, expected, sources = TABLES[kind]
    lake.write("deep/t/", files)
    for source in sources:
        message = lake.refusal(f"deep/{source}".rstrip("/") if source != "t/" else "deep/t/")
        assert message.startswith(f"dataset 'd': {lake.root}/deep/{expected}, whose log says which of its files"), (
            source
        )
        assert message.endswith(
            "export a snapshot to plain parquet files, or name the current files one by one in 'source'"
        )


@pytest.mark.parametrize(("files", "current"), [(DELTA, "a.csv"), (ICEBERG, "data/a.csv"), (HUDI, "p/a.csv")])
def test_lake_table_whose_files_are_named_is_read(files: dict[str, bytes], current: str, lake: Folder) -> None:
    lake.write("t/", files)
    assert lake.read(f"t/{current}").y_n.tolist() == [0.0, 1.0, 2.0]


def test_lake_table_beside_what_is_read_is_no_obstacle(lake: Folder) -> None:
    lake.write("t/", DELTA)
    lake.write("plain/", {"a.csv": RISING, "data/b.csv": FALLING, "metadata/notes.json": b"{}", "x_delta_log/y": b""})
    lake.write("other/", {"c.csv": FALLING, "metadata/v1.metadata.json": b"{}"})
    for source, num_rows in {"plain/**/*.csv": 6, "plain/data": 3, "[op]*/*.csv": 6, "other/*.csv": 3}.items():
        assert lake.read(source).num_rows == num_rows


def test_lake_table_is_refused_from_within_and_by_relative_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Folder(".", S3Settings(), on_disk(tmp_path))
    here.write("", DELTA)
    here.write("p=1/", {"c.csv": RISING})
    monkeypatch.chdir(tmp_path)
    assert "is a Delta Lake table" in here.refusal("*.csv")
    monkeypatch.chdir(tmp_path / "p=1")
    for source in ("*.csv", "", "../*.csv"):
        assert "is a Delta Lake table" in here.refusal(source)
    assert here.read("c.csv", "../a.csv").num_rows == 6


class ClosedAbove:
    """A bucket in which nothing above a prefix may be listed."""

    type_name = "s3"

    def get_file_info(self, names: list[str]) -> list[object]:
        raise PermissionError(f"{names[0]}: access denied")


def test_lake_table_above_what_may_be_listed_is_not_looked_for() -> None:
    refuse_lake_tables(ClosedAbove(), "bucket/mine", ["bucket/mine/a.csv"], ["bucket/mine/a.csv"])
    with pytest.raises(DataError, match="s3://bucket/mine is a Delta Lake table"):
        refuse_lake_tables(ClosedAbove(), "bucket/mine", ["bucket/mine/_delta_log"], ["bucket/mine/a.csv"])
