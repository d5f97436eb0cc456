"""What the store holds, as documents: champions, one champion, the history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobs.documents import finite
from model_store.champion_columns import COLUMNS
from model_store.champion_table import table_to_rows
from model_store.ledger import Ledger


def champions_document(ledger: Ledger, collection: str, number: int | None) -> dict[str, Any]:
    """Return the document of `models list --json`."""
    version = ledger.version(collection, number)
    rows = table_to_rows(version.table())
    return {"collection": collection, "version": version.number, "datasets": [_readable(row) for row in rows]}


def champion_document(ledger: Ledger, collection: str, dataset: str, number: int | None) -> dict[str, Any]:
    """Return the document of `models show --json`: the champion's row, its coefficients and its features."""
    champion = ledger.champion(collection, dataset, number)
    return {
        "collection": collection,
        "version": champion.version.number,
        **_readable(champion.row),
        "coefficients": champion.coefficients,
        "target": champion.card.target,
        "features": list(champion.card.feature_names),
    }


def history_document(ledger: Ledger, collection: str) -> dict[str, Any]:
    """Return the document of `models history --json`, the newest version first."""
    fields = ("created_at", "action", "note", "run_id", "num_datasets")
    versions = [
        {"version": version.number} | {field: getattr(version, field) for field in fields}
        for version in ledger.history(collection)
    ]
    return {"collection": collection, "versions": versions}


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    values = {column.name: row.get(column.name) for column in COLUMNS}
    readable = {key: finite(value) if isinstance(value, float) else value for key, value in values.items()}
    for key in ("hyperparameters", "comparison"):
        readable[key] = json.loads(row[key]) if row.get(key) else None
    return readable
