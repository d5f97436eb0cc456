"""`make demo`, interrupted while it serves: what it wrote is there, and what it started is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120.0

pytestmark = [pytest.mark.ray, pytest.mark.torchserve, pytest.mark.timeout(300)]


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of all processes that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if str(folder) in line:
            found.append(line)
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fails when time is up."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "time is up"
        time.sleep(0.02)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short name: the sockets of Ray and TorchServe lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="gl-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_demo_starts_anew_and_leaves_no_process_when_interrupted(tmp_path: Path, temporary: Path) -> None:
    stale = tmp_path / "gridline-demo" / "store" / "versions" / "plants" / f"{7:020}.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("of another demo")
    env = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "RAY_TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "examples.demo"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        wait_until(lambda: demo.poll() is not None or any("ModelServer" in line for line in processes_of(temporary)))
        demo.send_signal(signal.SIGINT)
        printed, said = demo.communicate(timeout=TIMEOUT_S)

    # A shell calls both 130: where the signal meets a library that runs a string, CPython ends by the signal itself.
    assert demo.returncode in (130, -signal.SIGINT), said
    assert "interrupted" in said
    assert "committed plants version 1" in printed
    assert "prediction" not in printed
    written = {path.name for path in (tmp_path / "gridline-demo").iterdir()}
    assert written == {"store", "regression.png", "loss_curves.png", "plants.mar"}
    wait_until(lambda: not processes_of(temporary))
