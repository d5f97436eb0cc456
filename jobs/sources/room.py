"""The memory of encoded rows, estimated before they are made: a column of many levels becomes many columns."""

from __future__ import annotations

from collections.abc import Sequence

from handler.rows.model_card import Feature, ModelCard
from jobs.cluster.memory import available_bytes, size_text
from jobs.errors import DataError

SHOWN_FEATURES = 2


def require_room_for_rows(card: ModelCard, num_rows: int) -> None:
    """Raise DataError if so many encoded rows take more memory than this machine has."""
    d = len(card.columns)
    needed_bytes, room_bytes = num_rows * d * 8, available_bytes()
    if room_bytes is not None and needed_bytes > room_bytes:
        raise DataError(
            f"{num_rows} rows with {d} columns take {size_text(needed_bytes)} of memory, and this machine has "
            f"{size_text(room_bytes)}: {fewer_columns(card.features)}, or use a machine with more memory"
        )


def fewer_columns(features: Sequence[Feature]) -> str:
    """Return what makes the columns fewer."""
    leveled = [feature for feature in features if feature.kind == "categorical"]
    leveled.sort(key=lambda feature: -len(feature.levels))
    names = [f"{feature.name!r} ({len(feature.levels)} levels)" for feature in leveled[:SHOWN_FEATURES]]
    if not names:
        return "leave features out"
    return f"set 'min_count' for {' and '.join(names)}, so that rare levels share a column, or leave features out"
