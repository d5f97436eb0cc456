from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_store.deployment.errors import ServerError
from model_store.serving.child import launch
from model_store.serving.folder import held, prepare
from model_store.serving.settings import ServerSettings
from tests.servers.torchserve import until

HOLD = """
import sys
from pathlib import Path
from model_store.serving.child import launch
from model_store.serving.folder import held
folder = Path(sys.argv[1])
with held(folder) as lock:
    child = launch(["sleep", "300"], folder, {"PATH": "/usr/bin:/bin"}, folder / "out", keep=[lock])
    (folder / "holds").touch()
    child.wait()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run another process that holds the folder, with a child."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)]) as process:
        try:
            until((folder / "holds").exists)
            yield process
        finally:
            process.kill()


def test_a_folder_that_a_live_process_holds_is_refused_and_unchanged(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        (tmp_path / "key_file.json").write_text("its keys")
        with pytest.raises(ServerError, match=f"in use by the server of process {process.pid}: end that, or set --fol"):
            held(tmp_path).__enter__()
        assert (tmp_path / "key_file.json").read_text() == "its keys"


def test_the_folder_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with held(tmp_path):
            assert (tmp_path / "serve.lock").read_text() == f"{os.getpid()}\n"


def test_a_folder_is_free_after_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path) as lock:
            launch(["true"], tmp_path, {"PATH": os.environ["PATH"]}, tmp_path / "out", keep=[lock]).kill()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match="can't be written: Not a directory; make room there, or set --folder to"):
        held(tmp_path / "file" / "folder").__enter__()


def test_prepare_removes_what_an_earlier_server_left(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path / "s")
    prepare(settings)
    for left in (settings.key_file, settings.temporary / "socket", settings.control / "draining"):
        left.touch()
    (settings.model_store / "a.mar").touch()
    prepare(settings)
    assert not settings.key_file.exists()
    assert list(settings.temporary.iterdir()) == list(settings.control.iterdir()) == []
    assert (settings.model_store / "a.mar").exists()
    assert settings.folder.stat().st_mode & 0o777 == 0o700
