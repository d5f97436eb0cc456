from __future__ import annotations

import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from handler.hosting.metrics import Metrics
from handler.hosting.worker_report import WorkerReport
from model_store.deployment.control import Control
from model_store.deployment.holds import hold
from model_store.status.example_probe import ExampleProbe
from model_store.status.pages import State, Status
from tests.servers.both_apis import FakeServer

FRONT_END = '# TYPE Requests2XX counter\nRequests2XX{Level="Host",} 19.0\n'


@pytest.fixture
def state() -> State:
    return State(None)


@pytest.fixture
def status(server: FakeServer, state: State, tmp_path: Path) -> Status:
    metrics = Metrics()
    metrics.count("gridline_restarts_total", what="server")
    return Status(tmp_path, state, ExampleProbe(server, server), metrics, lambda: FRONT_END)


def values(status: Status) -> dict[tuple[str, ...], float]:
    """Return the values of the metrics, by name and the values of the labels."""
    families = text_string_to_metric_families(status.numbers().text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_a_server_that_answers_its_example_is_live_and_ready(status: Status) -> None:
    assert (status.live().status, status.ready().status) == (200, 200)


def test_a_server_that_starts_is_live_and_not_ready(status: Status, state: State, server: FakeServer) -> None:
    server.down = "it can't be reached"
    for doing in ("starting", "restarting"):
        state.doing = doing
        assert (status.live().status, status.live().text) == (200, f"{doing}\n")
        assert (status.ready().status, status.ready().text) == (503, f"{doing}\n")


def test_a_server_whose_management_does_not_answer_is_neither(status: Status, server: FakeServer) -> None:
    server.down = "it can't\nbe reached"
    for page in (status.live(), status.ready()):
        assert (page.status, page.text) == (503, "it can't be reached\n")
    assert values(status)["gridline_up",] == 0


def test_a_collection_without_an_answer_is_not_ready(status: Status, server: FakeServer) -> None:
    server.broken["stores"] = "no answer within 2 s"
    assert status.live().status == 200
    assert (status.ready().status, status.ready().text) == (503, "collection 'stores': no answer within 2 s\n")
    found = values(status)
    assert (found["gridline_up",], found["gridline_ready", "stores"]) == (1, 0)
    assert ("gridline_served_version", "stores") not in found


def test_a_server_that_drains_is_live_and_not_ready(status: Status, tmp_path: Path) -> None:
    (tmp_path / "draining").touch()
    assert (status.live().status, status.ready().text) == (200, "draining\n")
    assert values(status)["gridline_draining",] == 1


def test_a_server_without_a_collection_is_not_ready(status: Status, server: FakeServer) -> None:
    server.endpoints.clear()
    assert (status.ready().status, status.ready().text) == (503, "no collection is deployed\n")


def test_metrics_say_what_is_served_since_when_and_by_how_many(
    status: Status, server: FakeServer, tmp_path: Path
) -> None:
    WorkerReport(server.endpoints.values, tmp_path).write()
    found = values(status)
    assert found["gridline_served_version", "stores"] == 1
    assert found["gridline_datasets", "stores"] == 4
    assert found["gridline_workers", "stores", "1"] == 1
    committed_at = found["gridline_served_version_commit_timestamp_seconds", "stores"]
    assert found["gridline_served_version_age_seconds", "stores"] == pytest.approx(time.time() - committed_at, abs=5)
    assert found["gridline_restarts_total", "server"] == 1
    assert found["Requests2XX_total", "Host"] == 19  # the parser adds what TorchServe left out


def test_metrics_say_what_the_control_folder_tells(status: Status, tmp_path: Path) -> None:
    hold(Control(tmp_path), "stores", 1, "deploy --version 1")
    found = values(status)
    assert found["gridline_held_version", "stores"] == 1
    assert 0 < found["gridline_disk_free_bytes",] <= found["gridline_disk_size_bytes",]
