"""The ports of a server: free ones, and a refusal at once of those that it could not bind."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict

from model_store.deployment.errors import PortError, ServerError
from model_store.serving.settings import LOOPBACK, Ports, ServerSettings

FIRST_PORT, LAST_PORT = 10_000, 32_767
PORT_ATTEMPTS = 1000
BACKLOG = 128
OPTIONS = {  # of the command line
    "inference": "--port",
    "management": "--management-port",
    "metrics": "--metrics-port",
    "grpc_inference": "--grpc-port",
    "grpc_management": "--grpc-management-port",
    "status": "--status-port",
}
ON_HOST = ("inference", "grpc_inference")  # bound to `host`


def with_free(ports: Ports) -> Ports:
    """Return the ports with each 0 replaced by a port that is free now; all of them differ."""
    chosen = asdict(ports)
    wanted = [name for name, port in chosen.items() if port == 0]
    return Ports(**chosen | dict(zip(wanted, free_ports(len(wanted)), strict=True)))


def free_ports(count: int) -> list[int]:
    """Return different ports that are free now.

    A server binds its ports only seconds later. So they are drawn from below the range of Linux for outgoing
    connections: a port from that range, which binding to 0 gives, might be taken by then.
    """
    with ExitStack() as sockets:
        return [_bind(sockets.enter_context(socket.socket())) for _ in range(count)]


def _bind(free: socket.socket) -> int:
    """Bind a socket to a free port, and return it. Raises ServerError if none is found."""
    for _ in range(PORT_ATTEMPTS):
        with suppress(OSError):
            free.bind((LOOPBACK, random.randint(FIRST_PORT, LAST_PORT)))  # noqa: S311
            return int(free.getsockname()[1])
    raise ServerError(f"no port between {FIRST_PORT} and {LAST_PORT} is free: end some program, or give the ports")


def refuse_unusable(settings: ServerSettings) -> None:
    """Raise PortError if two ports are equal, or ServerError if one can't be bound now: taken, or a foreign address."""
    refuse_equal(settings.ports)
    for name, port in _given(settings.ports).items():
        host, host_option = _host(settings, name)
        listen(host, port, OPTIONS[name], host_option).close()


def _host(settings: ServerSettings, name: str) -> tuple[str, str]:
    """Return the address to which a port is bound, and its option."""
    if name == "metrics":
        return settings.metrics_host, "--metrics-host"
    return settings.host if name in ON_HOST else LOOPBACK, "--host"


def refuse_equal(ports: Ports, status: int = 0) -> None:
    """Raise PortError if two of the ports, or the one of the status, are the same; 0 stands for any free port."""
    seen: dict[int, str] = {}
    for name, port in [*_given(ports).items(), ("status", status)]:
        if port and port in seen:
            raise PortError(
                f"port {port} is given for {OPTIONS[seen[port]]} and for {OPTIONS[name]}: set {OPTIONS[name]} to "
                "another, or to 0 for any free port"
            )
        seen[port] = name


def _given(ports: Ports) -> Mapping[str, int]:
    """Return the ports by the name of their purpose, without those that nobody wants."""
    return {name: port for name, port in asdict(ports).items() if port is not None}


def listen(host: str, port: int, option: str, host_option: str = "--host") -> socket.socket:
    """Return a socket that listens. Raises ServerError with the option to change if it can't be had."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, *_, where = min(addresses, key=lambda address: address[0] != socket.AF_INET)  # as Java chooses
        with ExitStack() as stack:
            listening = stack.enter_context(socket.socket(family))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java: a port in TIME_WAIT is free
            listening.bind(where)
            listening.listen(BACKLOG)
            stack.pop_all()  # it stays open
            return listening
    except socket.gaierror as exc:
        raise PortError(f"{host_option} {host} is no address: {exc.strerror}; set it to one of this machine") from exc
    except OSError as exc:
        raise _refusal(exc, host, port, (option, host_option)) from exc


def _refusal(error: OSError, host: str, port: int, options: tuple[str, str]) -> ServerError:
    """Return why a port can't be bound, with the option to change: that of the port, or that of the host."""
    option, host_option = options
    if error.errno == errno.EADDRINUSE:
        return ServerError(f"port {port} of {host} is taken by another program: set {option} to another, or to 0")
    if error.errno == errno.EACCES:
        return ServerError(f"port {port} needs the rights of root: set {option} to a port from 1024 on")
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return PortError(
            f"{host} is no address of this machine: set {host_option} to one, such as {LOOPBACK}, 0.0.0.0 or ::"
        )
    return ServerError(f"port {port} of {host} can't be used: {error.strerror}; set {option} to another")
