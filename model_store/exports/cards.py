"""A model card as JSON for readers that are not gridline: each key is there, and each encoded column is spelled out."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from handler.rows.model_card import FORMAT, ModelCard
from model_store.exports.encoded_columns import factors_of_columns


def write_card(path: Path, document: dict[str, Any]) -> None:
    """Write a card."""
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False), "utf-8")


def card_document(card: ModelCard) -> dict[str, Any]:
    """Return the card with `columns`, the names of the d encoded columns, and `encoder`, the factors of each."""
    return {
        "format": FORMAT,
        **asdict(card),
        "columns": list(card.columns),
        "encoder": factors_of_columns(card),
    }
