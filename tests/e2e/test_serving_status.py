"""A server that is watched, on each host: what its status port says, and how it is cured."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobs.cli.serving import HostWith
from model_store.archives.stored import archive_of
from model_store.ledger.ledger import Ledger
from model_store.serving.ports import with_free
from model_store.serving.running import reserved, serving
from model_store.serving.settings import ServerSettings
from model_store.status import watching
from model_store.status.restarting import RestartingHost
from model_store.status.self_check import Schedule
from model_store.status.watching import watched
from model_store.torchserve.management import Management
from tests.servers.torchserve import ANY_PORTS, COLLECTION, inference_client, until

pytestmark = pytest.mark.torchserve
BODY = {"dataset": "north", "instances": [[3, 1]]}


@dataclass(frozen=True)
class Watched:
    """A TorchServe that is asked often, and the address of its status port."""

    host: RestartingHost
    url: str

    def status(self, path: str) -> int:
        return httpx.get(self.url + path, timeout=20).status_code

    def numbers(self) -> dict[tuple[str, ...], float]:
        """Return the metrics, by name and the values of the labels."""
        families = text_string_to_metric_families(httpx.get(f"{self.url}/metrics", timeout=20).text)
        return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}

    def restarts(self, what: str) -> float:
        return self.numbers().get(("gridline_restarts_total", what), 0)

    def ask(self) -> int:
        """Return the status of a request, with the keys of now."""
        with inference_client(self.host.settings) as client:
            return client.post(f"/predictions/{COLLECTION}", json=BODY).status_code

    def worker(self) -> int | None:
        """Return the process id of the only worker, or None while there is none."""
        settings = self.host.settings
        with Management(settings.management_url, settings.key_file) as management:
            return next((one.pid for one in management.describe(COLLECTION, "1").workers), None)


# Ray's start and its own recovery take most of a minute, so `make soak` has that host.
HOSTS = [pytest.param(one, marks=pytest.mark.soak if one is HostWith.RAY_SERVE else ()) for one in HostWith]


@pytest.fixture(scope="module", params=HOSTS)
def server(
    request: pytest.FixtureRequest, stores_ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    host_with: HostWith = request.param
    folder = tmp_path_factory.mktemp("watched")
    archive = archive_of(stores_ledger, stores_ledger.version(COLLECTION), folder / "archives")
    settings = ServerSettings(folder / "s", ports=with_free(ANY_PORTS))
    with (
        pytest.MonkeyPatch.context() as patch,
        reserved(settings) as lock,
        watched(settings, "127.0.0.1", 0, host_with.own_metrics(settings)) as watch,
    ):
        patch.setattr(watching, "CHECK_TIMEOUT_S", 1.0)
        with (
            serving(watch.restarting(host_with.start()), archive, settings, lock) as host,
            watch.checking(host, Schedule(interval_s=0.5, retry_s=1.2, worker_restarts=10, server_restarts=10)),
        ):
            yield Watched(host, watch.url)


def test_the_status_port_needs_no_key_and_says_that_the_server_is_ready(server: Watched) -> None:
    assert (server.status("/livez"), server.status("/readyz"), server.status("/metrics")) == (200, 200, 200)


def test_metrics_hold_what_was_asked_and_what_is_served(server: Watched) -> None:
    before = server.numbers().get(("gridline_rows_total", COLLECTION), 0)
    for _ in range(5):
        assert server.ask() == 200
    until(lambda: server.numbers().get(("gridline_rows_total", COLLECTION), 0) >= before + 5)
    numbers = server.numbers()
    assert numbers["gridline_served_version", COLLECTION] == 1
    assert numbers["gridline_datasets", COLLECTION] == 4
    assert numbers["gridline_workers", COLLECTION, "1"] == 1
    has_front_end = any(name.startswith("ts_inference_requests") for name, *_ in numbers)
    assert has_front_end == (server.host.name == "TorchServe")


def test_counters_do_not_fall_and_gauges_vanish_when_a_worker_is_killed(server: Watched) -> None:
    until(lambda: server.status("/readyz") == 200)
    before = server.numbers()
    killed = server.worker()
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    until(lambda: server.status("/readyz") == 200 and server.worker() not in (None, killed))
    until(lambda: server.numbers().get(("gridline_workers", COLLECTION, "1")) == 1)
    after = server.numbers()
    falling = {key for key, value in before.items() if key[0].startswith("gridline_") and after.get(key, 0) < value}
    assert not {key for key in falling if key[0].endswith(("_total", "_bucket", "_count", "_sum"))}


def test_a_worker_that_stands_still_is_replaced(server: Watched) -> None:
    until(lambda: server.status("/readyz") == 200)
    before, stopped = server.restarts("workers"), server.worker()
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: server.restarts("workers") > before, timeout_s=60)
    until(lambda: server.status("/readyz") == 200)
    assert server.ask() == 200
    assert not Path(f"/proc/{stopped}").exists()


def test_a_server_that_stands_still_is_started_again(server: Watched) -> None:
    until(lambda: server.status("/readyz") == 200)
    before = server.restarts("server")
    leader = server.host.pid
    os.killpg(leader, signal.SIGSTOP)
    until(lambda: server.restarts("server") > before, timeout_s=2 * watching.CURE_TIMEOUT_S)
    until(lambda: server.status("/readyz") == 200, timeout_s=60)
    assert server.ask() == 200
    assert server.host.pid != leader


def test_a_collection_that_is_undeployed_is_not_ready_and_not_missed(server: Watched) -> None:
    until(lambda: server.status("/readyz") == 200)
    settings = server.host.settings
    with Management(settings.management_url, settings.key_file) as management:
        management.unregister(COLLECTION, "1")
        until(lambda: server.status("/readyz") == 503)
        assert server.status("/livez") == 200
        before = server.restarts("server") + server.restarts("workers")
        assert ("gridline_served_version", COLLECTION) not in server.numbers()
        assert server.restarts("server") + server.restarts("workers") == before
