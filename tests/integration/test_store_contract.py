"""The contract of an object store, over every one there is and over a connection that fails half of the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_store.errors import MissingObjectError
from model_store.objects import s3
from model_store.objects.folder import FolderObjects
from model_store.objects.protocol import ObjectStore, stat
from model_store.objects.s3_settings import S3Settings
from tests.servers.fault_proxy import at_random, fault_proxy
from tests.servers.stores import Place, S3Server


@pytest.fixture(params=["folder", "memory", "moto", pytest.param("ceph", marks=pytest.mark.s3), "moto that fails"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "folder":
        yield Place(str(tmp_path / "store")).open()
        return
    if request.param == "memory":
        yield Place(f"memory://{tmp_path}").open()
        return
    server: S3Server = request.getfixturevalue(f"{request.param.split()[0]}_server")
    bucket = server.new_bucket()
    if request.param != "moto that fails":
        yield Place(f"s3://{bucket}/some/prefix", server.settings).open()
        return
    with fault_proxy(server.settings.endpoint_url or "", at_random(0.5, seed=7)) as proxy:
        fields = {**vars(server.settings), "endpoint_url": proxy.endpoint_url}
        yield Place(f"s3://{bucket}/some/prefix", S3Settings(**fields)).open()


def test_create_stores_what_is_read(objects: ObjectStore) -> None:
    assert objects.create("a/b", b"\x00\xffdata")
    assert objects.read("a/b") == b"\x00\xffdata"


def test_create_leaves_another_object_as_it_is(objects: ObjectStore) -> None:
    objects.create("a", b"first")
    assert not objects.create("a", b"second")
    assert objects.read("a") == b"first"


def test_create_again_with_equal_bytes_is_true(objects: ObjectStore) -> None:
    assert objects.create("a", b"same")
    assert objects.create("a", b"same")


def test_create_has_one_winner_of_many(objects: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda writer: objects.create("a", b"by %d" % writer), range(8)))
    assert won.count(True) == 1
    assert objects.read("a") == b"by %d" % won.index(True)


def test_put_replaces(objects: ObjectStore) -> None:
    objects.put("a", b"one")
    objects.put("a", b"two")
    assert objects.read("a") == b"two"


@pytest.mark.parametrize("size_bytes", [0, 1, 3_000_000])
def test_put_keeps_every_byte(objects: ObjectStore, size_bytes: int) -> None:
    data = bytes(at * 31 % 251 for at in range(size_bytes))
    objects.put("a", data)
    assert objects.read("a") == data


def test_read_returns_a_range(objects: ObjectStore) -> None:
    objects.put("a", b"0123456789")
    assert [objects.read("a", 2, 5), objects.read("a", 7), objects.read("a", 3, 3)] == [b"234", b"789", b""]


@pytest.mark.parametrize("key", ["a", "a/b/c"])
def test_read_names_what_is_missing(objects: ObjectStore, key: str) -> None:
    with pytest.raises(MissingObjectError, match=key):
        objects.read(key)


def test_download_writes_a_file(objects: ObjectStore, tmp_path: Path) -> None:
    objects.put("a", b"x" * 100_000)
    objects.download("a", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"x" * 100_000


def test_list_is_sorted_and_knows_sizes(objects: ObjectStore) -> None:
    for key in ("p/b", "p/a", "p/c/d", "q", "p-x"):
        objects.put(key, key.encode())
    assert [(info.key, info.size_bytes) for info in objects.list("p/")] == [("p/a", 3), ("p/b", 3), ("p/c/d", 5)]
    assert [info.key for info in objects.list("p")] == ["p-x", "p/a", "p/b", "p/c/d"]
    assert [info.key for info in objects.list("")] == ["p-x", "p/a", "p/b", "p/c/d", "q"]


def test_list_starts_after_a_key_and_ends_at_a_limit(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE", 3)
    for number in range(10):
        objects.put(f"p/{number}", b"")
    assert [info.key for info in objects.list("p/", "p/3")] == [f"p/{number}" for number in range(4, 10)]
    assert [info.key for info in objects.list("p/", "p/3", 4)] == ["p/4", "p/5", "p/6", "p/7"]
    assert list(objects.list("p/", "p/9")) == []


def test_list_of_nothing_is_empty(objects: ObjectStore) -> None:
    assert list(objects.list("nothing/")) == []
    assert list(objects.folders("nothing/")) == []


def test_folders_are_names(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE", 2)
    for key in ("v/b/1", "v/a/1", "v/a/2", "v/c/x/1", "w/d/1"):
        objects.put(key, b"")
    assert list(objects.folders("v/")) == ["a", "b", "c"]


def test_delete_removes_and_can_be_repeated(objects: ObjectStore) -> None:
    objects.put("a", b"")
    objects.delete("a")
    objects.delete("a")
    assert stat(objects, "a") is None


def test_stat_is_of_the_very_key(objects: ObjectStore) -> None:
    objects.put("a/bc", b"123")
    assert stat(objects, "a/b") is None
    assert (found := stat(objects, "a/bc")) and found.size_bytes == 3


def test_now_is_the_clock_of_the_objects(objects: ObjectStore) -> None:
    objects.put("a", b"")
    info = stat(objects, "a")
    assert info is not None
    assert abs(objects.now() - info.modified_at) < 10
    assert abs(info.modified_at - time.time()) < 10


def test_keys_may_hold_signs(objects: ObjectStore) -> None:
    key = "runs/r/trial=0.05,+@_-.json"
    objects.put(key, b"1")
    assert objects.read(key) == b"1"
    assert [info.key for info in objects.list("runs/")] == [key]


def test_local_path_holds_the_bytes(objects: ObjectStore) -> None:
    objects.put("a", b"mapped")
    path = objects.local_path("a")
    assert (path is not None) is isinstance(objects, FolderObjects)
    assert path is None or path.read_bytes() == b"mapped"
