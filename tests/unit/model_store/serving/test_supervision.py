from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model_store.deployment.errors import ServerError
from model_store.serving.settings import ServerSettings
from model_store.serving.supervision import SIGNALS, stopping_by_signals, supervise


@dataclass
class FakeHost:
    """A host that ends when `ended` is set, and drains as long as `drains` says."""

    settings: ServerSettings = field(default_factory=lambda: ServerSettings(Path("unused")))
    log_file: Path = Path("unused")
    name: str = "FakeHost"
    pid: int = 0
    code: int | None = None
    drains: bool = True
    grace_s: float | None = None
    signal_while_draining: bool = False

    def exit_code(self) -> int | None:
        return self.code

    def problem(self) -> str | None:
        return None

    def drain(self, timeout_s: float) -> bool:
        self.grace_s = timeout_s
        if self.signal_while_draining:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.drains

    def stop(self) -> None:
        self.code = -9

    def log_tail(self) -> str:
        return "its last words"


def send_soon(number: int) -> threading.Timer:
    timer = threading.Timer(0.01, os.kill, (os.getpid(), number))
    timer.start()
    return timer


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_drains_within_the_grace_time(number: int) -> None:
    host = FakeHost()
    with stopping_by_signals() as stop:
        timer = send_soon(number)
        supervise(host, stop, 3.0)
        timer.join()
    assert host.grace_s == 3.0


def test_the_second_signal_ends_at_once() -> None:
    with stopping_by_signals() as stop:
        timer = send_soon(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            supervise(FakeHost(signal_while_draining=True), stop, 3.0)
        timer.join()


def test_a_signal_before_the_host_is_ready_ends_at_once() -> None:
    with stopping_by_signals(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGHUP)


def test_a_host_that_ends_by_itself_is_an_error_with_its_last_words() -> None:
    with stopping_by_signals() as stop, pytest.raises(ServerError, match="FakeHost ended by itself with code 1: its l"):
        supervise(FakeHost(code=1), stop, 3.0)


def test_requests_that_took_longer_than_the_grace_time_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with stopping_by_signals() as stop:
        timer = send_soon(signal.SIGTERM)
        supervise(FakeHost(drains=False), stop, 0.5)
        timer.join()
    assert "requests were still in flight after 0.5 s, and were cut: set --grace-s to more" in caplog.text


def test_an_ignored_signal_stays_ignored_and_handlers_are_put_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    others = signal.getsignal(signal.SIGTERM)
    try:
        with stopping_by_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.wait(0)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is others
    finally:
        signal.signal(signal.SIGHUP, before)
