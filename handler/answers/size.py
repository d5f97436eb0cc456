"""The bytes that an answer has for each row, bounded from above before a value is read.

Shapes: k raw features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..requests.payload import Query
from ..rows.model_card import ModelCard

NUMBER = 26  # bytes of the longest float64 in JSON, with the comma and the blank after it
PAIR = 2 * NUMBER + 4
EXPLANATION = 70 + NUMBER  # keys, and the baseline


def row_bytes(query: Query, card: ModelCard) -> int:
    """Return a bound of the bytes for a row of this card: without its dataset, and values outside the range."""
    size = NUMBER
    if query.interval is not None:
        size += 2 * PAIR
    if query.explanations:
        size += EXPLANATION + sum(name + NUMBER + 4 for name in name_bytes(query, contributing(card)))
    return size


def contributing(card: ModelCard) -> Sequence[str]:
    """Return the names under which an explanation has contributions: the features, then the terms."""
    return [*card.feature_names, *map(str, card.terms)]


def name_bytes(query: Query, names: Sequence[str]) -> list[int]:
    """Return the bytes of names in the answer: in the Open Inference protocol they are JSON in a JSON text."""
    texts = [json.dumps(name) for name in names]
    return [len(json.dumps(text)) + 4 if query.protocol == "inputs" else len(text.encode()) for text in texts]
