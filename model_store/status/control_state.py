"""What the folder `control` of a server tells for /metrics: followers, holds, a canary or a shadow, and the disk."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from handler.hosting.rollout_counts import sum_of
from handler.hosting.rollout_files import ROLLOUTS, wanted
from model_store.deployment.control import FOLLOWERS, HOLDS, Control
from model_store.deployment.errors import ServerError
from model_store.deployment.holds import held
from model_store.deployment.rollout_folder import counts_of
from model_store.status.reports import COLLECTION, Sums

STORE_AGES = {
    "last_check": "gridline_store_check_age_seconds",
    "last_success": "gridline_store_success_age_seconds",
}


def add_control(sums: Sums, folder: Path) -> None:
    """Add the gauges of a control folder, as far as its files can be read."""
    control = Control(folder)
    for path in sorted((folder / FOLLOWERS).glob("*.json")):
        _add_follower(sums, path)
    for collection in _collections(control, HOLDS):
        _add_hold(sums, control, collection)
    for collection in _collections(control, ROLLOUTS):
        _add_rollout(sums, control, collection)
    with suppress(OSError):  # before the folder is made
        disk = shutil.disk_usage(folder)
        sums.gauges["gridline_disk_size_bytes", ()] = disk.used + disk.free  # without root's share, as df has it
        sums.gauges["gridline_disk_free_bytes", ()] = disk.free


def _collections(control: Control, name: str) -> Iterable[str]:
    """Return the collections that a file of all collections names; none if it can't be read."""
    try:
        return sorted(control.read(name))
    except ServerError:
        return ()


def _add_follower(sums: Sums, path: Path) -> None:
    """Add when `deploy --follow` last looked for a version of a collection (model_store/deployment/following.py)."""
    try:
        seen: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return
    labels = ((COLLECTION, path.stem),)
    for key, name in STORE_AGES.items():
        if seen.get(key) is not None:
            sums.gauges[name, labels] = time.time() - float(seen[key])
    if seen.get("newest_version") is not None:
        sums.gauges["gridline_newest_version", labels] = int(seen["newest_version"])


def _add_hold(sums: Sums, control: Control, collection: str) -> None:
    """Add the version that an operator holds, or the version whose canary was taken off."""
    with suppress(ServerError):
        kept = held(control, collection)
        if kept is None:
            return
        if kept.rejected is None:
            sums.gauges["gridline_held_version", ((COLLECTION, collection),)] = kept.version
        else:
            sums.gauges["gridline_rejected_version", ((COLLECTION, collection),)] = kept.rejected


def _add_rollout(sums: Sums, control: Control, collection: str) -> None:
    """Add the canary or the shadow that runs, and what its workers have counted so far."""
    what = wanted(control.folder, collection)
    if what is None:
        return
    counts = sum_of(counts_of(control, what))
    labels = ((COLLECTION, collection), ("kind", what.kind))
    sums.gauges["gridline_rollout_version", labels] = what.version
    sums.gauges["gridline_rollout_requests", labels] = counts.tried
    sums.gauges["gridline_rollout_errors", labels] = counts.errors
    sums.gauges["gridline_rollout_compared_requests", labels] = counts.compared
    sums.gauges["gridline_rollout_distance_max", labels] = counts.distance_max
