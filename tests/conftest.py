"""Fixtures for every test; those of one kind of server are in tests/servers/."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests import parallel

pytest_plugins = [
    "tests.servers.stores",
    "tests.servers.inline_cluster",
    "tests.servers.desk",
    "tests.servers.torchserve",
    "tests.servers.rollouts",
    "tests.servers.ray_cluster",
    "tests.servers.ray_nodes",
]


# A shell that starts this in the background, or by nohup, has it ignore signals; so would what tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def spool_of_tests(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a job can't store below the folder of the tests, and not in the home of who runs them."""
    monkeypatch.setenv("GRIDLINE_SPOOL", str(tmp_path_factory.getbasetemp() / "spool"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring tests that share a server together, and begin with what takes longest."""
    items.sort(key=lambda item: parallel.place_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Divide the tests among workers, where there are some."""
    return parallel.scheduler(config, log)
