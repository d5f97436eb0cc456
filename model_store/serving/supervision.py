"""Watch a host until a signal asks it to stop: the first signal drains it, the second ends it at once."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from model_store.deployment.errors import ServerError
from model_store.serving.host import Host

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TICK_S = 0.2
logger = logging.getLogger(__name__)


class Stop:
    """Whether a signal has asked to stop; until `is_graceful`, and at the second one, it raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.is_graceful = False
        self._asked = threading.Event()

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal. Raises KeyboardInterrupt if there is nothing to finish, or no patience for it."""
        if self._asked.is_set() or not self.is_graceful:
            raise KeyboardInterrupt
        self._asked.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until a signal asks to stop; return False after `timeout_s` without one."""
        return self._asked.wait(timeout_s)


@contextmanager
def stopping_by_signals() -> Iterator[Stop]:
    """Direct the signals that end a process to a `Stop` during a block; one that is ignored (nohup) stays ignored."""
    stop = Stop()
    before = {one: signal.getsignal(one) for one in SIGNALS}
    taken = [one for one in SIGNALS if before[one] is not signal.SIG_IGN]
    for one in taken:
        signal.signal(one, stop.on_signal)
    try:
        yield stop
    finally:
        for one in taken:
            signal.signal(one, before[one])


def supervise(host: Host, stop: Stop, grace_s: float) -> None:
    """Watch a host that is ready until a signal, and drain it then, for at most `grace_s`; the caller stops it.

    Raises ServerError if the host ends by itself, and KeyboardInterrupt at the second signal.
    """
    stop.is_graceful = True
    while not stop.wait(TICK_S):
        if host.exit_code() is not None:
            raise ServerError(f"{host.name} ended by itself with code {host.exit_code()}: {host.log_tail()}")
    if not host.drain(grace_s):
        logger.warning("requests were still in flight after %g s, and were cut: set --grace-s to more", grace_s)
