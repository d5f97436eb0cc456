"""The exceptions of deployment and serving; the package `gridline` draws the tree."""

from __future__ import annotations

from handler.errors import GridlineError


class ServerError(GridlineError):
    """A server can't be started, reached, or used as it should be."""

    exit_code = 4


class PortError(ServerError):
    """The ports or the address that a server is to have can't be those of one server."""

    exit_code = 2


class ServerRefusedError(ServerError):
    """The server answered no. `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class KeyRefusedError(ServerRefusedError):
    """The server did not take the key: it is missing, wrong, expired, or of the other port."""


class BusyError(ServerError):
    """Another process deploys the collection on this server."""


class DeploymentError(ServerError):
    """A new version did not start correctly; the old one serves as before."""


class PredictionRefusedError(ServerRefusedError):
    """The endpoint refused the request as wrong, with this message."""

    exit_code = 2
