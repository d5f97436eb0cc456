"""The base of all errors of gridline, and the errors of the handler: a request or a value that is wrong.

The package `gridline` draws the whole tree. A message is one line: the error, its place, the value and the remedy;
it never holds a secret.
"""

from __future__ import annotations

import copyreg
from typing import ClassVar

BAD_REQUEST = 400
NOT_FOUND = 404
NOT_ACCEPTABLE = 406
TOO_LARGE = 413
UNSUPPORTED_TYPE = 415


class GridlineError(Exception):
    """The base of all errors of gridline; the command line ends with its `exit_code`."""

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the message and the attributes, not the arguments: an error crosses from a Ray task to the driver."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # (not in typeshed)


class HandlerError(GridlineError, ValueError):
    """An error of a caller of the endpoint, or of the encoder; its message may be shown to a caller."""

    exit_code = 2
    status = BAD_REQUEST
    reason = "payload"


class ModelCardError(HandlerError):
    """A model card that is not valid, or written by a newer gridline."""


class ArchiveFormatError(HandlerError):
    """Files of an archive that are missing, of a newer format, or inconsistent."""

    exit_code = 4


class EncodingError(HandlerError):
    """A value that can't be encoded.

    `row` is the number of the row in the encoder's input, from 0; `feature` is the name of the column.
    """

    reason = "value"

    def __init__(self, reason: str, *, feature: str, row: int, value: object) -> None:
        super().__init__(reason)
        self.feature = feature
        self.row = row
        self.value = value


class PayloadError(HandlerError):
    """A request that can't be answered; the message names the error and the remedy."""

    def __init__(self, message: str, status: int = BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


class NotServedError(HandlerError):
    """A request for a dataset that the collection does not hold."""

    status = NOT_FOUND
    reason = "dataset"
