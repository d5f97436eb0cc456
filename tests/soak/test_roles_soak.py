"""The policies of infra/iam on a real gateway: each role does its work by them, and is refused what it must not do."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.infra_files import INFRA
from tests.servers.command_line import ANY_PORTS, GRIDLINE, running, started
from tests.servers.stores import S3Server

pytestmark = [pytest.mark.soak, pytest.mark.s3, pytest.mark.ray, pytest.mark.timeout(600)]

ROLES = ("trainer", "server", "gc")
JOB = "examples/plants.yaml"


@dataclass(frozen=True)
class Store:
    """A store in a bucket whose policy is that of infra/iam for three users, none of whom owns it."""

    endpoint_url: str
    bucket: str
    keys: dict[str, tuple[str, str]]

    def env(self, role: str) -> dict[str, str]:
        key, secret = self.keys[role]
        own = {"AWS_ENDPOINT_URL": self.endpoint_url, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        return {**os.environ, **own, "GRIDLINE_STORE": f"s3://{self.bucket}/gridline"}

    def run(self, role: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*GRIDLINE, *arguments]
        return subprocess.run(command, env=self.env(role), capture_output=True, text=True, timeout=200, check=False)

    def client(self, role: str) -> Any:
        key, secret = self.keys[role]
        settings = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        own = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.endpoint_url, config=settings, **own)

    def keys_below(self, prefix: str) -> list[str]:
        page = self.client("server").list_objects_v2(Bucket=self.bucket, Prefix=f"gridline/{prefix}")
        return [item["Key"] for item in page.get("Contents", [])]


@pytest.fixture(scope="module")
def store(ceph_server: S3Server) -> Iterator[Store]:
    """A bucket of the gateway's owner, with the policies of infra/iam as one policy of the bucket."""
    assert ceph_server.gateway is not None
    bucket, keys = ceph_server.new_bucket(), {}
    names = {role: f"{role}-{uuid.uuid4().hex[:8]}" for role in ROLES}
    for role, name in names.items():
        keys[role] = (name, uuid.uuid4().hex)
        ceph_server.gateway.add_user(name, *keys[role])
    statements = []
    for role, name in names.items():
        text = (INFRA / "iam" / f"{role}.json").read_text().replace("arn:aws:s3:::models", f"arn:aws:s3:::{bucket}")
        for statement in json.loads(text)["Statement"]:
            own = {"Sid": f"{role}{statement['Sid']}", "Principal": {"AWS": [f"arn:aws:iam:::user/{name}"]}}
            statements.append({**statement, **own})
    settings = ceph_server.settings
    keys["owner"] = (settings.access_key_id or "", settings.secret_access_key or "")
    made = Store(settings.endpoint_url or "", bucket, keys)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    made.client("owner").put_bucket_policy(Bucket=bucket, Policy=policy)
    yield made


def refused(call: Any, **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as exc:
        return bool(exc.response["Error"]["Code"] == "AccessDenied")
    return False


def trained(store: Store, tmp_path: Path, epochs: int) -> None:
    text = (
        Path(JOB).read_text().replace("epochs: 6000", f"epochs: {epochs}").replace("promote: better", "promote: always")
    )
    (tmp_path / "job.yaml").write_text(text.replace("examples/data/", f"{Path('examples/data').resolve()}/"))
    ended = store.run("trainer", "train", str(tmp_path / "job.yaml"))
    assert ended.returncode == 0, ended.stderr
    assert "committed plants version" in ended.stdout + ended.stderr


def test_each_role_does_its_work_and_nothing_else(store: Store, tmp_path: Path) -> None:
    trained(store, tmp_path, 300)
    assert len(store.keys_below("claims/")) <= 1, "the trainer removes its heartbeats"
    trained(store, tmp_path, 600)
    for key in [*store.keys_below("versions/"), *store.keys_below("blobs/"), *store.keys_below("runs/")]:
        assert refused(store.client("trainer").delete_object, Bucket=store.bucket, Key=key)
    read_only(store, tmp_path)
    collected(store)


def read_only(store: Store, tmp_path: Path) -> None:
    """The server's role serves, deploys and predicts, and writes nothing."""
    before = [store.keys_below(prefix) for prefix in ("versions/", "blobs/", "runs/")]
    options = ["--host-with", "uvicorn", "--folder", str(tmp_path / "s"), "--version", "1", "--json", *ANY_PORTS]
    with running("serve", "plants", *options, env=store.env("server")) as process:
        address = started(process)["management_url"]
        ended = store.run("server", "deploy", "plants", "--management", address, "--token-file", str(tmp_path / "s"))
        assert ended.returncode == 0, ended.stderr
    assert float(store.run("server", "predict", "plants", "--set", "area=3").stdout) > 1
    assert store.run("server", "models", "verify", "plants").returncode == 0
    assert [store.keys_below(prefix) for prefix in ("versions/", "blobs/", "runs/")] == before
    for verb in (["models", "rollback", "plants", "--version", "1"], ["gc", "plants", "--keep", "1"]):
        ended = store.run("server", *verb)
        [line] = [line for line in ended.stderr.splitlines() if line.startswith("gridline: ")]
        assert (ended.returncode, "permission" in line or "denied" in line.lower()) == (4, True), ended.stderr


def collected(store: Store) -> None:
    """The role of gc removes what a dropped version had, and can't write a version."""
    assert store.run("trainer", "gc", "plants", "--keep", "1", "--grace", "0").returncode == 4
    ended = store.run("gc", "gc", "plants", "--keep", "1", "--grace", "0", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["removed"], "the blobs of version 1"
    assert store.run("gc", "models", "verify", "plants").returncode == 0
    assert refused(store.client("gc").put_object, Bucket=store.bucket, Key="gridline/versions/plants/x", Body=b"")
    assert refused(store.client("gc").delete_object, Bucket=store.bucket, Key=store.keys_below("versions/")[0])
