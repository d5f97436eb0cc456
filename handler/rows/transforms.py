"""The transforms of features and of targets: their functions, their domains, and the way back for a target.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Transform = Literal["log10", "log1p", "sqrt", "log"]
TargetTransform = Literal["log", "log1p"]


@dataclass(frozen=True)
class Domain:
    """A transform, the lower bound of its domain, and whether the bound is in the domain."""

    function: Callable[..., Floats]
    lower: float
    closed: bool

    def __str__(self) -> str:
        return f"{'>=' if self.closed else '>'} {self.lower:g}"

    def holds(self, value_n: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which values are in the domain; NaN is not."""
        inside_n: NDArray[np.bool_] = value_n >= self.lower if self.closed else value_n > self.lower
        return inside_n


DOMAINS: dict[Transform, Domain] = {
    "log10": Domain(np.log10, 0.0, closed=False),
    "log1p": Domain(np.log1p, -1.0, closed=False),
    "sqrt": Domain(np.sqrt, 0.0, closed=True),
    "log": Domain(np.log, 0.0, closed=False),
}
INVERSES: dict[TargetTransform, Callable[..., Floats]] = {"log": np.exp, "log1p": np.expm1}


def transformed_target(transform: TargetTransform | None, y_n: NDArray[Any]) -> Floats:
    """Return the target on the scale on which it is trained, float64."""
    raw_n: Floats = y_n.astype(np.float64)
    return raw_n if transform is None else DOMAINS[transform].function(raw_n)


def raw_target(transform: TargetTransform | None, value: Floats) -> Floats:
    """Return predictions, or their bounds, in units of the target as it is in the data."""
    if transform is None:
        return value
    with np.errstate(over="ignore"):  # the caller refuses what is not finite
        return INVERSES[transform](value)
