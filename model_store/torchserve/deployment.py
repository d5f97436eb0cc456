"""Rolling a version out on a TorchServe that serves another: no request is lost, and a failure changes nothing.

The new version comes up beside the old one, answers an example as `gridline predict` does, and becomes the default;
then the old one finishes what it was asked, and loses its workers. It stays registered, to come back sooner.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.archives.archive import Archive
from model_store.torchserve.errors import DeploymentError, ServerError
from model_store.torchserve.management import Management, RegisteredVersion

DRAIN_S = 2.0
DRAIN_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.05
RELATIVE_TOLERANCE = 1e-9
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """A TorchServe to deploy on: its management API, and the folder that it may load archives from.

    `keep` is how many versions stay registered, the serving one among them; an old version is drained for `drain_s`.
    """

    management: Management
    model_store: Path
    workers: int = 1
    keep: int = 2
    drain_s: float = DRAIN_S


@dataclass(frozen=True)
class Deployment:
    """What a deployment did: `previous` is the version that served before, `removed` are those no longer kept."""

    collection: str
    version: int
    previous: str | None
    changed: bool
    removed: tuple[str, ...] = ()


def deploy(target: Target, archive: Archive, example: Mapping[str, Any]) -> Deployment:
    """Make a version the one that serves; `example` is what handler.description.example says of it.

    Returns with `changed` False if it serves already. Raises DeploymentError if it does not come up as it should: then
    the old version serves as before, and the new one is gone.
    """
    model, version = archive.collection, str(archive.version)
    registered = {one.version: one for one in target.management.versions(model)}
    previous = target.management.default_version(model)
    _refuse_other_content(registered.get(version), archive)
    if previous == version and registered[version].num_ready >= target.workers:
        return Deployment(model, archive.version, previous, changed=False)
    old = registered.get(previous or "") if previous != version else None
    try:
        _bring_up(target, archive, registered.get(version), example)
        target.management.set_default(model, version)
        if old is not None:
            _retire(target, model, old.version)
    except (ServerError, OSError) as exc:
        problem = _restore(target, archive, old, was_registered=version in registered)
        left = "no other version was there" if old is None else f"version {old.version} serves as before"
        raise DeploymentError(f"version {version} of '{model}' is not deployed: {exc}; {problem or left}") from exc
    return Deployment(model, archive.version, previous, changed=True, removed=_prune(target, model, version))


def serves(target: Target, model: str, version: int) -> bool:
    """Return whether a version is the one that serves, with all its workers."""
    if target.management.default_version(model) != str(version):
        return False
    return target.management.describe(model, str(version)).num_ready >= target.workers


def undeploy(target: Target, model: str) -> tuple[str, ...]:
    """Remove every version of a model from TorchServe, and its archives from the model store; return the versions."""
    default = target.management.default_version(model)
    registered = target.management.versions(model)
    for one in sorted(registered, key=lambda one: one.version == default):  # the default can only go last
        target.management.unregister(model, one.version)
        _delete(target, one.file_name)
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
    """Register the version, or give it workers again, and check what it predicts."""
    model, version = archive.collection, str(archive.version)
    if registered is None:
        target.model_store.mkdir(parents=True, exist_ok=True)
        partial = target.model_store / f".{archive.file_name}.partial"
        shutil.copyfile(archive.path, partial)
        partial.replace(target.model_store / archive.file_name)
        target.management.register(archive.file_name, target.workers)
    elif registered.num_ready < target.workers:
        target.management.scale(model, version, target.workers)
    _wait_for_workers(target, model, version)
    _check_example(target, model, version, example)


def _wait_for_workers(target: Target, model: str, version: str) -> None:
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while target.management.describe(model, version).num_ready < target.workers:
        if time.monotonic() > deadline:
            raise ServerError(f"its workers are not ready after {DRAIN_TIMEOUT_S:.0f} s")
        time.sleep(POLL_INTERVAL_S)


def _check_example(target: Target, model: str, version: str, example: Mapping[str, Any]) -> None:
    """Raise ServerError unless a worker of the version answers the example as the store's own models do."""
    described = target.management.describe_through_worker(model, version).get("customizedMetadata")
    found = described.get("example") if isinstance(described, dict) else None
    if not found or found.get("request") != example["request"]:
        raise ServerError("its workers do not describe the model that was packaged")
    [served], [stored] = found["answer"]["predictions"], example["answer"]["predictions"]
    if not math.isclose(served, stored, rel_tol=RELATIVE_TOLERANCE, abs_tol=RELATIVE_TOLERANCE):
        raise ServerError(f"it predicts {served} for {example['request']}, and the store's model {stored}")


def _retire(target: Target, model: str, version: str) -> None:
    """Take the workers of a version away once it has answered everything: stopping a worker loses what it holds.

    TorchServe tells how many requests wait, not how many a worker has in its hands: so none may wait for `drain_s`.
    """
    started = time.monotonic()
    idle_since: float | None = None
    while idle_since is None or time.monotonic() - idle_since < target.drain_s:
        now = time.monotonic()
        is_idle = target.management.describe(model, version).num_pending == 0
        idle_since = (idle_since or now) if is_idle else None
        if now - started > DRAIN_TIMEOUT_S:
            raise ServerError(f"version {version} still has requests waiting after {DRAIN_TIMEOUT_S:.0f} s")
        time.sleep(POLL_INTERVAL_S)
    target.management.scale(model, version, 0)


def _restore(target: Target, archive: Archive, old: RegisteredVersion | None, *, was_registered: bool) -> str | None:
    """Make the old version serve again, and the new one gone; return what could not be undone."""
    model, version = archive.collection, str(archive.version)
    try:
        if old is not None:
            target.management.scale(model, old.version, max(old.min_workers, target.workers))
            target.management.set_default(model, old.version)
        present = any(one.version == version for one in target.management.versions(model))
        if present and not was_registered:
            target.management.unregister(model, version)
        elif present and old is not None:
            target.management.scale(model, version, 0)
        if not was_registered:
            _delete(target, archive.file_name)
    except (ServerError, OSError) as exc:
        return f"and undoing it failed: {exc}"
    return None


def _prune(target: Target, model: str, serving: str) -> tuple[str, ...]:
    """Unregister all versions but the newest `keep`; a failure here only leaves more of them."""
    others = [one for one in target.management.versions(model) if one.version != serving]
    newest_first = sorted(others, key=lambda one: int(one.version) if one.version.isdecimal() else 0, reverse=True)
    removed = []
    for one in newest_first[max(target.keep - 1, 0) :]:
        try:
            target.management.unregister(model, one.version)
            _delete(target, one.file_name)
            removed.append(one.version)
        except (ServerError, OSError) as exc:
            logger.warning("version %s of '%s' stays registered: %s", one.version, model, exc)
    return tuple(removed)


def _delete(target: Target, file_name: str) -> None:
    """Remove an archive from the model store; a name that is a path is none of ours."""
    if Path(file_name).name == file_name:
        (target.model_store / file_name).unlink(missing_ok=True)
