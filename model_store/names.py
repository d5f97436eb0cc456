"""The keys of the store: where versions, blobs, runs and the bookkeeping of gc lie, and which names are allowed."""

from __future__ import annotations

import re

from model_store.errors import InvalidNameError

NUMBER_DIGITS = 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
OBJECT_NAME = re.compile(r"[A-Za-z0-9_=+@,-][A-Za-z0-9._=+@,-]{0,199}(/[A-Za-z0-9_=+@,-][A-Za-z0-9._=+@,-]{0,199})*")

VERSIONS = "versions/"
BLOBS = "blobs/"
RUNS = "runs/"
PROBES = "probes/"
RUN_CLAIMS = "claims/"
RUN_MARKS = "from/"  # runs/<run_id>/from/<other run>: trials of that run were used
RUN_CHECKPOINTS = "checkpoints/"  # runs/<run_id>/checkpoints/<name>/<number>: the highest number counts
ARCHIVES_RUN = "archives"  # not a run: the records of archives
GC_CLAIM = "gc/claim/"
GC_PINS = "gc/pins/"
GC_KEPT = "gc/kept/"


def check_name(kind: str, name: str) -> str:
    """Return `name` if it can name a collection or a run. Raises InvalidNameError with the rules for names."""
    if not NAME.fullmatch(name):
        raise InvalidNameError(
            f"{kind} {name!r} is not a name: use at most 128 letters, digits, '.', '_' and '-', no sign first"
        )
    return name


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
