from __future__ import annotations

from pathlib import Path

import pytest

from model_store.deployment.errors import ServerError
from model_store.serving.settings import Ports, ServerSettings
from model_store.torchserve.configuration import java_command, unwanted_ports, write_configuration
from model_store.torchserve.process import launch, start


def properties(settings: ServerSettings) -> dict[str, str]:
    lines = write_configuration(settings, "m.mar", unwanted_ports(settings)).read_text().splitlines()
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


def test_grpc_that_nobody_asked_for_is_bound_to_loopback_and_to_free_ports(tmp_path: Path) -> None:
    found = properties(ServerSettings(tmp_path, host="0.0.0.0", ports=Ports(1, 2, 3, grpc_management=5)))  # noqa: S104
    assert found["grpc_inference_address"] == "127.0.0.1"
    assert int(found["grpc_inference_port"]) >= 10_000
    assert found["grpc_management_port"] == "5"


def test_an_ipv6_address_has_a_name_that_torchserve_takes(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path, host="::1", ports=Ports(1, 2, 3))
    assert properties(settings)["inference_address"] == "http://gridline-host:1"
    [option] = [one for one in java_command(settings, tmp_path) if "hosts" in one]
    assert "::1 gridline-host" in Path(option.partition("=")[2]).read_text().splitlines()


@pytest.mark.parametrize(
    ("host", "metrics_host", "names"),
    [
        ("127.0.0.1", "192.0.2.1", ("127.0.0.1", "192.0.2.1")),
        ("::1", "::", ("gridline-host", "gridline-metrics")),
    ],
)
def test_the_metrics_port_may_be_bound_elsewhere(
    tmp_path: Path, host: str, metrics_host: str, names: tuple[str, str]
) -> None:
    found = properties(ServerSettings(tmp_path, host=host, ports=Ports(1, 2, 3, 4, 5), metrics_host=metrics_host))
    assert (found["inference_address"], found["metrics_address"]) == (f"http://{names[0]}:1", f"http://{names[1]}:3")
    assert found["management_address"] == "http://127.0.0.1:2"


def test_a_folder_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="too long for a socket: set --folder to a shorter one"):
        start(ServerSettings(tmp_path / ("x" * 100)))


def test_a_server_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="can't be started"):
        launch(ServerSettings(tmp_path), ["/nowhere/java"], {})
