"""Train, plan and read models from Python; nothing heavy is imported before it is used.

    import gridline
    outcome = gridline.train("examples/plants.yaml")
    model = gridline.open_ledger().champion("plants", "plant_richness").linear()     # an nn.Linear

The exceptions that a user may catch, each with the exit code that it gives the command line:

GridlineError                       1   the base of all
├── JobError                        1   a job
│   ├── ConfigError                 2   the configuration is not valid, or asks for the impossible
│   ├── DataError                   2   the data can't be read, or can't be regressed on
│   │   ├── MissingColumnError      2   a file lacks a column that the configuration names
│   │   └── DatasetsError           2   several datasets can't be used: `lines` has the error of each
│   ├── UsageError                  2   an argument is wrong
│   ├── ClusterError                4   Ray can't be reached, or refuses
│   └── SourceError                 4   the storage that holds the data can't be reached
├── StoreError                      4   the store
│   ├── StoreUnreachableError       4   no answer within the attempts and the time that a call has
│   ├── StoreRefusedError           4   the storage answered no
│   │   └── StoreFullError          4   it has no room, or a quota is used up
│   ├── S3SettingsError             2   the environment variables of S3 can't be used together
│   ├── ExportFormatError       2   the models can't be exported in that format, or a package for it is not installed
│   ├── StoreProbeError             4   the storage does not keep a promise that the ledger rests on
│   ├── MissingObjectError          4   nothing is stored under a key that must be there
│   ├── CorruptObjectError          4   the bytes of an object are not what was written
│   │   ├── DamagedVersionError     4   a commit or its table is damaged: gridline models repair
│   │   └── NewerFormatError        4   a newer gridline wrote the object
│   ├── RunClaimedError             4   another live process works on the run
│   ├── ContendedError              4   other writers won every attempt to commit
│   └── NotFoundError               2   the caller asked for something that is not in the store
│       ├── UnknownStoreError       2   there is no store at that address
│       ├── UnknownCollectionError  2   the store has no such collection
│       ├── UnknownDatasetError     2   the version has no such dataset
│       ├── UnknownVersionError     2   the collection has no such version, or gc has collected it
│       ├── EmptyVersionError       2   the version has no models
│       ├── NothingWithdrawnError   2   no rollback holds what was to be released
│       ├── UnknownRunError         2   the store has no such run, or gc has removed it
│       ├── InvalidNameError        2   no collection, run or object can have that name
│       └── ExportFolderError       2   the folder of an export is not empty
├── ServerError                     4   TorchServe can't be started, reached, or used as it should be
│   ├── ServerRefusedError          4   TorchServe answered no: the HTTP status and its own words
│   │   ├── KeyRefusedError         4   it did not take the key
│   │   └── PredictionRefusedError  2   it found the request for a prediction wrong
│   ├── BusyError                   4   another process deploys the collection on the same server
│   ├── PortError                   2   the ports or the address can't be those of one server
│   └── DeploymentError             4   a new version did not come up; the old one serves as before
└── HandlerError                    2   a request for predictions is wrong; a ValueError too
    ├── ModelCardError              2   the model card is not valid, or of a newer format
    ├── ArchiveFormatError          4   the files of an archive are not what gridline wrote
    ├── EncodingError               2   the model card can't turn a value into numbers
    ├── PayloadError                2   the request can't be answered: 400
    └── NotServedError              2   the collection does not hold the dataset: 404
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handler.errors import (
        ArchiveFormatError,
        EncodingError,
        GridlineError,
        HandlerError,
        ModelCardError,
        NotServedError,
        PayloadError,
    )
    from jobs.api import plan, train
    from jobs.config import JobConfig, load_config
    from jobs.errors import (
        ClusterError,
        ConfigError,
        DataError,
        DatasetsError,
        JobError,
        MissingColumnError,
        SourceError,
        UsageError,
    )
    from model_store import open_ledger
    from model_store.deployment.errors import (
        BusyError,
        DeploymentError,
        KeyRefusedError,
        PortError,
        PredictionRefusedError,
        ServerError,
        ServerRefusedError,
    )
    from model_store.errors import (
        ContendedError,
        CorruptObjectError,
        DamagedVersionError,
        EmptyVersionError,
        ExportFolderError,
        ExportFormatError,
        InvalidNameError,
        MissingObjectError,
        NewerFormatError,
        NotFoundError,
        NothingWithdrawnError,
        RunClaimedError,
        S3SettingsError,
        StoreError,
        StoreFullError,
        StoreProbeError,
        StoreRefusedError,
        StoreUnreachableError,
        UnknownCollectionError,
        UnknownDatasetError,
        UnknownRunError,
        UnknownStoreError,
        UnknownVersionError,
    )

__all__ = [
    "ArchiveFormatError",
    "BusyError",
    "ClusterError",
    "ConfigError",
    "ContendedError",
    "CorruptObjectError",
    "DamagedVersionError",
    "DataError",
    "DatasetsError",
    "DeploymentError",
    "EmptyVersionError",
    "EncodingError",
    "ExportFolderError",
    "ExportFormatError",
    "GridlineError",
    "HandlerError",
    "InvalidNameError",
    "JobConfig",
    "JobError",
    "KeyRefusedError",
    "MissingColumnError",
    "MissingObjectError",
    "ModelCardError",
    "NewerFormatError",
    "NotFoundError",
    "NotServedError",
    "NothingWithdrawnError",
    "PayloadError",
    "PortError",
    "PredictionRefusedError",
    "RunClaimedError",
    "S3SettingsError",
    "ServerError",
    "ServerRefusedError",
    "SourceError",
    "StoreError",
    "StoreFullError",
    "StoreProbeError",
    "StoreRefusedError",
    "StoreUnreachableError",
    "UnknownCollectionError",
    "UnknownDatasetError",
    "UnknownRunError",
    "UnknownStoreError",
    "UnknownVersionError",
    "UsageError",
    "load_config",
    "open_ledger",
    "plan",
    "train",
]
MODULES = (
    "handler.errors",
    "jobs.errors",
    "model_store.errors",
    "model_store.deployment.errors",
    "model_store",
    "jobs.config",
    "jobs.api",
)  # in the order in which a name is looked for: the lightest first


def __getattr__(name: str) -> object:
    if name == "__version__":
        return version("gridline")
    if name not in __all__:
        raise AttributeError(f"module 'gridline' has no attribute {name!r}")
    return next(getattr(module, name) for module in map(import_module, MODULES) if hasattr(module, name))


def __dir__() -> list[str]:
    return __all__
