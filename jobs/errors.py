"""The exit codes of the command line, and the exceptions of a job; the package `gridline` draws the tree."""

from __future__ import annotations

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


class UsageError(JobError):
    """The command line is wrong."""

    exit_code = 2


class ClusterError(JobError):
    """Ray can't be reached, or refuses."""

    exit_code = 4


class SourceError(JobError):
    """The storage that holds the data can't be reached."""

    exit_code = 4
