from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from model_store.serving.listening import is_listening, stop_listening, wait_until_unconnected

ECHO = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
while received := connection.recv(100):
    connection.sendall(received)
connection.close()
input()
"""


@pytest.fixture
def echo() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A child process that listens, and sends back what its one client sends; its port."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_a_child_that_stops_listening_goes_on_answering(echo: tuple[subprocess.Popen[str], int]) -> None:
    process, port = echo
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert is_listening(port)
        client.sendall(b"one")
        assert client.recv(100) == b"one"
        if not stop_listening(process.pid, port):
            pytest.skip("this machine lets no process look into its children")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert not is_listening(port)
        assert not wait_until_unconnected(port, 0.05)
        client.sendall(b"two")
        assert client.recv(100) == b"two"
    assert wait_until_unconnected(port, 10.0)
    assert not stop_listening(process.pid, port)


def test_a_process_that_has_ended_does_not_listen(echo: tuple[subprocess.Popen[str], int]) -> None:
    process, port = echo
    process.kill()
    process.wait()
    assert not stop_listening(process.pid, port)
    assert not stop_listening(os.getpid(), port)
