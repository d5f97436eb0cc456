"""Fixtures: S3 servers, buckets in them, and every kind of object store. Named in tests/conftest.py."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from model_store.objects.opening import OPENERS, open_objects
from model_store.objects.protocol import ObjectStore
from model_store.objects.retry import RetryPolicy
from model_store.objects.s3_settings import S3Settings
from tests.servers import ceph
from tests.servers.fault_proxy import FaultProxy, Faults, fault_proxy
from tests.servers.memory_objects import MemoryObjects

OPENERS["memory"] = lambda rest, settings: MemoryObjects(rest)

ROOT = Path(__file__).parents[2]
ACCESS_KEY_ID = "gridline-tests"
SECRET_ACCESS_KEY = "not-a-secret-of-anything"
FAST_RETRY = RetryPolicy(deadline_s=60.0, base_s=0.002, cap_s=0.05)


@dataclass(frozen=True)
class S3Server:
    """A running server with buckets of its own; `gateway` is the process that a test may kill, where it can."""

    settings: S3Settings
    gateway: ceph.CephGateway | None = None

    def new_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"b-{uuid.uuid4().hex}"
        _client(self.settings).create_bucket(Bucket=name)
        return name


@cache
def _client(settings: S3Settings) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Ceph's gateway; tests that use it carry the marker s3."""
    if missing := ceph.missing_programs():
        pytest.skip(f"{', '.join(missing)} not installed: {ceph.INSTALL}")
    gateway = ceph.CephGateway(tmp_path_factory.mktemp("ceph"))
    try:
        gateway.start(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
        yield S3Server(_settings(gateway.endpoint_url), gateway)
    finally:
        gateway.stop()


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto's server: right conditions, no authentication, nothing kept."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    output = tmp_path_factory.mktemp("moto") / "output"
    with output.open("wb") as file:
        command = [sys.executable, "-m", "tests.servers.moto_app", str(port)]
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while not _is_open(port):
            assert process.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.02)
        yield S3Server(_settings(f"http://127.0.0.1:{port}"))
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Ceph's gateway where it is installed, else moto."""
    server: S3Server = request.getfixturevalue("moto_server" if ceph.missing_programs() else "ceph_server")
    return server


@dataclass(frozen=True)
class Place:
    """An empty store: `open` returns a new client of it, as another process would have it."""

    uri: str
    settings: S3Settings | None = None

    def open(self) -> ObjectStore:
        return open_objects(self.uri, self.settings)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of each kind in turn; the contract of their objects is tested on moto and Ceph alike."""
    if request.param == "folder":
        return Place(str(tmp_path / "store"))
    server: S3Server = request.getfixturevalue("s3_server")
    return Place(f"s3://{server.new_bucket()}/some/prefix", server.settings)


@pytest.fixture
def proxied(s3_server: S3Server) -> Iterator[Callable[[Faults], tuple[Place, FaultProxy]]]:
    """A function that returns an empty store behind a new fault proxy."""
    stack = []

    def make(faults: Faults) -> tuple[Place, FaultProxy]:
        context = fault_proxy(s3_server.settings.endpoint_url or "", faults)
        proxy = context.__enter__()
        stack.append(context)
        settings = replace(s3_server.settings, endpoint_url=proxy.endpoint_url)
        return Place(f"s3://{s3_server.new_bucket()}/p", settings), proxy

    yield make
    for context in stack:
        context.__exit__(None, None, None)


def _settings(endpoint_url: str) -> S3Settings:
    return S3Settings(
        endpoint_url=endpoint_url,
        access_key_id=ACCESS_KEY_ID,
        secret_access_key=SECRET_ACCESS_KEY,
        connect_timeout_s=5.0,
        read_timeout_s=10.0,
        retry=FAST_RETRY,
    )


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
