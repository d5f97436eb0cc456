"""The verbs that package and serve models: package, serve."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import CollectionArgument, JsonOption, StoreOption, VersionOption, WorkersOption
from jobs.cli.output import console, emit, emit_json

if TYPE_CHECKING:
    from model_store.torchserve.process import ServerSettings


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
    port: Annotated[int, typer.Option("--port", help="Inference over HTTP; 0 for any free port.")] = 8080,
    management_port: Annotated[int, typer.Option("--management-port")] = 8081,
    metrics_port: Annotated[int, typer.Option("--metrics-port")] = 8082,
    grpc_port: Annotated[int, typer.Option("--grpc-port", help="Inference over gRPC.")] = 7070,
    grpc_management_port: Annotated[int, typer.Option("--grpc-management-port")] = 7071,
    workers: WorkersOption = 1,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="The folder for keys, log and archives; default: a temporary one.")
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log a line for each request.")] = False,
    json: JsonOption = False,
) -> None:
    """Run TorchServe on this machine with the models of a collection, until it is interrupted."""
    from model_store.torchserve.process import Ports, ServerSettings, with_free

    ports = with_free(Ports(port, management_port, metrics_port, grpc_port, grpc_management_port))
    with tempfile.TemporaryDirectory(prefix="gridline-serve-") as temporary:
        settings = ServerSettings((folder or Path(temporary)).resolve(), host, ports, workers, access_log)
        try:
            _serve(collection, store, version, settings, json)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


def _serve(collection: str, store: str | None, version: int | None, settings: ServerSettings, json: bool) -> None:
    """Serve until KeyboardInterrupt. Raises ServerError if TorchServe ends by itself."""
    from model_store import open_ledger
    from model_store.archives.stored import archive_of
    from model_store.deployment.errors import ServerError
    from model_store.torchserve.serving import serving

    ledger = open_ledger(store)
    archive = archive_of(ledger, ledger.version(collection, version), settings.folder / "archives")
    with serving(archive, settings) as server:
        document = {
            "collection": collection,
            "version": archive.version,
            "url": f"{settings.inference_url}/predictions/{collection}",
            "management_url": settings.management_url,
            "metrics_url": f"{settings.metrics_url}/metrics",
            "grpc": f"{settings.host}:{settings.ports.grpc_inference}",
            "token_file": str(settings.key_file),
            "log": str(settings.log_file),
            "pid": server.pid,
        }
        if json:
            emit_json(document)
        else:
            console().print(
                f"serving {collection} version {archive.version} at {document['url']}\n"
                f"keys: {document['token_file']}\nlog: {document['log']}\nCtrl-C stops it",
                soft_wrap=True,
            )
        sys.stdout.flush()
        code = server.wait()
        raise ServerError(f"TorchServe ended by itself with code {code}: {server.log_tail()}")
