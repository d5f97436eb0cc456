"""Begins and ends the canary or the shadow of an endpoint, as the folder `control` says, and writes its counts."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from pathlib import Path

from ..errors import HandlerError
from ..models import fleet_files
from .endpoint import Endpoint
from .own_file import own_file
from .rollout_counts import RolloutCounts
from .rollout_files import COUNTS, MODEL, ROLLOUTS, Wanted, is_watched, wanted
from .rollouts import LOOK_INTERVAL_S, Rollout

WRITE_INTERVAL_S = 0.5
UNWATCHED = "'gridline deploy' did not watch for a minute, so the worker has ended it"


class RolloutWatch:
    """Keeps the rollout of an endpoint as the folder `control` wants it."""

    def __init__(self, endpoint: Endpoint, control: Path) -> None:
        self._endpoint = weakref.ref(endpoint)  # a host may drop a version
        self._control = control
        self._seen: tuple[int, int] | None = None
        self._path: Path | None = None
        self._written_at = 0.0

    def start(self) -> None:
        """Look now and then in a thread, as long as the endpoint is in use."""
        threading.Thread(target=self._run, name="gridline-rollouts", daemon=True).start()

    def _run(self) -> None:
        while self.look():
            endpoint = self._endpoint()
            rollout = None if endpoint is None else endpoint.rollout
            del endpoint
            if rollout is None:
                time.sleep(LOOK_INTERVAL_S)
            else:
                rollout.compare_some(time.monotonic() + LOOK_INTERVAL_S)

    def look(self) -> bool:
        """Begin or end a rollout if that is wanted, and write its counts; return False when there is no endpoint."""
        endpoint = self._endpoint()
        if endpoint is None:
            return False
        if self._has_changed():
            what = wanted(self._control, endpoint.fleet.collection)
            if what is None or what.base != endpoint.fleet.version or not is_watched(what.folder(self._control)):
                self._end(endpoint)
            elif endpoint.rollout is None or endpoint.rollout.what != what:
                self._begin(endpoint, what)
        rollout = endpoint.rollout
        if rollout is not None and self._path is not None and time.monotonic() - self._written_at > WRITE_INTERVAL_S:
            if not is_watched(rollout.what.folder(self._control)):
                endpoint.rollout = None
                rollout.counts.problem = UNWATCHED
            rollout.counts.write(self._path)
            self._written_at = time.monotonic()
        return True

    def _has_changed(self) -> bool:
        """Return whether rollouts.json is another file than at the last look."""
        try:
            found = (self._control / ROLLOUTS).stat()
            seen = (found.st_ino, found.st_mtime_ns)
        except OSError:
            seen = None
        changed, self._seen = seen != self._seen, seen
        return changed

    def _end(self, endpoint: Endpoint) -> None:
        """End the rollout, and remove the file of its counts, by which `gridline deploy` sees that it has ended."""
        endpoint.rollout = None
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._path = None

    def _begin(self, endpoint: Endpoint, what: Wanted) -> None:
        """Open the models of the new version; if that fails, tell why, and go on without."""
        folder = what.folder(self._control)
        self._path = own_file(folder / COUNTS)
        self._written_at = 0.0
        endpoint.rollout = None
        try:
            endpoint.rollout = Rollout(endpoint.fleet, fleet_files.read(folder / MODEL), what)
        except HandlerError as exc:
            RolloutCounts(problem=str(exc)).write(self._path)
