"""A real Prometheus and a real Pushgateway, on free ports, with nothing left at the end: Debian has both.

Prometheus reads infra/monitoring/prometheus.yml and its alerts; only the addresses of its targets, and the time between
two looks, are other ones.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from model_store.serving.ports import free_ports
from tests.infra_files import INFRA
from tests.servers.torchserve import until

INSTALL = "apt-get install -y --no-install-recommends prometheus prometheus-pushgateway"
MONITORING = INFRA / "monitoring"


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now: their labels as `metric`, and their `value`."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def range(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[dict[str, Any]]:
        """Return the series that an expression had from `start_s` to `end_s`, as panels show them."""
        times = {"query": expression, "start": start_s, "end": end_s, "step": step_s}
        answer = httpx.post(f"{self.url}/api/v1/query_range", data=times, timeout=30).json()
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


def is_missing() -> bool:
    return shutil.which("prometheus") is None or shutil.which("prometheus-pushgateway") is None


@contextmanager
def pushgateway() -> Iterator[str]:
    """Run a Pushgateway until the block ends; yield its address, as `127.0.0.1:9091`."""
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    with _process(["prometheus-pushgateway", f"--web.listen-address={address}"]) as process:
        until(lambda: _is_ready(address, process))
        yield address


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, Sequence[str]]) -> Iterator[Prometheus]:
    """Run Prometheus with these targets by job until the block ends. They have answered once."""
    configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    assert {one["job_name"] for one in configuration["scrape_configs"]} == set(targets)
    for one in configuration["scrape_configs"]:
        one["static_configs"] = [{"targets": list(targets[one["job_name"]])}]
        one["scrape_timeout"] = "1s"
    folder.mkdir()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    shutil.copy(MONITORING / "alerts.yml", folder)
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with _process(["prometheus", *options, f"--web.listen-address={address}"]) as process:
        until(lambda: _is_ready(address, process))
        server = Prometheus(f"http://{address}")
        num_targets = sum(map(len, targets.values()))
        until(lambda: len(server.ask("up == 1")) == num_targets)
        yield server


def _is_ready(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "it ended at its start"
    try:
        return httpx.get(f"http://{address}/-/ready", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextmanager
def _process(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
