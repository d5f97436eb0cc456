from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.deployment.errors import PortError, ServerError
from model_store.serving.ports import refuse_equal, refuse_unusable, with_free
from model_store.serving.settings import Ports, ServerSettings

FREE = Ports(0, 0, 0, 0, 0)


def settings(host: str = "127.0.0.1", **ports: int) -> ServerSettings:
    return ServerSettings(Path("unused"), host, replace(with_free(FREE), **ports))


def test_free_ports_differ_and_given_ones_stay() -> None:
    ports = with_free(Ports(0, 8081, 0, 0, 0))
    assert ports.management == 8081
    assert len({ports.inference, ports.metrics, ports.grpc_inference, ports.grpc_management, 0}) == 5
    assert with_free(Ports(0, 0, 0)).grpc_inference is None


def test_equal_ports_are_refused_with_both_options() -> None:
    with pytest.raises(PortError, match=r"port 8081 is given for --management-port and for --metrics-port") as caught:
        refuse_equal(Ports(0, 8081, 8081))
    assert caught.value.exit_code == 2


def test_any_free_ports_are_not_equal() -> None:
    refuse_equal(FREE)


@pytest.mark.parametrize(
    ("name", "option"), [("inference", "--port"), ("metrics", "--metrics-port"), ("management", "--management-port")]
)
@pytest.mark.parametrize("taken_at", ["127.0.0.1", ""])
def test_a_taken_port_is_refused_with_its_option(name: str, option: str, taken_at: str) -> None:
    with socket.socket() as other:
        other.bind((taken_at, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServerError, match=rf"port {port} of 127\.0\.0\.1 is taken .* set {option} to another"):
            refuse_unusable(settings(**{name: port}))


def test_a_port_that_was_just_left_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # closed by this side: the port is in TIME_WAIT
    refuse_unusable(settings(metrics=port))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1", "::"])  # noqa: S104
def test_addresses_of_this_machine_are_usable(host: str) -> None:
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    refuse_unusable(settings(host))


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.1", "192.0.2.1 is no address of this machine: set --host"),
        ("2001:db8::1", "2001:db8::1 is no address of this machine: set --host"),
        ("nowhere.invalid", "--host nowhere.invalid is no address"),
    ],
)
def test_another_address_is_refused(host: str, message: str) -> None:
    with pytest.raises(PortError, match=message):
        refuse_unusable(settings(host))


def test_another_address_for_metrics_is_refused_with_its_option() -> None:
    with pytest.raises(PortError, match=r"192\.0\.2\.1 is no address of this machine: set --metrics-host to one"):
        refuse_unusable(replace(settings(), metrics_host="192.0.2.1"))


def test_urls_of_ipv6_have_brackets() -> None:
    found = settings("::1", inference=8080, management=8081)
    assert (found.inference_url, found.management_url) == ("http://[::1]:8080", "http://127.0.0.1:8081")
