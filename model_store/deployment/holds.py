"""Holds: a version that --follow keeps, instead of the newest, until the hold is lifted.

A rollback by `deploy --version N` holds N. A canary that was taken off holds the version that served, against the
rejected version only: a newer one may come.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from model_store.deployment.control import HOLDS, Control
from model_store.deployment.errors import ServerError


@dataclass(frozen=True)
class Hold:
    """The version that stays, why, and since when (ISO 8601, UTC).

    With `rejected` a version newer than that one may follow; None: none may.
    """

    version: int
    reason: str
    time: str
    rejected: int | None = None

    def keeps_out(self, newest: int) -> bool:
        """Return whether --follow leaves this version, the newest, aside."""
        return newest != self.version and (self.rejected is None or newest <= self.rejected)


def hold(control: Control, collection: str, version: int, reason: str, rejected: int | None = None) -> None:
    """Make --follow keep a version. Raises ServerError if that can't be written."""
    made = Hold(version, reason, datetime.now(UTC).isoformat(timespec="seconds"), rejected)
    control.set(HOLDS, collection, asdict(made))


@contextmanager
def holding(control: Control, collection: str, version: int, reason: str) -> Iterator[None]:
    """Make --follow keep a version, before it is deployed in the block; if that fails, all is as before."""
    before = held(control, collection)
    hold(control, collection, version, reason)
    try:
        yield
    except BaseException:
        control.set(HOLDS, collection, None if before is None else asdict(before))
        raise


def release(control: Control, collection: str) -> Hold | None:
    """Lift the hold of a collection, and return it; None if there is none."""
    lifted = held(control, collection)
    if lifted is not None:
        control.set(HOLDS, collection, None)
    return lifted


def held(control: Control | None, collection: str) -> Hold | None:
    """Return the hold of a collection, or None."""
    entry = None if control is None else control.read(HOLDS).get(collection)
    if entry is None:
        return None
    try:
        rejected = entry.get("rejected")
        number = None if rejected is None else int(rejected)
        return Hold(int(entry["version"]), str(entry["reason"]), str(entry["time"]), number)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        assert control is not None  # noqa: S101 - it had an entry
        raise ServerError(
            f"{control.folder / HOLDS} has no hold under '{collection}' that gridline wrote: remove the file"
        ) from exc
