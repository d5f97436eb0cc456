from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from handler.hosting.control import Control, control_folder
from handler.hosting.endpoint import Endpoint
from handler.models.fleet import Fleet
from handler.requests.payload import Request
from model_store.serving import control

REQUEST = Request(b'{"dataset": "north", "instances": [[3, 1]]}', "application/json", None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRIDLINE_CONTROL", str(tmp_path))
    return tmp_path


def test_requests_are_refused_while_the_server_drains_and_answered_after(folder: Path, stores_fleet: Fleet) -> None:
    endpoint = Endpoint(stores_fleet, Control(control_folder()))
    assert [answer.status for answer in endpoint.respond([REQUEST])] == [200]
    control.refuse_requests(folder)
    first, second = endpoint.respond([REQUEST, Request(b"", "", None, method="GET")])
    assert first.status == second.status == 503
    assert first.headers == {"Retry-After": "1"}
    assert json.loads(first.body)["code"] == 503
    control.accept_requests(folder)
    assert [answer.status for answer in endpoint.respond([REQUEST])] == [200]


def test_without_the_variable_nothing_is_read_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stores_fleet: Fleet
) -> None:
    monkeypatch.delenv("GRIDLINE_CONTROL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "draining").touch()
    with Control(control_folder()) as nothing:
        assert [answer.status for answer in Endpoint(stores_fleet, nothing).respond([REQUEST])] == [200]
    assert [path.name for path in tmp_path.iterdir()] == ["draining"]


def test_a_server_is_idle_when_no_worker_is_answering(folder: Path) -> None:
    one, other = Control(folder), Control(folder)
    assert control.wait_until_idle(folder, deadline=0)
    with one:
        assert not control.wait_until_idle(folder, deadline=time.monotonic() + 0.05)
        with other:
            pass
        assert not control.wait_until_idle(folder, deadline=0)
    assert control.wait_until_idle(folder, deadline=0)
