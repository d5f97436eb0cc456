"""The terms of a model card: products of encoded columns.

Shapes: n rows · d encoded columns of the terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EncodingError
from .model_card import ModelCard, Term


@np.errstate(over="ignore", invalid="ignore")  # found in the result, and refused
def write_terms(card: ModelCard, taken: Mapping[str, NDArray[Any]], start: int, x_nd: NDArray[Any]) -> None:
    """Write the columns of all terms; `taken` has the columns of each feature, `start` is the number of the first row.

    Raises EncodingError for a product that is beyond float64.
    """
    column = 0
    for term in card.terms:
        powers = [taken[factor.feature].T ** factor.power for factor in term.factors]
        for factors in product(*powers):
            x_nd[:, column] = np.prod(factors, axis=0)
            _check(term, x_nd[:, column], taken, start)
            column += 1


def _check(term: Term, product_n: NDArray[Any], taken: Mapping[str, NDArray[Any]], start: int) -> None:
    finite_n = np.isfinite(product_n)
    if not finite_n.all():
        row, name = int(np.argmin(finite_n)), term.factors[0].feature
        value = float(taken[name][row, 0])
        reason = f"feature {name!r} has value {value:g}, for which {term} is beyond float64: give a smaller value"
        raise EncodingError(reason, feature=name, row=start + row, value=value)
