"""The documents of a collection: its champions, one champion, its history."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jobs.champions.documents import finite
from model_store.errors import CorruptObjectError
from model_store.ledger.champion_columns import COLUMNS
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from model_store.objects.protocol import in_parallel

ROWS_AT_ONCE = 1024


def collection_documents(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the newest version of each collection of a store; for one that can't be read, the error."""
    return in_parallel(lambda name: _collection_document(ledger, name), ledger.collections())


def _collection_document(ledger: Ledger, collection: str) -> dict[str, Any]:
    fields = ("num_datasets", "created_at", "action", "note", "run_id")
    try:
        version = ledger.version(collection)
    except CorruptObjectError as exc:
        return {"collection": collection, "error": str(exc)}
    return {"collection": collection, "version": version.number} | {name: getattr(version, name) for name in fields}


def champion_documents(version: Version) -> Iterator[dict[str, Any]]:
    """Yield the documents of `models list --json`, one champion after the other: a collection may have a million."""
    for table in version.tables():
        for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
            yield from map(_readable, batch.to_pylist())


def champion_document(ledger: Ledger, collection: str, dataset: str, number: int | None) -> dict[str, Any]:
    """Return the document of `models show --json`: the champion's row, its coefficients and its features.

    Coefficients and errors are of the transformed target, if it has a transform.
    """
    champion = ledger.champion(collection, dataset, number, verify_statistics=False)
    return {
        "collection": collection,
        "version": champion.version.number,
        **_readable(champion.row),
        "coefficients": champion.coefficients,
        "target": champion.card.target,
        "target_transform": champion.card.target_transform,
        "features": list(champion.card.feature_names),
        "withdrawals": [each.to_json() for each in champion.version.withdrawals if each.concerns(dataset)],
    }


def history_document(ledger: Ledger, collection: str) -> dict[str, Any]:
    """Return the document of `models history --json`, the newest version first."""
    fields = ("created_at", "action", "note", "run_id", "num_datasets")
    versions = [
        {"version": version.number}
        | {field: getattr(version, field) for field in fields}
        | {"reason": _reason(version)}
        for version in ledger.history(collection)
    ]
    return {"collection": collection, "versions": versions}


def _reason(version: Version) -> str | None:
    """Return the reason that a rollback was given, or None."""
    made = (each.reason for each in version.withdrawals if each.rollback == version.number)
    return next(made, "") or None


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    values = {column.name: row.get(column.name) for column in COLUMNS}
    readable = {key: finite(value) if isinstance(value, float) else value for key, value in values.items()}
    hyperparameters, comparison = row.get("hyperparameters"), row.get("comparison")
    try:
        readable["hyperparameters"] = _shared_object(hyperparameters) if hyperparameters else None
        readable["comparison"] = _object(comparison) if comparison else None
    except (ValueError, RecursionError) as exc:
        name = f"the champion table's row of dataset {row['dataset']!r}"
        raise CorruptObjectError(name, f"it holds what is not JSON: {exc}") from exc
    return readable


def _object(text: str) -> dict[str, Any]:
    parsed = json.loads(text, parse_constant=lambda _: None)  # of a score that is not finite
    if not isinstance(parsed, dict):
        raise ValueError(f"{text[:80]!r} is not an object")
    return parsed


_shared_object = lru_cache(maxsize=1024)(_object)  # many datasets share a grid point
