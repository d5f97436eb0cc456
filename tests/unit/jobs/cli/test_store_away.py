"""A verb whose store does not answer: it says that it tries again, a signal ends it, and it gives up in its time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.servers.command_line import GRIDLINE, run


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nothing listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield closed.getsockname()[1]


def environment(port: int, **more: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "a-secret-key"}
    return {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", **keys, **more}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_verb_that_tries_again(closed_port: int, number: signal.Signals) -> None:
    command = [*GRIDLINE, "models", "show", "plants", "a", "--store", "s3://models/p"]
    env = os.environ | environment(closed_port)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        sent_at = time.monotonic()
        process.send_signal(number)
        _, rest = process.communicate(timeout=30)
    finally:
        process.kill()
    assert line.startswith(f"bucket 'models' at http://127.0.0.1:{closed_port} does not answer (Could not connect")
    assert "trying again for 5" in line
    assert (process.returncode, rest) == (130, "gridline: interrupted\n")
    assert time.monotonic() - sent_at < 5


def test_verb_gives_up_in_the_time_of_the_environment(
    closed_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(closed_port, GRIDLINE_RETRY_S="0.2").items():
        monkeypatch.setenv(name, value)
    answer = run(capsys, "models", "show", "plants", "a", "--store", "s3://models/p")
    assert answer.code == 4
    assert "can't be reached: Could not connect to the endpoint; tried for 0.2 s: check the server" in answer.line


@pytest.mark.parametrize("written", ["soon", "-1", "inf", "nan"])
def test_time_that_is_no_number_of_seconds_is_refused(
    written: str, closed_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDLINE_RETRY_S", written)
    answer = run(capsys, "models", "show", "plants", "a", "--store", "s3://models/p")
    assert (answer.code, answer.line) == (
        2,
        f"gridline: GRIDLINE_RETRY_S {written!r} is not a number of seconds: write one, such as 60",
    )
