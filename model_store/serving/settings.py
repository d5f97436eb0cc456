"""How a server runs: its folder, addresses and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from model_store.deployment.control import CONTROL

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """The ports of a server; TorchServe's own defaults, and no gRPC unless it is asked for."""

    inference: int = 8080
    management: int = 8081
    metrics: int = 8082
    grpc_inference: int | None = None
    grpc_management: int | None = None


@dataclass(frozen=True)
class ServerSettings:
    """How a server runs. Management is bound to the loopback interface, whatever `host` is."""

    folder: Path
    host: str = LOOPBACK
    ports: Ports = field(default_factory=Ports)
    workers: int = 1
    access_log: bool = False
    token_expiration_min: float = 5_256_000.0  # ten years: keys are new at each start anyway
    max_request_size_bytes: int = 6_553_500
    keys: Path | None = None  # a key file from which a host that can takes its keys; else they are new at each start
    metrics_host: str = LOOPBACK

    @property
    def model_store(self) -> Path:
        """The folder from which the server may load archives, by file name."""
        return self.folder / "model-store"

    @property
    def key_file(self) -> Path:
        """The file with the keys, made anew at each start."""
        return self.folder / "key_file.json"

    @property
    def temporary(self) -> Path:
        """The temporary folder of the server and its workers, emptied at each start."""
        return self.folder / "tmp"

    @property
    def control(self) -> Path:
        """What gridline's commands tell the workers, who know the folder as GRIDLINE_CONTROL."""
        return self.folder / CONTROL

    @property
    def unpacked(self) -> Path:
        """The folder with the models of archives, for a host that unpacks them itself."""
        return self.temporary / "models"

    @property
    def inference_url(self) -> str:
        return url(self.host, self.ports.inference)

    @property
    def management_url(self) -> str:
        return url(LOOPBACK, self.ports.management)

    @property
    def metrics_url(self) -> str:
        return url(self.metrics_host, self.ports.metrics)


def url(host: str, port: int) -> str:
    """Return the address of a server."""
    return f"http://{address(host, port)}"


def address(host: str, port: int) -> str:
    """Return host and port as clients write them: an IPv6 address has brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
