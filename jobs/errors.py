"""The exceptions of a job, and the exit code that each gives the command line.

JobError
├── ConfigError           2   the configuration is not valid, or asks for what can't be
├── DataError             2   the data can't be read, or can't be regressed on
│   └── MissingColumnError    a file lacks a column that is wanted
├── UsageError            2   the command line is wrong
├── NoConvergenceError    3   no trial of some dataset converged to a finite loss
├── ClusterError          4   Ray can't be reached, or refuses
├── SourceError           4   the storage that holds the data can't be reached
└── PartialFailureError   5   some datasets failed; the others are committed

A message is one line that says what, where, which value, and what to do; it never holds a secret. It is the only
argument, so that an error survives the way back from a Ray worker.
"""

from __future__ import annotations

from typing import ClassVar

DONE = 0
INTERRUPTED = 130


class JobError(Exception):
    """The base of all errors of this package."""

    exit_code: ClassVar[int] = 1


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


class NoConvergenceError(JobError):
    """No trial of some dataset converged to a finite loss."""

    exit_code = 3


class ClusterError(JobError):
    """Ray can't be reached, or refuses."""

    exit_code = 4


class SourceError(JobError):
    """The storage that holds the data can't be reached."""

    exit_code = 4


class PartialFailureError(JobError):
    """Some datasets failed; the others are committed."""

    exit_code = 5
