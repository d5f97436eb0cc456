"""Sums and products with their rounding errors, for numbers kept as two float64: a value, and what it lacks.

They take tensors and numpy arrays alike, whose products must stay below 1e300.
Source: Dekker, A floating-point technique for extending the available precision (1971); Knuth, TAOCP 2, 4.2.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = TypeVar("Array", Tensor, NDArray[np.float64])
SPLITTER = 2.0**27 + 1


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a + b, rounded, and its rounding error."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a · b, rounded, and its rounding error."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Array) -> tuple[Array, Array]:
    scaled = a * SPLITTER
    high = scaled - (scaled - a)
    return high, a - high


def total_of(terms: Iterable[Array], high: Array, low: Array) -> tuple[Array, Array]:
    """Return high + low + all terms, as a value and what it lacks."""
    for term in terms:
        high, error = two_sum(high, term)
        low = low + error
    return two_sum(high, low)
