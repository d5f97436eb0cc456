"""The weights of rows: a column of numbers, 0 or more.

A row with weight 0 is not there.

Shapes: n rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jobs.sources.columns import Columns

Kind = Literal["precision", "frequency"]


@dataclass(frozen=True)
class RowWeights:
    """The column of the weights; `frequency` ones say how often a row was seen, others how precise its target is."""

    column: str
    kind: Kind

    def of(self, columns: Columns) -> NDArray[np.float64]:
        """Return the weights of rows."""
        weight_n: NDArray[np.float64] = columns.numbers[self.column].astype(np.float64)
        return weight_n


def present(columns: Columns, weights: RowWeights | None) -> Columns:
    """Return the rows that are there, whose places are lost if some are not."""
    if weights is None:
        return columns
    weight_n: NDArray[Any] = columns.numbers[weights.column]
    return columns if weight_n.all() else columns.take(np.flatnonzero(weight_n))
