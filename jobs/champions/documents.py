"""Pieces of the JSON documents that verbs print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from jobs.champions.comparison import Comparison

DatasetStatus = Literal["promoted", "kept", "not committed", "no convergence", "failed"]


def finite(value: float | None) -> float | None:
    """Return the number, or None where JSON has none for it."""
    return value if value is not None and math.isfinite(value) else None


def status_of(comparison: Comparison | None) -> DatasetStatus:
    """Return the status of a dataset with a model, by its comparison with the champion (None: not committed)."""
    if comparison is None:
        return "not committed"
    return "promoted" if comparison.promoted else "kept"


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return how a challenger stood against the champion."""
    return {
        "basis": comparison.basis,
        "champion_score": finite(comparison.champion_score),
        "challenger_score": comparison.challenger_score,
        "reason": comparison.reason,
    }


def dataset_document(
    name: str,
    status: DatasetStatus,
    best: Mapping[str, Any] | None,
    trials: Sequence[Mapping[str, Any]] | None,
    *,
    reason: str | None = None,
    choice: str | None = None,
    warning: str | None = None,
    comparison: Comparison | None = None,
    verification: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
    left_out: Mapping[str, int] | None = None,
    columns_left_out: Mapping[str, str] | None = None,
    target_transform: str | None = None,
) -> dict[str, Any]:
    """Return what `train --json` says of a dataset; `trials` is None where they are too many to be documented.

    With a `target_transform` all errors are of the transformed target, as training sees it.
    """
    document: dict[str, Any] = {"dataset": name, "status": status, "best": best, "trials": trials}
    if reason is not None:
        document["reason"] = reason
    if choice is not None:
        document["choice"] = choice
    if warning is not None:
        document["warning"] = warning
    if comparison is not None:
        document["comparison"] = comparison_document(comparison)
    if verification is not None:
        document["verification"] = dict(verification)
    if notes:
        document["notes"] = list(notes)
    named = {"left_out": left_out, "columns_left_out": columns_left_out, "target_transform": target_transform}
    return document | {name: value for name, value in named.items() if value}


def left_out_sentences(left_out: Mapping[str, int], columns_left_out: Mapping[str, str]) -> list[str]:
    """Return the rows and the columns that are left out, in words."""
    rows = [f"{count} {'row' if count == 1 else 'rows'} ({reason})" for reason, count in left_out.items()]
    columns = [f"column {name!r} {reason}" for name, reason in columns_left_out.items()]
    return [f"left out: {', '.join(rows)}"] * bool(rows) + [f"left out: {'; '.join(columns)}"] * bool(columns)
