"""Deploying each new version of a collection as it is committed: for a process beside the server."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from handler.description.description import example
from model_store.archives.stored import archive_of
from model_store.archives.version_fleet import fleet_of_version
from model_store.deployment.errors import ServerError
from model_store.deployment.rollout import Deployment, Target, deploy, serves
from model_store.errors import StoreError
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version

POLL_S = 5.0
LONGEST_PAUSE_S = 300.0
logger = logging.getLogger(__name__)


def deploy_version(ledger: Ledger, version: Version, target: Target) -> Deployment:
    """Deploy a version of the store. Raises StoreError, and DeploymentError with the old version serving as before."""
    first = version.table(["dataset"])["dataset"][0].as_py()
    expected = example(fleet_of_version(version, [first]))
    with tempfile.TemporaryDirectory(prefix="gridline-deploy-") as folder:
        return deploy(target, archive_of(ledger, version, Path(folder)), expected)


def follow(
    ledger: Ledger, collection: str, target: Target, report: Callable[[Deployment], None], poll_s: float = POLL_S
) -> None:
    """Deploy the newest version whenever it is not the one that serves, until interrupted.

    A failure is logged and tried again, later each time: a server that restarts, or a store that can't be reached
    for a while, heals by itself.
    """
    num_failures = 0
    while True:
        try:
            version = ledger.version(collection)
            if not serves(target, collection, version.number):
                report(deploy_version(ledger, version, target))
            num_failures = 0
        except (ServerError, StoreError) as exc:
            num_failures += 1
            logger.error("%s", exc)
        time.sleep(min(poll_s * 2**num_failures, LONGEST_PAUSE_S) if num_failures else poll_s)
