"""The verbs for a running TorchServe: deploy, undeploy."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import (
    CollectionArgument,
    JsonOption,
    ManagementOption,
    StoreOption,
    TokenFileOption,
    VersionOption,
    WorkersOption,
)
from jobs.cli.output import emit, log_to_standard_error

if TYPE_CHECKING:
    from model_store.deployment.control import Control
    from model_store.deployment.rollout import Deployment, Target
    from model_store.torchserve.management import Management

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
    keep: Annotated[int, typer.Option("--keep", min=1, help="Versions that stay registered, with their workers.")] = 2,
    follow: Annotated[bool, typer.Option("--follow", help="Keep running, and deploy each new version.")] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Lift the hold of a rollback, so that --follow deploys again.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Print what is rolled out, and change nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Make a running server serve a version, without losing a request; --version N rolls back, and holds N."""
    from model_store import open_ledger
    from model_store.deployment.following import deploy_alone, deploy_wanted
    from model_store.deployment.rollout import Target

    _check_together(version, {"--follow": follow, "--release": release, "--status": status})
    with _client(management, token_file, model_store) as client:
        target = Target(client, workers, keep, control=_control(token_file, model_store))
        if status:
            _print_status(target, collection, json)
        elif release:
            _release(target, collection, json)
        elif follow:
            _follow(store, collection, target, json)
        else:
            _print_deployment(deploy_wanted(open_ledger(store), collection, version, target, deploy_alone), json)


def _check_together(version: int | None, chosen: Mapping[str, bool]) -> None:
    """Raise UsageError for options that exclude each other."""
    from jobs.errors import UsageError

    given = [option for option, is_given in chosen.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: give one of them")
    if given == ["--follow"] and version is not None:
        raise UsageError("--follow deploys the newest version: leave --version out")
    if given and version is not None:
        raise UsageError(f"{given[0]} is not of one version: leave --version out")


def _follow(store: str | None, collection: str, target: Target, json: bool) -> None:
    """Deploy each new version until SIGINT or SIGTERM, which is the usual end: exit code 0.

    Raises StoreError at once for a store that can't ever be opened; one that does not answer may come back.
    """
    from model_store import open_ledger
    from model_store.deployment.following import follow
    from model_store.errors import StoreUnreachableError

    log_to_standard_error()
    try:
        with contextlib.suppress(StoreUnreachableError):
            open_ledger(store)
        follow(lambda: open_ledger(store), collection, target, lambda done: _print_deployment(done, json))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


def _print_status(target: Target, collection: str, json: bool) -> None:
    from model_store.deployment.status import status

    document = status(target, collection)
    lines = [
        f"{collection}: " + ("nothing serves" if document["version"] is None else f"version {document['version']}")
    ]
    lines += [f"version {one['version']}: {one['ready']} of {one['workers']} workers" for one in document["versions"]]
    if document["hold"] is not None:
        lines.append("held: version {version}, since {time}: {reason}".format(**document["hold"]))
    if document["follower"] is not None:
        lines.append("--follow saw version {newest_version} last".format(**document["follower"]))
    emit(document, "\n".join(lines), as_json=json)


def _release(target: Target, collection: str, json: bool) -> None:
    from model_store.deployment.holds import release

    assert target.control is not None  # noqa: S101 - the verb has made it
    lifted = release(target.control, collection)
    document = {"collection": collection, "released": None if lifted is None else lifted.version}
    text = (
        f"{collection} has no hold" if lifted is None else f"version {lifted.version} of {collection} is held no more"
    )
    emit(document, text, as_json=json)


def undeploy(
    collection: CollectionArgument,
    management: ManagementOption = "http://127.0.0.1:8081",
    token_file: TokenFileOption = None,
    model_store: ModelStoreOption = None,
    json: JsonOption = False,
) -> None:
    """Remove every version of a collection from a running TorchServe."""
    from model_store.deployment.holds import release
    from model_store.deployment.rollout import Target, alone, undeploy

    control = _control(token_file, model_store)
    with _client(management, token_file, model_store) as client:
        target = Target(client, control=control)
        with alone(target, collection):
            removed = undeploy(target, collection)
            release(control, collection)
    document = {"collection": collection, "removed": [int(version) for version in removed]}
    emit(document, f"removed {len(removed)} versions of {collection}", as_json=json)


def _client(management: str, token_file: Path | None, model_store: Path | None) -> Management:
    """Return a client of the management API. Raises UsageError if the server's folder of archives is not given."""
    from model_store.torchserve.management import Management

    return Management(management, token_file, _model_store(token_file, model_store))


def _control(token_file: Path | None, model_store: Path | None) -> Control:
    """Return the folder by which the server's workers and the commands of gridline speak: beside the model store."""
    from model_store.deployment.control import Control

    return Control(_model_store(token_file, model_store).resolve().parent / "control")


def _model_store(token_file: Path | None, model_store: Path | None) -> Path:
    from jobs.errors import UsageError

    if model_store is not None:
        return model_store
    if token_file is None:
        raise UsageError("TorchServe's folder of archives is not known: set --model-store, or --token-file")
    return (token_file if token_file.is_dir() else token_file.parent) / "model-store"


def _print_deployment(done: Deployment, json: bool) -> None:
    document = asdict(done) | {
        "previous": None if done.previous is None else int(done.previous),
        "removed": [int(version) for version in done.removed],
    }
    instead = "" if done.previous is None else f" instead of version {done.previous}"
    how = instead if done.changed else " already"
    text = f"version {done.version} of {done.collection} serves{how}"
    if done.held:
        text += f"; --follow keeps it until 'gridline deploy {done.collection}' or '… --release'"
    emit(document, text, as_json=json)
