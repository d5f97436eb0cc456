"""The exceptions of the store; the package `gridline` draws the tree."""

from __future__ import annotations

from handler.errors import GridlineError


class StoreError(GridlineError):
    """The storage is unreachable, refuses, or holds something that it should not."""

    exit_code = 4


class StoreUnreachableError(StoreError):
    """The storage gave no usable answer within the time that a call has."""

    def __init__(self, where: str, cause: str) -> None:
        super().__init__(f"{where} can't be reached: {cause}")
        self.where = where
        self.cause = cause


class StoreRefusedError(StoreError):
    """The storage refused a request for `key` in `bucket` (each may be empty), because of `cause`."""

    def __init__(self, bucket: str, key: str, cause: str) -> None:
        where = ("folder" if bucket.startswith("/") else "bucket") + f" '{bucket}'" + (f", key '{key}'" if key else "")
        super().__init__(f"{where}: {cause}" if bucket else cause)
        self.bucket = bucket
        self.key = key
        self.cause = cause


class StoreFullError(StoreRefusedError):
    """The disk, or a quota, has no room for an object; `fact` says which, without advice."""

    def __init__(self, bucket: str, key: str, fact: str, cause: str) -> None:
        super().__init__(bucket, key, cause)
        self.fact = fact


class S3SettingsError(StoreError):
    """The environment describes S3 in a way that can't be used: an endpoint without a scheme, a key without secret."""

    exit_code = 2


class StoreProbeError(StoreError):
    """The storage lacks a property that the ledger needs, such as create-if-absent."""


class MissingObjectError(StoreError):
    """Nothing is stored under `key`."""

    def __init__(self, uri: str, key: str) -> None:
        super().__init__(f"{uri}/{key} is missing: run 'gridline models verify' to see what else is broken")
        self.key = key


class CorruptObjectError(StoreError):
    """The bytes of `name` differ from those that were written; none of them were used."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} is corrupt: {reason}")
        self.name = name
        self.reason = reason


class DamagedVersionError(CorruptObjectError):
    """The commit of a version can't be read."""

    def __init__(self, name: str, reason: str, collection: str) -> None:
        super().__init__(name, f"{reason}: 'gridline models repair {collection}' mends what can be mended")


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
    """The store does not have the requested object."""

    exit_code = 2


class UnknownStoreError(NotFoundError):
    """The address has no store."""


class UnknownCollectionError(NotFoundError):
    """The store has no such collection."""


class UnknownDatasetError(NotFoundError):
    """The version has no such dataset."""


class UnknownVersionError(NotFoundError):
    """The collection has no such version, or gc has removed blobs that it names."""


class NothingWithdrawnError(NotFoundError):
    """No rollback has withdrawn models of the collection or of these datasets, so there is nothing to release."""


class EmptyVersionError(NotFoundError):
    """The version has no models: a repair found none that was whole."""


class UnknownRunError(NotFoundError):
    """The store has no such run."""


class InvalidNameError(NotFoundError):
    """A name that can't be a collection, a run or an object of a run."""


class ExportFolderError(NotFoundError):
    """The folder of an export has something in it."""


class ExportFormatError(StoreError):
    """The models, or this installation, can't be written in the format of an export that was asked for."""

    exit_code = 2
