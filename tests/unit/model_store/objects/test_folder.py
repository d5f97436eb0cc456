"""The folder store: what a crash leaves behind, and who is still alive."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.claims.process_identity import is_dead, this_process
from model_store.errors import InvalidNameError, StoreRefusedError
from model_store.objects.folder import STAGING, FolderObjects
from model_store.objects.opening import open_objects


def test_staging_files_are_gone_after_a_write(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    objects.create("a", b"1")
    objects.create("a", b"2")
    objects.put("b", b"3")
    assert list((tmp_path / STAGING).iterdir()) == []
    assert [info.key for info in objects.list("")] == ["a", "b"]


def test_staging_files_of_killed_writers_are_removed_after_a_day(tmp_path: Path) -> None:
    (tmp_path / STAGING).mkdir()
    for name, age_s in (("old", 2 * 24 * 3600.0), ("young", 60.0)):
        (tmp_path / STAGING / name).write_bytes(b"half")
        os.utime(tmp_path / STAGING / name, (time.time() - age_s,) * 2)
    objects = FolderObjects(tmp_path)
    objects.create("a", b"1")
    assert [path.name for path in (tmp_path / STAGING).iterdir()] == ["young"]
    assert [info.key for info in objects.list("")] == ["a"]


def test_write_is_synced_before_it_is_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    for name in ("fsync", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, real=real, name=name: (steps.append(name), real(*args))[1])
    objects = FolderObjects(tmp_path)
    objects.create("first", b"1")
    steps.clear()
    objects.create("second", b"2")
    assert steps == ["fsync", "link", "fsync"]


def test_process_is_dead_when_it_has_ended_or_its_number_was_given_again() -> None:
    me = this_process()
    assert not is_dead(me)
    assert is_dead(replace(me, started="1"))
    assert not is_dead(replace(me, started="1", machine="another"))
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert is_dead(replace(me, pid=child.pid))


def test_folder_whose_path_can_not_be_looked_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreRefusedError, match="File name too long"):
        FolderObjects(tmp_path / ("x" * 300)).exists()


def test_folder_that_can_not_be_read_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FolderObjects(tmp_path).create("claims/run/1.json", b"{}")

    def denied(path: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(StoreRefusedError, match=r"folder '.*', key 'claims/': Permission denied"):
        list(FolderObjects(tmp_path).list("claims/"))


@pytest.mark.parametrize(
    ("root", "remedy"),
    [
        ("file", "Not a directory: a part of the path is a file: set --store to a folder"),
        ("file/below", "Not a directory: a part of the path is a file: set --store to a folder"),
    ],
)
def test_create_below_a_file_says_what_to_do(tmp_path: Path, root: str, remedy: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreRefusedError) as refused:
        FolderObjects(tmp_path / root).create("a/b", b"")
    assert str(refused.value) == f"folder '{tmp_path / root}', key 'a/b': {remedy}"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
def test_create_where_no_folder_can_be_made_is_refused() -> None:
    with pytest.raises(StoreRefusedError, match="No such file or directory: check the path, its owner and the disk"):
        FolderObjects(Path("/proc/gridline")).create("a/b", b"")


def test_full_disk_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    objects = FolderObjects(tmp_path)
    objects.create("kept", b"1234")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(StoreRefusedError, match="File too large"):
            objects.create("large", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [each.key for each in objects.list("")] == ["kept"]
    assert not list((tmp_path / ".staging").iterdir())
    objects.create("large", bytes(5000))


@pytest.mark.parametrize("uri", ["file://host/folder", "file://folder"])
def test_file_address_with_a_host_is_refused(uri: str) -> None:
    with pytest.raises(InvalidNameError, match=r"names the host '\w+': give file:///PATH, or a path alone"):
        open_objects(uri)


def test_file_address_of_this_machine_is_a_folder(tmp_path: Path) -> None:
    assert open_objects(f"file://localhost{tmp_path}").uri == open_objects(f"file://{tmp_path}").uri == str(tmp_path)
