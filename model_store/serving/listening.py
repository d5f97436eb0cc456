"""Make a server stop listening to a port, which TorchServe can't while it goes on answering at that port or others.

Linux lets a process take a descriptor of its child (pidfd_getfd), and shut down the socket that it stands for. Where
that is forbidden, as in some containers, the server goes on listening.
"""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PIDFD_GETFD = 438  # the number of the system call, the same on every machine since Linux 5.6
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENING, ESTABLISHED = "0A", "01"
POLL_INTERVAL_S = 0.02


@dataclass(frozen=True)
class _Socket:
    """A TCP socket of this machine: a line of /proc/net/tcp."""

    port: int
    state: str
    inode: str


def is_listening(port: int) -> bool:
    """Return whether a program of this machine listens to a port; True where the machine does not tell."""
    return not TABLES[0].exists() or any(one.port == port and one.state == LISTENING for one in _sockets())


def stop_listening(pid: int, port: int) -> bool:
    """Refuse new connections to a port of a child process from now on; return whether that was possible."""
    inodes = {one.inode for one in _sockets() if one.port == port and one.state == LISTENING}
    found = False
    with suppress(OSError):  # it has ended, or this process may not look into it
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = str(entry.readlink())
            if target.removeprefix("socket:[").removesuffix("]") in inodes:
                with socket.socket(fileno=_descriptor_of(pid, int(entry.name))) as listener:
                    listener.shutdown(socket.SHUT_RDWR)
                found = True
    return found


def wait_until_unconnected(port: int, timeout_s: float) -> bool:
    """Return True when no connection to a port of this machine is open; False if one still is after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while any(one.port == port and one.state == ESTABLISHED for one in _sockets()):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def _descriptor_of(pid: int, descriptor: int) -> int:
    """Return a descriptor of this process for the file of another one's. Raises OSError."""
    handle = os.pidfd_open(pid)
    try:
        copied: int = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, handle, descriptor, 0)
    finally:
        os.close(handle)
    if copied < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return copied


def _sockets() -> Iterator[_Socket]:
    """Return the TCP sockets of this machine, or of its container."""
    for table in TABLES:
        with suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                yield _Socket(int(fields[1].rpartition(":")[2], 16), fields[3], fields[9])
