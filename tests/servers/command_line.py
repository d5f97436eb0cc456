"""The command line: in this process, what a command printed and how it ended; or as a process of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from jobs.cli import main

GRIDLINE = [sys.executable, "-m", "jobs"]
PORT_OPTIONS = [f"--{name}" for name in ("port", "management-port", "metrics-port", "status-port")]
LOGGED = re.compile(r"^\S+Z ERROR (?:run=\S+ )?")
ANY_PORTS = [word for option in PORT_OPTIONS for word in (option, "0")]  # of `gridline serve`


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The only line of standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def line(self) -> str:
        """The only line of a refusal."""
        [line] = [line for line in map(plain, self.err.splitlines()) if line.startswith("gridline: ")]
        return line


def plain(line: str) -> str:
    """Return an error as a terminal shows it: a verb that logs puts time, level and run before it otherwise."""
    return LOGGED.sub("gridline: ", line)


def run(capture: pytest.CaptureFixture[str], *arguments: str) -> Answer:
    """Return what a command comes to; a traceback fails the test."""
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capture.readouterr()
    assert isinstance(ended.value.code, int)
    assert "Traceback" not in out + err
    return Answer(ended.value.code, out, err)


@contextmanager
def running(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run gridline as a process until the block ends, and ask it to stop then."""
    command = [*GRIDLINE, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def started(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait until `gridline serve --json` serves, and return what it printed."""
    assert process.stdout is not None
    document: dict[str, Any] = json.loads(process.stdout.readline())
    return document
