from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_store.deployment.errors import ServerError
from model_store.torchserve.process import Ports, ServerSettings, launch, start, with_free, write_configuration
from tests.servers.torchserve import until


def properties(settings: ServerSettings) -> dict[str, str]:
    lines = write_configuration(settings, "m.mar").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_configuration_is_filled_in_and_bound_to_loopback(tmp_path: Path) -> None:
    found = properties(ServerSettings(tmp_path, host="0.0.0.0", ports=Ports(1, 2, 3, 4, 5), workers=7))  # noqa: S104
    assert found["inference_address"] == "http://0.0.0.0:1"
    assert found["management_address"] == "http://127.0.0.1:2"
    assert found["metrics_address"] == "http://127.0.0.1:3"
    assert (found["grpc_inference_address"], found["grpc_inference_port"]) == ("0.0.0.0", "4")  # noqa: S104
    assert (found["grpc_management_address"], found["grpc_management_port"]) == ("127.0.0.1", "5")
    assert (found["default_workers_per_model"], found["load_models"]) == ("7", "m.mar")
    assert found["disable_token_authorization"] == "false"
    assert not [value for value in found.values() if "$" in value]
    assert (tmp_path / "log4j2.xml").exists()


def test_free_ports_differ_and_given_ones_stay() -> None:
    ports = with_free(Ports(0, 8081, 0, 0, 0))
    assert ports.management == 8081
    assert len({ports.inference, ports.metrics, ports.grpc_inference, ports.grpc_management, 0}) == 5


def test_a_folder_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="too long for a socket"):
        start(ServerSettings(tmp_path / ("x" * 100)))


def test_a_server_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="can't be started"):
        launch(ServerSettings(tmp_path), ["/nowhere/java"], {})


def test_stop_ends_the_whole_process_group(tmp_path: Path) -> None:
    program = "trap '' TERM; sleep 300 & echo $! > child; touch ready; while true; do wait; done"
    server = launch(ServerSettings(tmp_path), ["bash", "-c", program], {"PATH": os.environ["PATH"]})
    until((tmp_path / "ready").exists)
    child = int((tmp_path / "child").read_text())
    server.stop(timeout_s=0.2)
    assert server.exit_code() is not None
    until(lambda: not is_running(child))


def is_running(pid: int) -> bool:
    """Return whether a process is there, and not only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_last_words_are_on_one_line(tmp_path: Path) -> None:
    with launch(ServerSettings(tmp_path), ["bash", "-c", "echo one; echo two; echo three; echo four"], {}) as server:
        server.wait()
        assert server.log_tail() == "two | three | four"
