"""The verbs that package and serve models: package, serve."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.log import LOG, LogFormatOption, start_log
from jobs.cli.options import CollectionArgument, JsonOption, StoreOption, VersionOption, WorkersOption
from jobs.cli.output import console, emit, emit_json

if TYPE_CHECKING:
    from model_store.archives.archive import Archive
    from model_store.serving.host import Host, Start
    from model_store.serving.settings import ServerSettings
    from model_store.serving.supervision import Stop


class HostWith(StrEnum):
    """The servers that can host a collection; docs/hosts.md compares them."""

    TORCHSERVE = "torchserve"
    UVICORN = "uvicorn"
    RAY_SERVE = "ray-serve"

    def start(self) -> Start[Host]:
        """Return the function that starts the server."""
        if self is HostWith.UVICORN:
            from model_store.asgi import process as uvicorn

            return uvicorn.start
        if self is HostWith.RAY_SERVE:
            from jobs.cluster import ray_serve_host

            return ray_serve_host.start
        from model_store.torchserve import process as torchserve

        return torchserve.start

    def own_metrics(self, settings: ServerSettings) -> Callable[[], str]:
        """Return a function that returns the server's own metrics, as text of Prometheus."""
        from model_store.torchserve.front_end_metrics import front_end_metrics

        if self is not HostWith.TORCHSERVE:
            return str
        return lambda: front_end_metrics(settings.metrics_url)

    def refuse_foreign(self, keys: Path | None, *grpc_ports: int | None) -> None:
        """Raise UsageError for an option of the other server: it would have no effect."""
        from jobs.errors import UsageError

        if self is not HostWith.TORCHSERVE and any(port is not None for port in grpc_ports):
            raise UsageError(f"{self.value} has no gRPC here: leave --grpc-port out, or set --host-with torchserve")
        if self is not HostWith.UVICORN and keys is not None:
            raise UsageError(f"{self.value} makes its own keys: leave --keys out, or set --host-with uvicorn")


def port_option(name: str, text: str | None = None) -> Any:
    """Return the option of a port, which typer refuses beyond 65535."""
    return typer.Option(name, min=0, max=65_535, help=text)


def package(
    collection: CollectionArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder for the archive.")],
    store: StoreOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Write the archive of a version, a .mar file for TorchServe."""
    from model_store import open_ledger
    from model_store.archives.stored import export_archive

    archive = export_archive(open_ledger(store), collection, version, out)
    document = {
        "collection": collection,
        "version": archive.version,
        "archive": str(archive.path),
        "sha256": archive.sha256,
        "size_bytes": archive.path.stat().st_size,
    }
    emit(document, f"wrote {archive.path} (sha256 {archive.sha256})", as_json=json)


def serve(
    collection: CollectionArgument,
    store: StoreOption = None,
    version: VersionOption = None,
    host: Annotated[str, typer.Option("--host", help="The address of the inference ports.")] = "127.0.0.1",
    port: Annotated[int, port_option("--port", "Inference over HTTP; 0 for any free port.")] = 8080,
    management_port: Annotated[int, port_option("--management-port")] = 8081,
    metrics_port: Annotated[int, port_option("--metrics-port")] = 8082,
    grpc_port: Annotated[int | None, port_option("--grpc-port", "Inference over gRPC; default: none.")] = None,
    grpc_management_port: Annotated[int | None, port_option("--grpc-management-port")] = None,
    status_port: Annotated[int, port_option("--status-port", "/livez, /readyz and /metrics, without a key.")] = 8083,
    status_host: Annotated[str, typer.Option("--status-host", help="The address of the status port.")] = "127.0.0.1",
    metrics_host: Annotated[
        str, typer.Option("--metrics-host", help="The address of TorchServe's metrics port, which needs no key.")
    ] = "127.0.0.1",
    workers: WorkersOption = 1,
    host_with: Annotated[
        HostWith, typer.Option("--host-with", help="TorchServe; uvicorn, without Java; or a Ray cluster.")
    ] = HostWith.TORCHSERVE,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="The folder for keys, log and archives; default: a temporary one.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="A key file with the keys to use (uvicorn); default: new keys."),
    ] = None,
    grace_s: Annotated[
        float, typer.Option("--grace-s", min=0, help="Seconds for requests in flight after a signal to stop.")
    ] = 30.0,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log a line for each request.")] = False,
    log_format: LogFormatOption = None,
    json: JsonOption = False,
) -> None:
    """Run a server on this machine with the models of a collection, until a signal stops it."""
    from model_store.serving.ports import refuse_equal, with_free
    from model_store.serving.settings import Ports, ServerSettings
    from model_store.serving.supervision import stopping_by_signals

    start_log(log_format, serves=True, collection=collection)
    host_with.refuse_foreign(keys, grpc_port, grpc_management_port)
    has_metrics = host_with is HostWith.TORCHSERVE
    ports = Ports(port, management_port, metrics_port if has_metrics else 0, grpc_port, grpc_management_port)
    refuse_equal(ports, status_port)
    with ExitStack() as stack:
        stop = stack.enter_context(stopping_by_signals())
        if folder is None:
            folder = stack.enter_context(_temporary_folder())
        settings = ServerSettings(
            folder.resolve(), host, with_free(ports), workers, access_log, metrics_host=metrics_host, keys=keys
        )
        with suppress(KeyboardInterrupt):
            served = _Served(collection, store, version, host_with)
            _serve(served, settings, (status_host, status_port), stop, grace_s, json)
        with suppress(OSError):  # after SIGHUP the terminal may be gone
            LOG.write("stopped")


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Make a folder that is gone after the block. Raises UsageError if no temporary folder can be written."""
    from jobs.errors import UsageError

    try:
        temporary = tempfile.TemporaryDirectory(prefix="gridline-serve-")
    except OSError as exc:
        raise UsageError(f"no temporary folder can be written ({exc.strerror}): set --folder") from exc
    with temporary as name:
        yield Path(name)


@dataclass(frozen=True)
class _Served:
    """What is served, and with what: a version of a collection, the newest if it is None."""

    collection: str
    store: str | None
    version: int | None
    host_with: HostWith

    def archive(self, folder: Path) -> Archive:
        """Return its archive, in `folder`. Raises ServerError if it can't be written there."""
        from model_store import open_ledger
        from model_store.archives.stored import archive_of
        from model_store.serving.folder import written

        ledger = open_ledger(self.store)
        version = ledger.version(self.collection, self.version)
        with written(folder):
            return archive_of(ledger, version, folder)


def _serve(
    served: _Served, settings: ServerSettings, status: tuple[str, int], stop: Stop, grace_s: float, json: bool
) -> None:
    """Serve until a signal stops it, with the status port at the address `status`.

    Raises ServerError if the server does not start, or does not answer however often it is restarted.
    """
    from model_store.serving.running import reserved, serving
    from model_store.serving.supervision import supervise
    from model_store.status.watching import watched

    with reserved(settings) as lock, watched(settings, *status, served.host_with.own_metrics(settings)) as watch:
        archive = served.archive(settings.folder / "archives")
        start = watch.restarting(served.host_with.start())
        with serving(start, archive, settings, lock) as server, watch.checking(server):
            _print_addresses(server, archive, served.host_with, watch.url, json)
            supervise(server, stop, grace_s)


def _print_addresses(server: Host, archive: Archive, host_with: HostWith, status_url: str, json: bool) -> None:
    """Say where the server answers, and where its keys and its log are."""
    from model_store.serving.settings import address

    settings, grpc = server.settings, server.settings.ports.grpc_inference
    document = {
        "collection": archive.collection,
        "version": archive.version,
        "url": f"{settings.inference_url}/predictions/{archive.collection}",
        "management_url": settings.management_url,
        "host_with": host_with.value,
        "metrics_url": f"{settings.metrics_url}/metrics" if host_with is HostWith.TORCHSERVE else None,
        "status_url": status_url,
        "grpc": None if grpc is None else address(settings.host, grpc),
        "token_file": str(settings.key_file),
        "log": str(server.log_file),
        "pid": server.pid,
    }
    if json:
        emit_json(document)
    else:
        console().print(
            f"serving {archive.collection} version {archive.version} at {document['url']}\n"
            f"keys: {document['token_file']}\nlog: {document['log']}\n"
            f"status: {status_url} (/livez, /readyz, /metrics)\nCtrl-C stops it",
            soft_wrap=True,
        )
    sys.stdout.flush()
