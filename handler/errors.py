"""The exceptions of the handler: what a caller of the endpoint, or of the encoder, did wrong.

HandlerError
├── ModelCardError      a model card that is not valid, or of a newer format
└── EncodingError       a value that the model card can't turn into numbers
"""

from __future__ import annotations

from functools import partial


class HandlerError(ValueError):
    """The base of all errors of this package; its message is one line, and safe to show to a caller."""


class ModelCardError(HandlerError):
    """A model card that is not valid, or written by a newer gridline."""


class EncodingError(HandlerError):
    """A value that can't be encoded.

    `row` counts from 0 within what was given to the encoder; `feature` is the name of the column.
    """

    def __init__(self, reason: str, *, feature: str, row: int, value: object) -> None:
        super().__init__(reason)
        self.feature = feature
        self.row = row
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the keywords: an error crosses from a Ray task to the driver."""
        return partial(EncodingError, feature=self.feature, row=self.row, value=self.value), self.args
