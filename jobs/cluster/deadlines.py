"""How long a run waits for a cluster: for nodes with room, after a node is lost, and for all of its blocks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from jobs.cluster.tasks import RunLimits
from jobs.errors import ClusterError

logger = logging.getLogger(__name__)

POLL_S = 0.5
NODE_LOSS_S = 5.0  # a node that restarts is given this long before the run says that no node has room


@dataclass(frozen=True)
class Deadlines:
    """The limits of a run on the cluster at `address`. A shortage is a text: what a task needs, and what nodes have."""

    address: str
    limits: RunLimits
    started_at: float = field(default_factory=time.monotonic)
    short_since: dict[str, float] = field(default_factory=dict)

    def require_room(self, shortage: Callable[[], str | None]) -> None:
        """Wait, as long as the limits say, until there is no shortage. Raises ClusterError."""
        deadline = self.started_at + self.limits.wait_for_resources_s
        while (short := shortage()) is not None:
            if time.monotonic() >= deadline:
                raise ClusterError(f"{short} at '{self.address}'; {self.limits.remedy}")
            logger.info("%s: waiting for the cluster to grow", short)
            time.sleep(POLL_S)

    def given_up(self, key: str, short: str | None, *failures: str) -> ClusterError | None:
        """Return the error of a task for which no node has had room for too long, as nodes were lost; else None."""
        now = time.monotonic()
        since = self.short_since.setdefault(key, now) if short else self.short_since.pop(key, now)
        if short is None or now - since <= max(NODE_LOSS_S, self.limits.wait_for_resources_s):
            return None
        return ClusterError(
            "; ".join([f"{short} at '{self.address}'", "nodes were lost", *failures, self.limits.remedy])
        )

    def require_time(self, num_unfinished: int) -> None:
        """Raise ClusterError if blocks are unfinished after `timeout_s`."""
        limit_s = self.limits.timeout_s
        if limit_s is not None and time.monotonic() - self.started_at > limit_s and num_unfinished:
            raise ClusterError(
                f"the cluster at '{self.address}' did not end {num_unfinished} blocks in timeout_s = {limit_s:g} s; "
                "finished blocks are stored: run again to continue, or set a larger 'training.timeout_s'"
            )
