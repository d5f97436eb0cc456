"""The folder store: what a crash leaves behind, and who is still alive."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.claims.process_identity import is_dead, this_process
from model_store.errors import StoreRefusedError
from model_store.objects.folder import STAGING, FolderObjects


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
