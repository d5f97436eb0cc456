"""What is rolled out on a server: versions and their workers, the hold, and what a --follow saw last."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from handler.hosting.rollout_counts import sum_of
from model_store.deployment.canary import figures
from model_store.deployment.control import FOLLOWERS
from model_store.deployment.holds import held
from model_store.deployment.rollout import Target
from model_store.deployment.rollout_folder import counts_of, rolled_out_now

Json = dict[str, Any]


def status(target: Target, collection: str) -> Json:
    """Return the state of a collection on a server. Raises ServerError."""
    default = target.server.default_version(collection)
    kept = held(target.control, collection)
    follower = {} if target.control is None else target.control.read(f"{FOLLOWERS}/{collection}.json")
    rolled_out = rolled_out_now(target.control, collection)
    counts = sum_of([] if target.control is None or rolled_out is None else counts_of(target.control, rolled_out))
    return {
        "collection": collection,
        "version": None if default is None else int(default),
        "versions": [
            {
                "version": int(one.version),
                "workers": one.min_workers,
                "ready": one.num_ready,
                "waiting_requests": one.num_pending,
            }
            for one in target.server.versions(collection)
        ],
        "rollout": None if rolled_out is None else asdict(rolled_out) | figures(counts),
        "hold": None if kept is None else asdict(kept),
        "follower": follower or None,
    }
