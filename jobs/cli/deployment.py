"""The verbs for a running TorchServe: deploy, undeploy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import CollectionArgument, JsonOption, StoreOption, TokenFileOption, VersionOption, WorkersOption
from jobs.cli.output import emit

if TYPE_CHECKING:
    from model_store.deployment.rollout import Deployment
    from model_store.torchserve.management import Management

ManagementOption = Annotated[str, typer.Option("--management", metavar="URL", help="TorchServe's management address.")]
ModelStoreOption = Annotated[
    Path | None,
    typer.Option(
        "--model-store",
        metavar="DIR",
        help="TorchServe's; default: `model-store` beside its key_file.json.",
    ),
]


def deploy(
    collection: CollectionArgument,
    management: ManagementOption = "http://127.0.0.1:8081",
    store: StoreOption = None,
    version: VersionOption = None,
    token_file: TokenFileOption = None,
    model_store: ModelStoreOption = None,
    workers: WorkersOption = 1,
    keep: Annotated[int, typer.Option("--keep", min=1, help="Versions that stay registered.")] = 2,
    follow: Annotated[bool, typer.Option("--follow", help="Keep running, and deploy each new version.")] = False,
    json: JsonOption = False,
) -> None:
    """Make a running TorchServe serve a version, without losing a request; --version N rolls back."""
    from jobs.errors import UsageError
    from model_store import open_ledger
    from model_store.deployment import following
    from model_store.deployment.rollout import Target

    if follow and version is not None:
        raise UsageError("--follow deploys the newest version: leave --version out")
    ledger = open_ledger(store)
    with _client(management, token_file, model_store) as client:
        target = Target(client, workers, keep)
        if follow:
            following.follow(ledger, collection, target, lambda done: _print_deployment(done, json))
        else:
            _print_deployment(following.deploy_version(ledger, ledger.version(collection, version), target), json)


def undeploy(
    collection: CollectionArgument,
    management: ManagementOption = "http://127.0.0.1:8081",
    token_file: TokenFileOption = None,
    model_store: ModelStoreOption = None,
    json: JsonOption = False,
) -> None:
    """Remove every version of a collection from a running TorchServe."""
    from model_store.deployment import rollout

    with _client(management, token_file, model_store) as client:
        removed = rollout.undeploy(rollout.Target(client), collection)
    document = {"collection": collection, "removed": [int(version) for version in removed]}
    emit(document, f"removed {len(removed)} versions of {collection}", as_json=json)


def _client(management: str, token_file: Path | None, model_store: Path | None) -> Management:
    """Return a client of the management API. Raises UsageError if TorchServe's folder of archives is not given."""
    from jobs.errors import UsageError
    from model_store.torchserve.management import Management

    if model_store is None:
        if token_file is None:
            raise UsageError("TorchServe's folder of archives is not known: set --model-store, or --token-file")
        model_store = (token_file if token_file.is_dir() else token_file.parent) / "model-store"
    return Management(management, token_file, model_store)


def _print_deployment(done: Deployment, json: bool) -> None:
    document = asdict(done) | {
        "previous": None if done.previous is None else int(done.previous),
        "removed": [int(version) for version in done.removed],
    }
    instead = "" if done.previous is None else f" instead of version {done.previous}"
    how = instead if done.changed else " already"
    emit(document, f"version {done.version} of {done.collection} serves{how}", as_json=json)
