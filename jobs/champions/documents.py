"""Pieces of the JSON documents that verbs print."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.champions.selection import Comparison


def finite(value: float | None) -> float | None:
    """Return the number, or None where JSON has none for it."""
    return value if value is not None and math.isfinite(value) else None


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return how a challenger stood against the champion."""
    return {
        "basis": comparison.basis,
        "champion_score": finite(comparison.champion_score),
        "challenger_score": comparison.challenger_score,
        "reason": comparison.reason,
    }
