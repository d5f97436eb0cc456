"""A TorchServe handler that does nothing: what the server itself costs."""

from collections.abc import Sequence
from typing import Any


class ConstantHandler:
    """Answers every request with the same bytes."""

    def initialize(self, context: Any) -> None:
        """Load nothing."""

    def handle(self, data: Sequence[Any], context: Any) -> list[bytes]:
        """Return the same body for each request."""
        return [b'{"predictions": [2.4], "model": {"collection": "m", "version": 1, "dataset": "d"}}'] * len(data)
