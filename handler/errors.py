"""The exceptions of the handler: what a caller of the endpoint, or of the encoder, did wrong.

HandlerError
├── ModelCardError        a model card that is not valid, or of a newer format
├── ArchiveFormatError    the files of an archive that are not what gridline wrote
├── EncodingError         a value that the model card can't turn into numbers
├── PayloadError          a request that can't be answered: 400
└── UnknownDatasetError   a request for a dataset that the collection does not hold: 404
"""

from __future__ import annotations

from functools import partial

BAD_REQUEST = 400
NOT_FOUND = 404


class HandlerError(ValueError):
    """The base of all errors of this package; its message is one line, and safe to show to a caller."""

    status = BAD_REQUEST
    reason = "payload"


class ModelCardError(HandlerError):
    """A model card that is not valid, or written by a newer gridline."""


class ArchiveFormatError(HandlerError):
    """Files of an archive that are missing, of a newer format, or do not fit together."""


class EncodingError(HandlerError):
    """A value that can't be encoded.

    `row` counts from 0 within what was given to the encoder; `feature` is the name of the column.
    """

    reason = "value"

    def __init__(self, reason: str, *, feature: str, row: int, value: object) -> None:
        super().__init__(reason)
        self.feature = feature
        self.row = row
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the keywords: an error crosses from a Ray task to the driver."""
        return partial(EncodingError, feature=self.feature, row=self.row, value=self.value), self.args


class PayloadError(HandlerError):
    """A request that can't be answered; the message names what is wrong and what to send."""


class UnknownDatasetError(HandlerError):
    """A request for a dataset that the collection does not hold."""

    status = NOT_FOUND
    reason = "dataset"
