"""The verbs for models in the store: models list, show, history, rollback, release, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.cli.options import (
    AnyCollectionArgument,
    CollectionArgument,
    DatasetsArgument,
    JsonOption,
    StoreOption,
    VersionOption,
)
from jobs.cli.output import console, emit, emit_json, emit_json_stream, number

if TYPE_CHECKING:
    from model_store.ledger.versions import Version

models = typer.Typer(help="List, show, restore, export and verify models in the store.", no_args_is_help=True)


@models.command("list")
def list_models(
    collection: AnyCollectionArgument = None,
    store: StoreOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> int:
    """List the champions of a collection; without a name, the collections of the store."""
    from jobs.reports.listing import champion_documents
    from model_store import open_ledger

    if collection is None:
        if version is not None:
            raise typer.BadParameter("--version needs the name of a COLLECTION.")
        return _list_collections(store, as_json=json)
    shown = open_ledger(store).version(collection, version)
    if json:
        said = {"collection": collection, "version": shown.number}
        said |= {"withdrawals": [each.to_json() for each in shown.withdrawals]} if shown.withdrawals else {}
        emit_json_stream(said, "datasets", champion_documents(shown))
        return 0
    from jobs.cli.table_layout import table_of

    rows = [
        (
            row["dataset"],
            (row["status"] or "unknown").replace("_", " "),
            number((row["hyperparameters"] or {}).get("learning_rate"), ".6g"),
            number(row["r2"], ".6f"),
            number(row["score"], ".6g"),
            row["metric"] or "",
            row["trained_at"] or "",
        )
        for row in champion_documents(shown)
    ]
    headings = ("dataset", "status", "learning rate", "R²", "score", "metric", "trained at")
    terminal = console()
    terminal.print(table_of(f"{collection} version {shown.number}", headings, rows, width=terminal.width))
    for withdrawal in shown.withdrawals:
        terminal.print(withdrawal.sentence, markup=False)
    return 0


def _list_collections(store: str | None, *, as_json: bool) -> int:
    """Print the collections of a store; exit code 4 if some can't be read."""
    from jobs.cli.table_layout import table_of
    from jobs.reports.listing import collection_documents
    from model_store import open_ledger

    ledger = open_ledger(store)
    documents = collection_documents(ledger)
    broken = [document for document in documents if "error" in document]
    for document in broken:
        print(f"gridline: {document['collection']}: {document['error']}", file=sys.stderr)
    if as_json:
        emit_json({"store": ledger.uri, "collections": documents})
    else:
        keys = ("collection", "version", "num_datasets", "created_at", "action", "note")
        rows = [tuple(str(document.get(key, "")) for key in keys) for document in documents]
        terminal = console()
        headings = ("collection", "version", "datasets", "committed at", "action", "note")
        terminal.print(table_of(f"{len(rows)} collections", headings, rows, width=terminal.width))
    return 4 if broken else 0


@models.command("show")
def show(
    collection: CollectionArgument,
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    store: StoreOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Show the champion of a dataset."""
    from jobs.reports.listing import champion_document
    from model_store import open_ledger

    document = champion_document(open_ledger(store), collection, dataset, version)
    shown = document if document["status"] else document | {"status": "unknown"}
    emit(document, "\n".join(f"{key}: {value}" for key, value in shown.items()), as_json=json)


@models.command("history")
def history(collection: CollectionArgument, store: StoreOption = None, json: JsonOption = False) -> None:
    """List the versions of a collection, the newest first."""
    from jobs.reports.listing import history_document
    from model_store import open_ledger

    document = history_document(open_ledger(store), collection)
    lines = (
        f"{version['version']}  {version['created_at']}  {version['action']}  {version['num_datasets']} datasets  "
        f"{version['note']}  (run {version['run_id']})"
        for version in document["versions"]
    )
    emit(document, "\n".join(lines), as_json=json)


@models.command("rollback")
def rollback(
    collection: CollectionArgument,
    version: Annotated[int, typer.Option("--version", min=1, help="The version with the champions to restore.")],
    datasets: DatasetsArgument = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; the history and later runs say it.")] = "",
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Commit the champions of an old version as a new version, and withdraw those after it."""
    from model_store import open_ledger

    head = open_ledger(store).rollback(collection, version, reason=reason, datasets=datasets or ())
    _emit_restored(head, f"with {'those' if datasets else 'the'} champions of version {version}", as_json=json)


@models.command("release")
def release(
    collection: CollectionArgument,
    datasets: DatasetsArgument = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Let runs promote the models again that rollbacks have withdrawn: of some datasets, or of all."""
    from model_store import open_ledger

    head = open_ledger(store).release(collection, datasets or ())
    _emit_restored(head, "with the same champions; their withdrawn models may be promoted again", as_json=json)


@models.command("export")
def export(
    collection: CollectionArgument,
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    dataset: Annotated[str | None, typer.Argument(metavar="[DATASET]")] = None,
    form: Annotated[
        Literal["safetensors", "onnx", "torch"],
        typer.Option("--format", help="Arrays with a reader in NumPy; one ONNX graph; or programs of torch.export."),
    ] = "safetensors",
    store: StoreOption = None,
    version: VersionOption = None,
    json: JsonOption = False,
) -> None:
    """Write models to a folder that needs no gridline: with the model card, or as programs that encode rows too."""
    from model_store import open_ledger
    from model_store.exports.exporting import export

    files = export(open_ledger(store).version(collection, version), dataset, out, form)
    document = {
        "collection": collection,
        "dataset": dataset,
        "out": str(out),
        "format": form,
        "files": sorted(file.name for file in files),
    }
    emit(document, f"exported to {out}", as_json=json)


def _emit_restored(head: Version, how: str, *, as_json: bool) -> None:
    """Print the version that a rollback or a release has made."""
    document = {
        "collection": head.collection,
        "version": head.number,
        "note": head.note,
        "withdrawals": [each.to_json() for each in head.withdrawals],
    }
    lines = [f"{head.collection} is at version {head.number}, {how}", *(each.sentence for each in head.withdrawals)]
    emit(document, "\n".join(lines), as_json=as_json)
