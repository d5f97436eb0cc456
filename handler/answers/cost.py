"""What an answer will cost: bounds of its bytes, and of the work for its intervals, before either is computed.

Shapes: n rows of a piece · k raw features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..models.fleet import Fleet
from ..requests.limits import check_answer, check_interval
from ..requests.payload import Query
from . import scoring
from .scored import Scored
from .size import NUMBER, name_bytes, row_bytes

EXTRAPOLATION = 60 + 3 * (NUMBER + 16)  # keys, and a value with two bounds, which may be dates
TEXT = 3 * NUMBER  # quotes, keys and numbers beside a text about a row
PRODUCTS_OF_OWN_MATRIX = 10  # where each row has another model, its matrix is read for it alone


def check_cost(fleet: Fleet, query: Query, scored: Sequence[Scored]) -> None:
    """Raise PayloadError if the answer to a query would be too large, or take too long."""
    num_rows = len(query.instances)
    if query.interval is not None:
        parts = [_interval_work(fleet, one) for one in scored]
        check_interval(num_rows, sum(products for products, _ in parts), sum(quantiles for _, quantiles in parts))
    check_answer(num_rows, sum(_size_bytes(fleet, query, one) for one in scored))


def check_texts(query: Query, texts: Iterable[str]) -> None:
    """Raise PayloadError if the texts that an answer has about single rows make it too large."""
    size_bytes = sum(len(text.encode(errors="surrogatepass")) + TEXT for text in texts)
    check_answer(len(query.instances), size_bytes)


def _interval_work(fleet: Fleet, one: Scored) -> tuple[int, int]:
    """Return how many multiplications the intervals of a piece take, and how many quantiles of Student's t."""
    models, statistics = one.piece.models, fleet.stacks[one.piece.stack].statistics
    if statistics is None or statistics.inverse_cross_product_mpp is None:
        return 0, 0
    num_rows, num_columns = one.x_nd.shape
    if isinstance(models, int):
        return num_rows * num_columns**2, 1
    quantiles = len(np.unique(scoring.degrees_of_freedom(statistics, models)))
    return num_rows * num_columns**2 * PRODUCTS_OF_OWN_MATRIX, quantiles


def _size_bytes(fleet: Fleet, query: Query, one: Scored) -> int:
    """Return a bound of the bytes of the answer to a piece, as JSON."""
    num_rows, card = len(one.piece.positions), fleet.stacks[one.piece.stack].card
    size = num_rows * row_bytes(query, card)
    if not isinstance(one.piece.models, int):
        size += sum(len(name.encode(errors="surrogatepass")) + 4 for name in one.piece.datasets)
    if query.extrapolation:
        num_outside_k = one.outside_nk.sum(axis=0).tolist()
        names = name_bytes(query, card.feature_names)
        size += 4 * num_rows + sum(
            number * (name + EXTRAPOLATION) for number, name in zip(num_outside_k, names, strict=True)
        )
    return size
