"""Rolling a version out on a server that serves another: no request is lost, and a failure changes nothing.

The new version starts beside the old one, answers an example as `gridline predict` does, and becomes the default.
The old one keeps its workers as long as it is registered: its own address is answered, and it can return at once.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from model_store.archives.archive import Archive
from model_store.deployment.control import Control
from model_store.deployment.errors import DeploymentError, ServerError
from model_store.deployment.rollout_folder import take_off
from model_store.deployment.server import RegisteredVersion, Server

DRAIN_S = 2.0
DRAIN_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.05
RELATIVE_TOLERANCE = 1e-9
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """A server to deploy on, and how many workers a version gets there.

    `keep` is how many versions stay registered, the serving one among them; one that goes is drained for `drain_s`.
    `control` is the folder by which deployments of several processes follow one another; None if there is only this.
    """

    server: Server
    workers: int = 1
    keep: int = 2
    drain_s: float = DRAIN_S
    control: Control | None = None


@dataclass(frozen=True)
class Deployment:
    """The result of a deployment: `previous` served before, and the versions `removed` are no longer registered.

    `held` says that --follow keeps this version: see model_store/deployment/holds.py.
    """

    collection: str
    version: int
    previous: str | None
    changed: bool
    removed: tuple[str, ...] = ()
    held: bool = False


@contextmanager
def alone(target: Target, collection: str, *, wait: bool = True) -> Iterator[None]:
    """Be the only process that deploys a collection on a server. Raises BusyError with `wait` False.

    A canary of a process that was killed is taken off: no other holds one now.
    """

    def say(holder: str) -> None:
        logger.warning("%s is deploying %s on this server: waiting until it has ended", holder, collection)

    control = target.control
    with nullcontext() if control is None else control.deploying(collection, wait=wait, waits=say):
        if control is not None:
            take_off(control, collection)
        yield


def deploy(target: Target, archive: Archive, example: Mapping[str, Any]) -> Deployment:
    """Make a version the one that serves; `example` is from handler.description.description.example.

    Returns with `changed` False if it serves already. Raises DeploymentError if it does not start correctly: then
    the old version serves as before, and the new one is gone. No other process may deploy the collection meanwhile:
    see `deploy_version`.
    """
    model, version = archive.collection, str(archive.version)
    registered = {one.version: one for one in target.server.versions(model)}
    previous = target.server.default_version(model)
    _refuse_other_content(registered.get(version), archive)
    if previous == version and registered[version].num_ready >= target.workers:
        return Deployment(model, archive.version, previous, changed=False)
    old = registered.get(previous or "") if previous != version else None
    try:
        _bring_up(target, archive, registered.get(version), example)
        target.server.set_default(model, version)
    except ServerError as exc:
        problem = _restore(target, archive, old, was_registered=version in registered)
        left = "no other version was there" if old is None else f"version {old.version} serves as before"
        raise DeploymentError(f"version {version} of '{model}' is not deployed: {exc}; {problem or left}") from exc
    return Deployment(model, archive.version, previous, changed=True, removed=_prune(target, model, version, previous))


def serves(target: Target, model: str, version: int) -> bool:
    """Return whether a version is the one that serves, with all its workers."""
    if target.server.default_version(model) != str(version):
        return False
    return target.server.describe(model, str(version)).num_ready >= target.workers


def undeploy(target: Target, model: str) -> tuple[str, ...]:
    """Remove every version of a model from the server; return the versions. Nobody may deploy it meanwhile."""
    default = target.server.default_version(model)
    registered = target.server.versions(model)
    for one in sorted(registered, key=lambda one: one.version == default):  # the default can only go last
        target.server.unregister(model, one.version)
    return tuple(one.version for one in registered)


def _refuse_other_content(registered: RegisteredVersion | None, archive: Archive) -> None:
    if registered is not None and registered.file_name != archive.file_name:
        raise DeploymentError(
            f"version {archive.version} of '{archive.collection}' is registered from {registered.file_name}, and the "
            f"store has {archive.file_name}: undeploy it first"
        )


def _bring_up(
    target: Target, archive: Archive, registered: RegisteredVersion | None, example: Mapping[str, Any]
) -> None:
    """Register the version, or give it workers again, and check a prediction."""
    model, version = archive.collection, str(archive.version)
    if registered is None:
        target.server.register(archive, target.workers)
    elif registered.num_ready < target.workers:
        target.server.scale(model, version, target.workers)
    wait_for_workers(target, model, version)
    _check_example(target, model, version, example)


def wait_for_workers(target: Target, model: str, version: str) -> None:
    """Wait until a version has as many workers as it is to have. Raises ServerError after a minute."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while target.server.describe(model, version).num_ready < target.workers:
        if time.monotonic() > deadline:
            raise ServerError(f"its workers are not ready after {DRAIN_TIMEOUT_S:.0f} s")
        time.sleep(POLL_INTERVAL_S)


def is_same_prediction(one: float, other: float) -> bool:
    """Return whether two predictions for an example are equal, but for rounding on another machine."""
    return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE, abs_tol=RELATIVE_TOLERANCE)


def _check_example(target: Target, model: str, version: str, example: Mapping[str, Any]) -> None:
    """Raise ServerError unless a worker of the version answers the example as the store's own models do."""
    answered = target.server.example(model, version)
    if not answered or answered.get("request") != example["request"]:
        raise ServerError("its workers do not describe the model that was packaged")
    [served], [stored] = answered["answer"]["predictions"], example["answer"]["predictions"]
    if not is_same_prediction(served, stored):
        raise ServerError(f"it predicts {served} for {example['request']}, and the store's model {stored}")


def _drain(target: Target, model: str, version: str) -> None:
    """Wait until a version has answered everything: stopping a worker loses its requests.

    A server reports how many requests wait, not how many a worker handles: so none may wait for `drain_s`.
    """
    started = time.monotonic()
    idle_since: float | None = None
    while idle_since is None or time.monotonic() - idle_since < target.drain_s:
        now = time.monotonic()
        is_idle = target.server.describe(model, version).num_pending == 0
        idle_since = (idle_since or now) if is_idle else None
        if now - started > DRAIN_TIMEOUT_S:
            raise ServerError(f"version {version} still has requests waiting after {DRAIN_TIMEOUT_S:.0f} s")
        time.sleep(POLL_INTERVAL_S)


def _restore(target: Target, archive: Archive, old: RegisteredVersion | None, *, was_registered: bool) -> str | None:
    """Make the old version serve again, and the new one gone; return why that failed, or None."""
    model, version = archive.collection, str(archive.version)
    try:
        if old is not None:
            target.server.set_default(model, old.version)
        present = any(one.version == version for one in target.server.versions(model))
        if present and not was_registered:
            target.server.unregister(model, version)
    except ServerError as exc:
        return f"and undoing it failed: {exc}"
    return None


def _prune(target: Target, model: str, serving: str, previous: str | None) -> tuple[str, ...]:
    """Unregister all versions but `keep`: the serving one, the previous one, and the newest of the others.

    A failure here only leaves more of them.
    """
    others = [one.version for one in target.server.versions(model) if one.version != serving]
    first_kept = sorted(others, key=lambda one: (one == previous, int(one) if one.isdecimal() else 0), reverse=True)
    removed = []
    for version in first_kept[max(target.keep - 1, 0) :]:
        try:
            _drain(target, model, version)
            target.server.unregister(model, version)
            removed.append(version)
        except ServerError as exc:
            logger.warning("version %s of '%s' stays registered: %s", version, model, exc)
    return tuple(removed)
