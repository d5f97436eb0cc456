"""The exit codes of the command line, and the exceptions of a job; the package `gridline` draws the tree."""

from __future__ import annotations

from collections.abc import Sequence

from handler.errors import GridlineError

DONE = 0
NO_CONVERGENCE = 3
PARTIAL_FAILURE = 5
INTERRUPTED = 130


def one_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split())


class JobError(GridlineError):
    """The base of all errors of this package."""


class ConfigError(JobError):
    """The configuration is not valid, or asks for what can't be."""

    exit_code = 2


class DataError(JobError):
    """The data can't be read, or can't be regressed on."""

    exit_code = 2


class MissingColumnError(DataError):
    """A file lacks a column that is wanted."""


class DatasetsError(DataError):
    """Several datasets can't be read, or can't be regressed on; `lines` has the error of each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)


class UsageError(JobError):
    """The command line is wrong."""

    exit_code = 2


class ClusterError(JobError):
    """Ray can't be reached, or refuses."""

    exit_code = 4


class SourceError(JobError):
    """The storage that holds the data can't be reached."""

    exit_code = 4


def error_of_all(errors: Sequence[GridlineError]) -> GridlineError:
    """Return one error for those of several datasets: the first if the storage of all can't be reached."""
    if len(errors) == 1 or all(isinstance(error, SourceError) for error in errors):
        return errors[0]
    return DatasetsError([one_line(error) for error in errors])
