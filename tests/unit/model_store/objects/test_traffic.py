"""The requests to S3 that a process has made, counted where they leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import MissingObjectError
from model_store.objects.opening import open_objects
from model_store.objects.traffic import TRAFFIC
from tests.servers.stores import S3Server


def test_traffic_counts_requests_by_operation_and_bytes(moto_server: S3Server, tmp_path: Path) -> None:
    objects = open_objects(f"s3://{moto_server.new_bucket()}/p", moto_server.settings)
    before = TRAFFIC.counts()
    objects.put("a", b"12345")
    assert objects.create("b", b"123")
    assert not objects.create("b", b"45678")
    objects.read("a")
    objects.download("a", tmp_path / "a")
    objects.delete("a")
    with pytest.raises(MissingObjectError):
        objects.read("a")
    counts = TRAFFIC.counts().since(before)
    assert counts.requests == {"PutObject": 3, "GetObject": 4, "DeleteObject": 1}
    assert counts.sent_bytes == 13
    assert counts.received_bytes >= 5 + 5 + 3
    assert counts.failed == 0


def test_traffic_of_a_folder_is_none(tmp_path: Path) -> None:
    before = TRAFFIC.counts()
    open_objects(str(tmp_path)).put("a", b"1")
    assert TRAFFIC.counts().since(before).requests == {}
