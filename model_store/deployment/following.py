"""Deploying versions of a store, once, or each new one as it is committed: for a process beside the server."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from handler.description.description import example
from model_store.archives.archive import Archive
from model_store.archives.stored import archive_of
from model_store.archives.version_fleet import fleet_of_version
from model_store.deployment.control import FOLLOWERS
from model_store.deployment.curing import Health
from model_store.deployment.errors import BusyError, DeploymentError, ServerError
from model_store.deployment.holds import Hold, held, holding, release
from model_store.deployment.rollout import Deployment, Target, alone, deploy, serves
from model_store.deployment.rollout_folder import prefix_of
from model_store.errors import StoreError
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from model_store.objects.retry import within

POLL_S = 5.0
LONGEST_PAUSE_S = 30.0
STORE_LOOK_S = 5.0  # a call that looks for a version is tried again for so long: the server is looked after meanwhile
logger = logging.getLogger(__name__)

Step = Callable[[Ledger, Version, Target], Deployment]


def deploy_version(ledger: Ledger, version: Version, target: Target) -> Deployment:
    """Deploy a version of the store, after any other process that deploys the collection on this server.

    Raises StoreError, and DeploymentError with the old version serving as before.
    """
    with alone(target, version.collection):
        return deploy_alone(ledger, version, target)


def deploy_wanted(ledger: Ledger, collection: str, number: int | None, target: Target, step: Step) -> Deployment:
    """Deploy the newest version, which lifts a hold; or the version `number`, and hold it if it is not the newest."""
    with alone(target, collection):
        newest = ledger.version(collection)
        version = newest if number is None else ledger.version(collection, number)
        if target.control is None:
            return step(ledger, version, target)
        if version.number == newest.number:
            done = step(ledger, version, target)
            release(target.control, collection)
            return done
        with holding(target.control, collection, version.number, f"deploy --version {version.number}"):
            return replace(step(ledger, version, target), held=True)


def deploy_alone(ledger: Ledger, version: Version, target: Target) -> Deployment:
    """Deploy a version of the store while no other process deploys the collection."""
    folder = None if target.control is None else target.control.folder
    with prepared(ledger, version, folder) as (archive, expected):
        return deploy(target, archive, expected)


@contextmanager
def prepared(ledger: Ledger, version: Version, parent: Path | None = None) -> Iterator[tuple[Archive, dict[str, Any]]]:
    """Give the archive of a version, in a temporary folder in `parent`, and its example.

    Raises DeploymentError on a full disk. By default the folder is where Python has temporary files.
    """
    version.require_models()
    first = version.table(["dataset"])["dataset"][0].as_py()
    expected = example(fleet_of_version(version, [first]))
    with tempfile.TemporaryDirectory(prefix=prefix_of(version.collection), dir=parent) as folder:
        try:
            archive = archive_of(ledger, version, Path(folder))
        except OSError as exc:
            raise DeploymentError(
                f"the archive of version {version.number} can't be written into {Path(folder).parent}: "
                f"{exc.strerror}; make room there"
            ) from exc
        yield archive, expected


def follow(
    open_ledger: Callable[[], Ledger],
    collection: str,
    target: Target,
    report: Callable[[Deployment], None],
    poll_s: float = POLL_S,
    step: Step = deploy_alone,
) -> NoReturn:
    """Deploy the newest version whenever it is not the one that serves, until interrupted.

    A failure is logged and tried again, later each time: a server that restarts, or a store that can't be reached
    for a while, heals by itself.
    """
    follower = Follower(open_ledger, collection, target, report, step)
    while True:
        is_well = follower.look()
        time.sleep(poll_s if is_well else min(poll_s * 2**follower.num_failures, LONGEST_PAUSE_S))


class Follower:
    """Keeps a server on the newest version of a collection, or on the version that is held."""

    def __init__(
        self,
        open_ledger: Callable[[], Ledger],
        collection: str,
        target: Target,
        report: Callable[[Deployment], None],
        step: Step = deploy_alone,
    ) -> None:
        self.num_failures = 0
        self._open_ledger, self._collection, self._target = open_ledger, collection, target
        self._report, self._step = report, step
        self._ledger: Ledger | None = None
        self._newest: Version | None = None
        self._seen_at: float | None = None
        self._said: tuple[Hold | None, int] | None = None
        self._busy = ""
        self._health = Health(target, collection)
        self._log = _VersionLog(logger, {"follower": self})

    def look(self) -> bool:
        """Look at the store and the server once, and do what is to do; return whether all went well."""
        problems = []
        for look in (self._look_at_store, self._look_at_server):
            try:
                look()
            except BusyError as exc:
                self._say_busy(str(exc))
            except (ServerError, StoreError) as exc:
                problems.append(str(exc))
                self._log.error("%s", exc)
        if self.num_failures and not problems:
            self._log.info("store and server answer again, after %d failures", self.num_failures)
        self.num_failures = self.num_failures + 1 if problems else 0
        self._write("; ".join(problems))
        return not problems

    def newest(self) -> Version | None:
        """Return the newest version that was seen, or None before the first."""
        return self._newest

    def _look_at_store(self) -> None:
        with within(STORE_LOOK_S):
            self._ledger = self._ledger or self._open_ledger()
            self._newest = self._ledger.version(self._collection)
        self._seen_at = time.time()

    def _look_at_server(self) -> None:
        if self._newest is None:
            return
        number = self._wanted(self._newest)
        if serves(self._target, self._collection, number):
            self._health.look(str(number))
            return
        with alone(self._target, self._collection, wait=False):
            number = self._wanted(self._newest)  # another process may have deployed and held one meanwhile
            if not serves(self._target, self._collection, number):
                self._deploy(number)

    def _wanted(self, newest: Version) -> int:
        """Return the version that is to serve; say once that a hold keeps the newest out."""
        kept = held(self._target.control, self._collection)
        keeps = kept is not None and kept.keeps_out(newest.number)
        if self._said != (kept, newest.number):
            self._said = kept, newest.number
            if kept is not None and keeps:
                self._log.warning(
                    "version %d stays, and version %d waits, since %s: %s; 'gridline deploy %s' or 'gridline deploy %s "
                    "--release' lifts that",
                    *(kept.version, newest.number, kept.time, kept.reason, self._collection, self._collection),
                )
        return kept.version if kept is not None and keeps else newest.number

    def _say_busy(self, message: str) -> None:
        if message != self._busy:
            self._log.info("%s: it is left to that", message)
        self._busy = message

    def _deploy(self, number: int) -> None:
        assert self._ledger is not None and self._newest is not None  # noqa: S101 - the store was seen
        newest = self._newest.number == number
        version = self._newest if newest else self._ledger.version(self._collection, number)
        self._write("")  # for those who watch: a canary may take hours
        done = self._step(self._ledger, version, self._target)
        instead = "" if done.previous is None else f" instead of version {done.previous}"
        self._log.info("version %d serves%s", done.version, instead)
        self._report(done)

    def _write(self, problem: str) -> None:
        """Write when the store was asked last, and when it answered: seconds since 1970."""
        if self._target.control is None:
            return
        state = {
            "last_check": time.time(),
            "last_success": self._seen_at,
            "newest_version": None if self._newest is None else self._newest.number,
            "problem": problem or None,
        }
        try:
            self._target.control.write(f"{FOLLOWERS}/{self._collection}.json", state)
        except ServerError as exc:
            self._log.error("%s", exc)


class _VersionLog(logging.LoggerAdapter[logging.Logger]):
    """Gives each message the newest version that was seen, and the run that made it, as fields."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        assert self.extra is not None  # noqa: S101
        newest = self.extra["follower"].newest()  # type: ignore[attr-defined]
        seen = {"version": newest and newest.number, "run_id": newest and newest.run_id}
        return msg, {**kwargs, "extra": {"fields": seen}}
