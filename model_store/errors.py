"""The exceptions of the store: every one is a single line that says what, where, which value, and what to do.

StoreError                    exit code 4: the storage is unreachable, refuses, or holds something it should not
├── StoreUnreachableError     no answer within the attempts and the time that a call has
├── StoreRefusedError         the storage answered no: bucket, key and cause
├── StoreProbeError           the storage does not keep the promises that the ledger rests on
├── MissingObjectError        nothing is stored under a key that must be there
├── CorruptObjectError        an object whose bytes are not what was written
│   └── NewerFormatError      an object that a newer gridline wrote
├── RunClaimedError           another live process works on the run
├── ContendedError            other writers won every attempt to commit
└── NotFoundError             exit code 2: what the caller asked for is not in the store
    ├── UnknownStoreError
    ├── UnknownCollectionError
    ├── UnknownDatasetError
    ├── UnknownVersionError
    ├── InvalidNameError      a name that can't be one of the store's
    └── ExportFolderError     a folder that something is in already
"""

from __future__ import annotations


class StoreError(Exception):
    """The base of all errors of this package; `exit_code` is what the command line ends with."""

    exit_code = 4


class StoreUnreachableError(StoreError):
    """The storage gave no usable answer within the attempts and the time that a call has."""

    def __init__(self, where: str, cause: str) -> None:
        super().__init__(f"{where} can't be reached: {cause}")
        self.where = where
        self.cause = cause


class StoreRefusedError(StoreError):
    """The storage answered no. `bucket` and `key` say where (`key` may be empty), `cause` says why."""

    def __init__(self, bucket: str, key: str, cause: str) -> None:
        where = ("folder" if bucket.startswith("/") else "bucket") + f" '{bucket}'" + (f", key '{key}'" if key else "")
        super().__init__(f"{where}: {cause}")
        self.bucket = bucket
        self.key = key
        self.cause = cause


class StoreProbeError(StoreError):
    """The storage breaks a promise that the ledger rests on, such as create-if-absent."""


class MissingObjectError(StoreError):
    """Nothing is stored under `key`."""

    def __init__(self, uri: str, key: str) -> None:
        super().__init__(f"{uri}/{key} is missing: run 'gridline models verify' to see what else is broken")
        self.key = key


class CorruptObjectError(StoreError):
    """The bytes of `name` are not what was written; nothing of it was used."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} is corrupt: {reason}")
        self.name = name
        self.reason = reason


class NewerFormatError(CorruptObjectError):
    """A newer gridline wrote `name`, in a format that this one can't read."""

    def __init__(self, name: str, found: object, known: int) -> None:
        StoreError.__init__(self, f"{name} has format {found}, and this gridline reads up to {known}: upgrade gridline")
        self.name = name
        self.reason = f"format {found}"


class RunClaimedError(StoreError):
    """Another live process works under the same claim."""


class ContendedError(StoreError):
    """Other writers won every attempt to commit."""


class NotFoundError(StoreError):
    """What the caller asked for is not in the store."""

    exit_code = 2


class UnknownStoreError(NotFoundError):
    """There is no store at that address."""


class UnknownCollectionError(NotFoundError):
    """The store has no such collection."""


class UnknownDatasetError(NotFoundError):
    """The version has no such dataset."""


class UnknownVersionError(NotFoundError):
    """The collection has no such version, or gc has collected what it named."""


class InvalidNameError(NotFoundError):
    """A name that can't be a collection, a run or an object of a run."""


class ExportFolderError(NotFoundError):
    """The folder of an export has something in it."""
