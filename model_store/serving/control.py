"""The control folder: what gridline tells the workers of a running server (handler/hosting/control.py reads it)."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from handler.hosting.control_files import BUSY, DRAINING

POLL_INTERVAL_S = 0.01


def refuse_requests(control: Path) -> None:
    """Make every worker answer each request from now on with 503."""
    control.joinpath(DRAINING).touch()


def accept_requests(control: Path) -> None:
    """Make the workers answer again."""
    control.joinpath(DRAINING).unlink(missing_ok=True)


def is_refusing(control: Path) -> bool:
    """Return whether the workers refuse requests."""
    return control.joinpath(DRAINING).exists()


def wait_until_idle(control: Path, deadline: float) -> bool:
    """Return True when no worker is answering a request; False if that was not so by `deadline` (monotonic seconds).

    A worker holds a shared lock while it answers. Nothing waits for the exclusive one: workers must not wait for it.
    """
    lock = os.open(control / BUSY, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(POLL_INTERVAL_S)
            else:
                return True
    finally:
        os.close(lock)
