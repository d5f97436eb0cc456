"""The keys of the store: where versions, blobs, runs and the bookkeeping of gc lie, and which names are allowed."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from model_store.errors import InvalidNameError

NUMBER_DIGITS = 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
OBJECT_NAME = re.compile(r"[A-Za-z0-9_=+@,-][A-Za-z0-9._=+@,-]{0,199}(/[A-Za-z0-9_=+@,-][A-Za-z0-9._=+@,-]{0,199})*")

VERSIONS = "versions/"
BLOBS = "blobs/"
STARTED_RUN = re.compile(r"(.+-[0-9a-f]{12})-(\d{8}T\d{6}Z)")
START = "%Y%m%dT%H%M%SZ"
JOB_NAME_LENGTH = 98  # of the 128 characters of a run id

RUNS = "runs/"
PROBES = "probes/"
RUN_CLAIMS = "claims/"
OF_COLLECTION = "collection="  # claims/collection=<name>/ is not of a run: no run id has this sign
RUN_MARKS = "from/"  # runs/<run_id>/from/<other run>: trials of that run were used
RUN_CHECKPOINTS = "checkpoints/"  # runs/<run_id>/checkpoints/<name>/<number>: the highest number counts
ARCHIVES_RUN = "archives"  # not a run: the records of archives
GC_CLAIM = "gc/claim/"
GC_PINS = "gc/pins/"
GC_KEPT = "gc/kept/"
GC_RESERVE = "gc/reserve/"


def check_name(kind: str, name: str) -> str:
    """Return `name` if it can name a collection or a run. Raises InvalidNameError with the rules for names."""
    if not NAME.fullmatch(name):
        raise InvalidNameError(
            f"{kind} {name!r} is not a name: use at most 128 letters, digits, '.', '_' and '-', no sign first"
        )
    return name


def job_id(collection: str, digest: str) -> str:
    """Return the id of a job: the name of its collection, and 12 digits of the sha256 of its configuration."""
    return f"{collection[:JOB_NAME_LENGTH]}-{digest[:12]}"


def started_run_id(job: str, started_at: float, last: str = "") -> str:
    """Return the id of a run of a job that starts now, in seconds since the epoch: later than its `last` run."""
    start = datetime.fromtimestamp(int(started_at), UTC).strftime(START)
    match = STARTED_RUN.fullmatch(last)
    if match and start <= match[2]:
        after = datetime.strptime(match[2], START).replace(tzinfo=UTC).timestamp() + 1
        start = datetime.fromtimestamp(after, UTC).strftime(START)
    return f"{job}-{start}"


def claim_of(run_id: str) -> str:
    """Return the name of the claim that a run needs: that of its job, if its id has a job and a start, else its own."""
    match = STARTED_RUN.fullmatch(run_id)
    return match[1] if match else run_id


def check_object_name(name: str) -> str:
    """Return `name` if it can be the path of an object in a run. Raises InvalidNameError."""
    if not OBJECT_NAME.fullmatch(name):
        raise InvalidNameError(f"object name {name!r} is not a relative path of letters, digits and '._=+@,-'")
    return name


def numbered(prefix: str, number: int) -> str:
    """Return the key of number `number` below `prefix`: padded, so that keys sort as numbers do."""
    return f"{prefix}{number:0{NUMBER_DIGITS}d}.json"


def number_of(key: str) -> int | None:
    """Return the number of a key that `numbered` made, or None for any other key."""
    stem, dot, ext = key.rpartition("/")[2].partition(".")
    return int(stem) if dot and ext == "json" and len(stem) == NUMBER_DIGITS and stem.isdecimal() else None


def version_prefix(collection: str) -> str:
    """Return the prefix of the keys of all versions of a collection."""
    return f"{VERSIONS}{check_name('collection', collection)}/"
