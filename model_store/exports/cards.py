"""A model card as JSON for readers that are not gridline: each key is there, and each encoded column is spelled out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from handler.rows.model_card import FORMAT, ModelCard
from model_store.exports.encoded_columns import factors_of_columns


def card_document(card: ModelCard) -> dict[str, Any]:
    """Return the card with `columns`, the names of the d encoded columns, and `encoder`, the factors of each."""
    return {
        "format": FORMAT,
        **asdict(card),
        "columns": list(card.columns),
        "encoder": factors_of_columns(card),
    }
