"""A child process that leaves nothing behind: it and its own children end when gridline ends, even by SIGKILL.

The child leads a process group. A shell in that group waits for the end of a pipe that only gridline holds open, and
then kills the group: the kernel closes the pipe however gridline ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_store.serving.settings import ServerSettings

LOG_LINES_SHOWN = 3
# The pipe is standard input. A shell gives its background commands another one, so it is passed on as descriptor 3.
WATCHED = (
    'exec 3<&0; (read -r _ <&3; kill -s KILL 0) >/dev/null 2>&1 & unset PWD OLDPWD SHLVL; exec "$@" 3<&- </dev/null'
)
SHELL = "/bin/sh"
PLACES = ("at ", "... ")


class Child:
    """A child process with its own children."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait until it ends by itself, and return its exit code."""
        return self._process.wait()

    def terminate(self, timeout_s: float) -> None:
        """Ask it to end by itself, and wait for that, for `timeout_s` at the most."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def kill(self) -> None:
        """End it and all its children now."""
        with contextlib.suppress(ProcessLookupError):  # all are gone
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


class ChildHost:
    """What hosts that are child processes share: a part of `model_store.serving.host.Host`."""

    def __init__(self, settings: ServerSettings, process: Child, log_file: Path) -> None:
        self.settings = settings
        self.log_file = log_file
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return the exit code of the server, or None while it runs."""
        return self._process.exit_code()

    def end(self, deadline: float) -> bool:
        """Ask the process to end, and wait for that; return False if it has not by `deadline` (monotonic seconds)."""
        self._process.terminate(max(0.0, deadline - time.monotonic()))
        return self.exit_code() is not None

    def stop(self) -> None:
        """End the server and its workers now, and wait until they are gone."""
        self._process.kill()

    def log_tail(self) -> str:
        """Return the last lines of its log on one line, for a message."""
        return last_lines(self.log_file)


def launch(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path, *, keep: Sequence[int] = ()
) -> Child:
    """Start a command in `folder` with this environment and no other; what it prints is appended to `output`.

    It inherits the file descriptors `keep`. Raises OSError if it can't be started.
    """
    if shutil.which(command[0], path=environment.get("PATH")) is None:  # the shell could only print this
        raise FileNotFoundError(errno.ENOENT, "no such program", command[0])
    with output.open("ab") as log:
        return Child(
            subprocess.Popen(
                [SHELL, "-c", WATCHED, "gridline", *command],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=keep,
                start_new_session=True,  # its own group: ended as one, and not by the terminal's Ctrl-C
            )
        )


def last_lines(*logs: Path, since: float = 0.0, without: Sequence[str] = ()) -> str:
    """Return the last lines of logs on one line, for a message; without the places of Java's traces.

    Logs that were not written `since` (seconds of the clock) are left out, and lines that begin with one of `without`.
    """
    texts: list[str] = []
    for log in logs:
        if log.exists() and log.stat().st_mtime >= since:
            lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
            texts += [line for line in lines if line and not line.startswith((*PLACES, *without))]
    return " | ".join(texts[-LOG_LINES_SHOWN:]) or "it said nothing"
