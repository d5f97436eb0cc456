"""The verbs for a running TorchServe: deploy, undeploy."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.log import LOG, LogFormatOption, start_log
from jobs.cli.options import (
    CollectionArgument,
    JsonOption,
    ManagementOption,
    StoreOption,
    TokenFileOption,
    VersionOption,
    WorkersOption,
)
from jobs.cli.output import emit
from jobs.cli.tryouts import TryoutOptions, print_judgement, summary

if TYPE_CHECKING:
    from model_store.deployment.canary import Judgement, Tryout
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
    canary: Annotated[
        str | None,
        typer.Option("--canary", metavar="SHARE", help="Let the version answer 5% of the requests first, then all."),
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Only compute its answers, compare them, and send none of them.")
    ] = False,
    promote: Annotated[bool, typer.Option("--promote", help="Deploy it after --shadow, within the limits.")] = False,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long it is tried: 90s, 10m (default), 2h.")
    ] = None,
    requests: Annotated[
        int | None, typer.Option("--requests", min=1, help="How many requests it is tried on, instead of --for.")
    ] = None,
    max_error_rate: Annotated[
        float | None,
        typer.Option("--max-error-rate", min=0, max=1, help="Requests that only it refuses, of all; default: 0.01."),
    ] = None,
    max_distance: Annotated[
        str | None,
        typer.Option(
            "--max-distance",
            metavar="NUMBER",
            help="By how many residual standard deviations a prediction may move; default: 3, or none for any.",
        ),
    ] = None,
    log_format: LogFormatOption = None,
    json: JsonOption = False,
) -> None:
    """Make a running server serve a version, without losing a request; --version N rolls back, and holds N."""
    from model_store.deployment.rollout import Target

    options = TryoutOptions(canary, shadow, promote, for_, requests, max_error_rate, max_distance)
    tryout = options.tryout(follow=follow)
    _check_together(version, {"--follow": follow, "--release": release, "--status": status}, options.kind)
    with _client(management, token_file, model_store) as client:
        target = Target(client, workers, keep, control=_control(token_file, model_store))
        if status:
            _print_status(target, collection, json)
        elif release:
            _release(target, collection, json)
        elif follow:
            start_log(log_format, serves=True, collection=collection, run_id=None, version=None)
            _follow(store, collection, target, tryout, json)
        elif tryout is not None and options.only_compares:
            _compare(store, collection, version, target, tryout, json)
        else:
            _deploy(store, collection, version, target, tryout, json)


def _deploy(
    store: str | None, collection: str, version: int | None, target: Target, tryout: Tryout | None, json: bool
) -> None:
    from model_store import open_ledger
    from model_store.deployment.following import deploy_alone, deploy_wanted

    judged: list[Judgement] = []
    step = deploy_alone if tryout is None else replace(tryout, tell=judged.append).deploy
    done = deploy_wanted(open_ledger(store), collection, version, target, step)
    _print_deployment(done, json, judged[0] if judged else None)


def _compare(
    store: str | None, collection: str, version: int | None, target: Target, tryout: Tryout, json: bool
) -> None:
    """Print what comes of a shadow. Raises DeploymentError if it is not within its limits."""
    from model_store import open_ledger
    from model_store.deployment.errors import DeploymentError
    from model_store.deployment.rollout import alone

    ledger = open_ledger(store)
    with alone(target, collection):
        judgement = tryout.compare(ledger, ledger.version(collection, version), target)
    if judgement.reason is not None:
        raise DeploymentError(f"{summary(judgement)}; beyond the limits: {judgement.reason}")
    print_judgement(judgement, as_json=json)


def _check_together(version: int | None, chosen: Mapping[str, bool], tried: str | None) -> None:
    """Raise UsageError for options that exclude each other."""
    from jobs.errors import UsageError

    given = [option for option, is_given in chosen.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: give one of them")
    if given == ["--follow"] and version is not None:
        raise UsageError("--follow deploys the newest version: leave --version out")
    if given and given != ["--follow"] and tried is not None:
        raise UsageError(f"{given[0]} deploys nothing: leave {tried} out")
    if given and version is not None:
        raise UsageError(f"{given[0]} is not of one version: leave --version out")


def _follow(store: str | None, collection: str, target: Target, tryout: Tryout | None, json: bool) -> None:
    """Deploy each new version until SIGINT or SIGTERM, which is the usual end: exit code 0.

    Raises StoreError at once for a store that can't ever be opened; one that does not answer may come back.
    """
    from model_store import open_ledger
    from model_store.deployment.following import deploy_alone, follow
    from model_store.errors import StoreUnreachableError

    try:
        with contextlib.suppress(StoreUnreachableError):
            open_ledger(store)
        step = deploy_alone if tryout is None else tryout.deploy
        follow(lambda: open_ledger(store), collection, target, lambda done: _print_deployment(done, json), step=step)
    except KeyboardInterrupt:
        LOG.write("stopped")


def _print_status(target: Target, collection: str, json: bool) -> None:
    from model_store.deployment.status import status

    document = status(target, collection)
    lines = [
        f"{collection}: " + ("nothing serves" if document["version"] is None else f"version {document['version']}")
    ]
    lines += [f"version {one['version']}: {one['ready']} of {one['workers']} workers" for one in document["versions"]]
    if document["hold"] is not None:
        lines.append("held: version {version}, since {time}: {reason}".format(**document["hold"]))
    if document["rollout"] is not None:
        lines.append("{kind} of version {version}: {tried} of {requests} requests".format(**document["rollout"]))
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

    return Control.beside(_model_store(token_file, model_store))


def _model_store(token_file: Path | None, model_store: Path | None) -> Path:
    from jobs.errors import UsageError
    from model_store.serving.settings import ServerSettings

    if model_store is not None:
        return model_store
    if token_file is None:
        raise UsageError("TorchServe's folder of archives is not known: set --model-store, or --token-file")
    return ServerSettings(token_file if token_file.is_dir() else token_file.parent).model_store


def _print_deployment(done: Deployment, json: bool, judgement: Judgement | None = None) -> None:
    document = asdict(done) | {
        "previous": None if done.previous is None else int(done.previous),
        "removed": [int(version) for version in done.removed],
    }
    if judgement is not None:
        document["tryout"] = judgement.document()
        if not json:
            print(summary(judgement), file=sys.stderr)
    instead = "" if done.previous is None else f" instead of version {done.previous}"
    how = instead if done.changed else " already"
    text = f"version {done.version} of {done.collection} serves{how}"
    if done.held:
        text += f"; --follow keeps it until 'gridline deploy {done.collection}' or '… --release'"
    emit(document, text, as_json=json)
