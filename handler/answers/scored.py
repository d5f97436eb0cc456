"""A piece of a request with its predictions.

Shapes: n rows of a piece · d encoded columns · k raw features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rows.encoding import Floats
from .pieces import Piece


@dataclass(frozen=True)
class Scored:
    """A piece with its encoded rows, raw values and predictions; `outside_nk`: values outside the trained range."""

    piece: Piece
    x_nd: Floats
    raw_nk: Floats
    prediction_n: Floats
    outside_nk: NDArray[np.bool_]
